"""Definitions of when people come: hours and weekdays on the clock, and sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from features.behavior.feature import Feature, plain
from features.time import Window

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class HourShare:
    """Share of the events in a window that happened from `start` to before `end` o'clock.

    Hours (0 to 24) are those of the project's time zone. Null = none seen in the window.
    """

    event: str
    start: int
    end: int
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        reason = f"{self.event}_hours"
        return Feature(
            f"{reason}_{self.start}_{self.end}_{self.window}",
            f"Share of {subject} events from {self.start:02}:00 to {self.end:02}:00 "
            f"in the last {self.window.words}",
            "share",
            "null = none seen",
            reason,
            f"Hours of {subject} events",
        )


@dataclass(frozen=True)
class WeekdayShare:
    """Share of the events in a window that happened on a weekday: 1 = Monday, 7 = Sunday.

    Days are those of the project's time zone. Null = none seen in the window.
    """

    event: str
    weekday: int
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        reason = f"{self.event}_weekday"
        return Feature(
            f"{reason}_{self.weekday}_{self.window}",
            f"Share of {subject} events on {WEEKDAYS[self.weekday - 1]}s "
            f"in the last {self.window.words}",
            "share",
            "null = none seen",
            reason,
            f"Weekdays of {subject} events",
        )


@dataclass(frozen=True)
class SessionCount:
    """Sessions that began in a window. 0 = none seen.

    A session is a run of events of the types `events` with no silence longer than `gap`.
    """

    gap: Window
    events: tuple[str, ...]
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = "Number of sessions"
        return Feature(
            f"session_count_{self.window}", f"{label} in the last {self.window.words}",
            "sessions", "0 = none seen", "session_count", label,
        )  # fmt: skip


SessionMeasure = Literal["length_mean", "length_last", "events_now"]


@dataclass(frozen=True)
class Session:
    """A measure of the sessions of the whole history; what a session is: `SessionCount`.

    `length_mean` and `length_last` are the minutes from first to last event of all sessions and of
    the latest one, null = never. `events_now` is the number of events in the session that goes on
    at as_of: 0 once the silence is longer than `gap`.
    """

    measure: SessionMeasure
    gap: Window
    events: tuple[str, ...]

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        name = f"session_{self.measure}"
        if self.measure == "events_now":
            label = "Events in the present session"
            return Feature(name, label, "events", "0 = none seen", name, label)
        label = f"Length of {'the last session' if self.measure == 'length_last' else 'sessions'}"
        return Feature(name, label, "minutes", "null = never", name, label)
