"""Memberships of this build, and who entered, stayed and left since the one before.

The members of the build before are moved to their successors first, so a visitor who became known
has stayed, and of two members who turned out to be one person one is absorbed:
entered + stayed = now, and left + stayed + absorbed = before. A count is the length of a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from features.behavior.scene import Ints
from serving.segments.successors import moved

MEMBERSHIPS = pa.schema(
    {
        "segment": pa.string(),
        "profile_id": pa.string(),
        "profile_key": pa.int64(),
        "since": pa.int64(),
        "as_of": pa.int64(),
    }
)


@dataclass(frozen=True)
class Counts:
    """Figures of one segment. `left` counts those who are members no more, or exist no more."""

    members: int
    entered: int
    stayed: int
    left: int
    absorbed: int


def build(
    now: Mapping[str, Ints],
    profiles: pa.Table,
    before: pa.Table | None,
    changes: pa.Table,
    as_of: int,
) -> tuple[pa.Table, dict[str, Counts]]:
    """Return the memberships (one row a segment and member) and the counts of every segment.

    `now` gives the profile keys of the members; `profiles` (profile_id, profile_key) names them.
    `before` is the memberships table of the previous build, None at the first; segments that are
    no longer in `now` are dropped. `since` is kept for those who stayed, the earliest when people
    merged, and is `as_of` for those who entered. Rows are sorted by segment and profile id.
    """
    earlier = _moved(before, changes)
    tables, counts = [MEMBERSHIPS.empty_table()], {}
    for name in sorted(now):
        stood = earlier.filter(pc.equal(earlier["segment"], name))
        table, counts[name] = _of_segment(name, _named(now[name], profiles), stood, as_of)
        tables.append(table)
    return pa.concat_tables(tables).combine_chunks(), counts


def _moved(before: pa.Table | None, changes: pa.Table) -> pa.Table:
    """Return the rows of the build before under the ids of today: several may share one id."""
    table = MEMBERSHIPS.empty_table() if before is None else before
    ids = moved(table["profile_id"], changes)
    return pa.table({"segment": table["segment"], "profile_id": ids, "since": table["since"]})


def _named(keys: Ints, profiles: pa.Table) -> pa.Table:
    place = pc.index_in(pa.array(keys), value_set=profiles["profile_key"].combine_chunks())
    return profiles.select(["profile_id", "profile_key"]).take(place).sort_by("profile_id")


def _of_segment(name: str, now: pa.Table, stood: pa.Table, as_of: int) -> tuple[pa.Table, Counts]:
    people = stood.group_by("profile_id").aggregate([("since", "min")])
    place = pc.index_in(now["profile_id"], value_set=people["profile_id"].combine_chunks())
    since = people["since_min"].combine_chunks().take(place)
    table = pa.table(
        {
            "segment": pa.repeat(name, len(now)),
            "profile_id": now["profile_id"],
            "profile_key": now["profile_key"],
            "since": pc.fill_null(since, as_of),
            "as_of": pa.repeat(pa.scalar(as_of, pa.int64()), len(now)),
        },
        schema=MEMBERSHIPS,
    )
    stayed = len(place) - place.null_count
    return table, Counts(
        members=len(now),
        entered=place.null_count,
        stayed=stayed,
        left=len(people) - stayed,
        absorbed=len(stood) - len(people),
    )
