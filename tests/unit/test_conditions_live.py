"""The cases of the table, answered live: the same edges, nulls, journeys and hostile texts."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from features.behavior.history import History, events_by_type, whole_units
from features.conditions import parse
from features.conditions.live import Person, Scored, live
from tests.unit.test_conditions_table import (
    AS_OF,
    FOUND,
    HELD,
    HISTORY,
    HOSTILE,
    JOURNEYS,
    SPINE,
    VOCABULARY,
    hostile_conditions,
    hostile_tables,
    journeys,
)


def history_of(rows: pa.Table, row_id: int) -> History:
    """The events of one row, each known when it happened."""
    own = rows.filter(pa.compute.equal(rows["row_id"], row_id))
    return History(events_by_type(with_times(own, own["event_time"])))


def with_times(rows: pa.Table, known_at: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Rows with what a history needs: when they were known, and the clock, if it is not said."""
    clock = {"local_day": pa.int32(), "local_hour": pa.int8()}
    for name, kind in clock.items():
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.array([0] * len(rows), kind))
    return rows.append_column("known_at", known_at)


def person(row: dict) -> Person:
    found = history_of(HISTORY, row["row_id"])
    stated = {
        name.removeprefix("profile_"): whole_units(said) if isinstance(said, Decimal) else said
        for name, said in row.items()
        if name.startswith("profile_") and said is not None
    }
    identities = {"email": 1} if row["identity_email"] else {}
    scored = Scored(
        row["churn_score"], None, row["churn_percentile"], row["churn_bucket"],
        *(frozenset(row[f"churn_{way}"] or ()) for way in ("raises", "lowers")),
    )  # fmt: skip
    segments = frozenset({"win_back"} if row["segment_win_back"] else {})
    history = History(found.events, stated, identities)
    return Person(history, AS_OF, {"churn": scored}, segments)


PEOPLE = {row["row_id"]: person(row) for row in SPINE.to_pylist()}


@pytest.mark.parametrize(("written", "expected"), HELD)
def test_a_condition_holds_live_for(written: str, expected: set[int]) -> None:
    holds = live(parse(written, VOCABULARY))
    assert {row for row, someone in PEOPLE.items() if holds(someone)} == expected


@pytest.mark.parametrize(("written", "expected"), FOUND)
def test_a_sequence_is_found_live_in(written: str, expected: set[int]) -> None:
    _, rows = journeys()
    holds = live(parse(written, VOCABULARY))
    people = {row: Person(history_of(rows, row), AS_OF) for row in JOURNEYS}
    assert {row for row, someone in people.items() if holds(someone)} == expected


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_in_a_literal_stays_text_live(hostile: str) -> None:
    spine, rows = hostile_tables(hostile)
    for written in hostile_conditions(hostile):
        holds = live(parse(written, VOCABULARY))
        for row in spine.to_pylist():
            own = history_of(rows, row["row_id"])
            someone = Person(History(own.events, {"country": row["profile_country"]}), AS_OF)
            assert holds(someone) == (row["row_id"] == 1)


def test_an_event_counts_from_the_moment_it_is_known() -> None:
    rows = HISTORY.filter(pa.compute.equal(HISTORY["row_id"], 1))
    late = History(events_by_type(with_times(rows, pa.array([AS_OF] * len(rows), pa.int64()))))
    for written in ("any(purchase)", "any(view)", "sequence(purchase then view)"):
        holds = live(parse(written, VOCABULARY))
        assert (holds(Person(late, AS_OF)), holds(Person(late, AS_OF + 1))) == (False, True)


def test_of_someone_never_seen_nothing_is_known() -> None:
    nobody = Person(History(), AS_OF)
    assert live(parse("count(purchase) = 0 and sum(purchase.amount) = 0", VOCABULARY))(nobody)
    for written in ("country exists", "churn.score >= 0", "identity(email) exists", "vip = false",
                    "in_segment(win_back)", "mean(purchase.amount) >= 0", "days_since(view) > 0",
                    "factor(churn, x) = raises", "sequence(view then not purchase)"):  # fmt: skip
        assert not live(parse(written, VOCABULARY))(nobody), written
