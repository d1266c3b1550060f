"""Windows, moments and zones, as they are written and as they are counted."""

from __future__ import annotations

import numpy as np
import pytest

from features import time
from features.errors import TimeError
from features.time import MICROS_PER_DAY, Window

DAY = Window.parse("1d")


@pytest.mark.parametrize(
    ("text", "micros", "shown", "words"),
    [
        ("90s", 90_000_000, "90s", "90 seconds"),
        ("45m", 2_700_000_000, "45m", "45 minutes"),
        ("12h", 43_200_000_000, "12h", "12 hours"),
        ("24h", MICROS_PER_DAY, "1d", "1 day"),
        (" 30d ", 30 * MICROS_PER_DAY, "30d", "30 days"),
        ("4w", 28 * MICROS_PER_DAY, "28d", "28 days"),
    ],
)
def test_a_window_is_a_whole_number_and_a_unit(text, micros, shown, words):
    window = Window.parse(text)
    assert (window.micros, str(window), window.words) == (micros, shown, words)


def test_windows_of_one_length_are_equal_and_longer_ones_come_later():
    assert Window.parse("7d") == Window.parse("1w")
    assert sorted([Window.parse("1w"), Window.parse("36h")])[0].days == 1.5


@pytest.mark.parametrize("text", ["", "0d", "d", "-1d", "1.5d", "1 d", "30", "30D", "1y", "1d2h"])
def test_anything_else_is_no_window(text):
    with pytest.raises(TimeError, match=r"is not a length of time.*a whole number and one of"):
        Window.parse(text)


@pytest.mark.parametrize(
    ("offset", "known", "recent"),
    [(-MICROS_PER_DAY - 1, True, False), (-MICROS_PER_DAY, True, True), (-1, True, True),
     (0, False, True)],
)  # fmt: skip
def test_a_look_back_holds_its_start_and_not_its_end(offset, known, recent):
    as_of = 10 * MICROS_PER_DAY
    assert time.known_before(as_of + offset, as_of) is known
    assert time.within_lookback(as_of + offset, as_of, DAY) is recent


def test_inequalities_take_arrays():
    moments = np.array([9, 10, 11]) * MICROS_PER_DAY
    as_of = 11 * MICROS_PER_DAY
    known = time.known_before(moments, as_of) & time.within_lookback(moments, as_of, DAY)
    assert known.tolist() == [False, True, False]
    assert time.within(moments, moments[0], moments[2]).tolist() == [True, True, False]
    assert time.days_between(moments, as_of).tolist() == [2.0, 1.0, 0.0]


def test_an_outcome_window_starts_after_its_gap_and_closes_at_its_end():
    gap, month = Window.parse("2d"), Window.parse("30d")
    assert time.outcome_start(0, None) == 0
    assert time.outcome_start(0, gap) == 2 * MICROS_PER_DAY
    assert time.outcome_end(0, gap, month) == 32 * MICROS_PER_DAY
    assert time.newest_closed(32 * MICROS_PER_DAY, gap, month) == 0
    assert time.has_closed(32 * MICROS_PER_DAY, 32 * MICROS_PER_DAY)
    assert not time.has_closed(32 * MICROS_PER_DAY, 32 * MICROS_PER_DAY - 1)


@pytest.mark.parametrize(
    ("text", "zone", "shown"),
    [
        ("2011-10-01", "UTC", "2011-10-01T00:00:00Z"),
        (" 2011-10-01T12:00:00Z ", "Europe/London", "2011-10-01T12:00:00Z"),
        ("2011-10-01T12:00:00+02:00", "UTC", "2011-10-01T10:00:00Z"),
        ("2011-10-01", "Europe/London", "2011-09-30T23:00:00Z"),
        ("2011-10-01T00:00:00.000001", "UTC", "2011-10-01T00:00:00.000001Z"),
        ("2011-03-27T01:30", "Europe/London", "2011-03-27T01:30:00Z"),
        ("2011-10-30T01:30", "Europe/London", "2011-10-30T01:30:00Z"),
        ("1969-12-31T23:59:59.999999Z", "UTC", "1969-12-31T23:59:59.999999Z"),
        ("0001-01-01", "Asia/Tokyo", None),
    ],
)
def test_a_moment_is_read_in_its_zone_and_written_in_utc(text, zone, shown):
    moment = time.parse_instant(text, zone)
    if shown:
        assert time.format_instant(moment) == shown
    else:
        assert moment < time.EARLIEST


@pytest.mark.parametrize("text", ["", "soon", "2011-02-30", "01/10/2011", "1317470400.5"])
def test_anything_else_is_no_moment(text):
    with pytest.raises(TimeError, match=r"is not a date or time.*Write ISO 8601"):
        time.parse_instant(text)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Europe/Londn", "Did you mean 'Europe/London'"), ("europe/paris", "'Europe/Paris'"),
     ("", "Known here"), ("../UTC", ""), ("Europe", "Did you mean")],
)  # fmt: skip
def test_a_zone_is_one_of_the_iana_names(name, hint):
    with pytest.raises(TimeError, match=rf"is not a time zone.*{hint}"):
        time.zone(name)
