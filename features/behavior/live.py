"""The live renderer: feature definitions over one person's history, in NumPy and compiled loops.

Grain in: a `History` and a moment. Grain out: one float64 per definition, in the definitions'
order, NaN = null: bit for bit what the table renderer says of the same person at that moment.

What does not depend on the person is worked out once, when a renderer is made: where in a table
(event types, windows) a definition's value stands. Then each kind of feature is a few calls for all
event types and windows at once (`features.behavior.tally`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior import definitions as d
from features.behavior.history import UNITS, History, Stated, Texts
from features.behavior.scene import Ints
from features.behavior.tally import Tally
from features.behavior.tally_loops import parted, widest
from features.time import MICROS_PER_MINUTE

Floats = NDArray[np.float64]
Fill = Callable[[Tally, Floats], None]
"""Writes what is measured of the events known at as_of into a person's row."""
Figure = Callable[[History, int], float]
"""Gives a feature of a person, of what was known at as_of."""
Placed = tuple[int, Any]
"""A definition and its place in the row."""

EXACT = 2**53
"""Whole numbers up to here are float64s."""


class Live:
    """Renders a list of definitions for one person at a time. May be shared by threads.

    For a goal that excludes events, the history is one without them
    (`features.conditions.live_events.without`).
    """

    def __init__(self, definitions: Sequence[d.Definition]) -> None:
        placed = list(enumerate(definitions))
        self._nothing = np.array([x.feature.of_nothing for x in definitions], np.float64)
        of_events = [(at, x) for at, x in placed if hasattr(x, "event")]
        self._sessions = [(at, x) for at, x in placed if isinstance(x, d.OfSessions)]
        self._of_person = [
            (at, _of_person(x, definitions))
            for at, x in placed
            if not hasattr(x, "event") and not isinstance(x, d.OfSessions)
        ]
        self._types = tuple(dict.fromkeys(x.event for _, x in of_events))
        lengths = {w.micros for _, x in of_events for name in ("window", "short", "long")
                   if (w := getattr(x, name, None)) is not None}  # fmt: skip
        self._lengths = np.array(sorted(lengths), np.int64)
        self._fills = list(_fills(of_events, _Cells(self._types, sorted(lengths))))

    def features(self, history: History, as_of: int) -> Floats:
        """Return the features (n,) of a person by what was known at `as_of`; NaN = null."""
        known = history.known(as_of)
        row = self._nothing.copy()
        tally = Tally(self._types, self._lengths, known.events, as_of)
        if len(tally.there):
            for fill in self._fills:
                fill(tally, row)
        for at, value in self._of_person:
            row[at] = value(known, as_of)
        if self._sessions:
            _fill_sessions(self._sessions, known, as_of, row)
        return row


def _of_person(definition: d.Definition, definitions: Sequence[d.Definition]) -> Figure:
    """Return what gives a feature that is not of one event type."""
    match definition:
        case d.Tenure():
            return _tenure
        case d.NumberAttribute(attribute):
            return _of_attribute(attribute, lambda value, _: int(value) / UNITS)
        case d.DaysSinceAttribute(attribute):
            return _of_attribute(attribute, lambda at, as_of: time.days_between(int(at), as_of))
        case d.CategoryIs(attribute, None, _):
            listed = set(d.listed_beside(definition, definitions))
            return _of_category(attribute, lambda text: text is not None and text not in listed)
        case d.CategoryIs(attribute, wanted, _):
            return _of_category(attribute, lambda text: text == wanted)
        case d.IsKnown(namespaces):
            return lambda known, _: any(known.identities.get(name) for name in namespaces)
        case d.IdentityCount(namespace):
            return lambda known, _: known.identities.get(namespace, 0)
    raise TypeError(f"{definition} is of events.")


def _tenure(known: History, as_of: int) -> float:
    firsts = [int(events.event_time[0]) for events in known.events.values()]
    return float(time.days_between(min(firsts), as_of)) if firsts else math.nan


def _of_attribute(attribute: str, figure: Callable[[Any, int], float]) -> Figure:
    def value(known: History, as_of: int) -> float:
        stated = known.attributes.get(attribute)
        return math.nan if stated is None else figure(stated, as_of)

    return value


def _of_category(attribute: str, test: Callable[[str | None], bool]) -> Figure:
    return lambda known, _: test(_text(known.attributes.get(attribute)))


def _text(value: Stated | None) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


@dataclass(frozen=True)
class _Cells:
    """Where definitions stand in a table (event types, windows), laid out row by row."""

    types: Sequence[str]
    lengths: Sequence[int]

    def __call__(self, placed: Sequence[Placed], window: str = "window") -> Ints:
        """Return the cells of definitions, by the field that is their window."""
        return np.array([
            self.types.index(x.event) * len(self.lengths)
            + self.lengths.index(getattr(x, window).micros)
            for _, x in placed
        ])  # fmt: skip

    def of_types(self, placed: Sequence[Placed]) -> Ints:
        """Return which event type each definition is of."""
        return np.array([self.types.index(x.event) for _, x in placed])


def _places(placed: Sequence[Placed]) -> Ints:
    return np.array([at for at, _ in placed])


def _fills(placed: Sequence[Placed], cells: _Cells) -> Iterator[Fill]:
    """Yield what measures each kind of definitions, all event types and windows at once."""
    kinds: dict[tuple[Any, ...], list[Placed]] = {}
    for at, x in placed:
        kinds.setdefault(_kind(x), []).append((at, x))
    for (kind, *of), alike in kinds.items():
        yield kind(alike, cells, *of)


def _kind(x: d.Definition) -> tuple[Any, ...]:
    """Return what fills in a definition, and what all definitions share that it fills in."""
    match x:
        case d.Count():
            return (_counts,)
        case d.ActiveDays():
            return (_active_days,)
        case d.DaysSince():
            return _recency, "last"
        case d.DaysSinceFirst():
            return _recency, "first"
        case d.Sum(_, attribute, _):
            return _sums, attribute
        case d.Statistic(_, attribute, measure, _):
            return _STATISTICS[measure], attribute
        case d.Distinct(_, attribute, _):
            return _distinct, attribute
        case d.ValueShare(event, attribute, _, _, _):
            return _value_shares, event, attribute
        case d.ValueIs(end, event, attribute, _, _):
            return _ends, event, attribute, end
        case d.Gap():
            return (_gaps,)
        case d.Trend():
            return (_trends,)
        case d.HourShare():
            return (_hours,)
        case d.WeekdayShare():
            return (_weekdays,)
    raise TypeError(f"{x} is not of events.")


# Of all event types at once ----------------------------------------------------------------------


def _counts(placed: Sequence[Placed], cells: _Cells) -> Fill:
    places, asked = _places(placed), cells(placed)

    def fill(known: Tally, row: Floats) -> None:
        row[places] = known.counts.take(asked)

    return fill


def _active_days(placed: Sequence[Placed], cells: _Cells) -> Fill:
    places, asked = _places(placed), cells(placed)

    def fill(known: Tally, row: Floats) -> None:
        row[places] = known.active_days().take(asked)

    return fill


def _distinct(placed: Sequence[Placed], cells: _Cells, attribute: str) -> Fill:
    places, asked = _places(placed), cells(placed)

    def fill(known: Tally, row: Floats) -> None:
        row[places] = known.distinct(attribute).take(asked)

    return fill


def _recency(placed: Sequence[Placed], cells: _Cells, end: d.End) -> Fill:
    places, asked = _places(placed), cells.of_types(placed)
    asked += len(cells.types) * (end == "last")

    def fill(known: Tally, row: Floats) -> None:
        row[places] = known.distances.take(asked)

    return fill


def _trends(placed: Sequence[Placed], cells: _Cells) -> Fill:
    places, short, long = _places(placed), cells(placed, "short"), cells(placed, "long")
    scale = np.array([x.long.micros / x.short.micros for _, x in placed])

    def fill(known: Tally, row: Floats) -> None:
        whole = known.counts.take(long)
        some = whole > 0
        row[places[some]] = known.counts.take(short)[some] / whole[some] * scale[some]

    return fill


def _hours(placed: Sequence[Placed], cells: _Cells) -> Fill:
    """Fill in shares of hours: differences of the totals of a day's hours."""
    places, asked = _places(placed), cells(placed)
    starts = np.array([x.start for _, x in placed])
    ends = np.array([x.end for _, x in placed])

    def fill(known: Tally, row: Floats) -> None:
        # The place before the first hour stays empty: totals begin with 0.
        counts = known.parted(known.hours + 1, 25)
        totals = counts.cumsum(2).reshape(-1, 25)
        parts = totals[asked, ends] - totals[asked, starts]
        _fill_shares(row, places, parts, known.counts.take(asked))

    return fill


def _weekdays(placed: Sequence[Placed], cells: _Cells) -> Fill:
    places, asked = _places(placed), cells(placed)
    weekdays = np.array([x.weekday for _, x in placed])

    def fill(known: Tally, row: Floats) -> None:
        counts = known.parted(known.weekdays, 8).reshape(-1, 8)
        _fill_shares(row, places, counts[asked, weekdays], known.counts.take(asked))

    return fill


def _fill_shares(row: Floats, places: Ints, parts: Ints, whole: Ints) -> None:
    some = whole > 0
    row[places[some]] = parts[some] / whole[some]


def _gaps(placed: Sequence[Placed], cells: _Cells) -> Fill:
    """Fill in what is known of silences between at least two distinct times of a type."""
    measures: tuple[d.GapMeasure, ...] = ("mean", "deviation", "last", "ratio")
    places, types = _places(placed), cells.of_types(placed)
    asked = np.array([measures.index(x.measure) for _, x in placed]) * len(cells.types) + types

    def fill(known: Tally, row: Floats) -> None:
        row[places] = known.silences.take(asked)

    return fill


# Of numbers --------------------------------------------------------------------------------------


def _sums(placed: Sequence[Placed], cells: _Cells, attribute: str) -> Fill:
    places, asked = _places(placed), cells(placed)

    def fill(known: Tally, row: Floats) -> None:
        units = known.units(attribute)
        row[places] = _in_ones(known.sums(units).take(asked))

    return fill


def _in_ones(units: NDArray[Any]) -> Floats:
    """Return 1/10000s as the float64 that the engine makes of such a decimal."""
    if units.dtype != object and widest(units) <= EXACT:
        return np.asarray(units / UNITS, np.float64)
    return np.array([int(number) / UNITS for number in units])


def _means(placed: Sequence[Placed], cells: _Cells, attribute: str) -> Fill:
    places, asked = _places(placed), cells(placed)

    def fill(known: Tally, row: Floats) -> None:
        units, null = known.units(attribute), known.null(attribute)
        stated = known.stated(null).take(asked)
        some = stated > 0
        sums = known.sums(units).take(asked)[some].astype(np.float64)
        row[places[some]] = sums / (stated[some] * UNITS)

    return fill


def _extremes(pick: np.ufunc, none: int) -> Callable[[Sequence[Placed], _Cells, str], Fill]:
    """Return what makes the fill of the least or the greatest; `none` is never picked."""

    def make(placed: Sequence[Placed], cells: _Cells, attribute: str) -> Fill:
        places, asked = _places(placed), cells(placed)

        def fill(known: Tally, row: Floats) -> None:
            units, null = known.units(attribute), known.null(attribute)
            onward = np.where(null, none, units)
            for of in known.there:
                mine = onward[known.starts[of] : known.ends[of]][::-1]
                pick.accumulate(mine, out=mine)
            some = known.stated(null).take(asked) > 0
            if some.any():
                row[places[some]] = _in_ones(onward[known.firsts.take(asked[some])])

        return fill

    return make


_STATISTICS = {
    "mean": _means,
    "min": _extremes(np.minimum, np.iinfo(np.int64).max),
    "max": _extremes(np.maximum, np.iinfo(np.int64).min),
}


# Of texts, one event type at a time --------------------------------------------------------------


def _value_shares(placed: Sequence[Placed], cells: _Cells, event: str, attribute: str) -> Fill:
    of, places = cells.types.index(event), _places(placed)
    listed = d.listed_beside(placed[0][1], [x for _, x in placed])
    wanted = np.array([
        len(listed) if x.value is None else listed.index(x.value) for _, x in placed
    ])  # fmt: skip
    asked = cells(placed) - of * len(cells.lengths)

    def fill(known: Tally, row: Floats) -> None:
        column = _texts(known, of, attribute)
        if column is None:
            return
        place = {value: code + 1 for code, value in enumerate(column.values)}
        width = len(place) + 1
        within = known.within[known.starts[of] : known.ends[of]]
        ends = np.array([len(within)])
        codes = column.codes.astype(np.int64) + 1
        counts = parted(codes, width, within, ends, len(cells.lengths))[0]
        counts[:, 0] = 0  # Nulls, and with them values that nobody stated.
        parts = counts[:, [place.get(value, 0) for value in listed]]
        stated = counts.sum(1)
        parts = np.column_stack([parts, stated - parts.sum(1)])
        _fill_shares(row, places, parts[asked, wanted], stated[asked])

    return fill


def _texts(known: Tally, of: int, attribute: str) -> Texts | None:
    events = known.events[of]
    column = None if events is None else events.attributes.get(attribute)
    return column if isinstance(column, Texts) else None


def _ends(placed: Sequence[Placed], cells: _Cells, event: str, attribute: str, end: d.End) -> Fill:
    of, listed = (
        cells.types.index(event),
        set(d.listed_beside(placed[0][1], [x for _, x in placed])),
    )

    def fill(known: Tally, row: Floats) -> None:
        column = _texts(known, of, attribute)
        if column is None or not len(stated := (column.codes >= 0).nonzero()[0]):
            return
        times = known.event_time[known.starts[of] + stated]
        edge = times[0 if end == "first" else -1]
        value = max(column.values[code] for code in column.codes[stated[times == edge]])
        for at, x in placed:
            row[at] = value not in listed if x.value is None else value == x.value

    return fill


# Sessions ----------------------------------------------------------------------------------------


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
