"""Everyone at one as_of in figures: what the unification report says of identities and links.

Counted while profiles are written, when all of it is at hand, and kept beside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import People, Scene
from features.identity.graph import Graph, Resolution
from features.identity.linking import REASONS, Refused
from features.settings import Identity
from features.time import Window

IDLE_DAYS = (7, 30, 60, 90, 120)
SIZES = (1, 2, 3, 4, 5, 10, 20, 50)
"""Upper bounds of the size classes; one more has what is larger."""
MOST_NAMED = 10
"""Profiles, and identities a reason, that are named."""
MOST_OVERLAPS = 50

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def counted(
    graph: Graph,
    identity: Identity,
    resolution: Resolution,
    people: People,
    profiles: pa.Table,
    events: Ints,
) -> dict[str, Any]:
    """Return what a report says of everyone at one as_of, JSON-ready.

    `profiles` is the table of `people`, and `events` says how many each of them has.
    """
    crowd = _Crowd(graph, identity, resolution, people, profiles, events)
    return {
        "namespaces": crowd.namespaces(),
        "overlaps": crowd.overlaps(),
        "idle": crowd.idle(),
        "sizes": crowd.sizes(),
        "largest": crowd.largest(),
        "refused": refused_links(graph, resolution.refused),
    }


def events_of(scene: Scene, rows: int) -> Ints:
    """Return the number of events known of each row of a scene."""
    history = scene.history
    found = scene.engine.arrow(history.group_by("row_id").aggregate(events=history.count()))
    events = np.zeros(rows, dtype=np.int64)
    events[found["row_id"].to_numpy()] = found["events"].to_numpy()
    return events


class _Crowd:
    """Everyone at one as_of as arrays by profile: what the counts share."""

    def __init__(
        self,
        graph: Graph,
        identity: Identity,
        resolution: Resolution,
        people: People,
        profiles: pa.Table,
        events: Ints,
    ) -> None:
        self.graph, self.people, self.events = graph, people, events
        known = time.known_before(graph.seen_known, resolution.as_of)
        self.seen = np.unique(graph.seen_key[known])
        self.names = [space.name for space in identity.namespaces]
        self.types = [space.type for space in identity.namespaces]
        self.known: Flags = profiles["known"].to_numpy(zero_copy_only=False).astype(bool)
        self.last_seen = profiles["last_seen"].fill_null(time.EARLIEST).to_numpy().astype(np.int64)
        ranks = graph.rank[people.member_key]
        self.holds = np.zeros((len(people), len(self.names)), dtype=np.int64)
        np.add.at(self.holds, (people.member_row, ranks), 1)
        self.size = self.holds.sum(axis=1)

    def namespaces(self) -> list[dict[str, Any]]:
        """Return, by namespace, identities seen and the profiles that hold one."""
        identities = np.bincount(self.graph.rank[self.seen], minlength=len(self.names))
        has = self.holds > 0
        known = has[self.known].sum(axis=0)
        anonymous = has[~self.known].sum(axis=0)
        return [
            {"namespace": name, "type": self.types[rank], "identities": int(identities[rank]),
             "profiles": int(known[rank] + anonymous[rank]), "known": int(known[rank]),
             "anonymous": int(anonymous[rank])}
            for rank, name in enumerate(self.names)
        ]  # fmt: skip

    def overlaps(self) -> list[dict[str, Any]]:
        """Return the profiles that hold exactly these namespaces, most first."""
        has = self.holds > 0
        code = np.zeros(len(has), dtype=np.int64)
        for column in has.T:
            # Numbered anew at each namespace: codes stay small, however many there are.
            code = np.unique(code * 2 + column, return_inverse=True)[1]
        _, first, counts = np.unique(code, return_index=True, return_counts=True)
        held = has[first]
        order = np.argsort(-counts, kind="stable")[:MOST_OVERLAPS]
        return [
            {"namespaces": [name for name, has in zip(self.names, held[place], strict=True) if has],
             "profiles": int(counts[place])}
            for place in order
        ]  # fmt: skip

    def idle(self) -> list[dict[str, Any]]:
        """Return anonymous profiles without an event for so many days, by their namespace.

        `alone`: those of one identity; `events`: all the events they have.
        """
        rank = self.graph.rank[self.people.profile_key]
        found = []
        for days in IDLE_DAYS:
            window = Window(days * time.MICROS_PER_DAY)
            idle = ~self.known & ~time.within_lookback(self.last_seen, self.people.as_of, window)
            for place in np.unique(rank[~self.known]).tolist():
                mine = idle & (rank == place)
                alone, events = int((mine & (self.size == 1)).sum()), int(self.events[mine].sum())
                found.append({"days": days, "namespace": self.names[place],
                              "profiles": int(mine.sum()), "alone": alone,
                              "events": events})  # fmt: skip
        return found

    def sizes(self) -> list[dict[str, Any]]:
        """Return the profiles of each size: how many identities they have."""
        counts = np.bincount(np.searchsorted(SIZES, self.size), minlength=len(SIZES) + 1)
        lower = [1, *(bound + 1 for bound in SIZES)]
        return [
            {"from": low, "to": high, "profiles": int(count)}
            for low, high, count in zip(lower, [*SIZES, None], counts, strict=True)
        ]

    def largest(self) -> list[dict[str, Any]]:
        """Return the profiles with most identities; of equals, in order of their names."""
        order = np.lexsort((self.people.profile_key, -self.size))[:MOST_NAMED]
        return [
            {"profile_id": self.graph.identities[int(self.people.profile_key[row])],
             "identities": int(self.size[row]), "events": int(self.events[row]),
             "namespaces": {name: count for name, count
                            in zip(self.names, self.holds[row].tolist(), strict=True) if count}}
            for row in order
        ]  # fmt: skip


def refused_links(graph: Graph, refused: Refused) -> list[dict[str, Any]]:
    """Return, by reason, the links refused and the identities that lost most of them."""
    found = []
    for reason, links in refused.counts().items():
        mine = refused.reason == REASONS.index(reason)
        ends = np.concatenate([refused.a[mine], refused.b[mine]])
        keys, counts = np.unique(ends, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:MOST_NAMED]
        most = [
            {"identity": graph.identities[int(keys[place])], "links": int(counts[place])}
            for place in order
        ]
        found.append({"reason": reason, "links": links, "identities": most})
    return found
