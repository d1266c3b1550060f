"""A history packed and unpacked is the same history, and no broken one is ever read."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.behavior.definitions import Tenure
from features.behavior.history import Column, Events, History, Numbers, Texts, newest_of
from features.behavior.live import Live
from features.behavior.packed import (
    MOST_EVENTS,
    OTHERS,
    BrokenHistory,
    LongHistory,
    Wanted,
    pack,
    unpack,
)
from tests.property.test_live_laws import DEFINITIONS, history_of, worlds

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
longs = st.integers(-(2**63), 2**63 - 1)
NUMBER = "number"


@st.composite
def columns(draw: st.DrawFn, count: int) -> Column:
    null = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool)
    if draw(st.booleans()):
        units = np.array(draw(st.lists(longs, min_size=count, max_size=count)), np.int64)
        return Numbers(np.where(null, 0, units), null)
    values = tuple(draw(st.lists(texts, min_size=1, max_size=4, unique=True)))
    places = st.lists(st.integers(0, len(values) - 1), min_size=count, max_size=count)
    return Texts(np.where(null, -1, np.array(draw(places), np.int32)).astype(np.int32), values)


@st.composite
def events(draw: st.DrawFn) -> Events:
    count = draw(st.integers(1, 5))
    drawn = st.lists(longs, min_size=count, max_size=count).map(sorted)
    times = np.array(draw(drawn), np.int64)
    known = np.array(draw(drawn), np.int64) if draw(st.booleans()) else times
    small = st.lists(st.integers(-100, 100), min_size=count, max_size=count)
    days, hours = np.array(draw(small), np.int32), np.array(draw(small), np.int8)
    stated = draw(st.dictionaries(texts, columns(count), max_size=3))
    return Events(times, known, days, hours, stated)


histories = st.builds(
    History,
    st.dictionaries(texts, events(), max_size=4),
    st.dictionaries(texts, longs | st.booleans() | texts, max_size=4),
    st.dictionaries(texts, st.integers(0, 2**31), max_size=3),
)


def said(column: Column) -> list[Any]:
    """Return a column's values, None = null."""
    if isinstance(column, Texts):
        return [None if code < 0 else column.values[code] for code in column.codes.tolist()]
    pairs = zip(column.units.tolist(), column.null.tolist(), strict=True)
    return [NUMBER, *(None if null else unit for unit, null in pairs)]


def plain(history: History) -> tuple[Any, ...]:
    """Return everything a history says; a column without a value says nothing."""
    stated = {
        name: {n: said(column) for n, column in some.attributes.items()}
        for name, some in history.events.items()
    }
    listed = {
        name: (
            *(array.tolist() for array in (some.event_time, some.known_at)),
            *(array.tolist() for array in (some.local_day, some.local_hour)),
            {n: v for n, v in stated[name].items() if any(x not in (None, NUMBER) for x in v)},
        )
        for name, some in history.events.items()
    }
    types = {name: type(value) for name, value in history.attributes.items()}
    return listed, dict(history.attributes), types, dict(history.identities)


@given(histories)
def test_what_is_unpacked_is_what_was_packed(history: History) -> None:
    raw = pack(history)
    found = unpack(raw)
    assert plain(found) == plain(history)
    assert list(found.events) == list(history.events)
    assert found.newest == newest_of(history.events)
    assert pack(found) == raw


@given(histories)
def test_arrays_come_back_as_views_of_the_bytes(history: History) -> None:
    for some in unpack(pack(history)).events.values():
        arrays = [some.event_time, some.known_at, some.local_day, some.local_hour]
        for column in some.attributes.values():
            both = isinstance(column, Numbers)
            arrays += [column.units, column.null] if both else [column.codes]  # type: ignore[union-attr]
        for array in arrays:
            assert not array.flags.owndata
            assert not array.flags.writeable


@settings(max_examples=200)
@given(histories, st.data())
def test_a_byte_that_changed_is_an_error(history: History, data: st.DataObject) -> None:
    raw = bytearray(pack(history))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BrokenHistory, match="Publish a new run"):
        unpack(bytes(raw))


@given(histories, st.data())
def test_bytes_cut_short_or_of_something_else_are_an_error(
    history: History, data: st.DataObject
) -> None:
    raw = pack(history)
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BrokenHistory):
        unpack(raw[:cut])
    with pytest.raises(BrokenHistory):
        unpack(raw + b"\0")
    other = data.draw(st.binary(max_size=40))
    assume(other[:2] != b"LH")
    with pytest.raises(BrokenHistory):
        unpack(other)


def test_a_history_too_long_is_not_packed() -> None:
    times = np.arange(MOST_EVENTS + 1)
    some = Events(times, times, times.astype(np.int32), np.zeros(len(times), np.int8))
    with pytest.raises(LongHistory, match="50,001"):
        pack(History({"view": some}))
    most = History({"view": some.take(slice(0, MOST_EVENTS))})
    assert len(unpack(pack(most)).events["view"]) == MOST_EVENTS


@settings(max_examples=60)
@given(worlds())
def test_features_of_unpacked_histories_have_the_same_bits(drawn: Any) -> None:
    happened, rows = drawn
    live = Live(DEFINITIONS)
    wanted = Wanted(
        {"view": frozenset({"item"}), "buy": frozenset({"amount", "item"})},
        frozenset({"age", "born", "country", "vip"}),
    )
    for row in rows:
        whole = history_of(happened, row)
        packed = unpack(pack(wanted.of(whole)))
        assert set(packed.events) <= {"view", "buy", OTHERS}
        for moment in (row["as_of"], *(event["known_at"] + 1 for event in happened[:3])):
            before, after = live.features(whole, moment), live.features(packed, moment)
            assert before.tobytes() == after.tobytes()


@given(worlds())
def test_tenure_is_kept_of_types_that_nobody_reads(drawn: Any) -> None:
    happened, rows = drawn
    live = Live([Tenure()])
    for row in rows:
        whole = history_of(happened, row)
        first = unpack(pack(Wanted().of(whole)))
        assert sys.getsizeof(pack(first)) <= sys.getsizeof(pack(whole)) + 64
        for event in happened:
            for moment in (event["known_at"], event["known_at"] + 1, row["as_of"]):
                before, after = live.features(whole, moment), live.features(first, moment)
                assert before.tobytes() == after.tobytes()
