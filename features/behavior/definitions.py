"""Feature definitions: small values from which a feature's name, unit and words are derived.

A feature is what it measures: `Count("purchase", Window.parse("30d"))` is called
`purchase_count_30d`, is a number of events, and is 0 where none was seen. Nothing about a feature
is written down twice, so its name and its meaning cannot drift apart.

`reason` groups the windows of one behaviour: a person is told once that they buy less often, not
once a window.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from features.behavior.feature import Feature as Feature
from features.behavior.feature import plain
from features.behavior.rhythm import HourShare as HourShare
from features.behavior.rhythm import Session as Session
from features.behavior.rhythm import SessionCount as SessionCount
from features.behavior.rhythm import SessionMeasure as SessionMeasure
from features.behavior.rhythm import WeekdayShare as WeekdayShare
from features.time import Window


@dataclass(frozen=True)
class Count:
    """Events of one type in a window. Null never: 0 = none seen."""

    event: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        return Feature(
            f"{self.event}_count_{self.window}",
            f"Number of {subject} events in the last {self.window.words}",
            "events",
            "0 = none seen",
            f"{self.event}_count",
            f"Number of {subject} events",
        )


@dataclass(frozen=True)
class ActiveDays:
    """Days (in the project's time zone) with at least one event of a type. 0 = none seen."""

    event: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        return Feature(
            f"{self.event}_active_days_{self.window}",
            f"Days with a {subject} in the last {self.window.words}",
            "days",
            "0 = none seen",
            f"{self.event}_active_days",
            f"Days with a {subject}",
        )


@dataclass(frozen=True)
class Sum:
    """Sum of a numeric event attribute in a window: exact in 1/10000. 0 = none seen."""

    event: str
    attribute: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{plain(self.event)} {plain(self.attribute)}"
        return Feature(
            f"{self.event}_{self.attribute}_sum_{self.window}",
            f"Total {what} in the last {self.window.words}",
            self.attribute,
            "0 = none seen",
            f"{self.event}_{self.attribute}_sum",
            f"Total {what}",
        )


StatisticMeasure = Literal["mean", "min", "max"]


@dataclass(frozen=True)
class Statistic:
    """Mean, least or greatest of a numeric event attribute in a window.

    Null = no event of the window states it. A mean is one float64 division of exact sums.
    """

    event: str
    attribute: str
    measure: StatisticMeasure
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{plain(self.event)} {plain(self.attribute)}"
        label = {"mean": "Mean", "min": "Least", "max": "Greatest"}[self.measure] + f" {what}"
        name = f"{self.event}_{self.attribute}_{self.measure}"
        return Feature(
            f"{name}_{self.window}", f"{label} in the last {self.window.words}", self.attribute,
            "null = none seen", name, label,
        )  # fmt: skip


@dataclass(frozen=True)
class Distinct:
    """Distinct values of a categorical event attribute in a window. 0 = none seen."""

    event: str
    attribute: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{plain(self.event)} {plain(self.attribute)}"
        return Feature(
            f"{self.event}_{self.attribute}_distinct_{self.window}",
            f"Different {what} values in the last {self.window.words}",
            "values",
            "0 = none seen",
            f"{self.event}_{self.attribute}_distinct",
            f"Different {what} values",
        )


@dataclass(frozen=True)
class DaysSince:
    """Days since the last event of a type. Null = never."""

    event: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Days since the last {plain(self.event)}"
        name = f"days_since_{self.event}"
        return Feature(name, label, "days", "null = never", name, label)


@dataclass(frozen=True)
class DaysSinceFirst:
    """Days since the first event of a type. Null = never."""

    event: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Days since the first {plain(self.event)}"
        name = f"days_since_first_{self.event}"
        return Feature(name, label, "days", "null = never", name, label)


@dataclass(frozen=True)
class Tenure:
    """Days since the first event of any type. Null = never (a profile known from records only)."""

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = "Days since first seen"
        return Feature("tenure_days", label, "days", "null = never", "tenure_days", label)


GapMeasure = Literal["mean", "deviation", "last", "ratio"]


@dataclass(frozen=True)
class Gap:
    """Silence between successive moments with an event of a type, over the whole history.

    Moments are distinct event times, so the lines of one invoice are one moment. `mean`,
    `deviation` (population) and `last` are in days; `ratio` is the present silence divided by the
    mean gap. Null with fewer than two moments.
    """

    event: str
    measure: GapMeasure

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        label = {
            "mean": f"Usual days between {subject} events",
            "deviation": f"Irregularity of days between {subject} events",
            "last": f"Days between the last two {subject} events",
            "ratio": f"Silence since the last {subject}, relative to the usual gap",
        }[self.measure]
        name = f"{self.event}_gap_{self.measure}"
        unit = "ratio" if self.measure == "ratio" else "days"
        return Feature(name, label, unit, "null = never", name, label)


@dataclass(frozen=True)
class Trend:
    """Rate of events in a short window over the rate in a long one: 1 = steady, 0 = stopped.

    Null when the long window holds no event.
    """

    event: str
    short: Window
    long: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = plain(self.event)
        return Feature(
            f"{self.event}_trend_{self.short}_{self.long}",
            f"{subject.capitalize()} rate of the last {self.short.words} "
            f"against the last {self.long.words}",
            "ratio",
            "null = never",
            f"{self.event}_trend",
            f"Trend of {subject} events",
        )


@dataclass(frozen=True)
class NumberAttribute:
    """A numeric profile attribute as known at as_of. Null = unknown."""

    attribute: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = plain(self.attribute).capitalize()
        return Feature(
            f"profile_{self.attribute}", label, self.attribute, "null = unknown",
            f"profile_{self.attribute}", label,
        )  # fmt: skip


@dataclass(frozen=True)
class DaysSinceAttribute:
    """Days since the date held by a profile attribute as known at as_of. Null = unknown."""

    attribute: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Days since {plain(self.attribute)}"
        return Feature(
            f"days_since_profile_{self.attribute}", label, "days", "null = unknown",
            f"profile_{self.attribute}", label,
        )  # fmt: skip


@dataclass(frozen=True)
class CategoryIs:
    """1 where a categorical profile attribute has this value at as_of, else 0.

    `value` None stands for every known value outside the listed ones (`other`). Unknown is 0 in
    every column. The columns of one attribute are one reason.
    """

    attribute: str
    value: str | None
    position: int

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = plain(self.attribute).capitalize()
        shown, suffix = _shown(self.value, self.position)
        return Feature(
            f"profile_{self.attribute}_is_{suffix}", f"{what} is {shown}", "yes/no",
            "never null", f"profile_{self.attribute}", what,
        )  # fmt: skip


@dataclass(frozen=True)
class ValueShare:
    """Of the events in a window that state an attribute, the share with this value.

    `value` None stands for every value outside the listed ones (`other`). Null = none states it.
    """

    event: str
    attribute: str
    value: str | None
    position: int
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{plain(self.event)} {plain(self.attribute)}"
        shown, suffix = _shown(self.value, self.position)
        reason = f"{self.event}_{self.attribute}_share"
        return Feature(
            f"{reason}_{suffix}_{self.window}",
            f"Share of {what} {shown} in the last {self.window.words}",
            "share",
            "null = none seen",
            reason,
            f"Mix of {what}",
        )


End = Literal["first", "last"]


@dataclass(frozen=True)
class ValueIs:
    """1 where the first or last value known of an event attribute is this one, else 0.

    Events that do not state it are skipped; of several at the same time the greatest text counts.
    `value` None stands for every value outside the listed ones (`other`). Never stated is 0 in
    every column. The columns of one end of an attribute are one reason.
    """

    end: End
    event: str
    attribute: str
    value: str | None
    position: int

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{self.end.capitalize()} {plain(self.event)} {plain(self.attribute)}"
        shown, suffix = _shown(self.value, self.position)
        reason = f"{self.end}_{self.event}_{self.attribute}"
        return Feature(
            f"{reason}_is_{suffix}", f"{what} is {shown}", "yes/no", "never null", reason, what
        )


def _shown(value: str | None, position: int) -> tuple[str, str]:
    """Return a listed value as people read it, and as names of columns end."""
    if value is None:
        return "other", "other"
    # At place 0 stands a value that no list of the most frequent ones named.
    return value, str(position) if position else "_".join(re.findall("[a-z0-9]+", value.lower()))


@dataclass(frozen=True)
class IdentityCount:
    """Identities of one namespace in the profile at as_of. 0 = none seen."""

    namespace: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Number of {plain(self.namespace)} identities"
        name = f"identity_{self.namespace}_count"
        return Feature(name, label, "identities", "0 = none seen", name, label)


@dataclass(frozen=True)
class IsKnown:
    """1 where the profile has an identity of a person, an e-mail or a phone at as_of, else 0.

    `namespaces` are those that name somebody.
    """

    namespaces: tuple[str, ...]

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = "Known by name"
        return Feature("identity_known", label, "yes/no", "never null", "identity_known", label)


Definition = (
    Count | ActiveDays | Sum | Statistic | Distinct | ValueShare | ValueIs | DaysSince
    | DaysSinceFirst | Tenure | Gap | Trend | HourShare | WeekdayShare | SessionCount | Session
    | NumberAttribute | DaysSinceAttribute | CategoryIs | IdentityCount | IsKnown
)  # fmt: skip


def names(definitions: tuple[Definition, ...]) -> Iterator[str]:
    """Yield the column names of `definitions`, in order."""
    return (definition.feature.name for definition in definitions)


Valued = ValueShare | ValueIs | CategoryIs
"""Definitions of one of several values, or of all others."""
OfSessions = SessionCount | Session


def listed_beside(definition: Valued, definitions: Iterable[Definition]) -> list[str]:
    """Return the values that have a definition like `definition`: all others are `other`."""

    def of(x: Valued) -> tuple[object, ...]:
        return tuple(getattr(x, name, None) for name in ("end", "event", "attribute"))

    alike = (x for x in definitions if isinstance(x, type(definition)) and of(x) == of(definition))
    return list(dict.fromkeys(x.value for x in alike if x.value is not None))
