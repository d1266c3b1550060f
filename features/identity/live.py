"""Who is who a moment after the newest event: a published run's links and the events since.

A run publishes raw components: what its links reach from one another before the rules split them.
An event that has come since adds sightings. All that both reach from the identity asked about is
resolved by the same rules as everyone at one moment, so a login joins, and splits, people at once
and just as the next run will.

What a run alone can tell waits for it: spellings that no row had yet, links that fan out at both
ends, and components of more than `MOST_LINKS` links, which are published as the people they were.
Answers about these are `provisional`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, compress, pairwise
from typing import Protocol

import numpy as np

from features import time
from features.identity.graph import Graph, rules_of
from features.identity.linking import (
    DEMANDED,
    Edges,
    Flags,
    Nodes,
    Pairs,
    Rules,
    components_of,
    edges_in_order,
    edges_of,
    held,
    resolve,
)
from features.identity.moments import appeared
from features.settings import NEVER_LINK, Identity

MOST_LINKS = 500
"""Links of a raw component from which on it is published as the people it held."""


@dataclass(frozen=True)
class Component:
    """Identities that links which may hold reach from one another, in order of priority and text.

    By place: `first_seen` (microseconds) and whether it `owns` a row. `links`: two places, when
    last seen together, and whether a steward demands the link. `wide` and `bypassed`: places that
    make no links. `aliases`: other spellings, and the place each leads to. `meant`: places of
    identities spelt otherwise than they should be, and how, which is what they are sorted by.
    `apart`: pairs of identities, in it or beyond, that must not be one person. `provisional`: too
    large to be told whole.
    """

    identities: tuple[str, ...]
    first_seen: tuple[int, ...]
    owns: tuple[bool, ...]
    links: tuple[tuple[int, int, int, bool], ...] = ()
    wide: tuple[int, ...] = ()
    bypassed: tuple[int, ...] = ()
    aliases: tuple[tuple[str, int], ...] = ()
    meant: tuple[tuple[int, str], ...] = ()
    apart: tuple[tuple[str, str], ...] = ()
    provisional: bool = False


class Sighting(Protocol):
    """An event that has come since: its identities, the first one its primary, and its time."""

    @property
    def identities(self) -> tuple[str, ...]:
        """`namespace:value`, in order of priority."""

    @property
    def event_time(self) -> int:
        """When it happened (microseconds)."""


@dataclass(frozen=True)
class Person:
    """Who an identity is: the anchor that names the profile, and all identities, leading first.

    `aliases`: those of them that are other spellings of others. `provisional`: the next run may say
    otherwise.
    """

    profile_id: str
    identities: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    provisional: bool = False


def components_at(graph: Graph, as_of: int) -> Iterator[Component]:
    """Yield the raw components known at `as_of` that say more than one identity on its own does."""
    names, aliases = _spelt(graph, as_of)
    apart = graph.never.where(time.known_before(graph.never_from, as_of))
    bypassed = time.known_before(graph.bypassed_from, as_of)
    kept, wide, provisional = _kept(graph, as_of, apart, bypassed)
    seen = time.known_before(graph.seen_known, as_of)
    rows = graph.seen_key[seen], graph.seen_time[seen], graph.seen_owner[seen]
    first, owns = appeared(len(graph.rank), *rows)
    label = components_of(len(graph.rank), kept)
    special = wide | bypassed
    special[[*apart.a, *apart.b, *aliases]] = True
    known = first < time.LATEST
    told = np.flatnonzero(known & ((np.bincount(label, weights=known)[label] > 1) | special))
    told = told[np.lexsort((graph.spellings.order[told], graph.rank[told], label[told]))]
    links = np.argsort(label[kept.a], kind="stable")
    by_link = label[kept.a][links]
    place = np.zeros(len(graph.rank), dtype=np.int64)
    never: dict[int, list[tuple[str, str]]] = {}
    for a, b in zip(apart.a.tolist(), apart.b.tolist(), strict=True):
        for end in (a, b):
            never.setdefault(end, []).append((names(a), names(b)))
    starts = np.flatnonzero(np.diff(label[told], prepend=-1, append=-1))
    for start, end in pairwise(starts.tolist()):
        keys = told[start:end]
        listed = list(enumerate(keys.tolist()))
        place[keys] = np.arange(len(keys))
        own = links[slice(*np.searchsorted(by_link, label[keys[0]] + np.arange(2)))]
        columns = place[kept.a[own]], place[kept.b[own]], kept.last_seen[own], kept.always[own]
        meant = ((at, graph.overrides.aliases.get(names(key))) for at, key in listed)
        yield Component(
            identities=tuple(names(key) for _, key in listed),
            first_seen=tuple(first[keys].tolist()),
            owns=tuple(owns[keys].tolist()),
            links=tuple(zip(*(column.tolist() for column in columns), strict=True)),
            wide=tuple(np.flatnonzero(wide[keys]).tolist()),
            bypassed=tuple(np.flatnonzero(bypassed[keys]).tolist()),
            aliases=tuple((text, at) for at, key in listed for text in aliases.get(key, ())),
            meant=tuple((at, leading) for at, leading in meant if leading),
            apart=tuple(dict.fromkeys(pair for _, key in listed for pair in never.get(key, ()))),
            provisional=bool(provisional[keys[0]]),
        )


def _kept(graph: Graph, as_of: int, apart: Pairs, bypassed: Flags) -> tuple[Edges, Flags, Flags]:
    """Return the links that may hold; and, by key, who fans out and whose component is too large.

    Of a component that is too large, the links inside the people it held.
    """
    known = time.known_before(graph.link_known, as_of)
    edges = edges_in_order(graph.a[known], graph.b[known], graph.link_time[known])
    nodes = Nodes(graph.rank, graph.spellings.order)
    holds, wide = held(nodes, edges, graph.rules, bypassed)
    kept = edges.where(holds)
    label = components_of(len(nodes), kept)
    large = (np.bincount(label[kept.a], minlength=len(nodes)) > MOST_LINKS)[label]
    if large.any():
        people = resolve(nodes, edges, graph.rules, apart, bypassed).label
        kept = kept.where(~large[kept.a] | (people[kept.a] == people[kept.b]))
    return kept, wide, large


def _spelt(graph: Graph, as_of: int) -> tuple[Callable[[int], str], dict[int, list[str]]]:
    """Return what a key that stands for an identity is called, and its other spellings."""
    spellings, identities = graph.spellings, graph.identities
    name, aliases = spellings.names(as_of), dict[int, list[str]]()
    born = time.known_before(spellings.born, as_of)
    pairs = zip(spellings.member[born].tolist(), spellings.identity[born].tolist(), strict=True)
    for member, key in pairs:
        if member != name[key]:
            aliases.setdefault(key, []).append(identities[member])
    return lambda key: identities[name[key]], aliases


@dataclass(frozen=True)
class Linking:
    """The linking rules of a project, by namespace: made once, asked for every person."""

    rules: Rules
    ranks: Mapping[str, int]
    links: frozenset[str]
    unique: frozenset[str]
    person: frozenset[str]
    counted: frozenset[str]

    @classmethod
    def of(cls, settings: Identity) -> Linking:
        """Return the rules that the settings ask for."""
        spaces, rules = settings.namespaces, rules_of(settings)
        named = [space.name for space in spaces]
        return cls(
            rules,
            {name: rank for rank, name in enumerate(named)},
            frozenset(space.name for space in spaces if space.type not in NEVER_LINK),
            *(frozenset(compress(named, flags))
              for flags in (rules.unique, rules.person, rules.counted)),
        )  # fmt: skip


@dataclass
class _Reached:
    """All that published components and events reach from one identity."""

    linking: Linking
    first_seen: dict[str, int] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)
    links: dict[tuple[str, str], int] = field(default_factory=dict)
    demanded: set[tuple[str, str]] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    bypassed: set[str] = field(default_factory=set)
    apart: set[tuple[str, str]] = field(default_factory=set)
    leads: dict[str, str] = field(default_factory=dict)
    seen: dict[tuple[str, ...], tuple[int, int]] = field(default_factory=dict)
    meant: dict[str, str] = field(default_factory=dict)
    provisional: bool = False

    def take(self, component: Component) -> list[str]:
        """Add what a run knew; return the identities that are new."""
        names = component.identities
        new = [name for name in names if name not in self.first_seen]
        new += [text for text, _ in component.aliases]
        for place, name in enumerate(names):
            self._appear(name, component.first_seen[place])
            if component.owns[place]:
                self.owners.add(name)
        for a, b, last_seen, always in component.links:
            self._link(names[a], names[b], last_seen)
            if always:
                self.demanded.add((names[a], names[b]))
        self.wide.update(names[place] for place in component.wide)
        self.bypassed.update(names[place] for place in component.bypassed)
        self.apart.update(component.apart)
        self.leads.update((text, names[place]) for text, place in component.aliases)
        self.meant.update((names[place], text) for place, text in component.meant)
        self.provisional |= component.provisional
        return new

    def has(self, sighting: Sighting) -> bool:
        """Say whether an event adds nothing: its identities were seen together before and after."""
        first, last = self.seen.get(sighting.identities, (time.LATEST, time.EARLIEST))
        return first <= sighting.event_time <= last

    def see(self, sighting: Sighting, spelt: Sequence[str]) -> list[str]:
        """Add an event with its identities as they are spelt; return those that are new."""
        moment = sighting.event_time
        first, last = self.seen.get(sighting.identities, (moment, moment))
        self.seen[sighting.identities] = min(first, moment), max(last, moment)
        new = [name for name in spelt if name not in self.first_seen]
        for name in spelt:
            self._appear(name, moment)
        self.owners.add(spelt[0])
        linked = [name for name in spelt if _space(name) in self.linking.links]
        for a, b in combinations(sorted(dict.fromkeys(linked), key=self.order), 2):
            self._link(a, b, moment)
        return new

    def order(self, name: str) -> tuple[int, str]:
        """Return what identities are sorted by: priority, then text."""
        return self.linking.ranks[_space(name)], self.meant.get(name, name)

    def _appear(self, name: str, moment: int) -> None:
        self.first_seen[name] = min(moment, self.first_seen.get(name, moment))

    def _link(self, a: str, b: str, last_seen: int) -> None:
        self.links[a, b] = max(last_seen, self.links.get((a, b), last_seen))


def person_of(
    identity: str,
    component_of: Callable[[str], Component | None],
    sightings_of: Callable[[str], Sequence[Sighting]],
    linking: Linking,
) -> Person | None:
    """Return the person that holds an identity, by what a run published and events since.

    `component_of` returns the published component of an identity in any of its spellings, also of
    one on its own, or None where the run did not know it; `sightings_of` the events since that have
    an identity on them. None where nothing is known of the identity, or it owns no row.
    """
    found = _Reached(linking)
    waiting, asked = [identity], {identity}
    while waiting:
        name = waiting.pop()
        new: list[str] = []
        if name not in found.first_seen and (component := component_of(name)) is not None:
            new += found.take(component)
        for sighting in sightings_of(name):
            if found.has(sighting):
                continue
            for each in sighting.identities:
                known = component_of(each) if each not in found.first_seen else None
                if known is not None:
                    new += found.take(known)
            spelt = [found.leads.get(each, each) for each in sighting.identities]
            new += found.see(sighting, spelt)
        fresh = [each for each in new if each not in asked]
        waiting += fresh
        asked.update(fresh)
    asked_for = found.leads.get(identity, identity)
    if asked_for not in found.first_seen:
        return None
    members = _united(found, asked_for)
    if members is None:
        return _resolved(found, asked_for)
    return _person(found, members) if members & found.owners else None


def _united(found: _Reached, identity: str) -> set[str] | None:
    """Return whom links lead to from an identity; None where a rule may split them.

    The common case, without arrays: nothing is wide, bypassed or kept apart, no component has two
    values of a unique namespace, too many identities, or so many persons that one fans out.
    """
    linking = found.linking
    if found.wide or found.bypassed or found.apart:
        return None
    met: dict[str, list[str]] = {}
    for a, b in found.links:
        met.setdefault(a, []).append(b)
        met.setdefault(b, []).append(a)
    members, waiting = {identity}, [identity]
    while waiting:
        new = [each for each in met.get(waiting.pop(), ()) if each not in members]
        members.update(new)
        waiting += new
    spaces = [_space(name) for name in members]
    single = [space for space in spaces if space in linking.unique]
    persons = sum(space in linking.person for space in spaces)
    size = sum(space in linking.counted for space in spaces)
    rules = linking.rules
    splits = (
        len(single) > len(set(single)) or size > rules.max_identities or persons > rules.max_fan_out
    )
    return None if splits else members


def _resolved(found: _Reached, identity: str) -> Person | None:
    """Return the person by the rules of everyone: `features.identity.linking`."""
    names = sorted(found.first_seen, key=found.order)
    place = {name: at for at, name in enumerate(names)}
    rank = np.array([found.linking.ranks[_space(name)] for name in names], dtype=np.int64)
    nodes = Nodes(rank, np.arange(len(names), dtype=np.int64))
    sightings = [(place[a], place[b], at) for (a, b), at in found.links.items()]
    sightings += [(place[a], place[b], DEMANDED) for a, b in found.demanded]
    a, b, moment = np.array(sightings, dtype=np.int64).reshape(-1, 3).T
    apart = [(place[x], place[y]) for x, y in found.apart if x in place and y in place]
    never = Pairs(*np.array(apart, dtype=np.int64).reshape(-1, 2).T)
    wide, bypassed = (
        np.array([name in some for name in names]) for some in (found.wide, found.bypassed)
    )
    edges = edges_of(a, b, moment)
    label = resolve(nodes, edges, found.linking.rules, never, bypassed, wide).label
    own = label[place[identity]]
    members = {names[at] for at in np.flatnonzero(label == own).tolist()}
    return _person(found, members) if members & found.owners else None


def _person(found: _Reached, members: set[str]) -> Person:
    """Return the members of one component as a person, named by its anchor."""
    ranks = found.linking.ranks
    anchor = min(
        members, key=lambda name: (ranks[_space(name)], found.first_seen[name], found.order(name))
    )
    aliases = sorted(text for text, leads in found.leads.items() if leads in members)
    listed = sorted(members.union(aliases), key=lambda name: (ranks[_space(name)], name))
    return Person(anchor, tuple(listed), tuple(aliases), found.provisional)


def _space(name: str) -> str:
    return name.partition(":")[0]
