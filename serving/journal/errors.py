"""Why one event is not taken. The codes are those of quarantined rows where both can happen."""

from __future__ import annotations

from features.errors import LikelierError


class RefusedEvent(LikelierError):
    """An event that cannot be taken; `place` in its details says where in it.

    No message repeats a value: it may be somebody's personal data.
    """

    code = "refused_event"
    status = 422


class InvalidEvent(RefusedEvent):
    """A key of an event that is missing, unknown, of the wrong type or out of bounds."""

    code = "invalid_event"


class NoEventId(RefusedEvent):
    """An event without an id, by which it counts once however often it is sent."""

    code = "no_event_id"


class NoEventType(RefusedEvent):
    """An event of which nobody said what happened."""

    code = "no_event_type"


class BadEventTime(RefusedEvent):
    """A time that cannot be read."""

    code = "bad_event_time"


class TimeOutOfRange(RefusedEvent):
    """A time before 1970 or after 2199."""

    code = "time_out_of_range"


class FutureTime(RefusedEvent):
    """A time more than a day ahead of the service's clock."""

    code = "future_time"


class NoIdentity(RefusedEvent):
    """An event without one identity that may be somebody."""

    code = "no_identity"
