"""A history as bytes, as an online store keeps it, and back: arrays come back without a copy.

The bytes are a mark with the version and a checksum, a header (JSON: what there is, and how many),
and the arrays, one kind of number after the other, each kind where its numbers may lie:

    LH, version | crc32 of all that follows | length of the header | header, padded to 8 bytes
    int64: event times, known-at times where they differ, numbers
    int32: local days, places of texts
    int8:  local hours, which numbers are null

All of it belongs to one version of this file; another version, or a byte that is not as it was
written, is `broken_history`, never a wrong history.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from features.behavior.definitions import Definition, OfSessions
from features.behavior.history import Column, Events, History, Numbers, Texts, newest_of
from features.conditions import Condition, uses
from features.errors import StoreError

VERSION = 3
MOST_EVENTS = 50_000
"""Longer histories are not packed: no person has as many events, and an answer must not wait."""

_HEAD = struct.Struct("<2sHII")
_MARK = b"LH"
_ALIGNED = 8


class BrokenHistory(StoreError):
    """Bytes that are no packed history, or one of another version."""

    code = "broken_history"


class LongHistory(StoreError):
    """More events of one person than are packed."""

    code = "long_history"


OTHERS = ""
"""The event type under which stands what is kept of all types that nobody reads."""


@dataclass(frozen=True)
class Wanted:
    """What of a history is asked for.

    `events`: event type to the attributes of it that are read. `attributes`: of profiles.
    """

    events: Mapping[str, frozenset[str]] = field(default_factory=dict)
    attributes: frozenset[str] = frozenset()

    @classmethod
    def by(cls, definitions: Iterable[Definition], conditions: Iterable[Condition]) -> Wanted:
        """Return what definitions and conditions read."""
        events: dict[str, set[str]] = {}
        attributes = set[str]()
        for each in definitions:
            attribute = getattr(each, "attribute", None)
            if (event := getattr(each, "event", None)) is not None:
                events.setdefault(event, set()).update([attribute] if attribute else [])
            elif isinstance(each, OfSessions):
                events |= {event: events.get(event, set()) for event in each.events}
            elif attribute is not None:
                attributes.add(attribute)
        for used in map(uses, conditions):
            attributes |= used.attributes
            events |= {event: events.get(event, set()) for event in used.events}
            for event, name in used.event_attributes:
                events[event].add(name)
        kept = {event: frozenset(names) for event, names in sorted(events.items())}
        return cls(kept, frozenset(attributes))

    def of(self, history: History) -> History:
        """Return the history without what nobody asks for.

        Of all other event types those events stay, without attributes, that were the first one
        known at some moment: since then the person is known.
        """
        kept = {
            event: _with(some, self.events[event])
            for event, some in history.events.items()
            if event in self.events
        }
        others = [{OTHERS: _with(some, frozenset())} for event, some in history.events.items()
                  if event not in self.events and len(some)]  # fmt: skip
        if others:
            whole = History().joined(*others).events[OTHERS]
            earliest = np.minimum.accumulate(whole.known_at)
            kept[OTHERS] = whole.take(np.append(True, whole.known_at[1:] < earliest[:-1]))
        attributes = {n: value for n, value in history.attributes.items() if n in self.attributes}
        return replace(history, events=kept, attributes=attributes)


def _with(events: Events, names: frozenset[str]) -> Events:
    return replace(events, attributes={n: c for n, c in events.attributes.items() if n in names})


# To bytes ----------------------------------------------------------------------------------------


def pack(history: History) -> bytes:
    """Return a history as bytes; raise `LongHistory` when it holds more than `MOST_EVENTS`.

    An attribute that no event of a type states is left out, and so are texts nobody uses.
    """
    count = sum(map(len, history.events.values()))
    if count > MOST_EVENTS:
        raise LongHistory(
            f"A history of {count:,} events is not packed, at most {MOST_EVENTS:,} are.",
            hint="Such a person is answered as of the last run.",
            events=count,
        )
    longs: list[NDArray[Any]] = []
    ints: list[NDArray[Any]] = []
    bytes_: list[NDArray[Any]] = []
    listed = []
    for event, some in history.events.items():
        same = some.known_at is some.event_time or np.array_equal(some.known_at, some.event_time)
        longs += [some.event_time] if same else [some.event_time, some.known_at]
        ints.append(some.local_day)
        bytes_.append(some.local_hour)
        columns: list[list[Any]] = []
        for name, column in some.attributes.items():
            if isinstance(column, Numbers):
                if column.null.all():
                    continue
                longs.append(column.units)
                bytes_.append(column.null)
                columns.append([name])
            elif (column.codes >= 0).any():
                codes, values = _used(column)
                ints.append(codes)
                columns.append([name, values])
        listed.append([event, len(some), same, columns])
    newest = newest_of(history.events)
    header = orjson.dumps([listed, dict(history.attributes), dict(history.identities), newest])
    header += b" " * (-(len(header) + _HEAD.size) % _ALIGNED)
    body = header + _joined(longs, "<i8") + _joined(ints, "<i4") + _joined(bytes_, "i1")
    return _HEAD.pack(_MARK, VERSION, zlib.crc32(body, len(header)), len(header)) + body


def _used(column: Texts) -> tuple[NDArray[np.int32], list[str]]:
    """Return the codes of a column, counted anew, and the texts in use."""
    places: dict[int, int] = {}
    anew = [places.setdefault(c, len(places)) if c >= 0 else -1 for c in column.codes.tolist()]
    return np.array(anew, np.int32), [column.values[code] for code in places]


def _joined(arrays: list[NDArray[Any]], kind: str) -> bytes:
    return b"".join(np.ascontiguousarray(array, kind).tobytes() for array in arrays)


# From bytes --------------------------------------------------------------------------------------


def unpack(raw: bytes) -> History:
    """Return the history that `pack` made bytes of; its arrays are read-only views of them.

    Raises `BrokenHistory`.
    """
    if len(raw) < _HEAD.size:
        raise _broken("it is too short")
    mark, version, checksum, length = _HEAD.unpack_from(raw)
    if (mark, version) != (_MARK, VERSION):
        raise _broken(f"it is not of version {VERSION}")
    body = memoryview(raw)[_HEAD.size :]
    if length > len(body) or zlib.crc32(body, length) != checksum:
        raise _broken("it is not as it was written")
    listed, attributes, identities, newest = orjson.loads(body[:length])
    events = dict(_events(listed, raw, _HEAD.size + length))
    return History(events, attributes, identities, newest)


def _events(listed: list[Any], raw: bytes, start: int) -> Iterator[tuple[str, Events]]:
    """Yield the events by type, whose arrays begin at `start`: in the order they were joined in."""
    sizes = [(count, same, sum(len(each) == 1 for each in columns), len(columns))
             for _, count, same, columns in listed]  # fmt: skip
    # A type has times, those known at where they differ, and numbers; a day, and places of texts.
    many = sum(count * (1 + (not same) + numbers) for count, same, numbers, _ in sizes)
    some = sum(count * (1 + columns - numbers) for count, _, numbers, columns in sizes)
    longs = np.frombuffer(raw, "<i8", many, start)
    ints = np.frombuffer(raw, "<i4", some, start + 8 * many)
    small = np.frombuffer(raw, "i1", -1, start + 8 * many + 4 * some) if listed else ints
    truths = small.view(bool)
    at_long = at_int = at_small = 0
    for event, count, same, columns in listed:
        times = known = longs[at_long : (at_long := at_long + count)]
        if not same:
            known = longs[at_long : (at_long := at_long + count)]
        days = ints[at_int : (at_int := at_int + count)]
        hours = small[at_small : (at_small := at_small + count)]
        stated: dict[str, Column] = {}
        for name, *values in columns:
            if values:
                codes = ints[at_int : (at_int := at_int + count)]
                stated[name] = Texts(codes, tuple(values[0]))
            else:
                units = longs[at_long : (at_long := at_long + count)]
                null = truths[at_small : (at_small := at_small + count)]
                stated[name] = Numbers(units, null)
        yield event, Events(times, known, days, hours, stated)


def _broken(why: str) -> BrokenHistory:
    return BrokenHistory(
        f"A packed history cannot be read: {why}.", hint="Publish a new run with `likelier run`."
    )
