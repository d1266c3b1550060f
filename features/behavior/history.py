"""One person's history in packed arrays: what the live renderers of features and conditions read.

Grain: one person. Events lie by type, in order of time, each attribute one array; the longest
history is a few dozen arrays, which an online store can keep as bytes and hand back without a
copy. A history keeps when every event became known, so that it answers at any moment: `known(T)`
is what counted at T. Histories of several identities add up to that of the person (`joined`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import EVENT_COLUMNS, AnyEngine, Ints, Log, People, spine_of

UNITS = 10_000
"""Numbers are DECIMAL(18,4): whole 1/10000s."""

Mask = NDArray[np.bool_]
Stated = int | bool | str
"""A profile attribute: a number in 1/10000s, a date in microseconds, a boolean or a text."""


# Nobody changes these three, nor their arrays. Frozen ones take about three times as long to make,
# and an answer of five event types makes some twenty.
@dataclass(eq=False, slots=True)
class Numbers:
    """A numeric attribute of n events: `units` are 1/10000s, 0 where `null`."""

    units: Ints
    null: Mask

    def take(self, places: Any) -> Numbers:
        """Return those of some of the events."""
        return Numbers(self.units[places], self.null[places])


@dataclass(eq=False, slots=True)
class Texts:
    """A text attribute of n events: places in `values`, each there once; -1 = null."""

    codes: NDArray[np.int32]
    values: tuple[str, ...]

    def take(self, places: Any) -> Texts:
        """Return those of some of the events."""
        return Texts(self.codes[places], self.values)


Column = Numbers | Texts


@dataclass(eq=False, slots=True)
class Events:
    """The n events of one type, in order of time: arrays (n,), times in UTC microseconds.

    `known_at`: when each became known. `local_day` (days since 1970-01-01) and `local_hour` (0 to
    23) are those of the project's time zone. An attribute that no event states may be absent.
    """

    event_time: Ints
    known_at: Ints
    local_day: NDArray[np.int32]
    local_hour: NDArray[np.int8]
    attributes: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_time)

    def take(self, places: Any) -> Events:
        """Return some of the events: a mask, or places in order of time."""
        return Events(
            self.event_time[places],
            self.known_at[places],
            self.local_day[places],
            self.local_hour[places],
            {name: column.take(places) for name, column in self.attributes.items()},
        )


@dataclass(frozen=True, eq=False)
class History:
    """A person as an online store holds them.

    `events`: event type to its events. `attributes`: profile attribute to its merged value; absent
    = unknown. `identities`: namespace to the number of identities in it; absent = none.
    `newest`: no event became known later; None = not looked up yet.
    """

    events: Mapping[str, Events] = field(default_factory=dict)
    attributes: Mapping[str, Stated] = field(default_factory=dict)
    identities: Mapping[str, int] = field(default_factory=dict)
    newest: int | None = None

    def known(self, as_of: int) -> History:
        """Return the history with the events alone that were known at `as_of`."""
        newest = newest_of(self.events) if self.newest is None else self.newest
        if newest is None or time.known_before(newest, as_of):
            return self if newest == self.newest else replace(self, newest=newest)
        events = dict(self._known(as_of))
        return replace(self, events=events, newest=newest_of(events))

    def _known(self, as_of: int) -> Iterator[tuple[str, Events]]:
        for event, some in self.events.items():
            counts = time.known_before(some.known_at, as_of)
            if counts.all():
                yield event, some
            elif counts.any():
                yield event, some.take(counts)

    def joined(self, *others: Mapping[str, Events]) -> History:
        """Return the history with the events of `others` added, each by its event type."""
        parts = {event: [some] for event, some in self.events.items()}
        for events in others:
            for event, some in events.items():
                parts.setdefault(event, []).append(some)
        added = {
            event: some[0] if len(some) == 1 else _in_order(some) for event, some in parts.items()
        }
        moments = [self.newest if self.events else None, *map(newest_of, others)]
        is_said = self.newest is not None or not self.events
        newest = max((each for each in moments if each is not None), default=None)
        return History(added, self.attributes, self.identities, newest if is_said else None)


def newest_of(events: Mapping[str, Events]) -> int | None:
    """Return when the last of some events became known; None where there are none."""
    return max((int(some.known_at.max()) for some in events.values() if len(some)), default=None)


def _in_order(parts: Sequence[Events]) -> Events:
    """Return events of one type from several places as one, in order of time."""
    lengths = [len(part) for part in parts]
    names = dict.fromkeys(name for part in parts for name in part.attributes)
    whole = Events(
        np.concatenate([part.event_time for part in parts]),
        np.concatenate([part.known_at for part in parts]),
        np.concatenate([part.local_day for part in parts]),
        np.concatenate([part.local_hour for part in parts]),
        {n: _one_after_another([p.attributes.get(n) for p in parts], lengths) for n in names},
    )
    some = [part.event_time for part in parts if len(part)]
    if all(before[-1] <= after[0] for before, after in pairwise(some)):
        return whole  # What is added mostly came last.
    return whole.take(np.argsort(whole.event_time, kind="stable"))


def _one_after_another(columns: Sequence[Column | None], lengths: Sequence[int]) -> Column:
    if Texts in map(type, columns):
        return _texts([c if isinstance(c, Texts) else None for c in columns], lengths)
    numbers = [
        column
        if isinstance(column, Numbers)
        else Numbers(np.zeros(length, np.int64), np.ones(length, bool))
        for column, length in zip(columns, lengths, strict=True)
    ]
    return Numbers(
        np.concatenate([column.units for column in numbers]),
        np.concatenate([column.null for column in numbers]),
    )


def _texts(columns: Sequence[Texts | None], lengths: Sequence[int]) -> Texts:
    """Return text columns as one: the values of the first stay where they are."""
    first = columns[0].values if columns[0] else ()
    places = dict(zip(first, range(len(first)), strict=True))
    codes = [columns[0].codes if columns[0] else np.full(lengths[0], -1, np.int32)]
    for column, length in zip(columns[1:], lengths[1:], strict=True):
        values = column.values if column else ()
        # One more, so that -1 (null) finds -1.
        anew = np.array([*(places.setdefault(v, len(places)) for v in values), -1], np.int32)
        codes.append(anew[column.codes] if column else np.full(length, -1, np.int32))
    return Texts(np.concatenate(codes), tuple(places))


# From tables -------------------------------------------------------------------------------------


def histories_of(engine: AnyEngine, log: Log, people: People) -> list[History]:
    """Return the history of every row of `people`: all events of its identities, known or not.

    Attributes and identities are those of the row's own as_of. For a few thousand rows: all of
    them are held in memory.
    """
    members, spine = spine_of(engine, log, people)
    said = engine.arrow(spine.order_by("row_id")).to_pylist()
    joined = log.events.inner_join(members.drop("as_of"), "identity_key")
    columns = ("row_id", *EVENT_COLUMNS, "known_at", *log.event_attributes)
    rows = engine.arrow(joined.select(*columns).order_by("row_id", "event_type", "event_time"))
    engine.drop(members, spine)
    events: list[dict[str, Events]] = [{} for _ in said]
    for row, event, some in _runs(rows):
        events[row][event] = some
    return [replace(described_by(row), events=some) for row, some in zip(said, events, strict=True)]


def _runs(rows: pa.Table) -> Iterator[tuple[int, str, Events]]:
    """Yield the events of each row and type: `rows` are in order of row_id, type and time."""
    whole, row = _whole(rows), rows["row_id"].to_numpy()
    types = rows["event_type"].combine_chunks().dictionary_encode()
    codes, names = types.indices.to_numpy(), types.dictionary.to_pylist()
    anew = np.flatnonzero((np.diff(row) != 0) | (np.diff(codes) != 0)) + 1
    edges = [0, *anew.tolist(), len(row)] if len(row) else []
    for start, end in pairwise(edges):
        yield int(row[start]), names[codes[start]], whole.take(slice(start, end))


def described_by(spine_row: Mapping[str, Any]) -> History:
    """Return a history without events: what a row of a scene's spine says of the person."""
    attributes = {
        name.removeprefix("profile_"): whole_units(value) if isinstance(value, Decimal) else value
        for name, value in spine_row.items()
        if name.startswith("profile_") and value is not None
    }
    counts = {
        name.removeprefix("identities_"): count
        for name, count in spine_row.items()
        if name.startswith("identities_") and count
    }
    return History(attributes=attributes, identities=counts)


def whole_units(number: Decimal) -> int:
    """Return a DECIMAL(18,4) in 1/10000s."""
    return int(number.scaleb(4))


def events_by_type(rows: pa.Table) -> dict[str, Events]:
    """Return one person's events by type.

    A row each: event_type, event_time, known_at, local_day, local_hour, and `attr_*` as
    DECIMAL(18,4) or text.
    """
    table = rows.sort_by("event_time")
    whole = _whole(table)
    types = table["event_type"].combine_chunks().dictionary_encode()
    codes = types.indices.to_numpy()
    return {
        event: whole.take(codes == code) for code, event in enumerate(types.dictionary.to_pylist())
    }


def _whole(table: pa.Table) -> Events:
    """Return the rows of a table, of whatever types, as they lie."""
    return Events(
        table["event_time"].to_numpy(),
        table["known_at"].to_numpy(),
        table["local_day"].to_numpy().astype(np.int32),
        table["local_hour"].to_numpy().astype(np.int8),
        {
            name.removeprefix("attr_"): _column(table[name].combine_chunks())
            for name in table.column_names
            if name.startswith("attr_")
        },
    )


def _column(stated: pa.Array) -> Column:
    if pa.types.is_decimal(stated.type):
        # Arrow has 128 bits a number; of DECIMAL(18,4) the lower half is the whole number.
        halves = np.frombuffer(stated.fill_null(0).buffers()[1], np.int64)
        start = 2 * stated.offset
        return Numbers(halves[start : start + 2 * len(stated) : 2].copy(), _nulls(stated))
    coded = stated.dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Texts(codes, tuple(coded.dictionary.to_pylist()))


def _nulls(stated: pa.Array) -> Mask:
    return np.asarray(stated.is_null().to_numpy(zero_copy_only=False), dtype=bool)
