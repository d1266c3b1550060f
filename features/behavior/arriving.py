"""Events as they arrive, one at a time, read into the arrays of a history.

What a run does to the rows of a file is done here to one event: numbers to 1/10000s, the day and
the hour on the clock of the project's time zone. The two agree to the bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from features import time
from features.behavior.history import Column, Events, History, Numbers, Texts
from features.behavior.packed import OTHERS, Wanted
from features.conditions.vocabulary import Kind
from features.profiles.attributes import NUMBER
from features.time import MICROS_PER_SECOND

_NUMBER = re.compile(NUMBER)
_UNIX_DAY = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


class Arrived(NamedTuple):
    """One event: its id, type, times (microseconds), local clock, what it states, and of whom.

    `attributes`: numbers in 1/10000s, texts as they are; what is not stated is absent.
    `identities`: `namespace:value`, the first of them the primary one.
    """

    id: str
    event_type: str
    event_time: int
    known_at: int
    local_day: int
    local_hour: int
    attributes: Mapping[str, int | str]
    identities: tuple[str, ...] = ()


def to_bytes(event: Arrived) -> bytes:
    """Return an event as an online store keeps it."""
    return orjson.dumps(tuple(event))


def from_bytes(raws: Sequence[bytes]) -> list[Arrived]:
    """Return the events that `to_bytes` made bytes of, in order."""
    listed = orjson.loads(b"[" + b",".join(raws) + b"]")
    return [Arrived._make([*each[:-1], tuple(each[-1])]) for each in listed]


def units_of(text: str) -> int | None:
    """Return a number's text in 1/10000s, halves away from zero; None where it is no number."""
    if not _NUMBER.match(text) or text.endswith("\n"):
        return None
    return int(Decimal(text).scaleb(4).to_integral_value(ROUND_HALF_UP))


@dataclass(frozen=True)
class Reader:
    """Reads events as one run read its own.

    `wanted`: of which types what is read; all other types are one (`OTHERS`). `kinds`: event
    attribute to number or text, as the run found them; one it did not know is not read.
    """

    wanted: Wanted
    kinds: Mapping[str, Kind]
    time_zone: str

    def read(
        self,
        id: str,
        event_type: str,
        event_time: int,
        known_at: int,
        stated: Mapping[str, str],
        identities: Sequence[str] = (),
    ) -> Arrived:
        """Return one event; `stated` are its attributes as text, none of them empty."""
        names = self.wanted.events.get(event_type)
        local = datetime.fromtimestamp(event_time // MICROS_PER_SECOND, time.zone(self.time_zone))
        attributes: dict[str, int | str] = {}
        for name in stated.keys() & (names or ()):
            value = units_of(stated[name]) if self.kinds.get(name) == "number" else stated[name]
            if value is not None and name in self.kinds:
                attributes[name] = value
        return Arrived(
            id,
            OTHERS if names is None else event_type,
            event_time,
            known_at,
            local.toordinal() - _UNIX_DAY,
            local.hour,
            attributes,
            tuple(identities),
        )

    def joined(self, history: History, arrived: Iterable[Arrived]) -> History:
        """Return a history with events that arrived; of the same id the first one counts.

        Mostly one more event of a type came last: it is put behind the others, which takes half the
        time of joining arrays.
        """
        added, others = dict(history.events), dict[str, Events]()
        newest = history.newest
        for event, some in _by_type(arrived).items():
            before = added.get(event)
            after = _with_last(before, some[0]) if before and len(some) == 1 else None
            if after is None:
                others[event] = self._packed(some)
                continue
            added[event] = after
            newest = None if newest is None else max(newest, some[0].known_at)
        longer = History(added, history.attributes, history.identities, newest)
        return longer.joined(others) if others else longer

    def events(self, arrived: Iterable[Arrived]) -> dict[str, Events]:
        """Return events by type, as a history has them; of the same id the first one counts."""
        return {event: self._packed(some) for event, some in _by_type(arrived).items()}

    def _packed(self, some: list[Arrived]) -> Events:
        names = dict.fromkeys(name for each in some for name in each.attributes)
        return Events(
            np.array([each.event_time for each in some], np.int64),
            np.array([each.known_at for each in some], np.int64),
            np.array([each.local_day for each in some], np.int32),
            np.array([each.local_hour for each in some], np.int8),
            {name: self._column(name, [x.attributes.get(name) for x in some]) for name in names},
        )

    def _column(self, name: str, stated: list[int | str | None]) -> Column:
        if self.kinds[name] == "number":
            null = np.array([value is None for value in stated])
            return Numbers(np.array([value or 0 for value in stated], np.int64), null)
        places: dict[str, int] = {}
        codes = [-1 if v is None else places.setdefault(str(v), len(places)) for v in stated]
        return Texts(np.array(codes, np.int32), tuple(places))


def _by_type(arrived: Iterable[Arrived]) -> dict[str, list[Arrived]]:
    """Return events by type, in order of time; of the same id the first one counts."""
    by_type: dict[str, list[Arrived]] = {}
    for each in {each.id: each for each in reversed([*arrived])}.values():
        by_type.setdefault(each.event_type, []).append(each)
    for some in by_type.values():
        some.sort(key=lambda each: each.event_time)
    return by_type


def _with_last(events: Events, last: Arrived) -> Events | None:
    """Return events with one more behind them; None where it is not the last, or states more."""
    if last.event_time < events.event_time[-1] or last.attributes.keys() - events.attributes:
        return None
    stated = last.attributes
    return Events(
        _longer(events.event_time, last.event_time),
        _longer(events.known_at, last.known_at),
        _longer(events.local_day, last.local_day),
        _longer(events.local_hour, last.local_hour),
        {
            name: _column_with(column, stated.get(name))
            for name, column in events.attributes.items()
        },
    )


def _column_with(column: Column, value: int | str | None) -> Column:
    if isinstance(column, Numbers):
        return Numbers(_longer(column.units, value or 0), _longer(column.null, value is None))
    if value is None:
        return Texts(_longer(column.codes, -1), column.values)
    text = str(value)
    values = column.values if text in column.values else (*column.values, text)
    return Texts(_longer(column.codes, values.index(text)), values)


def _longer(array: NDArray[Any], value: Any) -> NDArray[Any]:
    longer = np.empty(len(array) + 1, array.dtype)
    longer[:-1], longer[-1] = array, value
    return longer
