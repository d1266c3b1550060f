"""Who is who at a moment: the identity graph as it could have been known at as_of.

A resolution at as_of is a pure function of the rows known then: the order of arrival never
matters, and rows known later change nothing. A profile is named by its anchor: of its identities
the one of the highest-priority namespace, and the earliest seen there.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.identity.linking import (
    DEMANDED,
    Demands,
    Edges,
    Nodes,
    Pairs,
    Refused,
    Rules,
    components_of,
    edges_of,
    resolve,
)
from features.settings import Identity
from features.sources.unite import TABLE as UNITED
from features.store import Store

Ints = NDArray[np.int64]
NOBODY = -1
"""Anchor of an identity that belongs to no profile at as_of."""
MOST_COPIES = 4_000_000
"""Identities that `Graph.at_rows` copies at once."""


@dataclass(frozen=True)
class Resolution:
    """Everyone at one as_of.

    `anchor` is by identity key: the key that names the profile holding it, or `NOBODY`.
    `refused` holds the links, as keys, that a rule refused.
    """

    as_of: int
    anchor: Ints
    refused: Refused

    def members(self) -> pa.Table:
        """Return identity_key, profile_key: one row for every identity that is in a profile."""
        keys = np.flatnonzero(self.anchor != NOBODY)
        return pa.table({"identity_key": keys, "profile_key": self.anchor[keys]})

    def profiles(self) -> Ints:
        """Return the keys of all profiles, ascending."""
        return np.unique(self.anchor[self.anchor != NOBODY])


@dataclass(frozen=True)
class RowMembers:
    """The identities of many (identity, as_of) rows: row positions and identity keys, aligned."""

    row: Ints
    identity_key: Ints
    anchor: Ints
    """Anchor of each row's profile, by row; `NOBODY` where the profile does not exist."""


class Graph:
    """All sightings of one version of the united tables, ready to be resolved at any moment.

    What stewards demand holds at every moment: it corrects what was seen, and is no event.
    """

    def __init__(
        self, store: Store, united: str, identity: Identity, demands: Demands | None = None
    ) -> None:
        folder = store.folder(UNITED, united)
        index = pq.read_table(folder / "identity_index.parquet")
        self.identities: list[str] = index["identity"].to_pylist()
        names = [namespace.name for namespace in identity.namespaces]
        ranks = {name: rank for rank, name in enumerate(names)}
        spaces = index["namespace"].dictionary_encode().combine_chunks()
        by_code = np.array([ranks[str(name)] for name in spaces.dictionary.to_pylist()])
        self.rank = by_code[spaces.indices.to_numpy()].astype(np.int64)
        links = pq.read_table(folder / "links.parquet")
        self.a, self.b = _ints(links, "a"), _ints(links, "b")
        self.link_time, self.link_known = _ints(links, "event_time"), _ints(links, "known_at")
        seen = pq.read_table(folder / "appearances.parquet")
        self.seen_key, self.seen_time = _ints(seen, "identity_key"), _ints(seen, "event_time")
        self.seen_known = _ints(seen, "known_at")
        self.seen_owner = seen["owner"].to_numpy().astype(bool)
        self.rules = rules_of(identity)
        self._demand(demands or Demands())

    def _demand(self, demands: Demands) -> None:
        """Take up what stewards demand: a demanded link is a row known before all time."""
        low = np.minimum(demands.always.a, demands.always.b)
        high = np.maximum(demands.always.a, demands.always.b)
        before = np.full(len(low), DEMANDED)
        self.a, self.b = np.concatenate([low, self.a]), np.concatenate([high, self.b])
        self.link_time = np.concatenate([before, self.link_time])
        self.link_known = np.concatenate([before, self.link_known])
        self.never = demands.never
        self.bypassed = np.zeros(len(self.rank), dtype=bool)
        self.bypassed[demands.bypassed] = True

    def at(self, as_of: int) -> Resolution:
        """Return everyone as known at `as_of`."""
        known = time.known_before(self.link_known, as_of)
        edges = edges_of(self.a[known], self.b[known], self.link_time[known])
        count = len(self.rank)
        nodes = Nodes(self.rank, np.arange(count, dtype=np.int64))
        components = resolve(nodes, edges, self.rules, self.never, self.bypassed)
        seen = time.known_before(self.seen_known, as_of)
        key, moment = self.seen_key[seen], self.seen_time[seen]
        first = np.full(count, time.LATEST)
        np.minimum.at(first, key, moment)
        owned = np.zeros(count, dtype=bool)
        owned[key[self.seen_owner[seen]]] = True
        anchor = _anchors(nodes, components.label, first, owned)
        return Resolution(as_of, anchor, components.refused)

    def at_rows(self, identity_key: Ints, as_of: Ints) -> RowMembers:
        """Return, for many identities each at a moment of its own, the profile holding them.

        Every row gets a copy of the raw component of its identity, and many copies are resolved
        together: the same rules as `at`, one row at a time in meaning but not in work.
        """
        raw = components_of(len(self.rank), Pairs(self.a, self.b))
        copies = np.cumsum(np.bincount(raw)[raw[identity_key]])
        # A junk identity makes one huge raw component: its copies must not all stand at once.
        batch = copies // MOST_COPIES
        bounds = np.flatnonzero(np.diff(batch, prepend=-1, append=-1))
        found = [
            self._resolved(raw, identity_key[start:end], as_of[start:end], start)
            for start, end in itertools.pairwise(bounds.tolist())
        ]
        if not found:
            none = np.empty(0, dtype=np.int64)
            return RowMembers(none, none, none)
        columns = [(some.row, some.identity_key, some.anchor) for some in found]
        return RowMembers(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))

    def _resolved(self, raw: Ints, identity_key: Ints, as_of: Ints, start: int) -> RowMembers:
        """Resolve one batch of rows, of which the first is number `start`."""
        row, node_key = self._copies(raw, identity_key)
        edges = self._copied_edges(row, node_key, as_of)
        nodes = Nodes(self.rank[node_key], node_key)
        never = self._copied_never(row, node_key)
        components = resolve(nodes, edges, self.rules, never, self.bypassed[node_key])
        first, owned = self._copied_appearances(row, node_key, as_of)
        anchor = _anchors(nodes, components.label, first, owned)
        # An identity not seen yet is in no profile, even where a demanded link leads to one.
        own = (node_key == identity_key[row]) & (anchor != NOBODY)
        chosen = np.full(len(identity_key), NOBODY)
        chosen[row[own]] = components.label[own]
        member = (components.label == chosen[row]) & (anchor != NOBODY)
        by_row = np.full(len(identity_key), NOBODY)
        by_row[row[member]] = node_key[anchor[member]]
        return RowMembers(row[member] + start, node_key[member], by_row)

    def _copies(self, raw: Ints, identity_key: Ints) -> tuple[Ints, Ints]:
        """Return the raw component of each row's identity: row positions and identity keys."""
        order = np.argsort(raw, kind="stable").astype(np.int64)
        bounds = np.searchsorted(raw[order], np.arange(int(raw.max()) + 2))
        label = raw[identity_key]
        return _spread(order, bounds[label], bounds[label + 1])

    def _copied_edges(self, row: Ints, node_key: Ints, as_of: Ints) -> Edges:
        """Return the links known at each row's as_of, between positions of the copies."""
        by_a = np.argsort(self.a, kind="stable")
        start = np.searchsorted(self.a[by_a], node_key, side="left")
        end = np.searchsorted(self.a[by_a], node_key, side="right")
        position, link = _spread(by_a.astype(np.int64), start, end)
        known = time.known_before(self.link_known[link], as_of[row[position]])
        position, link = position[known], link[known]
        # Within a row a key has one position.
        count = len(self.rank)
        code = row * count + node_key
        sorter = np.argsort(code)
        other = sorter[
            np.searchsorted(code, row[position] * count + self.b[link], sorter=sorter)
        ].astype(np.int64)
        return edges_of(position, other, self.link_time[link])

    def _copied_never(self, row: Ints, node_key: Ints) -> Pairs:
        """Return the pairs kept apart, as positions of the copies that hold both ends."""
        by_key = np.argsort(node_key, kind="stable").astype(np.int64)
        start = np.searchsorted(node_key[by_key], self.never.a, side="left")
        end = np.searchsorted(node_key[by_key], self.never.a, side="right")
        pair, a = _spread(by_key, start, end)
        count = len(self.rank)
        code = row * count + node_key
        sorter = np.argsort(code)
        wanted = row[a] * count + self.never.b[pair]
        place = np.searchsorted(code, wanted, sorter=sorter)
        b = sorter[np.minimum(place, len(code) - 1)].astype(np.int64)
        both = code[b] == wanted
        return Pairs(a[both], b[both])

    def _copied_appearances(
        self, row: Ints, node_key: Ints, as_of: Ints
    ) -> tuple[Ints, NDArray[np.bool_]]:
        by_key = np.argsort(self.seen_key, kind="stable")
        start = np.searchsorted(self.seen_key[by_key], node_key, side="left")
        end = np.searchsorted(self.seen_key[by_key], node_key, side="right")
        position, seen = _spread(by_key.astype(np.int64), start, end)
        known = time.known_before(self.seen_known[seen], as_of[row[position]])
        position, seen = position[known], seen[known]
        first = np.full(len(node_key), time.LATEST)
        np.minimum.at(first, position, self.seen_time[seen])
        owned = np.zeros(len(node_key), dtype=bool)
        owned[position[self.seen_owner[seen]]] = True
        return first, owned


def rules_of(identity: Identity) -> Rules:
    """Return the linking rules that the settings ask for."""
    spaces = identity.namespaces
    return Rules(
        unique=np.array([n.unique for n in spaces]),
        person=np.array([n.type == "person" for n in spaces]),
        counted=np.array([n.type != "session" for n in spaces]),
        max_fan_out=identity.max_fan_out,
        max_identities=identity.max_identities,
    )


def _anchors(nodes: Nodes, label: Ints, first: Ints, owned: NDArray[np.bool_]) -> Ints:
    """Return, by node, the node that names its profile, or `NOBODY`."""
    seen = first < time.LATEST
    exists = np.zeros(int(label.max()) + 1 if len(label) else 0, dtype=bool)
    exists[label[owned]] = True
    position = np.flatnonzero(seen & exists[label])
    keys = (nodes.order[position], first[position], nodes.rank[position], label[position])
    position = position[np.lexsort(keys)]
    leads = np.ones(len(position), dtype=bool)
    leads[1:] = label[position][1:] != label[position][:-1]
    by_label = np.full(len(exists), NOBODY)
    by_label[label[position][leads]] = position[leads]
    anchor = np.full(len(nodes), NOBODY)
    anchor[position] = by_label[label[position]]
    return anchor


def _spread(values: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Return, for many slices of `values`, the slice's position and each of its values."""
    length = end - start
    position = np.repeat(np.arange(len(start)), length)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(length) - length, length)
    return position.astype(np.int64), values[start[position] + offset]


def _ints(table: pa.Table, name: str) -> Ints:
    values: Ints = table[name].to_numpy().astype(np.int64)
    return values
