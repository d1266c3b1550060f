"""Who is kept out of a segment's exports, so that its effect can be measured.

It is decided once a person, at the first export that would send them, and never again: a held-out
person stays so through rebuilds, renames and a change of the share. When two people turn out to be
one, held out wins. One decision serves all destinations of a segment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from features.settings import Segment


@dataclass(frozen=True)
class Assignment:
    """By person: are they held out, and the as_of at which that was decided."""

    held: pa.BooleanArray
    first_assigned: pa.Int64Array


def assign(segment: Segment, profile_ids: pa.Array, deliveries: pa.Table, as_of: int) -> Assignment:
    """Return the assignment of every person: the one they have, else a new draw.

    `deliveries` are those of earlier runs, under the ids of this run (`deliveries.carried`).
    """
    decided = _decided(segment.name, deliveries)
    place = pc.index_in(profile_ids, value_set=decided["profile_id"].combine_chunks())
    held = decided["held_any"].combine_chunks().take(place).to_pylist()
    first = decided["first_assigned_min"].combine_chunks().take(place)
    drawn = [
        draws_out(segment, profile_id) if known is None else known
        for known, profile_id in zip(held, profile_ids.to_pylist(), strict=True)
    ]
    return Assignment(pa.array(drawn, pa.bool_()), pc.fill_null(first, as_of))


def draws_out(segment: Segment, profile_id: str) -> bool:
    """Say whether a person never assigned before is held out: the same answer every time."""
    if not segment.holdout:
        return False
    digest = hashlib.sha256(f"{segment.name}\0{profile_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < segment.holdout * 2**64


def _decided(segment: str, deliveries: pa.Table) -> pa.Table:
    """Return profile_id, held_any, first_assigned_min of the people assigned before."""
    mine = pc.and_(
        pc.equal(deliveries["segment"], segment), pc.is_valid(deliveries["first_assigned"])
    )
    rows = deliveries.filter(mine)
    rows = rows.append_column("held", pc.equal(rows["status"], "held_out"))
    return rows.group_by("profile_id").aggregate([("held", "any"), ("first_assigned", "min")])
