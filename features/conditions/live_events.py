"""What conditions say of one person's events, in NumPy: filters, aggregates and sequences.

Everything that does not depend on the person is worked out once; then a look-back is a search in
sorted times, and a `where` is asked of whole columns, of a text once for each of its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior.history import Events, Mask, Numbers, Texts
from features.behavior.scene import Ints
from features.conditions.exactness import STATED_SCALE
from features.conditions.live_tests import Test, test_of
from features.conditions.tree import (
    Aggregate,
    And,
    Condition,
    EventAttribute,
    EventFilter,
    Not,
    Or,
    Sequence,
    Step,
    ValueTest,
)

Known = Mapping[str, Events]
"""By event type, what was known of a person at as_of."""
Passing = Callable[[Known, int], Events | None]
"""Gives the events that pass, known at as_of; None where there is none."""
Where = Callable[[Events], Mask]
Figure = Callable[[Known, int], Any]
"""Gives a value made of a person's events; None = null."""

FOREVER = time.LATEST
SAFE = 2**62


# Filters -----------------------------------------------------------------------------------------


def without(excluded: Iterable[EventFilter]) -> Callable[[Known], Known]:
    """Return what leaves out the events that one of some filters, without `in last`, takes.

    A goal that excludes events is read live as its tables are: features and conditions of what is
    left. An event type of which nothing is left is left out itself.
    """
    masks: dict[str, list[Where]] = {}
    for events in excluded:
        masks.setdefault(events.event, []).append(_taken(events))

    def left(known: Known) -> Known:
        kept = dict(known)
        for event in masks.keys() & known.keys():
            some = known[event]
            stays = ~reduce(np.logical_or, [taken(some) for taken in masks[event]])
            kept[event] = some.take(stays)
            if not stays.any():
                del kept[event]
        return kept

    return left


def _taken(events: EventFilter) -> Where:
    """Return what says of each event of a type whether a filter without `in last` takes it."""
    where = None if events.where is None else _where(events.where)
    since = events.since.micros if events.since else time.EARLIEST
    before = events.before.micros if events.before else time.LATEST

    def taken(some: Events) -> Mask:
        inside = time.within(some.event_time, since, before)
        return cast("Mask", inside if where is None else inside & where(some))

    return taken


def passing(events: EventFilter) -> Passing:
    """Return what gives the events that a filter lets through."""
    where = None if events.where is None else _where(events.where)
    places = _places(events)

    def some(known: Known, as_of: int) -> Events | None:
        found = known.get(events.event)
        if found is None:
            return None
        if places is not None:
            found = found.take(places(found.event_time, as_of))
        if where is not None and len(found):
            found = found.take(where(found))
        return found if len(found) else None

    return some


def happened(events: EventFilter) -> Callable[[Known, int], bool]:
    """Return what says whether a filter lets any event through."""
    if events.where is not None:
        some = passing(events)
        return lambda known, as_of: some(known, as_of) is not None
    places = _places(events)

    def any_of(known: Known, as_of: int) -> bool:
        found = known.get(events.event)
        if found is None or places is None:
            return found is not None and len(found) > 0
        span = places(found.event_time, as_of)
        return bool(span.start < span.stop)

    return any_of


def _places(events: EventFilter) -> Callable[[Ints, int], slice] | None:
    """Return what finds the span of times that a filter looks at; None = all of them."""
    if events.whole_history:
        return None
    since = events.since.micros if events.since else time.EARLIEST
    before = events.before.micros if events.before else time.LATEST
    lookback = None if events.window is None else events.window.micros
    dated = events.since is not None or events.before is not None

    def span(event_time: Ints, as_of: int) -> slice:
        first, end = 0, len(event_time)
        if dated:
            places = time.places_within(event_time, since, before)
            first, end = places.start, places.stop
        if lookback is not None:
            first = max(first, int(time.first_within(event_time, as_of, lookback)))
        return slice(first, end)

    return span


def _where(condition: Condition) -> Where:
    match condition:
        case And(terms):
            every = [_where(term) for term in terms]
            return lambda events: reduce(np.logical_and, [term(events) for term in every])
        case Or(terms):
            some = [_where(term) for term in terms]
            return lambda events: reduce(np.logical_or, [term(events) for term in some])
        case Not(term):
            opposite = _where(term)
            return lambda events: ~opposite(events)
    return _of_column(cast("ValueTest", condition))


def _of_column(atom: ValueTest) -> Where:
    value = cast("EventAttribute", atom.value)
    test = test_of(atom, STATED_SCALE if value.kind == "number" else None)

    def where(events: Events) -> Mask:
        match events.attributes.get(value.name):
            case Numbers(units, null):
                return cast("Mask", test(units) & ~null)
            case Texts(codes, values):
                return _of_texts(test, values)[codes]
        return np.zeros(len(events), bool)

    return where


def _of_texts(test: Test, values: tuple[str, ...]) -> Mask:
    """Return what a test says of each text, and at the end, where -1 points, of null: no."""
    return np.array([*map(test, values), False], bool)


# Aggregates --------------------------------------------------------------------------------------


def aggregate(wanted: Aggregate) -> Figure:
    """Return what gives the value of an aggregate: exact numbers as whole numbers.

    Those of an attribute are in 1/10000s, counts in ones; means and days are float64s.
    """
    events, nothing = passing(wanted.events), _of_none(wanted)
    if wanted.attribute is not None:
        of_column = _of_attribute(wanted.function)
        name = wanted.attribute

        def stated(known: Known, as_of: int) -> Any:
            some = events(known, as_of)
            column = None if some is None else some.attributes.get(name)
            return nothing if column is None or some is None else of_column(some, column)

        return stated
    of_events = _OF_EVENTS[wanted.function]

    def figure(known: Known, as_of: int) -> Any:
        some = events(known, as_of)
        return nothing if some is None else of_events(some, as_of)

    return figure


def _of_none(wanted: Aggregate) -> int | None:
    return 0 if wanted.function in _ZERO_IF_NONE else None


_ZERO_IF_NONE = (
    "count", "sum", "distinct", "active_days", "calendar_days", "calendar_months", "calendar_years",
)  # fmt: skip


def _calendar_days(events: Events) -> tuple[int, int]:
    return int(events.local_day.min()), int(events.local_day.max())


def _calendar_months(events: Events) -> tuple[int, int]:
    first, last = _calendar_days(events)
    return time.month_of(first), time.month_of(last)


def _span(first: int, last: int) -> int:
    return last - first + 1


_OF_EVENTS: dict[str, Callable[[Events, int], Any]] = {
    "count": lambda events, _: len(events),
    "active_days": lambda events, _: len(np.unique(events.local_day)),
    "days_since": lambda events, as_of: time.days_between(int(events.event_time[-1]), as_of),
    "days_since_first": lambda events, as_of: time.days_between(int(events.event_time[0]), as_of),
    "lifespan": lambda events, _: time.days_between(
        int(events.event_time[0]), int(events.event_time[-1])
    ),
    "calendar_days": lambda events, _: _span(*_calendar_days(events)),
    "calendar_months": lambda events, _: _span(*_calendar_months(events)),
    "calendar_years": lambda events, _: _span(*(n // 12 for n in _calendar_months(events))),
}


def _of_attribute(function: str) -> Callable[[Events, Numbers | Texts], Any]:
    if function == "distinct":
        return lambda _, column: len(np.unique(_stated(column)))
    if function in ("first", "last"):
        return lambda events, column: _at_an_end(function, events, column)
    of_units = _OF_UNITS[function]
    nothing = 0 if function == "sum" else None

    def figure(_: Events, column: Numbers | Texts) -> Any:
        units = _stated(column)
        return of_units(units) if len(units) else nothing

    return figure


def _stated(column: Numbers | Texts) -> NDArray[Any]:
    """Return what stands in a column for its values, nulls left out."""
    if isinstance(column, Numbers):
        return column.units[~column.null] if column.null.any() else column.units
    return column.codes[column.codes >= 0]


def _total(units: Ints) -> int:
    """Return an exact sum, of any length."""
    if len(units) * max(-int(units.min()), int(units.max())) < SAFE:
        return int(units.sum())
    return sum(units.tolist())


def _mean(units: Ints) -> float:
    # One division of two float64s, as in the table: 1/10000s over 1/10000s.
    return float(_total(units)) / float(len(units) * 10**STATED_SCALE)


_OF_UNITS: dict[str, Callable[[Ints], Any]] = {
    "sum": _total,
    "mean": _mean,
    "min": lambda units: int(units.min()),
    "max": lambda units: int(units.max()),
}


def _at_an_end(function: str, events: Events, column: Numbers | Texts) -> int | str | None:
    """Return what the oldest or the newest event states; of several at that time the greatest."""
    stated = ~column.null if isinstance(column, Numbers) else column.codes >= 0
    times = events.event_time[stated]
    if not len(times):
        return None
    edge = times[0] if function == "first" else times[-1]
    same = column.take(stated & (events.event_time == edge))
    if isinstance(same, Numbers):
        return int(same.units.max())
    values: list[str] = [same.values[code] for code in same.codes.tolist()]
    return max(values)


# Sequences ---------------------------------------------------------------------------------------


def sequence(wanted: Sequence) -> Callable[[Known, int], bool]:
    """Return what says whether a sequence is found: as in `features.conditions.sequences`."""
    moments = [_moments(step.events) for step in wanted.steps]
    steps = wanted.steps

    def found(known: Known, as_of: int) -> bool:
        reached = moments[0](known, as_of)
        absent: list[tuple[Step, Ints]] = []
        for step, times in zip(steps[1:], moments[1:], strict=True):
            if not len(reached):
                return False
            if not step.happened:
                absent.append((step, times(known, as_of)))
                continue
            reached = _next_reached(reached, step, absent, times(known, as_of))
            absent = []
        if absent and len(reached):
            return bool(np.logical_and.reduce([_absent(reached, *a, as_of) for a in absent]).any())
        return len(reached) > 0

    return found


def _moments(events: EventFilter) -> Callable[[Known, int], Ints]:
    some = passing(events)

    def times(known: Known, as_of: int) -> Ints:
        found = some(known, as_of)
        return np.empty(0, np.int64) if found is None else found.event_time

    return times


def _next_reached(reached: Ints, step: Step, absent: list[tuple[Step, Ints]], times: Ints) -> Ints:
    """Return the times at which a step may come after one of the moments reached."""
    lasts = np.full(len(reached), FOREVER)
    if step.within is not None:
        lasts = time.latest_within(reached, step.within)
    for other, moments in absent:
        first = _first_after(moments, reached)
        if other.within is not None:
            inside = time.is_within(first, time.latest_within(reached, other.within))
            first = np.where(inside, first, FOREVER)
        lasts = np.minimum(lasts, first)
    lasts = np.maximum.accumulate(lasts)
    earlier = time.count_earlier(reached, times)
    spanned = earlier > 0
    spanned[spanned] = time.is_within(times[spanned], lasts[earlier[spanned] - 1])
    return cast("Ints", times[spanned])


def _first_after(moments: Ints, others: Ints) -> Ints:
    """Return the first of some moments after each of others; FOREVER where none is."""
    places = time.first_later(moments, others)
    return cast("Ints", np.append(moments, FOREVER)[places])


def _absent(reached: Ints, step: Step, moments: Ints, as_of: int) -> Mask:
    """Say of each moment reached whether a last step is sure not to have happened after it."""
    first = _first_after(moments, reached)
    if step.within is None:
        return cast("Mask", first == FOREVER)
    end = time.latest_within(reached, step.within)
    return cast("Mask", ~time.is_within(first, end) & time.is_over(end, as_of))
