"""Aliases by key: which identities are spellings of one, and how a resolution speaks of them.

Links and appearances of an alias count as those of the identity it spells, so an alias is no second
value of a unique namespace and no identity more. One key stands for all spellings while links are
laid: that of the identity itself, or, where no row has it, that of its first alias by text. At
as_of the identity is called as it is spelt where rows known then spell it so; else by the first of
its aliases known then, for a name must not depend on what came later.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import time
from features.identity.overrides import Overrides

Ints = NDArray[np.int64]
NOBODY = -1
"""Anchor of an identity that belongs to no profile at as_of."""


@dataclass(frozen=True)
class Spellings:
    """The keys that are spellings of one identity with others.

    `member`: those keys, by identity, and of one identity the one that leads first. Aligned with
    it: `identity`, the key that stands for it, and `born`, when a row with it was known first.
    By key, of everyone: `stands_for`; and `order`, which compares as the texts do by which
    identities should be spelt.
    """

    member: Ints
    identity: Ints
    born: Ints
    stands_for: Ints
    order: Ints

    @classmethod
    def of(
        cls, overrides: Overrides, keys: Mapping[str, int], identities: Sequence[str], rank: Ints
    ) -> Spellings:
        """Return the spellings among `identities`, of which `keys` has those that are named."""
        groups: dict[str, list[int]] = {}
        for leading in set(overrides.aliases.values()):
            found = [keys[text] for text in overrides.spellings(leading) if text in keys]
            if found and found != [keys.get(leading)]:
                groups[leading] = found
        listed = sorted((found[0], member) for found in groups.values() for member in found)
        identity, member = np.array(listed, dtype=np.int64).reshape(-1, 2).T
        # Of one identity the key that stands for it leads; its aliases follow by text.
        leads = np.lexsort((member, member != identity, identity))
        identity, member = identity[leads], member[leads]
        stands_for = np.arange(len(identities), dtype=np.int64)
        stands_for[member] = identity
        absent = {text: found[0] for text, found in groups.items() if text not in keys}
        order = _order(absent, identities, rank)
        return cls(member, identity, np.full(len(member), time.LATEST), stands_for, order)

    def known(self, seen_key: Ints, seen_known: Ints) -> Spellings:
        """Return it with the moments at which rows with each spelling were known first."""
        born = first_known(self.member, seen_key, seen_known, len(self.stands_for))[self.member]
        return Spellings(self.member, self.identity, born, self.stands_for, self.order)

    def names(self, as_of: int) -> Ints:
        """Return, by key that stands for an identity, the key as which it is spelt at `as_of`."""
        seen = time.known_before(self.born, as_of)
        name = np.arange(len(self.stands_for), dtype=np.int64)
        found, first = np.unique(self.identity[seen], return_index=True)
        name[found] = self.member[seen][first]
        return name

    def spelt(self, anchor: Ints, as_of: int) -> Ints:
        """Return anchors as spelt at `as_of`, of every spelling known then.

        `anchor` is by key, with one key standing for each identity.
        """
        seen = time.known_before(self.born, as_of)
        member, identity = self.member[seen], self.identity[seen]
        name = self.names(as_of)
        spelt = np.where(anchor == NOBODY, NOBODY, name[anchor])
        held = spelt[identity]
        spelt[self.member] = NOBODY
        spelt[member] = held
        return spelt

    def leads(self, row: Ints, key: Ints) -> NDArray[np.bool_]:
        """Say of members of people, of whom a row holds all, which are how an identity is spelt."""
        leads = np.ones(len(key), dtype=bool)
        some = np.flatnonzero(np.isin(key, self.member))
        place = np.zeros(len(self.stands_for), dtype=np.int64)
        place[self.member] = np.arange(len(self.member))
        identity = self.stands_for[key[some]]
        order = np.lexsort((place[key[some]], identity, row[some]))
        who, identity = row[some][order], identity[order]
        leads[some[order][1:]] = (who[1:] != who[:-1]) | (identity[1:] != identity[:-1])
        return leads

    def named_rows(
        self, row: Ints, key: Ints, anchor: Ints, asked: Ints, as_of: Ints
    ) -> tuple[Ints, Ints, Ints]:
        """Return rows, identity keys and anchors of `Graph.at_rows` as spelt at each row's as_of.

        `row` and `key` are aligned; `anchor`, `asked` (the identity asked about) and `as_of` are
        by row.
        """
        born = np.full(len(self.stands_for), time.EARLIEST)
        born[self.member] = self.born
        # An alias that no row had yet leads nowhere, though its identity was known.
        lost = ~time.known_before(born[asked], as_of)
        start = np.searchsorted(self.identity, key, side="left")
        end = np.maximum(np.searchsorted(self.identity, key, side="right"), start + 1)
        place = np.repeat(np.arange(len(key)), end - start)
        nth = np.arange(len(place)) - np.repeat(np.cumsum(end - start) - (end - start), end - start)
        spelt, rows = key[place], row[place]
        many = np.isin(spelt, self.identity)
        spelt[many] = self.member[start[place][many] + nth[many]]
        kept = time.known_before(born[spelt], as_of[rows]) & ~lost[rows]
        rows, spelt, meant = rows[kept], spelt[kept], key[place][kept]
        leads = np.ones(len(rows), dtype=bool)
        leads[1:] = (rows[1:] != rows[:-1]) | (meant[1:] != meant[:-1])
        names = leads & (meant == anchor[rows])
        named = np.full(len(anchor), NOBODY)
        named[rows[names]] = spelt[names]
        return rows, spelt, named


def first_known(keys: Ints, seen_key: Ints, seen_known: Ints, count: int) -> Ints:
    """Return, by key, when a row with each of `keys` was known first; of others `LATEST`."""
    wanted = np.zeros(count, dtype=bool)
    wanted[keys] = True
    some = wanted[seen_key]
    born = np.full(count, time.LATEST)
    np.minimum.at(born, seen_key[some], seen_known[some])
    return born


def _order(absent: Mapping[str, int], identities: Sequence[str], rank: Ints) -> Ints:
    """Return places by text: an `absent` identity stands where its own text would, by key."""
    if not absent:
        return np.arange(len(identities), dtype=np.int64)
    places = []
    for text, key in absent.items():
        start, end = (np.searchsorted(rank, rank[key], side=side) for side in ("left", "right"))
        places.append((bisect_left(identities, text, int(start), int(end)), text, key))
    places.sort()
    inserted = np.array([place for place, *_ in places], dtype=np.int64)
    order = np.arange(len(identities), dtype=np.int64)
    order += np.searchsorted(inserted, order, side="right")
    order[[key for *_, key in places]] = inserted + np.arange(len(places))
    return order
