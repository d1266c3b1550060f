"""The online store: what a run publishes for answering about one person at a time.

One generation is immutable. It holds every profile, the identities that lead to it, for each goal
the feature vector of every person who was eligible, and of every person the events that features
are made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from features.behavior.arriving import Arrived
from features.behavior.history import History
from features.errors import StoreError
from features.identity.live import Component
from serving.journal.event import LiveEvent

Floats = NDArray[np.float64]


class OnlineStoreError(StoreError):
    """An online store that cannot be read, or rows that cannot be written as one generation."""

    code = "bad_online_store"


class OnlineStoreAway(StoreError):
    """An online store on another machine that does not answer, or has lost what it held."""

    code = "online_store_away"


@dataclass(frozen=True)
class ProfileRecord:
    """One person as the service shows them.

    `known`: has an identity of a person, an e-mail address or a phone. `attributes` and `measures`
    are JSON-ready, null = unknown or not defined. `segments` holds `{"segment", "since"}`; `since`,
    `first_seen` and `last_seen` are microseconds. `aliases`: other spellings of the identities,
    which lead here too.
    """

    profile_id: str
    known: bool
    identities: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[Mapping[str, Any], ...] = ()
    first_seen: int | None = None
    last_seen: int | None = None
    measures: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


class OnlineStore(Protocol):
    """One generation, read only. Every method may be called from several threads.

    One on another machine raises `OnlineStoreAway` from any of them.
    """

    @property
    def meta(self) -> Mapping[str, Any]:
        """The facts of the generation: `{"project", "as_of", "goals": {goal: {...}}, "live"}`."""

    def profile_id_of(self, identity: str) -> str | None:
        """Return the profile that holds an identity (`namespace:value`), or None."""

    def profile(self, profile_id: str) -> ProfileRecord | None:
        """Return a profile, or None when there is none of that id."""

    def vector(self, profile_id: str, goal: str) -> Floats | None:
        """Return the features (n,) of a person eligible for `goal`, NaN = null; None otherwise."""

    def history(self, profile_id: str) -> History | None:
        """Return what live features of a person are made of; None where it is not kept.

        All events of the person's identities that features or conditions of goals read, known at
        the generation's as_of or not. Raises `BrokenHistory`.
        """

    def part(self, identity: str) -> History | None:
        """Return what a person's history has of one identity; None where it is all of its person.

        Attributes are those that the identity alone would have.
        """

    def component(self, identity: str) -> Component | None:
        """Return whom links reach from an identity in any spelling; None where they reach nobody.

        An identity on its own has none unless a rule or an override says something of it.
        """

    def sample(self, goal: str) -> Floats | None:
        """Return any one vector of `goal`, or None when nobody was eligible."""

    def epoch(self) -> str:
        """Return what changes when the store may have lost something since."""

    def close(self) -> None:
        """Let go of the generation; reading after it is an error."""


class Recent(Protocol):
    """The events received since a generation was made. May be called from several threads.

    A view of the journal, and no more lasting than its generation.
    """

    def add(self, events: Sequence[LiveEvent]) -> None:
        """Take in events, each under all its identities; one of a known id changes nothing."""

    def of(self, identities: Sequence[str]) -> list[Arrived]:
        """Return the events under these identities, each once."""
