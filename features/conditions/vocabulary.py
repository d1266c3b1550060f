"""The names a condition may use, given by whoever reads it.

Features know events, profile attributes, identities and measures; serving adds goals and segments.
A goal's outcome or population is read with the first only, so a model is never trained on scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from features.conditions.tree import Measure

Kind = Literal["number", "text"]
"""What an event attribute holds."""
AttributeKind = Literal["number", "text", "date", "boolean"]
"""What a profile attribute holds."""


@dataclass(frozen=True)
class Vocabulary:
    """Allow-listed names with their kinds.

    `events` maps each event type to its attributes. `time_zone` reads dates written without one.
    Without goals and without segments this is the vocabulary of training.
    """

    events: Mapping[str, Mapping[str, Kind]] = field(default_factory=dict)
    attributes: Mapping[str, AttributeKind] = field(default_factory=dict)
    identities: frozenset[str] = frozenset()
    goals: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()
    measures: Mapping[str, Measure] = field(default_factory=dict)
    time_zone: str = "UTC"

    @property
    def of_training(self) -> bool:
        """Say whether scores and segments are out of reach here."""
        return not self.goals and not self.segments
