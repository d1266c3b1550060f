"""A person's history in packed arrays: known as of a moment, and added up over identities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.behavior.buckets import packed
from features.behavior.history import (
    Events,
    History,
    Numbers,
    Texts,
    events_by_type,
    histories_of,
    newest_of,
    whole_units,
)
from features.behavior.packed import Wanted, pack, unpack
from features.behavior.scene import People
from tests.worlds import NAMESPACES, Row, days, world

MONEY = pa.decimal128(18, 4)


def table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Return rows of (type, time, known, amount, item) as the engine gives them."""
    return pa.table(
        {
            "event_type": [row["type"] for row in rows],
            "event_time": pa.array([row["at"] for row in rows], pa.int64()),
            "known_at": pa.array([row.get("known", row["at"]) for row in rows], pa.int64()),
            "local_day": pa.array([row["at"] // 10 for row in rows], pa.int32()),
            "local_hour": pa.array([row["at"] % 24 for row in rows], pa.int8()),
            "attr_amount": pa.array([row.get("amount") for row in rows], MONEY),
            "attr_item": pa.array([row.get("item") for row in rows], pa.string()),
        }
    )


def stated(events: Events, name: str) -> list[Any]:
    """Return an attribute as plain values, None = null."""
    column = events.attributes[name]
    if isinstance(column, Texts):
        return [None if code < 0 else column.values[code] for code in column.codes]
    return [None if null else int(n) for n, null in zip(column.units, column.null, strict=True)]


BUYS = [
    {"type": "buy", "at": 30, "known": 90, "amount": Decimal("-2.0001"), "item": "b"},
    {"type": "view", "at": 20, "item": "x"},
    {"type": "buy", "at": 10, "amount": Decimal("1.5"), "item": "a"},
    {"type": "buy", "at": 25},
]


def test_events_lie_by_type_in_order_of_time() -> None:
    events = events_by_type(table(BUYS))
    assert set(events) == {"buy", "view"}
    assert events["buy"].event_time.tolist() == [10, 25, 30]
    assert events["buy"].local_day.tolist() == [1, 2, 3]
    assert events["buy"].local_hour.tolist() == [10, 1, 6]
    assert stated(events["buy"], "amount") == [15_000, None, -20_001]
    assert stated(events["buy"], "item") == ["a", None, "b"]
    assert events_by_type(table([])) == {}


def test_the_greatest_and_least_numbers_are_exact() -> None:
    edge = Decimal("99999999999999.9999")
    events = events_by_type(table([{"type": "buy", "at": n, "amount": v} for n, v in
                                   enumerate([edge, -edge, None, Decimal("0.0001")])]))  # fmt: skip
    assert stated(events["buy"], "amount") == [10**18 - 1, 1 - 10**18, None, 1]
    assert whole_units(-edge) == 1 - 10**18


def test_a_slice_of_a_table_is_read_as_the_rows_it_has() -> None:
    part = table(BUYS).slice(2, 2)
    assert stated(events_by_type(part)["buy"], "amount") == [15_000, None]


def test_what_was_not_known_yet_is_not_there() -> None:
    history = History(events_by_type(table(BUYS)), {"age": 7}, {"cookie": 2})
    assert history.known(10).events == {}
    assert history.known(11).events.keys() == {"buy"}
    assert history.known(90).events["buy"].event_time.tolist() == [10, 25]
    whole = history.known(91)
    assert whole.events["buy"] is history.events["buy"]
    assert (whole.attributes, whole.identities) == (history.attributes, history.identities)


@pytest.mark.parametrize("cut", range(5))
def test_histories_of_identities_add_up_to_that_of_the_person(cut: int) -> None:
    whole = events_by_type(table(BUYS))
    first, second = (events_by_type(table(part)) for part in (BUYS[:cut], BUYS[cut:]))
    joined = History(first, newest=newest_of(first)).joined(second)
    assert joined.newest == newest_of(whole)
    assert History(first).joined(second).newest in (None, newest_of(second))
    added = joined.events
    assert set(added) == set(whole)
    for event, some in whole.items():
        assert added[event].event_time.tolist() == some.event_time.tolist()
        assert added[event].known_at.tolist() == some.known_at.tolist()
        assert {n: stated(added[event], n) for n in some.attributes} == {
            n: stated(some, n) for n in some.attributes
        }


def test_an_attribute_only_one_identity_states_is_null_for_the_other() -> None:
    number = Numbers(np.array([5]), np.array([False]))
    text = Texts(np.array([0], np.int32), ("x",))
    one, other = (
        {"buy": Events(*(np.array([at]) for _ in range(4)), {name: column})}
        for at, name, column in ((2, "amount", number), (1, "item", text))
    )
    added = History(one).joined(other).events["buy"]
    assert (stated(added, "amount"), stated(added, "item")) == ([None, 5], ["x", None])


def test_histories_are_read_from_the_log_whether_known_or_not(tmp_path: Path) -> None:
    said = {"age": "41.5", "born": "1970-01-02", "vip": "True", "country": "FR"}
    rows = [
        Row({"cookie": "a", "customer": "1"}, days(0), profile=said, attributes={"amount": "2"}),
        Row({"cookie": "a"}, days(2), "buy", received_at=days(9), attributes={"amount": "1.25"}),
    ]
    with world(tmp_path, rows) as bench:
        people = People.everyone(bench.graph.at(days(1)))
        (history,) = histories_of(bench.engine, bench.log, people)
    assert history.attributes == {
        "age": 415_000, "born": 86_400_000_000, "vip": True, "country": "FR",
    }  # fmt: skip
    assert history.identities == {"customer": 1, "cookie": 1}
    assert set(history.identities) < {space["name"] for space in NAMESPACES}
    assert stated(history.events["buy"], "amount") == [12_500]
    assert history.known(days(1)).events.keys() == {"visit"}


def test_packed_in_buckets_is_packed_one_by_one(tmp_path: Path) -> None:
    rows = [
        Row(
            {"cookie": f"c{n % 5}"}, days(n), ("visit", "buy")[n % 2], attributes={"amount": str(n)}
        )
        for n in range(20)
    ]
    wanted = Wanted({"buy": frozenset({"amount"})})
    with world(tmp_path, rows) as bench:
        people = People.everyone(bench.graph.at(days(30)))
        whole = [pack(wanted.of(each)) for each in histories_of(bench.engine, bench.log, people)]
        assert list(packed(bench.engine, bench.log, people, wanted, at_once=2)) == whole
        assert list(packed(bench.engine, bench.log, people, wanted)) == whole
    assert {len(unpack(raw).events["buy"]) for raw in whole} == {2}
