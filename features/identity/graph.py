"""Who is who at a moment: the identity graph as it could have been known at as_of.

A resolution at as_of is a pure function of the rows known then: the order of arrival never
matters, and rows known later change nothing. A profile is named by its anchor: of its identities
the one of the highest-priority namespace, and the earliest seen there.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.identity.linking import (
    DEMANDED,
    Edges,
    Nodes,
    Pairs,
    Refused,
    Rules,
    components_of,
    edges_of,
    resolve,
)
from features.identity.overrides import Overrides, Pair
from features.identity.spellings import NOBODY as NOBODY
from features.identity.spellings import Spellings, first_known
from features.settings import Identity
from features.sources.unite import TABLE as UNITED
from features.store import Store

Ints = NDArray[np.int64]
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

    Overrides are a layer over them: identity keys are those of the tables.
    """

    def __init__(
        self, store: Store, united: str, identity: Identity, overrides: Overrides | None = None
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
        self.never, self.never_from = Pairs(), np.empty(0, dtype=np.int64)
        self.bypassed_from = np.full(len(self.rank), time.LATEST)
        self._override(overrides or Overrides(), index["identity"])

    def _override(self, overrides: Overrides, index: pa.ChunkedArray) -> None:
        """Take up what people have found out of identities that are in the tables."""
        keys = _keys_of(index, overrides.identities())
        spelt = Spellings.of(overrides, keys, self.identities, self.rank)
        self.spellings = spelt.known(self.seen_key, self.seen_known)
        self._spell()
        keys = {text: int(spelt.stands_for[key]) for text, key in keys.items()}
        # An identity that no row has is known by none of its spellings, and waits.
        keys |= {text: keys[other] for text in overrides.identities() - keys.keys()
                 for other in overrides.spellings(text) if other in keys}  # fmt: skip
        self._demand(*_by_key(overrides.always, keys))
        self.never, self.never_from = _by_key(overrides.never, keys)
        for text, known_from in overrides.bypass.items():
            if text in keys:
                self.bypassed_from[keys[text]] = known_from

    def _spell(self) -> None:
        """Let one key stand for all spellings of an identity."""
        if not len(self.spellings.member):
            return
        stands_for = self.spellings.stands_for
        a, b = stands_for[self.a], stands_for[self.b]
        two = a != b
        self.a, self.b = np.minimum(a, b)[two], np.maximum(a, b)[two]
        self.link_time, self.link_known = self.link_time[two], self.link_known[two]
        self.seen_key = stands_for[self.seen_key]

    def _demand(self, pairs: Pairs, known_from: Ints) -> None:
        """Add links as rows that happened before all time, known once both ends are."""
        ends = np.concatenate([pairs.a, pairs.b])
        born = first_known(ends, self.seen_key, self.seen_known, len(self.rank))
        known = np.maximum(known_from, np.maximum(born[pairs.a], born[pairs.b]))
        low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
        self.a, self.b = np.concatenate([low, self.a]), np.concatenate([high, self.b])
        self.link_time = np.concatenate([np.full(len(low), DEMANDED), self.link_time])
        self.link_known = np.concatenate([known, self.link_known])

    def at(self, as_of: int) -> Resolution:
        """Return everyone as known at `as_of`."""
        known = time.known_before(self.link_known, as_of)
        edges = edges_of(self.a[known], self.b[known], self.link_time[known])
        count = len(self.rank)
        nodes = Nodes(self.rank, self.spellings.order)
        never = self.never.where(time.known_before(self.never_from, as_of))
        bypassed = time.known_before(self.bypassed_from, as_of)
        components = resolve(nodes, edges, self.rules, never, bypassed)
        seen = time.known_before(self.seen_known, as_of)
        key, moment = self.seen_key[seen], self.seen_time[seen]
        first = np.full(count, time.LATEST)
        np.minimum.at(first, key, moment)
        owned = np.zeros(count, dtype=bool)
        owned[key[self.seen_owner[seen]]] = True
        anchor = _anchors(nodes, components.label, first, owned)
        return self._spelt(Resolution(as_of, anchor, components.refused))

    def _spelt(self, found: Resolution) -> Resolution:
        if not len(self.spellings.member):
            return found
        anchor, name = self.spellings.named(found.anchor, found.as_of)
        refused = found.refused
        renamed = Refused(name[refused.a], name[refused.b], refused.reason)
        return Resolution(found.as_of, anchor, renamed)

    def at_rows(self, identity_key: Ints, as_of: Ints) -> RowMembers:
        """Return, for many identities each at a moment of its own, the profile holding them.

        Every row gets a copy of the raw component of its identity, and many copies are resolved
        together: the same rules as `at`, one row at a time in meaning but not in work.
        """
        if not len(self.spellings.member):
            return self._at_rows(identity_key, as_of)
        found = self._at_rows(self.spellings.stands_for[identity_key], as_of)
        columns = (found.row, found.identity_key, found.anchor, identity_key, as_of)
        return RowMembers(*self.spellings.named_rows(*columns))

    def _at_rows(self, identity_key: Ints, as_of: Ints) -> RowMembers:
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
        nodes = Nodes(self.rank[node_key], self.spellings.order[node_key])
        never = self._copied_never(row, node_key, as_of)
        bypassed = time.known_before(self.bypassed_from[node_key], as_of[row])
        components = resolve(nodes, edges, self.rules, never, bypassed)
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

    def _copied_never(self, row: Ints, node_key: Ints, as_of: Ints) -> Pairs:
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
        both = (code[b] == wanted) & time.known_before(self.never_from[pair], as_of[row[a]])
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


def _keys_of(index: pa.ChunkedArray, texts: Collection[str]) -> dict[str, int]:
    """Return the key of each text that is an identity of the tables."""
    named = pa.array(sorted(texts), pa.string())
    place = pc.index_in(index, value_set=named) if texts else pa.nulls(0, pa.int32())
    keys = np.flatnonzero(pc.is_valid(place).to_numpy(zero_copy_only=False))
    found = named.take(place.drop_null()).to_pylist()
    return dict(zip(found, keys.tolist(), strict=True))


def _by_key(pairs: Mapping[Pair, int], keys: Mapping[str, int]) -> tuple[Pairs, Ints]:
    """Return pairs of identities that are in the tables, by key, and when each is known."""
    rows = [(keys[a], keys[b], at) for (a, b), at in pairs.items() if a in keys and b in keys]
    a, b, known_from = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Pairs(a, b), known_from


def _spread(values: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Return, for many slices of `values`, the slice's position and each of its values."""
    length = end - start
    position = np.repeat(np.arange(len(start)), length)
    offset = np.arange(len(position)) - np.repeat(np.cumsum(length) - length, length)
    return position.astype(np.int64), values[start[position] + offset]


def _ints(table: pa.Table, name: str) -> Ints:
    values: Ints = table[name].to_numpy().astype(np.int64)
    return values
