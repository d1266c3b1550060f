"""One condition, two renderers: of a person live just what the table says of the person's row."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.behavior.history import History, events_by_type, whole_units
from features.conditions import Condition
from features.conditions import tree as t
from features.conditions.live import Person, Scored, live, live_measure
from features.conditions.table import matches, measured
from tests.oracles.conditions import holds, value_of
from tests.property.test_conditions_laws import (
    HISTORY,
    VOCABULARY,
    World,
    conditions,
    joined,
    sequences,
    texts,
    value_tests,
    worlds,
)
from tests.property.test_measures_laws import measures

__all__ = ["worlds"]
SCORE = ("score", "probability", "percentile", "bucket")


def person_of(row: dict[str, Any], seen: Sequence[dict[str, Any]]) -> Person:
    """A spine row and its events as a service holds them, with events not known at as_of yet."""
    later = [event | {"known_at": row["as_of"]} for event in seen[:2]]
    now = {"event_time": row["as_of"], "known_at": row["as_of"]}
    known = [event | {"known_at": event["event_time"]} for event in seen]
    schema = HISTORY.append(pa.field("known_at", pa.int64()))
    events = pa.Table.from_pylist([*later, *known, *(event | now for event in seen[:1])], schema)
    attributes = {
        name: whole_units(value) if isinstance(value, Decimal) else value
        for name in VOCABULARY.attributes
        if (value := row[f"profile_{name}"]) is not None
    }
    reasons = {way: frozenset(row[f"churn_{way}"] or ()) for way in ("raises", "lowers")}
    return Person(
        History(events_by_type(events), attributes, {"email": int(row["identity_email"] or 0)}),
        row["as_of"],
        {"churn": Scored(**{part: row[f"churn_{part}"] for part in SCORE}, **reasons)},
        frozenset(["win_back"] if row["segment_win_back"] else []),
    )


@pytest.fixture(scope="module")
def people(worlds: list[World]) -> list[list[Person]]:
    return [
        [person_of(row, seen) for row, seen in zip(world.spine, world.events, strict=True)]
        for world in worlds
    ]


def assert_live_agrees(condition: Condition, world: World, people: list[Person]) -> None:
    answer = live(condition)
    found = [answer(person) for person in people]
    pairs = zip(world.spine, world.events, strict=True)
    assert found == [holds(condition, row, seen) for row, seen in pairs]
    assert set(map(type, found)) == {bool}


every_kind = conditions(texts)


@settings(max_examples=200, deadline=None)
@given(every_kind, st.integers(0, 2))
def test_live_says_what_the_plain_evaluator_says(
    worlds: list[World], people: list[list[Person]], condition: Condition, seed: int
) -> None:
    assert_live_agrees(condition, worlds[seed], people[seed])


@settings(max_examples=120, deadline=None)
@given(joined(sequences(texts)), st.integers(0, 2))
def test_live_finds_the_sequences_that_trying_every_choice_finds(
    worlds: list[World], people: list[list[Person]], condition: Condition, seed: int
) -> None:
    assert_live_agrees(condition, worlds[seed], people[seed])


@settings(max_examples=40, deadline=None)
@given(every_kind, st.integers(0, 2))
def test_live_says_what_the_table_says(
    worlds: list[World], people: list[list[Person]], condition: Condition, seed: int
) -> None:
    rows = matches(condition, *worlds[seed].tables).order_by("row_id").to_pyarrow()
    answer = live(condition)
    assert [answer(person) for person in people[seed]] == rows["matches"].to_pylist()


@settings(max_examples=120, deadline=None)
@given(measures(texts), st.integers(0, 2))
def test_live_measures_what_the_plain_evaluator_measures(
    worlds: list[World], people: list[list[Person]], measure: t.Measure, seed: int
) -> None:
    figure = live_measure(measure)
    pairs = zip(worlds[seed].spine, worlds[seed].events, strict=True)
    expected = [value_of(measure, row, seen) for row, seen in pairs]
    assert [figure(person) for person in people[seed]] == expected


@settings(max_examples=40, deadline=None)
@given(measures(texts), st.integers(0, 2))
def test_live_measures_what_the_table_measures(
    worlds: list[World], people: list[list[Person]], measure: t.Measure, seed: int
) -> None:
    rows = measured([measure], *worlds[seed].tables).order_by("row_id").to_pyarrow()
    figure = live_measure(measure)
    found = [figure(person) for person in people[seed]]
    assert found == rows["measure_m"].to_pylist()
    kinds = {type(value) for value in found if value is not None}
    assert kinds <= {Decimal} or kinds <= {float} or kinds <= {str}


@settings(max_examples=80, deadline=None)
@given(joined(value_tests(measures(texts), texts)), st.integers(0, 2))
def test_a_test_of_a_measure_says_live_what_the_plain_evaluator_says(
    worlds: list[World], people: list[list[Person]], condition: Condition, seed: int
) -> None:
    assert_live_agrees(condition, worlds[seed], people[seed])
