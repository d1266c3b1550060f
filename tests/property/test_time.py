"""Laws of time: what is written is read, and the engine and the clock agree in every zone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import time
from features.engine import Engine, instant_of_text, local_day, local_hour
from features.time import EARLIEST, LATEST, Window

MOMENTS = st.integers(EARLIEST, LATEST - 1)
WINDOWS = st.builds(Window, st.integers(1, 400 * time.MICROS_PER_DAY))
ZONES = ("UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
NAIVE = st.datetimes(datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2037-12-31"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def around_changes(zone: str) -> st.SearchStrategy[datetime]:
    """Draw naive times within two hours of a change of the clock."""
    place, changes = ZoneInfo(zone), []
    day = datetime.fromisoformat("2020-01-01")
    while day.year < 2026:
        tomorrow = day + timedelta(days=1)
        if place.utcoffset(day) != place.utcoffset(tomorrow):
            changes.append(day)
        day = tomorrow
    minutes = st.integers(-120, 36 * 60)
    near = [minutes.map(lambda m, day=day: day + timedelta(minutes=m)) for day in changes]
    return st.one_of(NAIVE, *near)


@given(moment=MOMENTS)
def test_a_moment_that_is_written_is_read_again(moment):
    assert time.parse_instant(time.format_instant(moment)) == moment


@given(seconds=st.integers(1, 999_999))
def test_a_window_that_is_written_is_read_again(seconds):
    window = Window(seconds * time.MICROS_PER_SECOND)
    assert Window.parse(str(window)) == window


@given(as_of=MOMENTS, ago=st.integers(1, 9), lengths=st.sets(st.integers(1, 9), max_size=4))
def test_the_shortest_look_back_is_the_first_that_holds_an_event(as_of, ago, lengths):
    ascending = np.array(sorted(lengths), np.int64)
    held = [time.within_lookback(as_of - ago, as_of, Window(length)) for length in ascending]
    first = held.index(True) if True in held else len(held)
    assert time.shortest_lookback(np.array([as_of - ago]), as_of, ascending).tolist() == [first]


@given(moment=MOMENTS, as_of=MOMENTS, window=WINDOWS)
def test_a_moment_is_before_within_or_after_a_look_back(moment, as_of, window):
    start = as_of - window.micros
    known, recent = time.known_before(moment, as_of), time.within_lookback(moment, as_of, window)
    assert (known and recent) == time.within(moment, start, as_of) == (start <= moment < as_of)


@given(as_of=MOMENTS, gap=st.none() | WINDOWS, window=WINDOWS)
def test_the_newest_closed_snapshot_has_closed_and_the_next_has_not(as_of, gap, window):
    newest = time.newest_closed(as_of, gap, window)
    assert time.has_closed(time.outcome_end(newest, gap, window), as_of)
    assert not time.has_closed(time.outcome_end(newest + 1, gap, window), as_of)


@given(history=st.integers(0, 10**15), gap=st.none() | WINDOWS, least=WINDOWS)
def test_the_longest_outcome_has_room_and_a_longer_one_has_not(history, gap, least):
    def fits(length):
        back = Window(max(length, least.micros))
        moment = time.newest_closed(history, gap, Window(length))
        return time.has_history(moment, 0, back)

    longest = time.longest_outcome(history, gap, least)
    assert longest == 0 or fits(longest)
    assert not fits(longest + 1)


@given(moment=MOMENTS, earliest=MOMENTS, window=WINDOWS)
def test_a_look_back_sees_less_where_history_is_shorter(moment, earliest, window):
    assert time.sees_less(window, moment, earliest) != time.has_history(moment, earliest, window)


@given(known_at=MOMENTS)
def test_just_after_is_the_first_moment_at_which_a_row_counts(known_at):
    assert time.known_before(known_at, time.just_after(known_at))
    assert not time.known_before(known_at, time.just_after(known_at) - 1)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=8)
@given(data=st.data())
def test_the_engine_reads_clocks_and_days_as_the_calendar_does(engine, zone, data):
    naive = data.draw(st.lists(around_changes(zone), min_size=1, max_size=60))
    texts = [moment.isoformat(sep=" ") for moment in naive]
    rows = engine.hold(engine.table(pa.table({"n": range(len(texts)), "text": texts})))
    read = engine.select(rows, {"n": "n", "moment": instant_of_text("text", zone)})
    clock = {"day": local_day("moment", zone), "hour": local_hour("moment", zone)}
    days = engine.select(read, {"n": "n", "moment": "moment", **clock})
    found = engine.arrow(days.order_by("n")).to_pydict()
    engine.drop(rows)
    moments = [time.parse_instant(text, zone) for text in texts]
    assert found["moment"] == moments
    epoch = datetime(1970, 1, 1, tzinfo=ZoneInfo("UTC"))
    local = [(epoch + timedelta(microseconds=m)).astimezone(ZoneInfo(zone)) for m in moments]
    assert found["day"] == [(moment.date() - epoch.date()).days for moment in local]
    assert found["hour"] == [moment.hour for moment in local]
