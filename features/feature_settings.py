"""Settings of what is measured: families of features by event type, and features of one's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from features.setting_values import Length, Name, Settings
from features.time import Window

Family = Literal[
    "recency", "count", "active_days", "sum", "mean", "min", "max", "distinct", "shares",
    "first", "last", "gaps", "trend", "hours", "weekdays",
]  # fmt: skip
BY_DEFAULT: tuple[Family, ...] = (
    "recency", "count", "active_days", "sum", "distinct", "gaps", "trend",
)  # fmt: skip


class EventFeatures(Settings):
    """What is measured of one event type; whatever is left out is as for all others."""

    by: Literal["person", "system"] = "person"
    """`system`: something done to the person, such as an e-mail sent. It makes no features unless
    `families` are named here, and begins no session."""
    families: tuple[Family, ...] | None = None
    """Families of this event type; those of `features` by default."""
    windows: Annotated[tuple[Length, ...], Field(min_length=1)] | None = None
    """Look-back windows of this event type; those of `features` by default."""


OwnKind = Literal[
    "count", "active_days", "sum", "mean", "min", "max", "distinct", "share", "trend", "hours",
    "weekday",
]  # fmt: skip
KEYS: dict[str, tuple[str, ...]] = {
    "count": ("window",),
    "active_days": ("window",),
    **{kind: ("attribute", "window") for kind in ("sum", "mean", "min", "max", "distinct")},
    "share": ("attribute", "value", "window"),
    "trend": ("window", "against"),
    "hours": ("start", "end", "window"),
    "weekday": ("weekday", "window"),
}
"""The keys of each kind of own feature, beside `kind` and `event`."""


class OwnFeature(Settings):
    """One feature more; its kind says [which keys](features.md#own-features) it has."""

    kind: OwnKind
    """What is measured."""
    event: Annotated[str, Field(min_length=1)]
    """Event type."""
    attribute: Name | None = None
    """Event attribute: a number for `sum`, `mean`, `min`, `max`, a text for `share`."""
    value: str | None = None
    """Value of the attribute whose share is taken."""
    window: Length | None = None
    """Look-back window; of a trend the short one."""
    against: Length | None = None
    """Long window that a trend compares with."""
    start: Annotated[int, Field(ge=0, le=23)] | None = None
    """First hour that counts."""
    end: Annotated[int, Field(ge=1, le=24)] | None = None
    """Hour from which none counts any more."""
    weekday: Annotated[int, Field(ge=1, le=7)] | None = None
    """1 = Monday, 7 = Sunday."""

    @model_validator(mode="after")
    def _of_its_kind(self) -> OwnFeature:
        given = {n for n in self.model_fields_set if n not in ("kind", "event")}
        needed = set(KEYS[self.kind])
        if given != needed:
            odd = ", ".join(sorted(given ^ needed))
            raise ValueError(f"kind {self.kind} has the keys {', '.join(KEYS[self.kind])}: {odd}")
        if self.kind == "trend" and not self.window < self.against:  # type: ignore[operator]
            raise ValueError(f"against: {self.against} is no longer than the window {self.window}")
        if self.kind == "hours" and not self.start < self.end:  # type: ignore[operator]
            raise ValueError(f"end: {self.end} is not after start {self.start}")
        return self


class Features(Settings):
    """Which behaviour is measured."""

    windows: Annotated[tuple[Length, ...], Field(min_length=1)] = tuple(
        Window.parse(text) for text in ("7d", "30d", "90d", "180d", "365d")
    )
    """Look-back windows of counts, sums and distinct counts."""
    families: tuple[Family, ...] = BY_DEFAULT
    """Families of features that every event type makes: see [features](features.md)."""
    events: tuple[str, ...] = ()
    """Event types that make features; all of them by default."""
    event_types: dict[str, EventFeatures] = {}
    """Event type to what is particular to it."""
    max_event_types: Annotated[int, Field(ge=1)] = 40
    """Event types used when none are named: the most frequent ones."""
    without: tuple[Name, ...] = ()
    """Profile attributes that make no features; conditions and files may use them all the same."""
    categories: Annotated[int, Field(ge=1, le=100)] = 10
    """Most frequent values of a categorical attribute that get a column of their own."""
    session_gap: Length | None = None
    """Silence after which the next event begins a session; without it there are no sessions."""
    identity_known: bool = False
    """Whether a person, an e-mail or a phone is known makes a feature."""
    own: tuple[OwnFeature, ...] = ()
    """Features beside those of the families."""

    def of_event(self, event: str) -> EventFeatures:
        """Return what is particular to an event type."""
        return self.event_types.get(event, EventFeatures())
