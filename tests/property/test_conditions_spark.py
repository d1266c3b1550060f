"""The same expressions on Spark: conditions and measures say there what they say on DuckDB.

Several conditions are asked in one query, since Spark takes its time to plan one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.conditions import Condition, parse, text
from features.conditions import tree as t
from features.conditions.table import matches, measured
from tests.oracles.conditions import holds, value_of
from tests.property.test_conditions_laws import (
    HISTORY,
    SPINE,
    World,
    aggregates,
    conditions,
    sequences,
    texts,
    value_tests,
    world,
)
from tests.property.test_measures_laws import measures
from tests.spark import spark, stored
from tests.unit import test_conditions_table as cases

pytestmark = [
    pytest.mark.slow,
    # pyspark 4.0 uses a keyword that pandas 3 deprecates, and leaves its socket to Python.
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

Tables = tuple[ir.Table, ir.Table]
AT_ONCE = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def connection(folder: Path) -> Iterator[ibis.BaseBackend]:
    with spark(folder) as connected:
        yield connected


@pytest.fixture(scope="module")
def people() -> World:
    return world(ibis.duckdb.connect(threads=1), 1)


@pytest.fixture(scope="module")
def tables(connection: ibis.BaseBackend, folder: Path, people: World) -> Tables:
    history = [row for rows in people.events for row in rows]
    return (
        stored(connection, folder, "spine", pa.Table.from_pylist(people.spine, SPINE)),
        stored(connection, folder, "history", pa.Table.from_pylist(history, HISTORY)),
    )


def batches(asked: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many at once as a query may hold."""
    return (asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE))


def answers(
    connection: ibis.BaseBackend, asked: Sequence[Condition], tables: Tables
) -> list[dict[int, bool]]:
    """For each condition, what it says of each row id."""
    found: list[dict[int, bool]] = []
    for several in batches(asked):
        parts = [
            matches(condition, *tables).mutate(number=ibis.literal(number))
            for number, condition in enumerate(several)
        ]
        whole = ibis.union(*parts) if len(parts) > 1 else parts[0]
        rows = connection.to_pyarrow(whole).to_pylist()
        found += [
            {row["row_id"]: row["matches"] for row in rows if row["number"] == number}
            for number in range(len(several))
        ]
    return found


def drawn(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """Some random values, always the same: a query on Spark costs too much to look for a least."""
    found: list[Any] = []

    @settings(
        max_examples=number, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def test_the_cases_of_the_table_hold_on_spark(connection, folder) -> None:
    tables = (
        stored(connection, folder, "case_spine", cases.SPINE),
        stored(connection, folder, "case_history", cases.HISTORY),
    )
    asked = [parse(written, cases.VOCABULARY) for written, _ in cases.HELD]
    found = answers(connection, asked, tables)
    for (written, expected), said in zip(cases.HELD, found, strict=True):
        assert said == {row: row in expected for row in (1, 2, 3)}, written


def test_the_journeys_are_found_on_spark(connection, folder) -> None:
    spine, history = cases.journeys()
    tables = (
        stored(connection, folder, "journey_spine", spine),
        stored(connection, folder, "journeys", history),
    )
    asked = [parse(written, cases.VOCABULARY) for written, _ in cases.FOUND]
    found = answers(connection, asked, tables)
    for (written, expected), said in zip(cases.FOUND, found, strict=True):
        assert said == {row: row in expected for row in cases.JOURNEYS}, written


def test_text_in_a_literal_stays_text_on_spark(connection, folder) -> None:
    for number, hostile in enumerate(cases.HOSTILE):
        spine, history = cases.hostile_tables(hostile)
        tables = (
            stored(connection, folder, f"hostile_spine_{number}", spine),
            stored(connection, folder, f"hostile_history_{number}", history),
        )
        asked = [parse(w, cases.VOCABULARY) for w in cases.hostile_conditions(hostile)]
        for said in answers(connection, asked, tables):
            assert said == {1: True, 2: False}, hostile


def test_spark_says_what_the_plain_evaluator_says(connection, people, tables) -> None:
    some = st.one_of(conditions(texts), sequences(texts), value_tests(aggregates(texts), texts))
    asked = drawn(some, 48)
    for condition, said in zip(asked, answers(connection, asked, tables), strict=True):
        pairs = zip(people.spine, people.events, strict=True)
        assert said == {row["row_id"]: holds(condition, row, seen) for row, seen in pairs}, text(
            condition
        )


def test_spark_measures_what_the_plain_evaluator_measures(connection, people, tables) -> None:
    asked = drawn(measures(texts), 48)
    for several in batches(asked):
        named = [replace(measure, name=f"m{number}") for number, measure in enumerate(several)]
        rows = connection.to_pyarrow(measured(named, *tables).order_by("row_id")).to_pylist()
        for measure in named:
            pairs = zip(people.spine, people.events, strict=True)
            expected = [value_of(measure, row, seen) for row, seen in pairs]
            assert [row[f"measure_{measure.name}"] for row in rows] == expected, measure


def test_what_is_too_large_or_divided_by_zero_is_null_on_spark(connection, people, tables) -> None:
    age, mean = (
        t.Attribute("age", "number"),
        t.Aggregate("mean", t.EventFilter("purchase"), "amount"),
    )
    grown: t.Formula = mean
    for _ in range(30):
        grown = t.Arithmetic(grown, "*", mean)
    nothing = t.Arithmetic(t.Arithmetic(age, "/", age), "-", t.Number(Decimal(1)))
    formulas = {"mean": mean, "grown": grown, "by_nothing": t.Arithmetic(mean, "/", nothing)}
    asked = [t.Measure(name, "", formula) for name, formula in formulas.items()]
    rows = connection.to_pyarrow(measured(asked, *tables).order_by("row_id")).to_pylist()
    for measure in asked:
        pairs = zip(people.spine, people.events, strict=True)
        expected = [value_of(measure, row, seen) for row, seen in pairs]
        assert [row[f"measure_{measure.name}"] for row in rows] == expected
    known = [row for row in rows if row["measure_mean"] is not None]
    assert {row["measure_by_nothing"] for row in rows} == {None}
    assert {row["measure_grown"] is None for row in known} == {True, False}
