"""The same expressions on Spark: conditions and measures say there what they say on DuckDB.

Several conditions are asked in one query, since Spark takes its time to plan one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from features.conditions import Condition, parse, text
from features.conditions import tree as t
from features.conditions.table import matches, measured
from features.spark import SparkEngine
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
from tests.spark import ON_SPARK, examples_of, spark
from tests.unit import test_conditions_table as cases

pytestmark = ON_SPARK

Tables = tuple[ir.Table, ir.Table]
AT_ONCE = 8


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkEngine]:
    with spark(tmp_path_factory.mktemp("spark")) as started:
        yield started


@pytest.fixture(scope="module")
def people() -> World:
    return world(ibis.duckdb.connect(threads=1), 1)


@pytest.fixture(scope="module")
def tables(engine: SparkEngine, people: World) -> Tables:
    history = [row for rows in people.events for row in rows]
    return (
        engine.table(pa.Table.from_pylist(people.spine, SPINE)),
        engine.table(pa.Table.from_pylist(history, HISTORY)),
    )


def batches(asked: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """As many at once as a query may hold."""
    return (asked[start : start + AT_ONCE] for start in range(0, len(asked), AT_ONCE))


def answers(
    engine: SparkEngine, asked: Sequence[Condition], tables: Tables
) -> list[dict[int, bool]]:
    """For each condition, what it says of each row id."""
    found: list[dict[int, bool]] = []
    for several in batches(asked):
        parts = [
            matches(condition, *tables).mutate(number=ibis.literal(number))
            for number, condition in enumerate(several)
        ]
        whole = ibis.union(*parts) if len(parts) > 1 else parts[0]
        rows = engine.arrow(whole).to_pylist()
        found += [
            {row["row_id"]: row["matches"] for row in rows if row["number"] == number}
            for number in range(len(several))
        ]
    return found


def test_the_cases_of_the_table_hold_on_spark(engine) -> None:
    tables = (engine.table(cases.SPINE), engine.table(cases.HISTORY))
    asked = [parse(written, cases.VOCABULARY) for written, _ in cases.HELD]
    found = answers(engine, asked, tables)
    for (written, expected), said in zip(cases.HELD, found, strict=True):
        assert said == {row: row in expected for row in (1, 2, 3)}, written


def test_the_journeys_are_found_on_spark(engine) -> None:
    spine, history = cases.journeys()
    tables = (engine.table(spine), engine.table(history))
    asked = [parse(written, cases.VOCABULARY) for written, _ in cases.FOUND]
    found = answers(engine, asked, tables)
    for (written, expected), said in zip(cases.FOUND, found, strict=True):
        assert said == {row: row in expected for row in cases.JOURNEYS}, written


def test_text_in_a_literal_stays_text_on_spark(engine) -> None:
    for hostile in cases.HOSTILE:
        spine, history = cases.hostile_tables(hostile)
        tables = (engine.table(spine), engine.table(history))
        asked = [parse(w, cases.VOCABULARY) for w in cases.hostile_conditions(hostile)]
        for said in answers(engine, asked, tables):
            assert said == {1: True, 2: False}, hostile


def test_spark_says_what_the_plain_evaluator_says(engine, people, tables) -> None:
    some = st.one_of(conditions(texts), sequences(texts), value_tests(aggregates(texts), texts))
    asked = examples_of(some, 48)
    for condition, said in zip(asked, answers(engine, asked, tables), strict=True):
        pairs = zip(people.spine, people.events, strict=True)
        assert said == {row["row_id"]: holds(condition, row, seen) for row, seen in pairs}, text(
            condition
        )


def test_spark_measures_what_the_plain_evaluator_measures(engine, people, tables) -> None:
    asked = examples_of(measures(texts), 48)
    for several in batches(asked):
        named = [replace(measure, name=f"m{number}") for number, measure in enumerate(several)]
        rows = engine.arrow(measured(named, *tables).order_by("row_id")).to_pylist()
        for measure in named:
            pairs = zip(people.spine, people.events, strict=True)
            expected = [value_of(measure, row, seen) for row, seen in pairs]
            assert [row[f"measure_{measure.name}"] for row in rows] == expected, measure


def test_what_is_too_large_or_divided_by_zero_is_null_on_spark(engine, people, tables) -> None:
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
    rows = engine.arrow(measured(asked, *tables).order_by("row_id")).to_pylist()
    for measure in asked:
        pairs = zip(people.spine, people.events, strict=True)
        expected = [value_of(measure, row, seen) for row, seen in pairs]
        assert [row[f"measure_{measure.name}"] for row in rows] == expected
    known = [row for row in rows if row["measure_mean"] is not None]
    assert {row["measure_by_nothing"] for row in rows} == {None}
    assert {row["measure_grown"] is None for row in known} == {True, False}
