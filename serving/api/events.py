"""Events sent to the service: read one by one, so that a wrong one keeps back no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from features.erasures import Erasures
from serving.api.errors import BatchTooLarge, InvalidValue, UnknownKey
from serving.journal.erasing import without_erased
from serving.journal.errors import RefusedEvent
from serving.journal.event import Allowed, LiveEvent, read_event
from serving.journal.segment import from_segment, is_segment

MOST_EVENTS = 1_000
"""Events that one request may hold."""
MOST_TYPES = 1_000
"""Event types that one process takes: every type makes features of its own."""
MOST_SHOWN = 200
"""Characters of a refused event's id that are told again."""
SEGMENT_KEYS = ("batch", "sentAt", "context", "integrations", "writeKey", "messageId", "timestamp")
"""What stands beside the calls of a batch of Segment's libraries."""


class ErasedPerson(RefusedEvent):
    """An event of a person who was erased after it happened."""

    code = "erased_person"


class TooManyTypes(RefusedEvent):
    """An event of one type more than can be told apart: what differs each time is no type."""

    code = "too_many_types"


@dataclass
class Sent:
    """What one request held: events that can be taken, and what is wrong with the others.

    `rejected` is JSON-ready, in the order sent; `ignored` counts names that nobody declares.
    """

    events: list[LiveEvent] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def body(self, new: int) -> dict[str, Any]:
        """Return the answer; `new` of the events were not known before."""
        return {
            "accepted": new,
            "duplicates": len(self.events) - new,
            "rejected": self.rejected,
            "ignored": dict(sorted(self.ignored.items())),
        }

    def outcomes(self, new: int) -> Counter[str]:
        """Return how many events became what: `accepted`, `duplicate` or a code."""
        found = Counter(each["code"] for each in self.rejected)
        return found + Counter(accepted=new, duplicate=len(self.events) - new)


def read_events(
    body: dict[str, Any], allowed: Allowed, erased: Erasures, types: set[str], now: int
) -> Sent:
    """Read the body of `POST /events`, which arrived at `now` (microseconds).

    `types` are the event types taken before, to which those of these events are added.

    One event, `{"events": […]}`, one call of Segment's, or `{"batch": […]}` of them. Raises
    `BatchTooLarge`, `InvalidValue` or `UnknownKey` where the body as a whole is wrong.
    """
    sent = Sent()
    for index, (message, of_segment, sent_at) in enumerate(_messages(body)):
        ignored = Counter[str]()
        try:
            said = from_segment(message, sent_at, allowed, now) if of_segment else message
            event = without_erased(read_event(said, allowed, now, ignored), erased)
            if event is not None:
                _count_type(event.event_type, types)
            else:
                raise ErasedPerson(
                    "The event is of a person who was erased since it happened.",
                    hint="Stop sending what was recorded before the erasure.",
                    place="identities",
                )
        except RefusedEvent as refused:
            sent.rejected.append(_rejected(index, message, refused))
        else:
            sent.events.append(event)
            sent.ignored += ignored
    return sent


def _count_type(event_type: str, types: set[str]) -> None:
    if event_type not in types and len(types) >= MOST_TYPES:
        raise TooManyTypes(
            f"There are {MOST_TYPES:,} event types already, and this is another.",
            hint="Name what happened, such as 'product_viewed', and send what differs from event "
            "to event as attributes.",
            place="type",
        )
    types.add(event_type)


def _messages(body: dict[str, Any]) -> Iterator[tuple[Any, bool, Any]]:
    """Yield every message, whether it is in Segment's shape, and when its batch was sent."""
    if "batch" in body:
        return ((each, True, body.get("sentAt")) for each in _listed(body, "batch", SEGMENT_KEYS))
    if "events" in body:
        return ((each, is_segment(each), None) for each in _listed(body, "events", ("events",)))
    return iter([(body, is_segment(body), None)])


def _listed(body: dict[str, Any], key: str, known: tuple[str, ...]) -> list[Any]:
    for name in body:
        if name not in known:
            raise UnknownKey(
                f"Beside {key!r} the body has an unknown key {name[:60]!r}.",
                hint="What an event says stands inside it.",
                key=name[:60],
                known=list(known),
            )
    listed = body[key]
    if not isinstance(listed, list) or not listed:
        raise InvalidValue(
            f"{key} holds no list of events.", hint=f"Send 1 to {MOST_EVENTS:,} events.", key=key
        )
    if len(listed) > MOST_EVENTS:
        raise BatchTooLarge(
            f"{key} holds {len(listed):,} events, at most {MOST_EVENTS:,} are allowed in one "
            "request.",
            hint="Send several requests.",
            limit=MOST_EVENTS,
            sent=len(listed),
        )
    return listed


def _rejected(index: int, message: Any, refused: RefusedEvent) -> dict[str, Any]:
    said = message if isinstance(message, dict) else {}
    own = said.get("id", said.get("messageId"))
    return {
        "index": index,
        "id": own[:MOST_SHOWN] if isinstance(own, str) else None,
        "code": refused.code,
        "message": refused.message,
        "hint": refused.hint,
        "place": refused.details["place"],
    }
