"""Calls of the Segment spec (track, page, screen, identify, alias) as events of our own shape.

Source: https://segment.com/docs/connections/spec/ (common fields, and a page a call). `userId` is
the project's first namespace of type person, `anonymousId` the first cookie, `context.device.id`
the first device, and the traits `email` and `phone` the first of these types. `properties` become
attributes and traits become attributes of the person; names in another spelling (`firstName`,
`Order ID`) are also found as `first_name` and `order_id`.
"""

from __future__ import annotations

import re
from typing import Any

from features import time
from features.errors import TimeError
from features.settings import NamespaceType
from serving.journal.errors import InvalidEvent, RefusedEvent
from serving.journal.event import Allowed

NAMED = {"page": "page", "screen": "screen", "identify": "identify", "alias": "alias"}
"""Calls that say themselves what happened; `track` names it in `event`."""


class UnsupportedCall(RefusedEvent):
    """A Segment call that says nothing of a person: `group`, or one that is not known here."""

    code = "unsupported_call"


def is_segment(body: Any) -> bool:
    """Say whether a message is in Segment's shape: it has no `id`, and names as Segment does."""
    names = ("messageId", "userId", "anonymousId", "originalTimestamp", "previousId")
    return isinstance(body, dict) and "id" not in body and any(name in body for name in names)


def from_segment(message: Any, sent_at: Any, allowed: Allowed, now: int) -> dict[str, Any]:
    """Return a call as an event of our own shape; `sent_at` is the batch's, if it has one.

    Raises `InvalidEvent` or `UnsupportedCall`; values are judged later.
    """
    call = _object(message, "")
    traits = _object(call.get("traits"), "traits")
    context = _object(call.get("context"), "context")
    traits = _object(context.get("traits"), "context.traits") | traits
    properties = _object(call.get("properties"), "properties")
    if call.get("type") in ("page", "screen"):
        named = {key: call[key] for key in ("name", "category") if call.get(key) is not None}
        properties = named | properties
    return {
        "id": call.get("messageId"),
        "type": _type(call),
        "time": _time(call, sent_at, allowed, now),
        "identities": _identities(call, traits, context, allowed),
        "attributes": _declared(properties, allowed.attributes),
        "profile": _declared(traits, allowed.profile),
    }


def _type(call: dict[str, Any]) -> Any:
    kind = call.get("type", "track" if "event" in call else None)
    if kind == "track":
        return call.get("event")
    if isinstance(kind, str) and kind in NAMED:
        return NAMED[kind]
    raise UnsupportedCall(
        "The call is none that says what a person did.",
        hint="Send track, page, screen, identify or alias; a group is about no person.",
        place="type",
    )


def _time(call: dict[str, Any], sent_at: Any, allowed: Allowed, now: int) -> Any:
    """Return when it happened, corrected for the device's clock.

    timestamp = receivedAt - (sentAt - originalTimestamp), where the message tells both. One with a
    `timestamp` beside the original was corrected before.
    """
    stated, original = call.get("timestamp"), call.get("originalTimestamp")
    if stated is not None and original is not None:
        return stated
    original = original if original is not None else stated
    sent_at = call.get("sentAt", sent_at)
    if not (isinstance(original, str) and isinstance(sent_at, str)):
        return original
    try:
        happened, sent = (
            time.parse_instant(text[:100], allowed.time_zone) for text in (original, sent_at)
        )
        return time.format_instant(now - (sent - happened))
    except (TimeError, OverflowError, ValueError):
        # The event's own time is judged as it stands.
        return original


def _identities(
    call: dict[str, Any], traits: dict[str, Any], context: dict[str, Any], allowed: Allowed
) -> dict[str, Any]:
    device = _object(context.get("device"), "context.device")
    anonymous = call.get("anonymousId")
    if call.get("type") == "alias":
        anonymous = call.get("previousId", anonymous)
    told: dict[NamespaceType, tuple[str, Any]] = {
        "person": ("userId", call.get("userId")),
        "cookie": ("anonymousId", anonymous),
        "device": ("context.device.id", device.get("id")),
        "email": ("traits.email", traits.get("email")),
        "phone": ("traits.phone", traits.get("phone")),
    }
    first = {n.type: n.name for n in reversed(allowed.identity.namespaces)}
    # What the project has no namespace for goes by its own name, and is counted as left out.
    return {
        first.get(kind, name): value for kind, (name, value) in told.items() if value is not None
    }


def _declared(said: dict[str, Any], declared: frozenset[str]) -> dict[str, Any]:
    """Return names as the project declares them; a name that is there as declared counts first."""
    found = {}
    for name, value in said.items():
        other = _snake(name)
        found[other if name not in declared and other in declared else name] = value
    return found | {name: said[name] for name in said.keys() & declared}


def _snake(name: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name[:100])
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")


def _object(said: Any, place: str) -> dict[str, Any]:
    if said is None and place:
        return {}
    if not isinstance(said, dict):
        raise InvalidEvent(
            f"{place or 'The call'} is no object.", hint='Send {"…": …}.', place=place
        )
    return said
