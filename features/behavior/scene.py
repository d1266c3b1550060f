"""People at moments: the rows for which anything is computed, and what counts for them.

A scene is the one bridge from the spine to the event log. It says which identities a row's person
had at its as_of, and gives the events that were known then. Everything that describes behaviour
(features, conditions, outcomes) reads a scene, so the rule of what is known is applied once.
"""

from __future__ import annotations

from dataclasses import dataclass

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.engine import Engine
from features.identity.graph import NOBODY, Resolution
from features.identity.moments import RowMembers
from features.identity.spellings import Spellings
from features.profiles.merging import Policy, attributes_at
from features.spark import SparkEngine
from features.time import Window

Ints = NDArray[np.int64]
AnyEngine = Engine | SparkEngine
"""What computes the tables that renderers describe."""
EVENT_COLUMNS = ("event_time", "local_day", "local_hour", "event_type")


@dataclass(frozen=True)
class People:
    """Spine rows and their identities, in memory.

    `profile_key` and `as_of` are by row; the row id is the position. `member_row` and
    `member_key` are aligned: the identities of every row's person at the row's as_of.
    """

    profile_key: Ints
    as_of: Ints
    member_row: Ints
    member_key: Ints

    def __len__(self) -> int:
        return len(self.profile_key)

    @classmethod
    def everyone(cls, resolution: Resolution, profiles: Ints | None = None) -> People:
        """Return all profiles of a resolution (or those named), each at the resolution's as_of."""
        keys = resolution.profiles() if profiles is None else profiles
        member = np.flatnonzero(resolution.anchor != NOBODY)
        anchor = resolution.anchor[member]
        row = np.searchsorted(keys, anchor)
        found = row < len(keys)
        found[found] = keys[row[found]] == anchor[found]
        as_of = np.full(len(keys), resolution.as_of)
        return cls(keys, as_of, row[found].astype(np.int64), member[found].astype(np.int64))

    @classmethod
    def at_rows(cls, members: RowMembers, as_of: Ints) -> People:
        """Return rows resolved each at a moment of its own."""
        return cls(members.anchor, as_of, members.row, members.identity_key)

    def span(self, first: int, end: int) -> People:
        """Return the rows from place `first` to before `end`, numbered anew."""
        members = (self.member_row >= first) & (self.member_row < end)
        return People(
            self.profile_key[first:end],
            self.as_of[first:end],
            self.member_row[members] - first,
            self.member_key[members],
        )

    def only(self, kept: NDArray[np.bool_]) -> People:
        """Return the rows where `kept` is true, numbered anew."""
        number = np.cumsum(kept) - 1
        members = kept[self.member_row]
        return People(
            self.profile_key[kept],
            self.as_of[kept],
            number[self.member_row[members]].astype(np.int64),
            self.member_key[members],
        )


@dataclass(frozen=True)
class Scene:
    """People with what was known of them: tables held by the engine until `close`.

    `spine`: row_id, as_of, `profile_*`, `identity_*`. `members`: row_id, identity_key, as_of.
    `history`: row_id, as_of, event_time, local_day, local_hour, event_type, `attr_*`; only events
    known then.
    """

    engine: AnyEngine
    spine: ir.Table
    members: ir.Table
    history: ir.Table

    def close(self) -> None:
        """Let the engine forget the held tables."""
        self.engine.drop(self.spine, self.members, self.history)


@dataclass(frozen=True)
class Log:
    """The united tables that describe behaviour, as the engine reads them."""

    events: ir.Table
    observations: ir.Table
    namespace_rank: Ints
    spellings: Spellings
    namespaces: tuple[str, ...]
    attribute_kinds: dict[str, str]
    """Profile attribute to number, date, boolean or text."""
    undated: frozenset[str] = frozenset()
    """Attributes nobody dated: they may know the future, so features never see them."""
    policies: tuple[Policy, ...] = ()
    """How every attribute is merged."""

    @property
    def event_attributes(self) -> list[str]:
        """Event attribute columns, `attr_*`."""
        return [name for name in self.events.columns if name.startswith("attr_")]


def scene_of(engine: AnyEngine, log: Log, people: People, *, undated: bool = False) -> Scene:
    """Return what was known of `people`, each at their own as_of.

    `undated` lets profile attributes without a date in: for exports and segments, never for
    features, since they may know the future.
    """
    members, spine = spine_of(engine, log, people, undated=undated)
    history = engine.hold(known_history(log, members))
    return Scene(engine, spine, members, history)


def spine_of(
    engine: AnyEngine, log: Log, people: People, *, undated: bool = False
) -> tuple[ir.Table, ir.Table]:
    """Return a scene's `members` and `spine`, held by the engine, where nobody asks for events."""
    members = engine.hold(
        engine.table(
            pa.table(
                {
                    "row_id": people.member_row,
                    "identity_key": people.member_key,
                    "as_of": people.as_of[people.member_row],
                }
            )
        )
    )
    return members, engine.hold(_spine(engine, log, people, members, undated=undated))


def known_history(log: Log, members: ir.Table) -> ir.Table:
    """Return the events of `members` that were known at their as_of."""
    joined = log.events.inner_join(members, "identity_key")
    known = joined.filter(time.known_before(joined.known_at, joined.as_of))
    return known.select("row_id", "as_of", *EVENT_COLUMNS, *log.event_attributes)


def outcome_history(log: Log, members: ir.Table, length: Window) -> ir.Table:
    """Return the events of the outcome window that closed at each member's as_of (its c)."""
    joined = log.events.inner_join(members, "identity_key")
    inside = time.within(joined.event_time, joined.as_of - length.micros, joined.as_of)
    known = joined.filter(inside & time.known_before(joined.known_at, joined.as_of))
    return known.select("row_id", "as_of", *EVENT_COLUMNS, *log.event_attributes)


def _spine(
    engine: AnyEngine, log: Log, people: People, members: ir.Table, *, undated: bool
) -> ir.Table:
    rows: dict[str, object] = {
        "row_id": np.arange(len(people), dtype=np.int64),
        "as_of": people.as_of,
    }
    # Spellings of one identity are one.
    leads = log.spellings.leads(people.member_row, people.member_key)
    row, ranks = people.member_row[leads], log.namespace_rank[people.member_key[leads]]
    for rank, namespace in enumerate(log.namespaces):
        count = np.bincount(row[ranks == rank], minlength=len(people))
        rows[f"identity_{namespace}"] = count > 0
        rows[f"identities_{namespace}"] = count.astype(np.int64)
    spine = engine.table(pa.table(rows))
    kinds = {n: k for n, k in log.attribute_kinds.items() if undated or n not in log.undated}
    stated = attributes_at(log.observations, members, log.policies, kinds, undated=undated)
    if stated is None:
        return spine
    return spine.left_join(stated, "row_id").drop("row_id_right")
