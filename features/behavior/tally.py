"""A person's events of several types behind one another: what live features are measured of.

A call into NumPy costs more than what it does with a few hundred events, so that all event types
and windows are measured at once: in tables (event types, windows), made by compiled loops
(`features.behavior.tally_loops`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior import tally_loops as loops
from features.behavior.history import Column, Events, Mask, Numbers, Texts
from features.behavior.scene import Ints

Table = NDArray[np.int64]
"""Whole numbers (event types, windows)."""
SAFE = 2**62
EVERY_DAY = -(2**31)


class Tally:
    """The n events of `types` that were known at `as_of`, by type and then in order of time.

    `lengths` are those of the windows in microseconds, ascending. Per event (n,): `event_time`,
    and `within`, the place of the shortest window that it lies in (one more than the last place: in
    none). `ends` is the place after the last event of each type. n is at least 1.
    """

    def __init__(
        self, types: Sequence[str], lengths: Ints, known: Mapping[str, Events], as_of: int
    ) -> None:
        self.as_of = as_of
        self.events = [known.get(event) for event in types]
        self._some = [events for events in self.events if events is not None and len(events)]
        counts = [0 if events is None else len(events) for events in self.events]
        self._sizes = np.array(counts, np.int64)
        self.ends = self._sizes.cumsum()
        self.event_time = _joined([events.event_time for events in self._some])
        self.within = time.shortest_lookback(self.event_time, as_of, lengths)
        self._windows = len(lengths)
        self.counts: Table = loops.counted(self.within, self.ends, self._windows)
        """How many events of each type lie in each window."""

    @cached_property
    def starts(self) -> Ints:
        """The place of the first event of each type."""
        return self.ends - self._sizes

    @cached_property
    def there(self) -> Ints:
        """The types with events."""
        return self._sizes.nonzero()[0]

    @cached_property
    def firsts(self) -> Ints:
        """The place of the first event of each type in each window; where none is, after all."""
        return self.ends[:, None] - self.counts

    def stated(self, null: Mask) -> Table:
        """Return how many events of each type and window are not `null`."""
        within = np.where(null, self._windows, self.within)
        return loops.counted(within, self.ends, self._windows)

    def parted(self, part: Ints, parts: int) -> NDArray[np.int64]:
        """Return how many events lie in each window of each type, by part: (..., parts)."""
        return loops.parted(part, parts, self.within, self.ends, self._windows)

    def active_days(self) -> Table:
        """Return how many local days each type has in each window."""
        return self._distinct(self._local_days(), EVERY_DAY)

    def distinct(self, attribute: str) -> Table:
        """Return how many values of an attribute each type has in each window."""
        columns = [_codes(events, attribute) for events in self._some]
        return self._distinct(_joined(columns).astype(np.int64), 0)

    def _distinct(self, codes: Ints, least: int) -> Table:
        return loops.distinct(codes, least, self.within, self.ends, self._windows)

    def sums(self, units: Ints) -> NDArray[Any]:
        """Return the exact sum of each type and window: Python's whole numbers where int64 ends."""
        if len(units) * loops.widest(units) <= SAFE:
            return loops.summed(units, self.within, self.ends, self._windows)
        running = np.zeros(len(units) + 1, object)
        units.astype(object).cumsum(out=running[1:])
        return np.asarray(running[self.ends][:, None] - running[self.firsts])

    @cached_property
    def distances(self) -> NDArray[np.float64]:
        """Days since the first and since the last event of each type: (2, event types)."""
        return loops.distances(self.event_time, self.ends, self.as_of)

    @cached_property
    def silences(self) -> NDArray[np.float64]:
        """Mean, deviation, last and ratio of the silences of each type: (4, event types)."""
        return loops.silences(self.event_time, self.ends, self.as_of)

    @cached_property
    def hours(self) -> Ints:
        """The hour on the clock of each event."""
        return _joined([events.local_hour for events in self._some]).astype(np.int64)

    @cached_property
    def weekdays(self) -> Ints:
        """The weekday of each event: 1 = Monday."""
        return np.asarray(time.weekday_of(self._local_days()))

    def _local_days(self) -> Ints:
        return _joined([events.local_day for events in self._some]).astype(np.int64)

    def units(self, attribute: str) -> Ints:
        """Return numbers in 1/10000s: 0 where null, and where something is no number."""
        return _joined([column.units for column in self._columns(attribute)])

    def null(self, attribute: str) -> Mask:
        """Return where an attribute is no number."""
        return _joined([column.null for column in self._columns(attribute)])

    def _columns(self, attribute: str) -> list[Numbers]:
        columns = [events.attributes.get(attribute) for events in self._some]
        return [
            column if isinstance(column, Numbers) else _no_numbers(len(events))
            for column, events in zip(columns, self._some, strict=True)
        ]


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _no_numbers(size: int) -> Numbers:
    return Numbers(np.zeros(size, np.int64), np.ones(size, bool))


def _codes(events: Events, attribute: str) -> NDArray[Any]:
    """Return a small whole number for every value, -1 for null."""
    column: Column | None = events.attributes.get(attribute)
    if isinstance(column, Texts):
        return column.codes
    if column is None:
        return np.full(len(events), -1)
    codes = np.unique(column.units, return_inverse=True)[1]
    return np.where(column.null, -1, codes)
