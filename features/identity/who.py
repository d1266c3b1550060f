"""Who is who around one identity, or in a handful of events: what a picture of a graph shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import time
from features.identity.graph import NOBODY, Graph
from features.identity.linking import DEMANDED, Pairs, components_of

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Link:
    """Two identities seen on one row; `a` is the one of the higher priority, then by text.

    `first_seen`, `last_seen`: microseconds, or line numbers in a simulation; None where no row has
    both, and an override alone links them. `refused`: the coded reason for which the link does not
    hold; empty where it holds. `override`: `always` where a steward demands the link, `alias` where
    `b` is another spelling of `a`.
    """

    a: str
    b: str
    first_seen: int | None
    last_seen: int | None
    sightings: int
    refused: str = ""
    override: str = ""

    def seen(self, when: Callable[[int], str]) -> str:
        """Say how often both were on one row, and when last."""
        if self.last_seen is None:
            return "never seen together"
        times = f"{self.sightings} times" if self.sightings > 1 else "once"
        return f"seen together {times}, last {when(self.last_seen)}"


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

    None where no row known at `as_of` has it, in any of its spellings.
    """
    key = _key(graph, identity, as_of)
    if key is None:
        return None
    known = time.known_before(graph.link_known, as_of)
    a, b, moment = graph.a[known], graph.b[known], graph.link_time[known]
    raw = components_of(len(graph.rank), Pairs(a, b))
    near = raw[a] == raw[key]
    resolution, name = graph.at(as_of), graph.spellings.names(as_of)
    spelt = _spelt(graph, np.flatnonzero(raw == raw[key]), as_of)
    names = {each: graph.identities[each] for each in sorted(spelt)}
    reasons = resolution.refused.reasons()
    seen = links_of(name[a[near]], name[b[near]], moment[near], names, reasons)
    aliases = (Link(names[leads], names[each], None, None, 0, override="alias")
               for each, leads in sorted(spelt.items()) if each != leads)  # fmt: skip
    anchor = {each: int(resolution.anchor[each]) for each in names}
    return WhoIsWho(tuple(names.values()), profiles_of(anchor, names), (*seen, *aliases))


def _key(graph: Graph, identity: str, as_of: int) -> int | None:
    """Return the key that stands for an identity that rows known at `as_of` have, if any."""
    seen = graph.seen_key[time.known_before(graph.seen_known, as_of)]
    for text in graph.overrides.spellings(identity):
        if text in graph.identities:
            key = graph.spellings.stands_for[graph.identities.index(text)]
            if key in seen:
                return int(key)
    return None


def _spelt(graph: Graph, keys: Ints, as_of: int) -> dict[int, int]:
    """Return every spelling known at `as_of` of some identities, and the one that leads."""
    spellings, name = graph.spellings, graph.spellings.names(as_of)
    some = np.isin(spellings.identity, keys) & time.known_before(spellings.born, as_of)
    alone = keys[~np.isin(keys, spellings.identity)]
    spelt = np.concatenate([spellings.member[some], alone])
    leads = np.concatenate([name[spellings.identity[some]], alone])
    return dict(zip(spelt.tolist(), leads.tolist(), strict=True))


def links_of(
    a: Ints, b: Ints, moment: Ints, names: dict[int, str], refused: dict[tuple[int, int], str]
) -> tuple[Link, ...]:
    """Return sightings of pairs (a < b, by key) as links, one a pair, in order of keys.

    `refused` gives the reason by pair. A row at `DEMANDED` is no sighting.
    """
    times: dict[tuple[int, int], list[int]] = {}
    for first, second, at in zip(a.tolist(), b.tolist(), moment.tolist(), strict=True):
        times.setdefault((min(first, second), max(first, second)), []).append(at)
    links = []
    for (x, y), rows in sorted(times.items()):
        seen = [at for at in rows if at != DEMANDED]
        override = "always" if len(seen) < len(rows) else ""
        first_seen, last_seen = (min(seen), max(seen)) if seen else (None, None)
        why = refused.get((x, y), "")
        links.append(Link(names[x], names[y], first_seen, last_seen, len(seen), why, override))
    return tuple(links)


def profiles_of(anchor: dict[int, int], names: dict[int, str]) -> tuple[tuple[str, ...], ...]:
    """Return profiles as names, in order of keys, of what names each key's profile."""
    members: dict[int, list[int]] = {}
    for key in sorted(anchor):
        if anchor[key] != NOBODY:
            members.setdefault(anchor[key], []).append(key)
    listed: Iterable[list[int]] = sorted(members.values())
    return tuple(tuple(names[key] for key in keys) for keys in listed)
