"""An event that arrives alone is read as a run reads the rows of a file."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.behavior.arriving import Reader, units_of
from features.behavior.history import (
    Events,
    History,
    Numbers,
    events_by_type,
    newest_of,
    whole_units,
)
from features.behavior.packed import OTHERS, Wanted
from features.engine import Engine, local_day, local_hour
from features.profiles.attributes import typed
from features.time import EARLIEST, LATEST

ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia")
KINDS: Any = {"amount": "number", "item": "text"}
WANTED = Wanted({"buy": frozenset(KINDS), "view": frozenset({"item"})})

figures = st.from_regex(r"-?(0|[1-9][0-9]{0,12})(\.[0-9]{1,8})?", fullmatch=True)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("arriving")) as opened:
        yield opened


@given(st.lists(figures, min_size=1, max_size=20))
def test_numbers_are_read_as_the_engine_reads_them(engine: Engine, texts: list[str]) -> None:
    table = engine.table(pa.table({"value": texts}))
    found = engine.arrow(table.select(number=typed(table.value, "number")))["number"].to_pylist()
    assert [units_of(text) for text in texts] == [whole_units(number) for number in found]


@pytest.mark.parametrize(
    ("text", "units"),
    [("0.00005", 1), ("-0.00005", -1), ("0.00004999", 0), ("9999999999999.99994", 10**17 - 1),
     ("1e3", None), ("007", None), ("", None), ("1\n", None), ("nan", None), (" 1", None)],
)  # fmt: skip
def test_halves_go_away_from_zero_and_what_is_no_number_is_null(text, units) -> None:
    assert units_of(text) == units


@settings(max_examples=60)
@given(st.sampled_from(ZONES), st.lists(st.integers(EARLIEST, LATEST - 1), min_size=1, max_size=9))
def test_days_and_hours_are_those_of_the_engine(engine, zone: str, moments: list[int]) -> None:
    listed = ", ".join(f"({moment}::bigint)" for moment in moments)
    day, hour = local_day("t", zone), local_hour("t", zone)
    table = engine.arrow(f"select {day} as day, {hour} as hour from (values {listed}) v(t)")
    reader = Reader(WANTED, KINDS, zone)
    read = [reader.read("1", "buy", moment, moment, {}) for moment in moments]
    assert [each.local_day for each in read] == table["day"].to_pylist()
    assert [each.local_hour for each in read] == table["hour"].to_pylist()


happenings = st.fixed_dictionaries(
    {
        "id": st.integers(0, 8).map(str),
        "event_type": st.sampled_from(["buy", "view"]),
        "event_time": st.integers(0, 5),
        "later": st.sampled_from([0, 0, 3]),
        "amount": st.none() | figures,
        "item": st.sampled_from([None, "a", "b"]),
    }
)
MONEY = pa.decimal128(18, 4)


@given(st.lists(happenings, max_size=12))
def test_arrived_events_lie_as_those_of_a_table(drawn: list[dict[str, Any]]) -> None:
    first = list({each["id"]: each for each in reversed(drawn)}.values())
    table = pa.table(
        {
            "event_type": [each["event_type"] for each in first],
            "event_time": pa.array([each["event_time"] for each in first], pa.int64()),
            "known_at": pa.array([x["event_time"] + x["later"] for x in first], pa.int64()),
            "local_day": pa.array([0 for _ in first], pa.int32()),
            "local_hour": pa.array([0 for _ in first], pa.int8()),
            "attr_amount": pa.array([_money(each) for each in first], MONEY),
            "attr_item": pa.array([each["item"] for each in first], pa.string()),
        }
    )
    reader = Reader(WANTED, KINDS, "UTC")
    arrived = [
        reader.read(
            each["id"], each["event_type"], each["event_time"], each["event_time"] + each["later"],
            {name: each[name] for name in KINDS if each[name] is not None},
        )
        for each in drawn
    ]  # fmt: skip
    found, expected = reader.events(arrived), events_by_type(table)
    assert found.keys() == expected.keys()
    for event, some in expected.items():
        assert _rows(found[event]) == _rows(some)


@given(st.lists(happenings, max_size=8), st.lists(happenings, max_size=3), st.booleans())
def test_events_put_behind_a_history_are_those_joined_to_it(
    before: list[dict[str, Any]], after: list[dict[str, Any]], looked_up: bool
) -> None:
    reader = Reader(WANTED, KINDS, "UTC")
    known, arrived = (
        [
            reader.read(
                f"{place}{each['id']}", each["event_type"], each["event_time"] + late,
                each["event_time"] + late + each["later"],
                {name: each[name] for name in KINDS if each[name] is not None},
            )
            for each in drawn
        ]
        for place, late, drawn in (("b", 0, before), ("a", 3, after))
    )  # fmt: skip
    events = reader.events(known)
    history = History(events, newest=newest_of(events) if looked_up else None)
    found, expected = reader.joined(history, arrived), history.joined(reader.events(arrived))
    assert found.events.keys() == expected.events.keys()
    for event, some in expected.events.items():
        assert [*_in_turn(found.events[event])] == [*_in_turn(some)]
    assert found.newest in (None, newest_of(found.events))
    assert (found.newest is None) <= (expected.newest is None)


def _in_turn(events: Events) -> Iterator[tuple[Any, ...]]:
    """Yield everything about each event, as it lies and is kept."""
    arrays = events.event_time, events.known_at, events.local_day, events.local_hour
    yield tuple(array.dtype for array in arrays)
    yield from zip(*(array.tolist() for array in arrays), strict=True)
    for name, column in sorted(events.attributes.items()):
        if isinstance(column, Numbers):
            yield name, column.units.tolist(), column.null.tolist()
        else:
            yield name, [column.values[code] if code >= 0 else None for code in column.codes]


def _money(each: dict[str, Any]) -> Decimal | None:
    # Views state no amount that anybody reads.
    units = None if each["amount"] is None else units_of(each["amount"])
    known = units is not None and each["event_type"] == "buy"
    return Decimal(units).scaleb(-4) if known and units is not None else None


def _rows(events: Any) -> list[tuple[Any, ...]]:
    amount, item = events.attributes.get("amount"), events.attributes.get("item")
    rows = [
        (
            int(events.event_time[n]),
            int(events.known_at[n]),
            None if amount is None or amount.null[n] else int(amount.units[n]),
            None if item is None or item.codes[n] < 0 else item.values[item.codes[n]],
        )
        for n in range(len(events))
    ]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    return sorted(rows, key=repr)


def test_types_nobody_reads_are_one_and_unknown_names_are_nothing() -> None:
    reader = Reader(WANTED, {"item": "text"}, "UTC")
    other = reader.read("1", "return", 5, 7, {"item": "a"})
    assert (other.event_type, other.known_at, dict(other.attributes)) == (OTHERS, 7, {})
    buy = reader.read("2", "buy", 5, 7, {"item": "a", "amount": "3", "colour": "red"})
    assert dict(buy.attributes) == {"item": "a"}
