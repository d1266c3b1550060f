"""Who is who for many identities, each at a moment of its own.

An identity can only ever be one person with its raw component: all that links which may hold at
some moment reach. So a copy of that component is resolved for every row, many copies together, by
the same rules as everyone at one moment. What keeps copies few and small is exact:

- Whether an identity fans out can only turn from no to yes. A sighting that became known when one
  of its ends was already seen too widely never makes a link that holds, and is left out.
- Rows that ask about one component between two changes of what is known of it share a copy.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from features import time
from features.identity.linking import (
    DEMANDED,
    Edges,
    Nodes,
    Pairs,
    components_of,
    edges_in_order,
    first_of_pairs,
    resolve,
    wide_from,
)
from features.identity.spellings import NOBODY

if TYPE_CHECKING:
    from features.identity.graph import Graph

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
MOST_COPIES = 4_000_000
"""Identities that are copied at once."""
LARGE = 100
"""Identities of a raw component from which on it pays to look for rows that share a copy."""


@dataclass(frozen=True)
class RowMembers:
    """The identities of many (identity, as_of) rows: row positions and identity keys, aligned."""

    row: Ints
    identity_key: Ints
    anchor: Ints
    """Anchor of each row's profile, by row; `NOBODY` where the profile does not exist."""


class Moments:
    """The raw components of a graph, laid out so that their parts are found by position."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        count = len(graph.rank)
        first = first_of_pairs(graph.a, graph.b)
        self.wide_from = self._wide_from(first)
        kept = self._may_hold(first)
        self.a, self.b = graph.a[kept], graph.b[kept]
        self.time, self.known = graph.link_time[kept], graph.link_known[kept]
        self.raw = components_of(count, Pairs(self.a, self.b))
        self.by_raw = np.argsort(self.raw, kind="stable").astype(np.int64)
        self.size = np.bincount(self.raw).astype(np.int64)
        self.start = np.cumsum(self.size) - self.size
        self.place = np.empty(count, dtype=np.int64)
        self.place[self.by_raw] = np.arange(count) - np.repeat(self.start, self.size)
        self.link_start = _starts(self.a, count)
        self.seen_start = _starts(graph.seen_key, count)

    def _wide_from(self, first: Ints) -> Ints:
        """Return, by identity, when it was seen too widely, whatever is bypassed at times."""
        graph = self.graph
        known = np.minimum.reduceat(graph.link_known, first) if len(first) else first
        a, b = graph.a[first], graph.b[first]
        steady = (graph.bypassed_from[a] == time.LATEST) & (graph.bypassed_from[b] == time.LATEST)
        return wide_from(graph.rank, Pairs(a[steady], b[steady]), known[steady], graph.rules)

    def _may_hold(self, first: Ints) -> Flags:
        """Mark the sightings that matter at some moment."""
        graph, wide = self.graph, self.wide_from
        known, a, b = graph.link_known, graph.a, graph.b
        kept: Flags = time.known_before(known, np.minimum(wide[a], wide[b]))
        if (graph.link_time == DEMANDED).any():
            demanded = np.minimum.reduceat(graph.link_time, first) == DEMANDED
            kept |= np.repeat(demanded, np.diff(first, append=len(a)))
        at_times = graph.bypassed_from < time.LATEST
        if at_times.any():
            # Around these it may turn back to no, and all that is seen of them has to be counted.
            around = at_times.copy()
            around[a[at_times[b]]] = around[b[at_times[a]]] = True
            kept |= around[a] & time.known_before(known, wide[a])
            kept |= around[b] & time.known_before(known, wide[b])
        return kept

    def members(self, identity_key: Ints, as_of: Ints) -> RowMembers:
        """Return the profile holding each identity at its moment."""
        label = self.raw[identity_key]
        state = self._state(label, as_of)
        order = np.lexsort((state, label))
        label, state = label[order], state[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (label[1:] != label[:-1]) | (state[1:] != state[:-1])
        copy = np.cumsum(new) - 1
        batch = np.cumsum(self.size[label[new]]) // MOST_COPIES
        bounds = np.flatnonzero(np.diff(batch, prepend=-1, append=-1)).tolist()
        anchor = np.full(len(order), NOBODY)
        rows, keys = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for begin, end in itertools.pairwise(bounds):
            some = order[np.searchsorted(copy, begin) : np.searchsorted(copy, end)]
            which = copy[np.searchsorted(copy, begin) : np.searchsorted(copy, end)] - begin
            first = order[new][begin:end]
            copies = _Copies(self, label[new][begin:end], as_of[first])
            anchor[some], place, found = copies.members(which, identity_key[some])
            rows.append(some[place])
            keys.append(found)
        row, key = np.concatenate(rows), np.concatenate(keys)
        by_row = np.argsort(row, kind="stable")
        return RowMembers(row[by_row], key[by_row], anchor)

    def _state(self, label: Ints, as_of: Ints) -> Ints:
        """Return numbers, equal for rows of one component at which the same is known of it."""
        state, large = as_of.copy(), self.size[label] > LARGE
        if large.any():
            moments, codes = self._changes
            known = time.count_known(moments, as_of[large])
            state[large] = np.searchsorted(codes, label[large] * (len(moments) + 1) + known)
        return state

    @cached_property
    def _changes(self) -> tuple[Ints, Ints]:
        """The moments at which something became known of a large component, and codes of both."""
        graph = self.graph
        node, moment = zip(
            (self.a, self.known),
            (graph.seen_key, graph.seen_known),
            (graph.never.a, graph.never_from),
            *((np.flatnonzero(by < time.LATEST), by[by < time.LATEST])
              for by in (graph.bypassed_from, self.wide_from)),
            strict=True,
        )  # fmt: skip
        label, when = self.raw[np.concatenate(node)], np.concatenate(moment)
        large = self.size[label] > LARGE
        moments, rank = np.unique(when[large], return_inverse=True)
        return moments, np.unique(label[large] * (len(moments) + 1) + rank)


class _Copies:
    """Copies of raw components, in order of their labels, each resolved at a moment of its own."""

    def __init__(self, moments: Moments, label: Ints, as_of: Ints) -> None:
        self.moments, self.graph = moments, moments.graph
        self.label, self.as_of = label, as_of
        size = moments.size[label]
        self.start = np.cumsum(size) - size
        start = moments.start[label]
        self.copy, index = _spread(start, start + size)
        self.node = moments.by_raw[index]

    def members(self, copy: Ints, identity_key: Ints) -> tuple[Ints, Ints, Ints]:
        """Return, for (copy, identity) rows, their anchors; and of members the row and the key."""
        anchor = self._anchors()
        held = np.flatnonzero(anchor != NOBODY)
        by_anchor = held[np.argsort(anchor[held], kind="stable")]
        size = np.bincount(anchor[held], minlength=len(anchor))
        start = np.cumsum(size) - size
        # An identity not seen yet is in no profile, even where a demanded link leads to one.
        own = anchor[self.start[copy] + self.moments.place[identity_key]]
        row = np.flatnonzero(own != NOBODY)
        place, index = _spread(start[own[row]], start[own[row]] + size[own[row]])
        named = np.full(len(copy), NOBODY)
        named[row] = self.node[own[row]]
        return named, row[place], self.node[by_anchor[index]]

    def _anchors(self) -> Ints:
        graph, node, as_of = self.graph, self.node, self.as_of[self.copy]
        nodes = Nodes(graph.rank[node], graph.spellings.order[node])
        bypassed = time.known_before(graph.bypassed_from[node], as_of)
        wide = time.known_before(self.moments.wide_from[node], as_of)
        components = resolve(nodes, self._edges(), graph.rules, self._never(), bypassed, wide)
        return anchors(nodes, components.label, *self._appearances())

    def _edges(self) -> Edges:
        """Return the links known at each copy's as_of, between positions."""
        from_, to = self.moments, self.node
        position, link = _spread(from_.link_start[to], from_.link_start[to + 1])
        copy = self.copy[position]
        known = time.known_before(from_.known[link], self.as_of[copy])
        position, link, copy = position[known], link[known], copy[known]
        other = self.start[copy] + from_.place[from_.b[link]]
        return edges_in_order(position, other, from_.time[link])

    def _never(self) -> Pairs:
        """Return the pairs kept apart, as positions of the copies that hold both ends."""
        raw, place = self.moments.raw, self.moments.place
        never, since = self.graph.never, self.graph.never_from
        inside = raw[never.a] == raw[never.b]
        never, since = never.where(inside), since[inside]
        bounds = (np.searchsorted(self.label, raw[never.a], side) for side in ("left", "right"))
        pair, copy = _spread(*bounds)
        known = time.known_before(since[pair], self.as_of[copy])
        pair, start = pair[known], self.start[copy[known]]
        return Pairs(start + place[never.a[pair]], start + place[never.b[pair]])

    def _appearances(self) -> tuple[Ints, Flags]:
        """Return when each position was seen first, and whether it owns a row."""
        graph, start = self.graph, self.moments.seen_start
        position, seen = _spread(start[self.node], start[self.node + 1])
        known = time.known_before(graph.seen_known[seen], self.as_of[self.copy[position]])
        position, seen = position[known], seen[known]
        return appeared(len(self.node), position, graph.seen_time[seen], graph.seen_owner[seen])


def appeared(count: int, node: Ints, moment: Ints, owner: Flags) -> tuple[Ints, Flags]:
    """Return, by node, the earliest moment (`LATEST`: none) and whether it owns a row."""
    first = np.full(count, time.LATEST)
    np.minimum.at(first, node, moment)
    owned = np.zeros(count, dtype=bool)
    owned[node[owner]] = True
    return first, owned


def anchors(nodes: Nodes, label: Ints, first: Ints, owned: Flags) -> Ints:
    """Return, by node, the node that names its profile, or `NOBODY`.

    `first` says when a node was seen first; a profile exists where one of its nodes owns a row.
    """
    labels = int(label.max()) + 1 if len(label) else 0
    exists = np.zeros(labels, dtype=bool)
    exists[label[owned]] = True
    member = np.flatnonzero((first < time.LATEST) & exists[label])
    leads = member
    # Namespace and time fit into one integer: times end before 2 ** 53.
    for key in (nodes.rank * 2**53 + first, nodes.order):
        least = np.full(labels, np.iinfo(np.int64).max)
        np.minimum.at(least, label[leads], key[leads])
        leads = leads[key[leads] == least[label[leads]]]
    by_label = np.full(labels, NOBODY)
    by_label[label[leads]] = leads
    anchor = np.full(len(nodes), NOBODY)
    anchor[member] = by_label[label[member]]
    return anchor


def _starts(values: Ints, count: int) -> Ints:
    """Return where each of 0 to `count` starts in sorted values."""
    return np.concatenate([[0], np.cumsum(np.bincount(values, minlength=count))]).astype(np.int64)


def _spread(start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Return, for many spans, the span's position and each of the numbers in it."""
    length = end - start
    position = np.repeat(np.arange(len(start), dtype=np.int64), length)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(length) - length, length)
    return position, (start[position] + offset).astype(np.int64)
