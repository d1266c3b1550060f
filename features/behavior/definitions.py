"""Feature definitions: small values from which a feature's name, unit and words are derived.

A feature is what it measures: `Count("purchase", Window.parse("30d"))` is called
`purchase_count_30d`, is a number of events, and is 0 where none was seen. Nothing about a feature
is written down twice, so its name and its meaning cannot drift apart.

`reason` groups the windows of one behaviour: a person is told once that they buy less often, not
once a window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from features.time import Window

NullMeaning = Literal["0 = none seen", "null = never", "null = unknown", "never null"]


def _plain(name: str) -> str:
    return name.replace("_", " ")


@dataclass(frozen=True)
class Feature:
    """One column of the feature table, fully described. Built by a definition's `feature`."""

    name: str
    label: str
    unit: str
    null: NullMeaning
    reason: str
    reason_label: str


@dataclass(frozen=True)
class Count:
    """Events of one type in a window. Null never: 0 = none seen."""

    event: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        subject = _plain(self.event)
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
        subject = _plain(self.event)
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
        what = f"{_plain(self.event)} {_plain(self.attribute)}"
        return Feature(
            f"{self.event}_{self.attribute}_sum_{self.window}",
            f"Total {what} in the last {self.window.words}",
            self.attribute,
            "0 = none seen",
            f"{self.event}_{self.attribute}_sum",
            f"Total {what}",
        )


@dataclass(frozen=True)
class Distinct:
    """Distinct values of a categorical event attribute in a window. 0 = none seen."""

    event: str
    attribute: str
    window: Window

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        what = f"{_plain(self.event)} {_plain(self.attribute)}"
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
        label = f"Days since the last {_plain(self.event)}"
        name = f"days_since_{self.event}"
        return Feature(name, label, "days", "null = never", name, label)


@dataclass(frozen=True)
class DaysSinceFirst:
    """Days since the first event of a type. Null = never."""

    event: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Days since the first {_plain(self.event)}"
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
        subject = _plain(self.event)
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
        subject = _plain(self.event)
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
        label = _plain(self.attribute).capitalize()
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
        label = f"Days since {_plain(self.attribute)}"
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
        what = _plain(self.attribute).capitalize()
        shown = "other" if self.value is None else self.value
        suffix = "other" if self.value is None else str(self.position)
        return Feature(
            f"profile_{self.attribute}_is_{suffix}", f"{what} is {shown}", "yes/no",
            "never null", f"profile_{self.attribute}", what,
        )  # fmt: skip


@dataclass(frozen=True)
class IdentityCount:
    """Identities of one namespace in the profile at as_of. 0 = none seen."""

    namespace: str

    @property
    def feature(self) -> Feature:
        """The column this definition makes."""
        label = f"Number of {_plain(self.namespace)} identities"
        name = f"identity_{self.namespace}_count"
        return Feature(name, label, "identities", "0 = none seen", name, label)


Definition = (
    Count | ActiveDays | Sum | Distinct | DaysSince | DaysSinceFirst | Tenure | Gap | Trend
    | NumberAttribute | DaysSinceAttribute | CategoryIs | IdentityCount
)  # fmt: skip


def names(definitions: tuple[Definition, ...]) -> Iterator[str]:
    """Yield the column names of `definitions`, in order."""
    return (definition.feature.name for definition in definitions)
