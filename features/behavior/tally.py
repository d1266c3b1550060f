"""A person's events of several types behind one another: what live features are measured of.

A call into NumPy costs more than what it does with a few hundred events, so that all event types
and windows are measured by one call each: a table (event types, windows) is a count of the cells
that events lie in, added up over the windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior.history import Column, Events, Mask, Numbers, Texts
from features.behavior.scene import Ints

Table = NDArray[np.int64]
"""Whole numbers (event types, windows)."""


class Tally:
    """The n events of `types` that were known at `as_of`, by type and then in order of time.

    `lengths` are those of the windows in microseconds, ascending. Per event (n,): `event_time`,
    and `cells`, the one cell of its type and the shortest window that it lies in (the last one of a
    type: it lies in none). Per type: `starts` and `ends`, places of its first event and after its
    last; `there` are the types with events. n is at least 1.
    """

    def __init__(
        self, types: Sequence[str], lengths: Ints, known: Mapping[str, Events], as_of: int
    ) -> None:
        self.as_of = as_of
        self.events = [known.get(event) for event in types]
        self._some = [events for events in self.events if events is not None and len(events)]
        counts = [0 if events is None else len(events) for events in self.events]
        sizes = np.array(counts, np.int64)
        self.ends = sizes.cumsum()
        self.starts = self.ends - sizes
        self.there = sizes.nonzero()[0]
        self.event_time = _joined([events.event_time for events in self._some])
        self._types = np.arange(len(types)).repeat(sizes)
        self._shape = len(types), len(lengths) + 1
        within = time.shortest_lookback(self.event_time, as_of, lengths)
        self.cells = self._types * self._shape[1] + within
        self._numbers: dict[str, tuple[Ints, Mask]] = {}

    def table(self, cells: Ints) -> Table:
        """Return how many of `cells` lie in each window of each type."""
        return self.parted(cells, 1)[:, :, 0]

    def parted(self, cells: Ints, parts: int) -> NDArray[np.int64]:
        """Return the same of cells that are in parts: (event types, windows, parts)."""
        rows, columns = self._shape
        counts = np.bincount(cells, minlength=rows * columns * parts)
        return counts.reshape(rows, columns, parts)[:, :-1].cumsum(1)

    @cached_property
    def counts(self) -> Table:
        """How many events of each type lie in each window."""
        return self.table(self.cells)

    @cached_property
    def firsts(self) -> Ints:
        """The place of the first event of each type in each window; where none is, after all."""
        return self.ends[:, None] - self.counts

    def distinct(self, codes: Ints, nulls: Ints | None = None) -> Table:
        """Return how many codes lie in each window: no code is of two types, `nulls` do not count.

        A code is in a window exactly when its latest event is.
        """
        nowhere = self._shape[1] - 1
        latest = np.full(int(codes.max()) + 1, nowhere)
        latest[codes] = self.cells  # Of several events of a code the last one stays.
        if nulls is not None:
            latest[nulls] = nowhere
        return self.table(latest)

    @cached_property
    def days(self) -> Ints:
        """A code for every (type, local day)."""
        days = _joined([events.local_day for events in self._some])
        days = days - days.min()
        return np.asarray(self._types * (int(days.max()) + 1) + days)

    @cached_property
    def hours(self) -> Ints:
        """The hour on the clock of each event."""
        return _joined([events.local_hour for events in self._some]).astype(np.int64)

    @cached_property
    def weekdays(self) -> Ints:
        """The weekday of each event: 1 = Monday."""
        days = _joined([events.local_day for events in self._some])
        return np.asarray(time.weekday_of(days), np.int64)

    def codes(self, attribute: str) -> tuple[Ints, Ints]:
        """Return a code for every (type, value) of an attribute, and those that stand for null."""
        columns = [_codes(events, attribute) for events in self._some]
        offsets = np.zeros(self._shape[0], np.int64)
        offsets[self.there[1:]] = np.cumsum([size + 1 for _, size in columns[:-1]])
        # The first code of a type is its null: codes of a column begin with -1.
        codes = _joined([column for column, _ in columns]) + 1 + offsets[self._types]
        return codes, offsets[self.there]

    def numbers(self, attribute: str) -> tuple[Ints, Mask]:
        """Return 1/10000s, 0 where null, and where that is: also where none are numbers."""
        if attribute not in self._numbers:
            columns = [events.attributes.get(attribute) for events in self._some]
            numbers = [
                column if isinstance(column, Numbers) else _no_numbers(len(events))
                for column, events in zip(columns, self._some, strict=True)
            ]
            units = _joined([column.units for column in numbers])
            self._numbers[attribute] = units, _joined([column.null for column in numbers])
        return self._numbers[attribute]


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)


def _no_numbers(size: int) -> Numbers:
    return Numbers(np.zeros(size, np.int64), np.ones(size, bool))


def _codes(events: Events, attribute: str) -> tuple[NDArray[Any], int]:
    """Return a small whole number for every value, -1 for null, and a bound of them."""
    column: Column | None = events.attributes.get(attribute)
    if isinstance(column, Texts):
        return column.codes, len(column.values)
    if column is None:
        return np.full(len(events), -1), 0
    codes = np.unique(column.units, return_inverse=True)[1]
    return np.where(column.null, -1, codes), len(codes)
