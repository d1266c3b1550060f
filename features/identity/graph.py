"""Who is who at a moment: the identity graph as it could have been known at as_of.

A resolution at as_of is a pure function of the rows known then: the order of arrival never
matters, and rows known later change nothing. A profile is named by its anchor: of its identities
the one of the highest-priority namespace, and the earliest seen there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.identity.linking import (
    DEMANDED,
    Nodes,
    Pairs,
    Refused,
    Rules,
    edges_in_order,
    resolve,
)
from features.identity.moments import Moments, RowMembers, anchors, appeared
from features.identity.names import Names
from features.identity.overrides import Overrides, Pair
from features.identity.spellings import NOBODY as NOBODY
from features.identity.spellings import Spellings, first_known
from features.settings import Identity
from features.sources.unite import TABLE as UNITED
from features.store import Store

Ints = NDArray[np.int64]


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

    def widest(self, count: int) -> list[tuple[int, int]]:
        """Return the keys that most links were refused for fanning out at, and how many links."""
        return self.refused.widest(count)

    def profiles(self) -> Ints:
        """Return the keys of all profiles, ascending."""
        return np.unique(self.anchor[self.anchor != NOBODY])


class Graph:
    """All sightings of one version of the united tables, ready to be resolved at any moment.

    Overrides are a layer over them: identity keys are those of the tables.
    """

    def __init__(
        self, store: Store, united: str, identity: Identity, overrides: Overrides | None = None
    ) -> None:
        folder = store.folder(UNITED, united)
        self.identities = Names(folder / "identity_index.parquet")
        self.rank = _ranks(folder / "identity_index.parquet", identity)
        links = _columns(folder / "links.parquet")
        self.a, self.b = links["a"], links["b"]
        self.link_time, self.link_known = links["event_time"], links["known_at"]
        seen = _columns(folder / "appearances.parquet")
        self.seen_key, self.seen_time = seen["identity_key"], seen["event_time"]
        self.seen_known, self.seen_owner = seen["known_at"], seen["owner"]
        self.rules = rules_of(identity)
        self.never, self.never_from = Pairs(), np.empty(0, dtype=np.int64)
        self.bypassed_from = np.full(len(self.rank), time.LATEST)
        self._override(overrides or Overrides())
        self._sort()

    def _override(self, overrides: Overrides) -> None:
        """Take up what people have found out of identities that are in the tables."""
        self.overrides = overrides
        self.named = keys = self.identities.keys_of(overrides.identities())
        """Identities that overrides name and some row has, with their keys."""
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
        if not len(pairs):
            return
        ends = np.concatenate([pairs.a, pairs.b])
        born = first_known(ends, self.seen_key, self.seen_known, len(self.rank))
        known = np.maximum(known_from, np.maximum(born[pairs.a], born[pairs.b]))
        low, high = np.minimum(pairs.a, pairs.b), np.maximum(pairs.a, pairs.b)
        self.a, self.b = np.concatenate([low, self.a]), np.concatenate([high, self.b])
        self.link_time = np.concatenate([np.full(len(low), DEMANDED), self.link_time])
        self.link_known = np.concatenate([known, self.link_known])

    def _sort(self) -> None:
        """Put links back in order of pairs, and appearances of identities, after overrides."""
        if len(self.spellings.member) or (self.link_time == DEMANDED).any():
            links = np.lexsort((self.link_known, self.b, self.a))
            self.a, self.b = self.a[links], self.b[links]
            self.link_time, self.link_known = self.link_time[links], self.link_known[links]
        if len(self.spellings.member):
            seen = np.argsort(self.seen_key, kind="stable")
            self.seen_key, self.seen_owner = self.seen_key[seen], self.seen_owner[seen]
            self.seen_time, self.seen_known = self.seen_time[seen], self.seen_known[seen]

    def at(self, as_of: int) -> Resolution:
        """Return everyone as known at `as_of`."""
        known = time.known_before(self.link_known, as_of)
        edges = edges_in_order(*_where(known, self.a, self.b, self.link_time))
        nodes = Nodes(self.rank, self.spellings.order)
        never = self.never.where(time.known_before(self.never_from, as_of))
        bypassed = time.known_before(self.bypassed_from, as_of)
        components = resolve(nodes, edges, self.rules, never, bypassed)
        seen = time.known_before(self.seen_known, as_of)
        rows = _where(seen, self.seen_key, self.seen_time, self.seen_owner)
        anchor = anchors(nodes, components.label, *appeared(len(nodes), *rows))
        return self._spelt(Resolution(as_of, anchor, components.refused))

    def _spelt(self, found: Resolution) -> Resolution:
        if not len(self.spellings.member):
            return found
        anchor = self.spellings.spelt(found.anchor, found.as_of)
        refused, name = found.refused, self.spellings.names(found.as_of)
        renamed = Refused(name[refused.a], name[refused.b], refused.reason)
        return Resolution(found.as_of, anchor, renamed)

    def at_rows(self, identity_key: Ints, as_of: Ints) -> RowMembers:
        """Return, for many identities each at a moment of its own, the profile holding them."""
        if not len(self.spellings.member):
            return self._moments.members(identity_key, as_of)
        found = self._moments.members(self.spellings.stands_for[identity_key], as_of)
        columns = (found.row, found.identity_key, found.anchor, identity_key, as_of)
        return RowMembers(*self.spellings.named_rows(*columns))

    @cached_property
    def _moments(self) -> Moments:
        return Moments(self)


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


def _ranks(index: Path, identity: Identity) -> Ints:
    """Return the namespace, as a place in the settings, of every identity of an index."""
    ranks = {namespace.name: rank for rank, namespace in enumerate(identity.namespaces)}
    column = pq.read_table(index, columns=["namespace"], read_dictionary=["namespace"])["namespace"]
    found = []
    for chunk in column.chunks:
        by_code = np.array([ranks[name] for name in chunk.dictionary.to_pylist()], dtype=np.int64)
        found.append(by_code[chunk.indices.to_numpy()])
    return np.concatenate(found)


def _by_key(pairs: Mapping[Pair, int], keys: Mapping[str, int]) -> tuple[Pairs, Ints]:
    """Return pairs of identities that are in the tables, by key, and when each is known."""
    rows = [(keys[a], keys[b], at) for (a, b), at in pairs.items() if a in keys and b in keys]
    a, b, known_from = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return Pairs(a, b), known_from


def _where(kept: NDArray[np.bool_], *columns: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the rows of columns where `kept` is true; mostly that is all of them: no copies."""
    everything = bool(kept.all())
    return (column if everything else column[kept] for column in columns)


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    """Return the columns of a file: whole numbers and flags, without nulls."""
    file = pq.ParquetFile(path)
    columns: dict[str, NDArray[Any]] = {
        kind.name: np.empty(file.metadata.num_rows, bool if pa.types.is_boolean(kind.type) else int)
        for kind in file.schema_arrow
    }
    start = 0
    # By row group into its place: that takes half the time of joining a table's chunks.
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group)
        for name, column in columns.items():
            column[start : start + len(rows)] = rows[name].to_numpy()
        start += len(rows)
    return columns
