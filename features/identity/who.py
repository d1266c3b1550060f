"""Who is who around one identity, or in a handful of events: what a picture of a graph shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import time
from features.identity.graph import NOBODY, Graph
from features.identity.linking import Pairs, components_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Link:
    """Two identities seen on one row; `a` is the one of the higher priority, then by text.

    `first_seen`, `last_seen`: microseconds, or line numbers in a simulation. `refused`: the coded
    reason for which the link does not hold; empty where it holds.
    """

    a: str
    b: str
    first_seen: int
    last_seen: int
    sightings: int
    refused: str = ""


@dataclass(frozen=True)
class WhoIsWho:
    """Identities, who they are and why. Everything is in order of priority, then of text.

    `profiles` holds the identities of each profile; an identity in none owns no row.
    """

    identities: tuple[str, ...]
    profiles: tuple[tuple[str, ...], ...]
    links: tuple[Link, ...]

    @property
    def held(self) -> tuple[Link, ...]:
        """The links that hold."""
        return tuple(link for link in self.links if not link.refused)

    @property
    def refused(self) -> tuple[Link, ...]:
        """The links that a rule refused."""
        return tuple(link for link in self.links if link.refused)


def around(graph: Graph, identity: str, as_of: int) -> WhoIsWho | None:
    """Return everyone whom links known at `as_of` reach from `identity`, refused ones included.

    None where no row known at `as_of` has it.
    """
    seen = graph.seen_key[time.known_before(graph.seen_known, as_of)]
    if identity not in graph.identities:
        return None
    key = graph.identities.index(identity)
    if key not in seen:
        return None
    known = time.known_before(graph.link_known, as_of)
    a, b, moment = graph.a[known], graph.b[known], graph.link_time[known]
    raw = components_of(len(graph.rank), Pairs(a, b))
    near = raw[a] == raw[key]
    resolution = graph.at(as_of)
    reasons = resolution.refused.reasons()
    keys = np.flatnonzero(raw == raw[key])
    names = {each: graph.identities[each] for each in keys.tolist()}
    links = links_of(a[near], b[near], moment[near], names, reasons)
    anchor = {each: int(resolution.anchor[each]) for each in names}
    return WhoIsWho(tuple(names.values()), profiles_of(anchor, names), links)


def links_of(
    a: Ints, b: Ints, moment: Ints, names: dict[int, str], refused: dict[tuple[int, int], str]
) -> tuple[Link, ...]:
    """Return sightings of pairs (a < b, by key) as links, one a pair, in order of keys.

    `refused` gives the reason by pair.
    """
    times: dict[tuple[int, int], list[int]] = {}
    for first, second, at in zip(a.tolist(), b.tolist(), moment.tolist(), strict=True):
        times.setdefault((first, second), []).append(at)
    return tuple(
        Link(names[x], names[y], min(at), max(at), len(at), refused.get((x, y), ""))
        for (x, y), at in sorted(times.items())
    )


def profiles_of(anchor: dict[int, int], names: dict[int, str]) -> tuple[tuple[str, ...], ...]:
    """Return profiles as names, in order of keys, of what names each key's profile."""
    members: dict[int, list[int]] = {}
    for key in sorted(anchor):
        if anchor[key] != NOBODY:
            members.setdefault(anchor[key], []).append(key)
    listed: Iterable[list[int]] = sorted(members.values())
    return tuple(tuple(names[key] for key in keys) for keys in listed)
