"""The one module that spells time inequalities.

Instants are UTC, int64 microseconds since 1970-01-01. Every function here accepts plain integers,
NumPy arrays and Ibis columns alike, because all of them understand `<`, `>=`, `&`, `+` and `-`.

- A row is **known** at `as_of` when it happened before and had arrived before: both strictly.
  `known_at = max(event_time, received_at)`, so one comparison says both.
- A look-back of 30d is `[as_of - 30d, as_of)`.
- The outcome window is `[as_of + gap, as_of + gap + outcome_window)`; it has closed at a moment
  when everything inside it is known then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from features.errors import TimeError, did_you_mean

MICROS_PER_SECOND = 1_000_000
MICROS_PER_MINUTE = 60 * MICROS_PER_SECOND
MICROS_PER_DAY = 86_400 * MICROS_PER_SECOND

EARLIEST = 0
"""1970-01-01: event times before it are quarantined as `time_out_of_range`."""
LATEST = 7_258_118_400 * MICROS_PER_SECOND
"""2200-01-01: event times from it on are quarantined as `time_out_of_range`."""

Unit = Literal["s", "m", "h", "d", "w"]
_MICROS: dict[str, int] = {
    "s": MICROS_PER_SECOND,
    "m": 60 * MICROS_PER_SECOND,
    "h": 3_600 * MICROS_PER_SECOND,
    "d": MICROS_PER_DAY,
    "w": 7 * MICROS_PER_DAY,
}
_WINDOW = re.compile(r"([0-9]{1,6})([smhdw])")


@dataclass(frozen=True)
class Window:
    """A length of time written as a whole number and a unit: `45m`, `12h`, `30d`, `4w`.

    Two windows of the same length are equal whatever their unit (`7d` = `1w`).
    """

    micros: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """Read `30d`; raise `TimeError` when the text is no window or is zero."""
        match = _WINDOW.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None or int(match[1]) == 0:
            raise TimeError(
                f"{text!r} is not a length of time.",
                hint=f"Write a whole number and one of {', '.join(get_args(Unit))}: 30d, 12h.",
                value=text,
            )
        return cls(int(match[1]) * _MICROS[match[2]])

    @property
    def days(self) -> float:
        """The length in days."""
        return self.micros / MICROS_PER_DAY

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self.micros % _MICROS[unit] == 0:
                return f"{self.micros // _MICROS[unit]}{unit}"
        return f"{self.micros}us"

    def __lt__(self, other: Window) -> bool:
        return self.micros < other.micros

    @property
    def words(self) -> str:
        """The length as a person says it: `30 days`, `12 hours`, `1 day`."""
        text = str(self)
        number, unit = int(text[:-1]), {"d": "day", "h": "hour", "m": "minute", "s": "second"}
        return f"{number} {unit[text[-1]]}{'' if number == 1 else 's'}"


def known_before(known_at: Any, as_of: Any) -> Any:
    """Say whether a row whose `known_at` is given counts at `as_of`."""
    return known_at < as_of


def too_far_ahead(event_time: Any, received_at: Any) -> Any:
    """Say whether something is dated more than a day after it arrived: by a wrong clock."""
    return event_time >= received_at + MICROS_PER_DAY


def carries_on(begun: Any, reached: Any) -> Any:
    """Say whether what began at a moment carries on what was known until another: no day between.

    Longer silence between the two is not that nothing happened: nobody was told.
    """
    return begun <= reached + MICROS_PER_DAY


def before_erasure(event_time: Any, erased_at: Any) -> Any:
    """Say whether a row is of the time before an erasure, and so says nothing of the erased."""
    return event_time < erased_at


def count_known(moments: Any, as_of: Any) -> Any:
    """Return how many of an array of moments, in ascending order, are known at `as_of`."""
    return moments.searchsorted(as_of, side="left")


def kept_from(as_of: Any, length: Window) -> Any:
    """Return the first instant that is kept at `as_of` of what is kept for `length`."""
    return as_of - length.micros


def has_expired(moment: Any, kept: Any) -> Any:
    """Say whether something of `moment` is kept no more; `kept` is the first instant that is."""
    return moment < kept


def within_lookback(event_time: Any, as_of: Any, window: Window) -> Any:
    """Say whether an event known at `as_of` lies in `[as_of - window, as_of)`."""
    return event_time >= as_of - window.micros


def first_within(moments: Any, as_of: Any, lengths: Any) -> Any:
    """Return, by look-back, the place of the first of an array of moments that lies in it.

    Moments are in ascending order and known at `as_of`, `lengths` in microseconds.
    """
    return moments.searchsorted(as_of - lengths, side="left")


def shortest_lookback(event_time: Any, as_of: Any, lengths: Any) -> Any:
    """Return the place of the shortest look-back that an event known at `as_of` lies in.

    `lengths` in microseconds are an array in ascending order; its length = in none of them.
    """
    return lengths.searchsorted(as_of - event_time, side="left")


def starts_session(event_time: Any, before: Any, gap: Window) -> Any:
    """Say whether an event begins a session: the silence since the one before is longer."""
    return event_time - before > gap.micros


def session_goes_on(last: Any, as_of: Any, gap: Window) -> Any:
    """Say whether the session of the last event known still goes on at `as_of`."""
    return as_of - last <= gap.micros


def within(event_time: Any, start: Any, end: Any) -> Any:
    """Say whether an event lies in the half-open span `[start, end)`."""
    return (event_time >= start) & (event_time < end)


def places_within(moments: Any, start: Any, end: Any) -> slice:
    """Return which of an array of moments, in ascending order, lie in `[start, end)`."""
    return slice(*(moments.searchsorted(edge, side="left") for edge in (start, end)))


def count_earlier(moments: Any, others: Any) -> Any:
    """Return how many of an array of moments, in ascending order, come before each of others."""
    return moments.searchsorted(others, side="left")


def first_later(moments: Any, others: Any) -> Any:
    """Return the place of the first of an array of moments, in ascending order, after each."""
    return moments.searchsorted(others, side="right")


def latest_within(moment: Any, length: Window) -> Any:
    """Return the last instant that is within `length` after a moment: just that long counts."""
    return moment + length.micros


def is_within(moment: Any, latest: Any) -> Any:
    """Say whether a moment is no later than the last instant that counts."""
    return moment <= latest


def is_over(latest: Any, as_of: Any) -> Any:
    """Say whether all that happened up to an instant, and at it, can be known at `as_of`."""
    return latest < as_of


def outcome_start(as_of: Any, gap: Window | None) -> Any:
    """Return the first instant of the outcome window."""
    return as_of + (gap.micros if gap else 0)


def outcome_end(as_of: Any, gap: Window | None, outcome_window: Window) -> Any:
    """Return the instant c at which the outcome window has closed: its exclusive end."""
    return outcome_start(as_of, gap) + outcome_window.micros


def unseen_outcome(as_of: Any, gap: Window | None, moment: Any) -> Any:
    """Say whether all of the outcome of a row lies at or after `moment`, none of it before."""
    return outcome_start(as_of, gap) >= moment


def has_closed(end: int, as_of: int) -> bool:
    """Say whether a window with exclusive end `end` has closed for someone standing at `as_of`."""
    return end <= as_of


def newest_closed(as_of: int, gap: Window | None, outcome_window: Window) -> int:
    """Return the latest snapshot whose outcome window has closed at `as_of`."""
    return as_of - outcome_window.micros - (gap.micros if gap else 0)


def has_history(moment: int, earliest: int, length: Window) -> bool:
    """Say whether history that begins at `earliest` has at least `length` before `moment`."""
    return moment - length.micros >= earliest


def sees_less(window: Window, moment: int, earliest: int) -> bool:
    """Say whether a look-back from `moment` begins before history does, at `earliest`."""
    return moment - window.micros < earliest


def longest_outcome(history: int, gap: Window | None, least: Window) -> int:
    """Return the longest outcome window that `history` has room for; 0 where there is none.

    Before the snapshot stand `least`, or the window itself if longer; after it gap and window.
    """
    room = history - (gap.micros if gap else 0)
    return max(min(room // 2, room - least.micros), 0)


def just_after(instant: Any) -> Any:
    """Return the smallest as_of at which a row known at `instant` counts."""
    return instant + 1


def days_between(earlier: Any, later: Any) -> Any:
    """Return the time from `earlier` to `later` in days: one float64 division of exact integers."""
    return (later - earlier) / MICROS_PER_DAY


def weekday_of(local_day: Any) -> Any:
    """Return the weekday of a day (days since 1970-01-01, a Thursday): 1 = Monday, 7 = Sunday."""
    return (local_day + 3) % 7 + 1


def month_of(local_day: Any) -> Any:
    """Return the calendar month of a day (days since 1970-01-01) as year * 12 + month - 1.

    Whole numbers only, for days from 1970 on: years are counted from March, so that the leap day
    comes last, and 400 of them have 146,097 days.
    """
    day = local_day + 719_468  # since 1 March of the year 0
    of_era = day % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return (day // 146_097 * 400 + year) * 12 + (5 * of_year + 2) // 153 + 2


def zone(name: str) -> ZoneInfo:
    """Return the IANA time zone called `name`, or raise `TimeError` naming the nearest one."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        from zoneinfo import available_timezones

        raise TimeError(
            f"{name!r} is not a time zone.", hint=did_you_mean(name, available_timezones())
        ) from error


def parse_instant(text: str, time_zone: str = "UTC") -> int:
    """Read an ISO 8601 date or time as microseconds; a naive one is read in `time_zone`.

    An hour that comes twice is read as the later one, in standard time, and one that is left out
    as if the clock had not been put forward: as the engine reads both in files.
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError) as error:
        raise TimeError(
            f"{text!r} is not a date or time.",
            hint="Write ISO 8601: 2011-10-01 or 2011-10-01T12:00:00Z.",
            value=text,
        ) from error
    if moment.tzinfo is None:
        moment = _on_the_clock(moment, zone(time_zone))
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = elapsed.days * 86_400 + elapsed.seconds
    return seconds * MICROS_PER_SECOND + elapsed.microseconds


def _on_the_clock(naive: datetime, place: ZoneInfo) -> datetime:
    first, second = (naive.replace(tzinfo=place, fold=fold) for fold in (0, 1))
    return min(first, second, key=lambda moment: moment.utcoffset() or timedelta())


@lru_cache(1_024)
def format_instant(micros: int) -> str:
    """Write microseconds as ISO 8601 in UTC, with microseconds only where there are some."""
    seconds, rest = divmod(micros, MICROS_PER_SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
    return moment.isoformat().replace("+00:00", "Z")
