"""Making a feature table anew where only overrides have changed: only the people touched.

A person's features are a function of the rows of their identities, so they are as they were where
the person has the same name and the same identities, spelt the same. The published table of the
same rows, rules, moment, catalogue and goals has those; all others are made again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.identity.graph import NOBODY, Graph, Resolution

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Kept:
    """What of a feature table is as it was: rows, and who was left out as expired, by key.

    `others`: the keys of all other profiles.
    """

    rows: pa.Table
    expired: list[int]
    others: Ints

    def and_made(self, made: pa.Table) -> pa.Table:
        """Return the whole table in order of profile, given the rows of the others."""
        whole = pa.concat_tables([self.rows, made.cast(self.rows.schema)])
        return whole.sort_by("profile_key").combine_chunks()


def kept_rows(
    table: pa.Table, expired: list[int], before: Graph, graph: Graph, now: Resolution
) -> Kept:
    """Return what can be kept of a feature table that was made under the overrides of `before`.

    `now` is what `graph` says of the table's moment; both graphs are of the same united tables.
    """
    changed = touched(before, graph, now)
    same = pc.invert(pc.is_in(table["profile_key"], value_set=pa.array(changed)))
    gone = np.setdiff1d(np.array(expired, dtype=np.int64), changed).tolist()
    return Kept(table.filter(same), gone, np.intersect1d(changed, now.profiles()))


def touched(before: Graph, graph: Graph, now: Resolution) -> Ints:
    """Return the keys of all profiles, of then or now, that are not the same at both."""
    then = before.at(now.as_of).anchor
    differs = then != now.anchor
    differs |= before.spellings.stands_for != graph.spellings.stands_for
    found = np.concatenate([then[differs], now.anchor[differs]])
    return np.unique(found[found != NOBODY])
