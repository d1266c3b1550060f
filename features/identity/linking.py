"""The linking rules: which links hold, and who is one person.

People are the connected components of the links known. Where a component would hold two values of
a unique namespace, or more identities than allowed, its links are laid again one by one: those of
its newest event first, then by the sum of the two priorities ascending, then newest first, then by
key; a link that would break a rule is refused and kept on record with its reason. Only offending
components are replayed, so the common case runs at the speed of the library.

Source: Adobe's identity optimization algorithm, in the reading that reproduces its published cases
(newest event first, then sum of priorities).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]

REFUSED_FAN_OUT = "fan_out"
REFUSED_UNIQUE = "unique_namespace"
REFUSED_SIZE = "max_identities"


@dataclass(frozen=True)
class Rules:
    """What a person may hold. Arrays are by namespace rank, 0 = highest priority.

    `unique`: at most one value a person; `person`: a person namespace; `counted`: counts towards
    `max_identities` (everything but sessions).
    """

    unique: NDArray[np.bool_]
    person: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    max_fan_out: int
    max_identities: int


@dataclass(frozen=True)
class Nodes:
    """Identities under consideration, by position: `rank` of the namespace and a total `order`."""

    rank: Ints
    order: Ints

    def __len__(self) -> int:
        return len(self.rank)


@dataclass(frozen=True)
class Edges:
    """Pairs of nodes, each once, and when they were last seen together (microseconds)."""

    a: Ints
    b: Ints
    last_seen: Ints

    def where(self, kept: NDArray[np.bool_]) -> Edges:
        """Return the edges where `kept` is true."""
        return Edges(self.a[kept], self.b[kept], self.last_seen[kept])


@dataclass(frozen=True)
class Components:
    """A component label by node, and the refused links: positions a, b and a coded reason."""

    label: Ints
    refused: list[tuple[int, int, str]]


def edges_of(a: Ints, b: Ints, event_time: Ints) -> Edges:
    """Return sightings as edges: one row a pair, with the newest event time."""
    order = np.lexsort((event_time, b, a))
    a, b, event_time = a[order], b[order], event_time[order]
    if not len(a):
        return Edges(a, b, event_time)
    last = np.append((a[1:] != a[:-1]) | (b[1:] != b[:-1]), True)
    return Edges(a[last], b[last], event_time[last])


def resolve(nodes: Nodes, edges: Edges, rules: Rules) -> Components:
    """Return who is one person, under the linking rules of this module."""
    wide = _fans_out(nodes, edges, rules)
    through = wide[edges.a] | wide[edges.b]
    refused = [
        (int(a), int(b), REFUSED_FAN_OUT)
        for a, b in zip(edges.a[through], edges.b[through], strict=True)
    ]
    edges = edges.where(~through)
    label = components_of(len(nodes), edges)
    offending = _offending(nodes, label, rules)
    if not len(offending):
        return Components(label, refused)
    replayed = np.isin(label[edges.a], offending)
    kept, more = _replay(nodes, edges.where(replayed), label, rules)
    held = edges.where(~replayed)
    laid = Edges(
        np.concatenate([held.a, kept.a]),
        np.concatenate([held.b, kept.b]),
        np.concatenate([held.last_seen, kept.last_seen]),
    )
    return Components(components_of(len(nodes), laid), refused + more)


def components_of(size: int, edges: Edges) -> Ints:
    """Return a component label by node, with no rule applied."""
    graph = coo_array((np.ones(len(edges.a), dtype=np.int8), (edges.a, edges.b)), (size, size))
    label: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return label


def _fans_out(nodes: Nodes, edges: Edges, rules: Rules) -> NDArray[np.bool_]:
    """Mark the identities seen with too many values of one person namespace."""
    ends = np.concatenate([edges.a, edges.b])
    ranks = nodes.rank[np.concatenate([edges.b, edges.a])]
    wide = np.zeros(len(nodes), dtype=bool)
    for rank in np.flatnonzero(rules.person):
        counts = np.bincount(ends[ranks == rank], minlength=len(nodes))
        wide |= counts > rules.max_fan_out
    return wide


def _offending(nodes: Nodes, label: Ints, rules: Rules) -> Ints:
    """Return the labels of components that break a rule."""
    size = int(label.max()) + 1 if len(label) else 0
    counted = rules.counted[nodes.rank]
    bad = np.bincount(label[counted], minlength=size) > rules.max_identities
    for rank in np.flatnonzero(rules.unique):
        bad |= np.bincount(label[nodes.rank == rank], minlength=size) > 1
    return np.flatnonzero(bad).astype(np.int64)


def _replay(
    nodes: Nodes, edges: Edges, label: Ints, rules: Rules
) -> tuple[Edges, list[tuple[int, int, str]]]:
    component = label[edges.a]
    newest = np.full(int(label.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, component, edges.last_seen)
    older = (edges.last_seen < newest[component]).astype(np.int64)
    priority = nodes.rank[edges.a] + nodes.rank[edges.b]
    low = np.minimum(nodes.order[edges.a], nodes.order[edges.b])
    high = np.maximum(nodes.order[edges.a], nodes.order[edges.b])
    order = np.lexsort((high, low, -edges.last_seen, priority, older))
    groups = _Groups(nodes, rules)
    kept, refused = [], []
    for position in order:
        a, b = int(edges.a[position]), int(edges.b[position])
        if reason := groups.join(a, b):
            refused.append((a, b, reason))
        else:
            kept.append(position)
    return edges.where(np.array(sorted(kept), dtype=np.int64)), refused


class _Groups:
    """People while their links are being laid, refusing what breaks a rule."""

    def __init__(self, nodes: Nodes, rules: Rules) -> None:
        self.nodes, self.rules = nodes, rules
        self.parent: dict[int, int] = {}
        self.unique: dict[int, dict[int, int]] = {}
        self.size: dict[int, int] = {}

    def join(self, a: int, b: int) -> str:
        """Join two identities; return the reason when a rule forbids it, else nothing."""
        first, second = self._root(a), self._root(b)
        if first == second:
            return ""
        for rank, value in self.unique[second].items():
            if self.unique[first].get(rank, value) != value:
                return REFUSED_UNIQUE
        if self.size[first] + self.size[second] > self.rules.max_identities:
            return REFUSED_SIZE
        self.parent[second] = first
        self.unique[first] |= self.unique[second]
        self.size[first] += self.size[second]
        return ""

    def _root(self, node: int) -> int:
        if node not in self.parent:
            rank = int(self.nodes.rank[node])
            self.parent[node] = node
            self.unique[node] = {rank: node} if self.rules.unique[rank] else {}
            self.size[node] = int(self.rules.counted[rank])
        while self.parent[node] != node:
            self.parent[node] = self.parent[self.parent[node]]
            node = self.parent[node]
        return node
