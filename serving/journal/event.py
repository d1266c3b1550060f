"""One live event: read from JSON, judged as a row of a file would be, and its line in the journal.

What is read is written as the next run reads it: the type in its short form, times in UTC, values
as text. Identities are told by the same law as those of files, so an event sent to the service and
the same one in a file are about the same person.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import orjson

from features import time
from features.errors import TimeError, did_you_mean
from features.identity.namespaces import identity_of
from features.settings import Identity, Project
from serving.journal.errors import (
    BadEventTime,
    FutureTime,
    InvalidEvent,
    NoEventId,
    NoEventType,
    NoIdentity,
    TimeOutOfRange,
)

KEYS = ("id", "type", "time", "identities", "attributes", "profile")
LONGEST_NAME = 200
"""Characters that an id or a type may have."""
LONGEST_TEXT = 4_000
"""Characters that a text among the attributes may have."""
MOST_NAMES = 500
"""Names that one event may have in `identities`, `attributes` or `profile`."""

# What the engine's trim takes off both ends of a text: spaces of every width, and nothing else.
_SPACES = "".join(c for c in map(chr, range(0x10000)) if unicodedata.category(c) == "Zs")


@dataclass(frozen=True)
class LiveEvent:
    """One accepted event as the journal has it. Times in microseconds.

    `identities`: `namespace:value`, normalised, personal data hashed; the first, of the highest
    priority, is the primary one. `attributes` and `profile`: declared names to text, as the next
    run reads them. `received_at`: when the service took it. `raw`: namespace to the value as sent;
    it is kept in the journal alone, from which the run makes contacts.
    """

    id: str
    event_type: str
    event_time: int
    received_at: int
    identities: tuple[str, ...]
    attributes: Mapping[str, str]
    profile: Mapping[str, str]
    raw: Mapping[str, str]

    @property
    def known_at(self) -> int:
        """From when on it counts: it has happened, and it has arrived."""
        return max(self.event_time, self.received_at)


@dataclass(frozen=True)
class Allowed:
    """What an event may say in a project: its namespaces, and the names that sources declare."""

    identity: Identity
    attributes: frozenset[str]
    profile: frozenset[str]
    time_zone: str

    @classmethod
    def by(cls, project: Project) -> Allowed:
        """Return what the events of a project may say."""
        return cls(
            project.identity,
            frozenset(name for source in project.sources for name in source.attributes),
            frozenset(name for source in project.sources for name in source.profile),
            project.time_zone,
        )


def read_event(
    body: Any, project: Project | Allowed, now: int, ignored: Counter[str] | None = None
) -> LiveEvent:
    """Read one event that arrived at `now` (microseconds).

    Names that nothing in the project declares, and values that identify nobody, are left out and
    counted in `ignored` (`attributes.NAME`). Raises a `RefusedEvent` for anything else that is
    wrong; its details name the `place`.
    """
    allowed = project if isinstance(project, Allowed) else Allowed.by(project)
    left = Counter[str]() if ignored is None else ignored
    if not isinstance(body, dict):
        raise _wrong("", body, "an object")
    for key in body:
        if key not in KEYS:
            raise InvalidEvent(
                f"The event has an unknown key {key[:60]!r}.",
                hint=did_you_mean(key[:60], KEYS),
                place=key[:60],
            )
    name = _id(body.get("id"))
    found, raw = _identities(_names(body, "identities"), allowed.identity, left)
    return LiveEvent(
        id=name,
        event_type=_type(body.get("type")),
        event_time=_time(body.get("time"), now, allowed.time_zone),
        received_at=now,
        identities=found,
        attributes=_values("attributes", _names(body, "attributes"), allowed.attributes, left),
        profile=_values("profile", _names(body, "profile"), allowed.profile, left),
        raw=raw,
    )


def short_form(event_type: str) -> str:
    """Return a type as files have it: `Order Completed` is `order_completed`; empty for nothing."""
    # Of all letters this one alone becomes two in lower case; to the engine it is an i.
    lower = event_type.strip(_SPACES).replace("\u0130", "i").lower()
    snake = re.sub(r"[^a-z0-9]+", "_", lower).strip("_")
    return re.sub(r"^([0-9])", r"e_\1", snake)


def as_text(value: str | bool | int | float) -> str:
    """Return a JSON scalar as the text that stands for it in a file; empty for a blank one."""
    if isinstance(value, str):
        return value.strip(_SPACES)
    if isinstance(value, bool):
        return "true" if value else "false"
    # Digits, never an exponent: as that a number would be read as a word.
    return format(Decimal(repr(value)), "f")


def line_of(event: LiveEvent) -> bytes:
    """Return the line of an event in the journal, its end included."""
    line = {
        "id": event.id,
        "type": event.event_type,
        "event_time": time.format_instant(event.event_time),
        "received_at": time.format_instant(event.received_at),
        "is": event.identities,
        "identities": event.raw,
        "attributes": event.attributes,
        "profile": event.profile,
    }
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def event_of(line: bytes) -> LiveEvent:
    """Return the event of a line of the journal; raises `ValueError` or `KeyError` for no line."""
    said = orjson.loads(line)
    return LiveEvent(
        id=said["id"],
        event_type=said["type"],
        event_time=time.parse_instant(said["event_time"]),
        received_at=time.parse_instant(said["received_at"]),
        identities=tuple(said["is"]),
        attributes=said["attributes"],
        profile=said["profile"],
        raw=said["identities"],
    )


def _id(said: Any) -> str:
    if said is None or said == "":
        raise NoEventId(
            "The event has no id.",
            hint="Give each event an id of its own, such as a UUID, and send it again unchanged "
            "when in doubt: it counts once.",
            place="id",
        )
    text = _named("id", said)
    if not text:
        raise NoEventId("The id of the event is blank.", hint="Send a UUID.", place="id")
    return text


def _type(said: Any) -> str:
    text = "" if said is None else short_form(_named("type", said))
    if not text:
        raise NoEventType(
            "The event does not say what happened.",
            hint='Name it with letters and digits: {"type": "purchase"}.',
            place="type",
        )
    return text


def _named(place: str, said: Any) -> str:
    if isinstance(said, bool) or not isinstance(said, str | int):
        raise _wrong(place, said, "a text")
    text = str(said).strip(_SPACES)
    if len(text) > LONGEST_NAME:
        raise InvalidEvent(
            f"{place} has {len(text):,} characters, at most {LONGEST_NAME} are allowed.",
            hint="Send a shorter one.",
            place=place,
        )
    return text


def _time(said: Any, now: int, time_zone: str) -> int:
    if said is None:
        return now
    if not isinstance(said, str):
        raise _wrong("time", said, "a text")
    try:
        moment = time.parse_instant(said[:100], time_zone)
    except (TimeError, OverflowError) as error:
        raise BadEventTime(
            "time is not a date or time.",
            hint="Write ISO 8601: 2026-03-01T12:00:00Z; without it, the event happened now.",
            place="time",
        ) from error
    if not time.within(moment, time.EARLIEST, time.LATEST):
        raise TimeOutOfRange(
            "time is before 1970 or after 2199.", hint="Send when it happened.", place="time"
        )
    if time.too_far_ahead(moment, now):
        raise FutureTime(
            "time is more than a day ahead of this service's clock.",
            hint="Send times in UTC, and set the sender's clock.",
            place="time",
        )
    return moment


def _names(body: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    said = body.get(place)
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise _wrong(place, said, "an object")
    if len(said) > MOST_NAMES:
        raise InvalidEvent(
            f"{place} has {len(said):,} names, at most {MOST_NAMES} are allowed.",
            hint="Send those that the project declares.",
            place=place,
        )
    return said


def _identities(
    said: Mapping[str, Any], settings: Identity, ignored: Counter[str]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the identities by priority, and the values they were told by."""
    known = {namespace.name for namespace in settings.namespaces}
    _count("identities", said.keys() - known, ignored)
    found, raw = [], {}
    for namespace in settings.namespaces:
        value = said.get(namespace.name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise _wrong(f"identities.{namespace.name}", value, "a text or a whole number")
        text = value if isinstance(value, str) else repr(value)
        if (identity := identity_of(settings, namespace, text)) is None:
            _count("identities", [namespace.name], ignored)
            continue
        found.append(identity)
        raw[namespace.name] = text
    if not found:
        raise NoIdentity(
            "The event has no identity that may be somebody.",
            hint=f"Send one of: {', '.join(n.name for n in settings.namespaces)}. Placeholders, "
            "and what is no e-mail address or telephone number, identify nobody.",
            place="identities",
        )
    return tuple(found), raw


def _values(
    place: str, said: Mapping[str, Any], declared: frozenset[str], ignored: Counter[str]
) -> dict[str, str]:
    _count(place, said.keys() - declared, ignored)
    found = {}
    for name in sorted(said.keys() & declared):
        value = said[name]
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InvalidEvent(
                f"{place}.{name} is no finite number.", hint="Send null.", place=f"{place}.{name}"
            )
        if not isinstance(value, str | bool | int | float):
            raise _wrong(f"{place}.{name}", value, "a text, a number or a boolean")
        text = as_text(value)
        if len(text) > LONGEST_TEXT:
            raise InvalidEvent(
                f"{place}.{name} has {len(text):,} characters, at most {LONGEST_TEXT:,} are "
                "allowed.",
                hint="Send what tells one value from another, not whole documents.",
                place=f"{place}.{name}",
            )
        if text:
            found[name] = text
    return found


def kind_of(said: Any) -> str:
    """Return what a value read from JSON is called in errors."""
    kinds: dict[type, str] = {
        type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a text",
        list: "a list", dict: "an object",
    }  # fmt: skip
    return kinds[type(said)]


def _count(place: str, names: Iterable[str], ignored: Counter[str]) -> None:
    ignored.update(f"{place}.{name[:60]}" for name in names)


def _wrong(place: str, said: Any, expected: str) -> InvalidEvent:
    return InvalidEvent(
        f"{place or 'The event'} is {kind_of(said)}, expected {expected}.",
        hint=f"Send {expected}.",
        place=place,
    )
