"""The live renderer: feature definitions over one person's history, in NumPy.

Grain in: a `History` and a moment. Grain out: one float64 per definition, in the definitions'
order, NaN = null: bit for bit what the table renderer says of the same person at that moment.

What does not depend on the person is worked out once, when a renderer is made. Then an event type
costs a few searches in its sorted times: all windows of a count are one search, a sum is the
difference of running totals, and a value is in a window exactly when its latest time is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior import definitions as d
from features.behavior.history import UNITS, Column, Events, History, Mask, Numbers, Stated, Texts
from features.behavior.scene import Ints
from features.conditions.live_events import without
from features.conditions.tree import EventFilter
from features.time import MICROS_PER_DAY, MICROS_PER_MINUTE, MICROS_PER_SECOND

Floats = NDArray[np.float64]
Fill = Callable[[Events, int, Floats], None]
"""Writes what is measured of the events of one type, all known at as_of, into a person's row."""
Placed = tuple[int, Any]
"""A definition and its place in the row."""
Kind = TypeVar("Kind")

EXACT = 2**53
"""Whole numbers up to here are float64s."""
SAFE = 2**62


class Live:
    """Renders a list of definitions for one person at a time. May be shared by threads.

    `excluded` are the events that do not count for a goal.
    """

    def __init__(
        self, definitions: Sequence[d.Definition], excluded: Sequence[EventFilter] = ()
    ) -> None:
        self._left = without(excluded) if excluded else None
        placed = list(enumerate(definitions))
        events = dict.fromkeys(e for x in definitions if (e := getattr(x, "event", None)))
        self._nothing = np.array([x.feature.of_nothing for x in definitions], np.float64)
        self._fills = {
            event: list(_fills([(at, x) for at, x in placed if getattr(x, "event", None) == event]))
            for event in events
        }
        self._of_person = [
            (at, x)
            for at, x in placed
            if not hasattr(x, "event") and not isinstance(x, d.OfSessions)
        ]
        self._sessions = [(at, x) for at, x in placed if isinstance(x, d.OfSessions)]
        self._listed = {x: set(d.listed_beside(x, definitions)) for x in definitions
                        if isinstance(x, d.CategoryIs) and x.value is None}  # fmt: skip

    def features(self, history: History, as_of: int) -> Floats:
        """Return the features (n,) of a person by what was known at `as_of`; NaN = null."""
        known = history.known(as_of)
        if self._left is not None:
            known = replace(known, events=self._left(known.events))
        row = self._nothing.copy()
        for event, fills in self._fills.items():
            if (events := known.events.get(event)) is not None:
                for fill in fills:
                    fill(events, as_of, row)
        for at, definition in self._of_person:
            row[at] = self._value(definition, known, as_of)
        if self._sessions:
            _fill_sessions(self._sessions, known, as_of, row)
        return row

    def _value(self, definition: d.Definition, known: History, as_of: int) -> float:
        match definition:
            case d.Tenure():
                firsts = [int(events.event_time[0]) for events in known.events.values()]
                return float(time.days_between(min(firsts), as_of)) if firsts else math.nan
            case d.NumberAttribute(attribute):
                value = known.attributes.get(attribute)
                return math.nan if value is None else int(value) / UNITS
            case d.DaysSinceAttribute(attribute):
                value = known.attributes.get(attribute)
                return math.nan if value is None else float(time.days_between(int(value), as_of))
            case d.CategoryIs(attribute, wanted, _):
                text = _text(known.attributes.get(attribute))
                if wanted is None:
                    return float(text is not None and text not in self._listed[definition])
                return float(text == wanted)
            case d.IsKnown(namespaces):
                return float(any(known.identities.get(name) for name in namespaces))
            case d.IdentityCount(namespace):
                return float(known.identities.get(namespace, 0))
        raise TypeError(f"{definition} is of events.")


def _text(value: Stated | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def _of(kind: type[Kind], placed: Sequence[Placed]) -> list[tuple[int, Kind]]:
    return [(at, x) for at, x in placed if isinstance(x, kind)]


def _fills(placed: Sequence[Placed]) -> Iterator[Fill]:
    """Yield what measures the definitions of one event type."""
    yield _silences(placed)
    if counts := _of(d.Count, placed):
        yield _counts(*_windows(counts))
    if days := _of(d.ActiveDays, placed):
        yield _active_days(*_windows(days))
    if trends := _of(d.Trend, placed):
        yield _trends(trends)
    for attribute, sums in _by_attribute(d.Sum, placed).items():
        yield _sums(attribute, *_windows(sums))
    for attribute, statistics in _by_attribute(d.Statistic, placed).items():
        yield _statistics(attribute, statistics)
    for attribute, shares in _by_attribute(d.ValueShare, placed).items():
        yield _value_shares(attribute, shares)
    for attribute, ends in _by_attribute(d.ValueIs, placed).items():
        yield _ends(attribute, ends)
    if hours := _of(d.HourShare, placed):
        yield _hours(hours)
    if weekdays := _of(d.WeekdayShare, placed):
        yield _weekdays(weekdays)
    for attribute, distinct in _by_attribute(d.Distinct, placed).items():
        yield _distinct(attribute, *_windows(distinct))


def _by_attribute(kind: type[Any], placed: Sequence[Placed]) -> dict[str, list[Placed]]:
    found: dict[str, list[Placed]] = {}
    for at, x in _of(kind, placed):
        found.setdefault(x.attribute, []).append((at, x))
    return found


def _windows(placed: Sequence[Placed]) -> tuple[Ints, Ints]:
    """Return the places of definitions and the lengths of their windows."""
    return np.array([at for at, _ in placed]), np.array([x.window.micros for _, x in placed])


def _counts(places: Ints, lengths: Ints) -> Fill:
    def fill(events: Events, as_of: int, row: Floats) -> None:
        row[places] = len(events) - time.first_within(events.event_time, as_of, lengths)

    return fill


def _active_days(places: Ints, lengths: Ints) -> Fill:
    def fill(events: Events, as_of: int, row: Floats) -> None:
        days = events.local_day - events.local_day.min()
        latest = _latest(days, events.event_time)
        row[places] = len(latest) - time.first_within(latest, as_of, lengths)

    return fill


def _distinct(attribute: str, places: Ints, lengths: Ints) -> Fill:
    def fill(events: Events, as_of: int, row: Floats) -> None:
        if (column := events.attributes.get(attribute)) is None:
            return
        codes, known = _codes(column)
        latest = _latest(codes[known], events.event_time[known])
        row[places] = len(latest) - time.first_within(latest, as_of, lengths)

    return fill


def _codes(column: Column) -> tuple[NDArray[Any], Mask]:
    """Return a small whole number for every value, and which are not null."""
    if isinstance(column, Numbers):
        return np.unique(column.units, return_inverse=True)[1], ~column.null
    return column.codes, column.codes >= 0


def _latest(codes: NDArray[Any], times: Ints) -> Ints:
    """Return the latest time of each code, in order of time; `times` is in order, too."""
    if not len(codes):
        return times
    latest = np.full(int(codes.max()) + 1, -1, np.int64)
    latest[codes] = times  # Of several times of a code the last one stays.
    latest = latest[latest >= 0]
    latest.sort()
    return latest


def _sums(attribute: str, places: Ints, lengths: Ints) -> Fill:
    def fill(events: Events, as_of: int, row: Floats) -> None:
        column = events.attributes.get(attribute)
        if isinstance(column, Numbers):
            starts = time.first_within(events.event_time, as_of, lengths)
            totals = _running(column.units)
            row[places] = _in_ones(totals[-1] - totals[starts])

    return fill


def _running(units: Ints) -> NDArray[Any]:
    """Return the totals of the first 0, 1, ... of `units`, exact: as Python's where int64 ends."""
    wide = float(np.abs(units).sum(dtype=np.float64)) > SAFE
    totals = np.zeros(len(units) + 1, object if wide else np.int64)
    np.cumsum(units.astype(object) if wide else units, out=totals[1:])
    return totals


def _in_ones(units: NDArray[Any]) -> Floats:
    """Return 1/10000s as the float64 that the engine makes of such a decimal."""
    if np.abs(units).max() <= EXACT:
        return np.asarray(units / UNITS, np.float64)
    return np.array([int(number) / UNITS for number in units])


def _statistics(attribute: str, placed: Sequence[tuple[int, d.Statistic]]) -> Fill:
    measures = np.array([x.measure for _, x in placed])
    places, lengths = _windows(placed)

    def fill(events: Events, as_of: int, row: Floats) -> None:
        column = events.attributes.get(attribute)
        if not isinstance(column, Numbers) or column.null.all():
            return
        units, times = column.units[~column.null], events.event_time[~column.null]
        starts = time.first_within(times, as_of, lengths)
        for measure, compute in _OF_UNITS.items():
            some = (measures == measure) & (starts < len(times))
            if some.any():
                row[places[some]] = compute(units, starts[some])

    return fill


def _means(units: Ints, starts: Ints) -> NDArray[Any]:
    totals = _running(units)
    sums = (totals[-1] - totals[starts]).astype(np.float64)
    return np.asarray(sums / ((len(units) - starts) * UNITS))


_OF_UNITS: dict[str, Callable[[Ints, Ints], NDArray[Any]]] = {
    "mean": _means,
    "min": lambda units, starts: _in_ones(np.minimum.accumulate(units[::-1])[::-1][starts]),
    "max": lambda units, starts: _in_ones(np.maximum.accumulate(units[::-1])[::-1][starts]),
}
"""Statistics of the numbers from each of some places to the end."""


def _value_shares(attribute: str, placed: Sequence[tuple[int, d.ValueShare]]) -> Fill:
    definitions = [x for _, x in placed]
    listed = d.listed_beside(definitions[0], definitions)
    windows = {x.window.micros: [(at, y.value) for at, y in placed if y.window == x.window]
               for x in definitions}  # fmt: skip

    def fill(events: Events, as_of: int, row: Floats) -> None:
        column = events.attributes.get(attribute)
        if not isinstance(column, Texts):
            return
        known = column.codes >= 0
        codes, times = column.codes[known], events.event_time[known]
        place = {value: code for code, value in enumerate(column.values)}
        for micros, wanted in windows.items():
            inside = codes[time.first_within(times, as_of, micros) :]
            if not len(inside):
                continue
            counts = np.bincount(inside, minlength=len(place) + 1)
            by_value = {value: int(counts[place.get(value, -1)]) for value in listed}
            rest = len(inside) - sum(by_value.values())
            for at, value in wanted:
                row[at] = (rest if value is None else by_value[value]) / len(inside)

    return fill


def _ends(attribute: str, placed: Sequence[tuple[int, d.ValueIs]]) -> Fill:
    listed = {x: d.listed_beside(x, [y for _, y in placed]) for _, x in placed}

    def fill(events: Events, as_of: int, row: Floats) -> None:
        column = events.attributes.get(attribute)
        if not isinstance(column, Texts) or not (column.codes >= 0).any():
            return
        codes, times = (array[column.codes >= 0] for array in (column.codes, events.event_time))
        found = {
            end: max(column.values[code] for code in codes[times == edge])
            for end, edge in (("first", times[0]), ("last", times[-1]))
        }
        for at, x in placed:
            value = found[x.end]
            row[at] = value not in listed[x] if x.value is None else value == x.value

    return fill


def _hours(placed: Sequence[tuple[int, d.HourShare]]) -> Fill:
    """Return what fills in shares of hours: differences of the totals of a day's hours."""
    spans = [(at, x.window.micros, x.start, x.end) for at, x in placed]

    def fill(events: Events, as_of: int, row: Floats) -> None:
        totals: dict[int, Ints] = {}
        for at, micros, start, end in spans:
            if micros not in totals:
                hours = events.local_hour[time.first_within(events.event_time, as_of, micros) :]
                totals[micros] = np.append(0, np.bincount(hours, minlength=24).cumsum())
            if (whole := totals[micros][-1]) > 0:
                row[at] = (totals[micros][end] - totals[micros][start]) / whole

    return fill


def _weekdays(placed: Sequence[tuple[int, d.WeekdayShare]]) -> Fill:
    spans = [(at, x.window.micros, x.weekday) for at, x in placed]

    def fill(events: Events, as_of: int, row: Floats) -> None:
        counts: dict[int, Ints] = {}
        for at, micros, weekday in spans:
            if micros not in counts:
                days = events.local_day[time.first_within(events.event_time, as_of, micros) :]
                counts[micros] = np.bincount(time.weekday_of(days), minlength=8)
            if (whole := counts[micros].sum()) > 0:
                row[at] = counts[micros][weekday] / whole

    return fill


def _fill_sessions(
    placed: Sequence[tuple[int, d.OfSessions]], known: History, as_of: int, row: Floats
) -> None:
    """Write what is known of sessions: all definitions mean the same sessions, or each its own."""
    for kind in {(x.gap, x.events) for _, x in placed}:
        gap, types = kind
        some = [known.events[event].event_time for event in types if event in known.events]
        if not some:
            continue
        times = np.sort(np.concatenate(some))
        anew = np.append(True, time.starts_session(times[1:], times[:-1], gap))
        starts, last = times[anew], int(times[-1])
        began, goes_on = int(starts[-1]), bool(time.session_goes_on(last, as_of, gap))
        lengths = last - int(times[0]) - int(np.diff(times)[anew[1:]].sum())
        found = {
            "length_mean": lengths / (len(starts) * MICROS_PER_MINUTE),
            "length_last": (last - began) / MICROS_PER_MINUTE,
            "events_now": len(times) - int(times.searchsorted(began)) if goes_on else 0,
        }
        for at, x in placed:
            if (x.gap, x.events) != kind:
                continue
            if isinstance(x, d.Session):
                row[at] = found[x.measure]
            else:
                row[at] = len(starts) - time.first_within(starts, as_of, x.window.micros)


def _trends(placed: Sequence[tuple[int, d.Trend]]) -> Fill:
    places = np.array([at for at, _ in placed])
    short = np.array([x.short.micros for _, x in placed])
    long = np.array([x.long.micros for _, x in placed])

    def fill(events: Events, as_of: int, row: Floats) -> None:
        recent = len(events) - time.first_within(events.event_time, as_of, short)
        whole = len(events) - time.first_within(events.event_time, as_of, long)
        some = whole > 0
        row[places[some]] = recent[some] / whole[some] * (long[some] / short[some])

    return fill


def _silences(placed: Sequence[Placed]) -> Fill:
    since = [at for at, _ in _of(d.DaysSince, placed)]
    since_first = [at for at, _ in _of(d.DaysSinceFirst, placed)]
    gaps = [(at, x.measure) for at, x in _of(d.Gap, placed)]

    def fill(events: Events, as_of: int, row: Floats) -> None:
        first, last = int(events.event_time[0]), int(events.event_time[-1])
        row[since] = time.days_between(last, as_of)
        row[since_first] = time.days_between(first, as_of)
        if gaps and first != last:
            found = _gaps(events.event_time, as_of)
            for at, measure in gaps:
                row[at] = found[measure]

    return fill


def _gaps(times: Ints, as_of: int) -> dict[str, float]:
    """Return what is known of silences between the distinct ones of at least two `times`."""
    moments = times[np.flatnonzero(np.diff(times, prepend=-1))]
    first, last = int(times[0]), int(times[-1])
    seconds = np.diff(moments // MICROS_PER_SECOND)
    count, total = len(seconds), float(seconds.sum())
    spread = max(count * float((seconds * seconds).sum()) - total * total, 0.0)
    return {
        "mean": (last - first) / (count * MICROS_PER_DAY),
        "last": int(moments[-1] - moments[-2]) / MICROS_PER_DAY,
        "ratio": (as_of - last) / (last - first) * count,
        "deviation": math.sqrt(spread) / count / (MICROS_PER_DAY / MICROS_PER_SECOND),
    }
