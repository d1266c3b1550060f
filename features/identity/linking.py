"""The linking rules: which links hold, and who is one person.

People are the connected components of the links known. Where a component would hold two values of
a unique namespace, more identities than allowed, or a pair that a steward keeps apart, its links
are laid again one by one: first those that a steward demands, then those of its newest event, then
by the sum of the two priorities ascending, then newest first, then by key; a link that would break
a rule is refused and kept on record with its reason. Only offending components are replayed, so
the common case runs at the speed of the library.

A demanded link may fan out and may make a person too large; it never brings two values of a unique
namespace, or a pair kept apart, together. Where several reasons hold, the first of `REASONS` is
given.

Source: Adobe's identity optimization algorithm, in the reading that reproduces its published cases
(newest event first, then sum of priorities).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from features import time

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

REFUSED_BYPASSED = "bypassed"
REFUSED_FAN_OUT = "fan_out"
REFUSED_NEVER = "never_link"
REFUSED_UNIQUE = "unique_namespace"
REFUSED_SIZE = "max_identities"
REASONS = (REFUSED_BYPASSED, REFUSED_FAN_OUT, REFUSED_NEVER, REFUSED_UNIQUE, REFUSED_SIZE)

DEMANDED = -1
"""Event time of a link that a steward demands: before all time, for it is no sighting."""
_HELD, _BYPASSED, _FAN_OUT, _REPLAYED = -1, 0, 1, 1
"""Positions in `REASONS`; what the replay says comes after `_REPLAYED`."""


@dataclass(frozen=True)
class Rules:
    """What a person may hold. Arrays are by namespace rank, 0 = highest priority.

    `unique`: at most one value a person; `person`: a person namespace; `counted`: counts towards
    `max_identities` (everything but sessions).
    """

    unique: Flags
    person: Flags
    counted: Flags
    max_fan_out: int
    max_identities: int


@dataclass(frozen=True)
class Nodes:
    """Identities under consideration, by position: `rank` of the namespace and a total `order`."""

    rank: Ints
    order: Ints

    def __len__(self) -> int:
        return len(self.rank)


def _nothing() -> Ints:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Pairs:
    """Pairs of nodes, by position."""

    a: Ints = field(default_factory=_nothing)
    b: Ints = field(default_factory=_nothing)

    def __len__(self) -> int:
        return len(self.a)

    def where(self, kept: Flags) -> Pairs:
        """Return the pairs where `kept` is true."""
        return Pairs(self.a[kept], self.b[kept])


@dataclass(frozen=True)
class Edges:
    """Pairs of nodes, each once, and when they were last seen together (microseconds).

    `always`: a steward demands the link; `last_seen` is `DEMANDED` where there is no sighting.
    """

    a: Ints
    b: Ints
    last_seen: Ints
    always: Flags

    def __len__(self) -> int:
        return len(self.a)

    def where(self, kept: Flags) -> Edges:
        """Return the edges where `kept` is true."""
        if kept.all():
            return self
        return Edges(self.a[kept], self.b[kept], self.last_seen[kept], self.always[kept])


@dataclass(frozen=True)
class Refused:
    """Refused links: positions or keys a and b, and why, as positions in `REASONS`."""

    a: Ints
    b: Ints
    reason: Ints

    def __len__(self) -> int:
        return len(self.a)

    def reasons(self) -> dict[tuple[int, int], str]:
        """Return the reason by pair, the smaller position first."""
        low, high = np.minimum(self.a, self.b), np.maximum(self.a, self.b)
        named = (REASONS[reason] for reason in self.reason.tolist())
        return dict(zip(zip(low.tolist(), high.tolist(), strict=True), named, strict=True))

    def widest(self, count: int) -> list[tuple[int, int]]:
        """Return the nodes that most links were refused for fanning out at, and how many links.

        The one of two ends that more such links meet at is the one that fans out.
        """
        fans = self.reason == _FAN_OUT
        a, b = self.a[fans], self.b[fans]
        nodes, links = np.unique(np.concatenate([a, b]), return_counts=True)
        met = [links[np.searchsorted(nodes, ends)] for ends in (a, b)]
        nodes, links = np.unique(np.where(met[0] >= met[1], a, b), return_counts=True)
        order = np.lexsort((nodes, -links))[:count]
        return list(zip(nodes[order].tolist(), links[order].tolist(), strict=True))

    def counts(self) -> dict[str, int]:
        """Return the number of links by reason, of the reasons there are."""
        numbers = np.bincount(self.reason, minlength=len(REASONS)).tolist()
        return {why: count for why, count in sorted(zip(REASONS, numbers, strict=True)) if count}


@dataclass(frozen=True)
class Components:
    """A component label by node, and the refused links."""

    label: Ints
    refused: Refused


def edges_of(a: Ints, b: Ints, event_time: Ints) -> Edges:
    """Return sightings as edges: one row a pair, with the newest event time.

    A pair with a row at `DEMANDED` is one that a steward demands.
    """
    order = np.lexsort((b, a))
    return edges_in_order(a[order], b[order], event_time[order])


def edges_in_order(a: Ints, b: Ints, event_time: Ints) -> Edges:
    """Return sightings as `edges_of` does; they are in order of pairs."""
    first = first_of_pairs(a, b)
    last_seen, always = event_time[first], np.zeros(len(first), dtype=bool)
    if len(first) < len(a):
        last_seen = np.maximum.reduceat(event_time, first)
    if (event_time == DEMANDED).any():
        always = np.minimum.reduceat(event_time, first) == DEMANDED
    return Edges(a[first], b[first], last_seen, always)


def first_of_pairs(a: Ints, b: Ints) -> Ints:
    """Return the position of the first row of each pair; rows are in order of pairs."""
    new = np.ones(len(a), dtype=bool)
    new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    return np.flatnonzero(new)


def wide_from(rank: Ints, pairs: Pairs, known: Ints, rules: Rules) -> Ints:
    """Return, by node, the moment at which it became known that it fans out; else `LATEST`.

    `pairs` come each once, with the moment at which they were `known` first.
    """
    node, other, moment = pairs.a, pairs.b, known
    node, other = np.concatenate([node, other]), np.concatenate([other, node])
    many = np.bincount(node, minlength=len(rank))[node] > rules.max_fan_out
    node, other, moment = node[many], other[many], np.concatenate([moment, moment])[many]
    found = np.full(len(rank), time.LATEST)
    for person in np.flatnonzero(rules.person):
        some = rank[other] == person
        order = np.lexsort((moment[some], node[some]))
        ends, when = node[some][order], moment[some][order]
        count = np.bincount(ends, minlength=len(rank))
        wide = np.flatnonzero(count > rules.max_fan_out)
        start = np.searchsorted(ends, wide)
        found[wide] = np.minimum(found[wide], when[start + rules.max_fan_out])
    return found


def resolve(
    nodes: Nodes,
    edges: Edges,
    rules: Rules,
    never: Pairs | None = None,
    bypassed: Flags | None = None,
    wide: Flags | None = None,
) -> Components:
    """Return who is one person, under the linking rules of this module.

    `never`: pairs that must not be in one component; `bypassed`, by node: makes no links; `wide`:
    fans out, whether or not the edges given show it.
    """
    never = never or Pairs()
    why, _ = _barred(nodes, edges, rules, bypassed, wide)
    label = components_of(len(nodes), edges.where(why == _HELD))
    offending = _offending(nodes, label, rules, never)
    if offending.any():
        replayed = np.flatnonzero((why == _HELD) & offending[label[edges.a]])
        label, why[replayed] = _replay(nodes, edges, replayed, label, offending, rules, never)
    refused = why != _HELD
    return Components(label, Refused(edges.a[refused], edges.b[refused], why[refused]))


def held(
    nodes: Nodes, edges: Edges, rules: Rules, bypassed: Flags | None = None
) -> tuple[Flags, Flags]:
    """Return which links may hold, before any component is replayed; and who fans out, by node."""
    why, wide = _barred(nodes, edges, rules, bypassed, None)
    return why == _HELD, wide


def _barred(
    nodes: Nodes, edges: Edges, rules: Rules, bypassed: Flags | None, wide: Flags | None
) -> tuple[Ints, Flags]:
    """Return why each link is refused at either of its ends (or `_HELD`), and who fans out."""
    why = np.full(len(edges), _HELD)
    if bypassed is not None:
        why[bypassed[edges.a] | bypassed[edges.b]] = _BYPASSED
    fans_out = _fans_out(nodes, edges.where(why == _HELD), rules)
    if wide is not None:
        fans_out |= wide
    why[(why == _HELD) & ~edges.always & (fans_out[edges.a] | fans_out[edges.b])] = _FAN_OUT
    return why, fans_out


def components_of(size: int, edges: Edges | Pairs) -> Ints:
    """Return a component label by node, with no rule applied."""
    graph = coo_array((np.ones(len(edges.a), dtype=np.int8), (edges.a, edges.b)), (size, size))
    label: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return label


def _fans_out(nodes: Nodes, edges: Edges, rules: Rules) -> Flags:
    """Mark the identities linked with too many values of one person namespace."""
    wide = np.zeros(len(nodes), dtype=bool)
    degree = np.bincount(edges.a, minlength=len(nodes)) + np.bincount(edges.b, minlength=len(nodes))
    many = degree > rules.max_fan_out
    if not many.any():
        return wide
    some = edges.where(many[edges.a] | many[edges.b])
    ends = np.concatenate([some.a, some.b])
    ranks = nodes.rank[np.concatenate([some.b, some.a])]
    for rank in np.flatnonzero(rules.person):
        wide |= np.bincount(ends[ranks == rank], minlength=len(nodes)) > rules.max_fan_out
    return wide


def _offending(nodes: Nodes, label: Ints, rules: Rules, never: Pairs) -> Flags:
    """Mark, by label, the components that break a rule."""
    size = int(label.max()) + 1 if len(label) else 0
    counted = rules.counted[nodes.rank]
    bad: Flags = np.bincount(label[counted], minlength=size) > rules.max_identities
    for rank in np.flatnonzero(rules.unique):
        bad |= np.bincount(label[nodes.rank == rank], minlength=size) > 1
    bad[label[never.a[label[never.a] == label[never.b]]]] = True
    return bad


def _replay(
    nodes: Nodes,
    edges: Edges,
    replayed: Ints,
    label: Ints,
    offending: Flags,
    rules: Rules,
    never: Pairs,
) -> tuple[Ints, Ints]:
    """Lay the links of offending components again; return labels, and why by replayed link."""
    from features.identity.laying import lay

    a, b = edges.a[replayed], edges.b[replayed]
    order = _order(nodes, edges, replayed, label)
    inside = np.flatnonzero(offending[label])
    place = np.full(len(nodes), -1)
    place[inside] = np.arange(len(inside))
    apart = label[never.a] == label[never.b]
    rank = nodes.rank[inside]
    unique = [np.where(rank == each, inside, -1) for each in np.flatnonzero(rules.unique)]
    found, root = lay(
        place[a[order]], place[b[order]], edges.always[replayed][order],
        np.stack(unique, axis=1) if unique else np.empty((len(inside), 0), dtype=np.int64),
        rules.counted[rank].astype(np.int64), rules.max_identities,
        place[never.a[apart]], place[never.b[apart]],
    )  # fmt: skip
    why = np.empty(len(order), dtype=np.int64)
    why[order] = np.where(found, found + _REPLAYED, _HELD)
    relabelled = label.copy()
    relabelled[inside] = len(offending) + np.unique(root, return_inverse=True)[1]
    return relabelled, why


def _order(nodes: Nodes, edges: Edges, replayed: Ints, label: Ints) -> Ints:
    """Return the order in which links are laid again: what matters is that within a component."""
    a, b, last_seen = edges.a[replayed], edges.b[replayed], edges.last_seen[replayed]
    newest = np.full(int(label.max()) + 1, DEMANDED)
    np.maximum.at(newest, label[a], last_seen)
    older = last_seen < newest[label[a]]
    low = np.minimum(nodes.order[a], nodes.order[b])
    high = np.maximum(nodes.order[a], nodes.order[b])
    keys = (high, low, -last_seen, nodes.rank[a] + nodes.rank[b], older, ~edges.always[replayed])
    return np.lexsort(keys).astype(np.int64)
