"""One build against the one before: renamed, merged, split, entered, gone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from serving.segments.diff import MEMBERSHIPS, Counts, build
from serving.segments.successors import moved

FIRST, SECOND = 1_000, 2_000
PROFILES = pa.table(
    {
        "profile_id": ["customer:1", "customer:2", "cookie:b", "cookie:c"],
        "profile_key": [1, 2, 10, 11],
    }
)
NO_CHANGES = pa.table({"old": [], "new": [], "kind": []}).cast(
    pa.schema({"old": pa.string(), "new": pa.string(), "kind": pa.string()})
)


def keys(*found: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(found, dtype=np.int64)


def changes(*rows: tuple[str, str, str]) -> pa.Table:
    old, new, kind = zip(*rows, strict=True)
    return pa.table({"old": old, "new": new, "kind": kind})


def members_before(*rows: tuple[str, str, int]) -> pa.Table:
    listed = [
        {"segment": s, "profile_id": p, "profile_key": 77, "since": since, "as_of": FIRST}
        for s, p, since in rows
    ]
    return pa.Table.from_pylist(listed, schema=MEMBERSHIPS)


def since(table: pa.Table) -> list[tuple[str, str, int]]:
    return [(row["segment"], row["profile_id"], row["since"]) for row in table.to_pylist()]


def test_at_the_first_build_everybody_enters() -> None:
    table, counts = build({"a": keys(10, 1), "z": keys()}, PROFILES, None, NO_CHANGES, FIRST)
    assert table.to_pylist() == [
        {"segment": "a", "profile_id": "cookie:b", "profile_key": 10, "since": 1_000,
         "as_of": 1_000},
        {"segment": "a", "profile_id": "customer:1", "profile_key": 1, "since": 1_000,
         "as_of": 1_000},
    ]  # fmt: skip
    assert table.schema == MEMBERSHIPS
    assert counts == {"a": Counts(2, 2, 0, 0, 0), "z": Counts(0, 0, 0, 0, 0)}


def test_those_who_stay_keep_their_since() -> None:
    before = members_before(("a", "customer:1", 500), ("a", "customer:2", 700))
    table, counts = build({"a": keys(1, 11)}, PROFILES, before, NO_CHANGES, SECOND)
    assert since(table) == [("a", "cookie:c", 2_000), ("a", "customer:1", 500)]
    assert counts["a"] == Counts(members=2, entered=1, stayed=1, left=1, absorbed=0)


def test_a_visitor_who_became_known_has_stayed() -> None:
    before = members_before(("a", "cookie:a", 500))
    renamed = changes(("cookie:a", "customer:1", "renamed"))
    table, counts = build({"a": keys(1)}, PROFILES, before, renamed, SECOND)
    assert since(table) == [("a", "customer:1", 500)]
    assert counts["a"] == Counts(members=1, entered=0, stayed=1, left=0, absorbed=0)


def test_of_two_members_who_are_one_person_one_is_absorbed_and_the_earlier_since_stands() -> None:
    before = members_before(("a", "cookie:a", 500), ("a", "customer:1", 700))
    merged = changes(("cookie:a", "customer:1", "merged"))
    table, counts = build({"a": keys(1)}, PROFILES, before, merged, SECOND)
    assert since(table) == [("a", "customer:1", 500)]
    assert counts["a"] == Counts(members=1, entered=0, stayed=1, left=0, absorbed=1)


def test_two_members_who_are_one_person_leave_once() -> None:
    before = members_before(("a", "cookie:a", 500), ("a", "customer:1", 700))
    merged = changes(("cookie:a", "customer:1", "merged"))
    _, counts = build({"a": keys()}, PROFILES, before, merged, SECOND)
    assert counts["a"] == Counts(members=0, entered=0, stayed=0, left=1, absorbed=1)


def test_of_a_split_person_the_part_with_the_anchor_stays_and_the_other_enters() -> None:
    before = members_before(("a", "customer:1", 500))
    split = changes(("customer:1", "customer:1", "split"))
    table, counts = build({"a": keys(1, 10)}, PROFILES, before, split, SECOND)
    assert since(table) == [("a", "cookie:b", 2_000), ("a", "customer:1", 500)]
    assert counts["a"] == Counts(members=2, entered=1, stayed=1, left=0, absorbed=0)


def test_a_member_who_exists_no_more_has_left() -> None:
    before = members_before(("a", "cookie:gone", 500))
    table, counts = build({"a": keys()}, PROFILES, before, NO_CHANGES, SECOND)
    assert (table.num_rows, counts["a"]) == (0, Counts(0, 0, 0, 1, 0))


def test_segments_do_not_mix_and_a_deleted_one_is_dropped() -> None:
    before = members_before(("a", "customer:1", 500), ("deleted", "customer:2", 500))
    table, counts = build({"b": keys(1)}, PROFILES, before, NO_CHANGES, SECOND)
    assert since(table) == [("b", "customer:1", 2_000)]
    assert counts == {"b": Counts(1, 1, 0, 0, 0)}


def test_ids_move_by_one_hop_even_when_names_are_handed_on() -> None:
    handed_on = changes(("a", "b", "renamed"), ("b", "c", "renamed"))
    ids = pa.chunked_array([["a", "b"], ["d"]], pa.string())
    assert moved(ids, handed_on).to_pylist() == ["b", "c", "d"]
