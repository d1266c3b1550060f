"""The loops of `features.behavior.tally`, compiled to machine code by Numba when first called.

Events (n,) lie by type, each type in order of time: the events of type i end before `ends[i]`.
`within` is, by event, the column of the shortest of a table's windows that it lies in; one past the
last column: in none. All sums are of whole numbers, and divisions are the table renderer's, so that
the bits are the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.compiling import compiled
from features.time import MICROS_PER_DAY, MICROS_PER_SECOND

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SECONDS_PER_DAY = MICROS_PER_DAY / MICROS_PER_SECOND


@compiled
def _add_up(table: Ints) -> None:
    """Let every window have what the shorter ones before it have."""
    for row in range(table.shape[0]):
        for column in range(1, table.shape[1]):
            table[row, column] += table[row, column - 1]


@compiled
def counted(within: Ints, ends: Ints, columns: int) -> Ints:
    """Return how many events of each type lie in each window: (types, columns)."""
    table, at = np.zeros((len(ends), columns), np.int64), 0
    for row in range(len(ends)):
        while at < ends[row]:
            if within[at] < columns:
                table[row, within[at]] += 1
            at += 1
    _add_up(table)
    return table


@compiled
def parted(part: Ints, parts: int, within: Ints, ends: Ints, columns: int) -> NDArray[np.int64]:
    """Return the same by `part` (n,) of an event, 0 to `parts` - 1: (types, columns, parts)."""
    table, at = np.zeros((len(ends), columns, parts), np.int64), 0
    for row in range(len(ends)):
        while at < ends[row]:
            if within[at] < columns:
                table[row, within[at], part[at]] += 1
            at += 1
        for column in range(1, columns):
            table[row, column] += table[row, column - 1]
    return table


@compiled
def summed(units: Ints, within: Ints, ends: Ints, columns: int) -> Ints:
    """Return the sum of `units` (n,) of each type and window: (types, columns).

    The caller sees to it that no sum is too large for an int64.
    """
    table, at = np.zeros((len(ends), columns), np.int64), 0
    for row in range(len(ends)):
        while at < ends[row]:
            if within[at] < columns:
                table[row, within[at]] += units[at]
            at += 1
    _add_up(table)
    return table


@compiled
def distinct(codes: Ints, least: int, within: Ints, ends: Ints, columns: int) -> Ints:
    """Return how many `codes` (n,) each type has in each window: (types, columns).

    Codes lie close together; those below `least` do not count. One is in a window when any of its
    events is.
    """
    table, at = np.zeros((len(ends), columns), np.int64), 0
    first, last = codes.max(), codes.max()
    for code in codes:
        if code >= least:
            first = min(first, code)
    shortest = np.empty(last - first + 1, np.int64)
    for row in range(len(ends)):
        shortest[:] = columns
        while at < ends[row]:
            if codes[at] >= least:
                place = codes[at] - first
                shortest[place] = min(shortest[place], within[at])
            at += 1
        for column in shortest:
            if column < columns:
                table[row, column] += 1
    _add_up(table)
    return table


@compiled
def widest(units: Ints) -> int:
    """Return the greatest distance of `units` from 0; 0 of none."""
    most = 0
    for unit in units:
        most = max(most, abs(unit))
    return most


@compiled
def distances(event_time: Ints, ends: Ints, as_of: int) -> Floats:
    """Return the days since the first and the last event of each type: (2, types); NaN = none."""
    table, start = np.full((2, len(ends)), np.nan), 0
    for row in range(len(ends)):
        if ends[row] > start:
            table[0, row] = np.float64(as_of - event_time[start]) / MICROS_PER_DAY
            table[1, row] = np.float64(as_of - event_time[ends[row] - 1]) / MICROS_PER_DAY
        start = ends[row]
    return table


@compiled
def silences(event_time: Ints, ends: Ints, as_of: int) -> Floats:
    """Return mean, deviation, last and ratio of the silences of each type: (4, types), in days.

    Events at one time are one moment: between them there is no silence. NaN where a type has fewer
    than two moments. The deviation is made of whole seconds.
    """
    table = np.full((4, len(ends)), np.nan)
    start = 0
    for row in range(len(ends)):
        number, squares, last = 0, 0, 0
        for at in range(start + 1, ends[row]):
            gap = event_time[at] - event_time[at - 1]
            if gap > 0:
                number, last = number + 1, gap
            seconds = event_time[at] // MICROS_PER_SECOND - event_time[at - 1] // MICROS_PER_SECOND
            squares += seconds * seconds
        if number:
            begin, end = event_time[start], event_time[ends[row] - 1]
            total = np.float64(end // MICROS_PER_SECOND - begin // MICROS_PER_SECOND)
            count, span = np.float64(number), np.float64(end - begin)
            spread = max(count * np.float64(squares) - total * total, 0.0)
            table[0, row] = span / (count * MICROS_PER_DAY)
            table[1, row] = np.sqrt(spread) / count / SECONDS_PER_DAY
            table[2, row] = np.float64(last) / MICROS_PER_DAY
            table[3, row] = np.float64(as_of - end) / span * count
        start = ends[row]
    return table
