"""Holdouts: decided once, kept through rebuilds, renames and merges."""

from __future__ import annotations

import pyarrow as pa
import pytest

from features.settings import Segment
from serving.exports.deliveries import DELIVERIES, carried
from serving.exports.holdout import assign, draws_out

MANY = [f"customer:{number}" for number in range(4_000)]
NO_CHANGES = pa.table({"old": pa.array([], pa.string()), "new": pa.array([], pa.string())})


def segment(share: float, name: str = "lapsing") -> Segment:
    return Segment(name=name, where="any(x)", holdout=share)


def delivered(*rows: tuple[str, str, str, int | None]) -> pa.Table:
    listed = [
        {"segment": segment, "destination": "crm", "profile_id": profile_id, "status": status,
         "as_of": 5, "first_assigned": first, "file": "f"}
        for segment, profile_id, status, first in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(listed, schema=DELIVERIES)


def held(share: float, people: list[str], log: pa.Table, name: str = "lapsing") -> list[bool]:
    found: list[bool] = assign(segment(share, name), pa.array(people), log, 9).held.to_pylist()
    return found


NOTHING = delivered()


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_about_the_share_is_held_out(share: float) -> None:
    count = sum(held(share, MANY, NOTHING))
    # Five standard deviations of a binomial: wrong once in two million seeds.
    margin = 5 * (len(MANY) * share * (1 - share)) ** 0.5
    assert abs(count - share * len(MANY)) < margin


def test_the_draw_is_the_same_on_every_machine() -> None:
    # printf 'lapsing\0customer:0' | sha256sum: 53d10efe…, and dc92b7af… for customer:2. Half of
    # 2**64 begins 80.
    assert [draws_out(segment(0.5), f"customer:{n}") for n in (0, 2)] == [True, False]
    # 0x53d10efe / 2**32 = 0.32741
    assert [draws_out(segment(share), "customer:0") for share in (0.3274, 0.3275)] == [False, True]


def test_segments_hold_out_different_people() -> None:
    assert held(0.5, MANY, NOTHING, "lapsing") != held(0.5, MANY, NOTHING, "vip")


def test_a_larger_share_holds_out_the_same_people_and_more() -> None:
    small, large = held(0.1, MANY, NOTHING), held(0.3, MANY, NOTHING)
    assert all(more for fewer, more in zip(small, large, strict=True) if fewer)


def test_nobody_new_is_held_out_at_share_zero_and_nobody_held_out_is_let_go() -> None:
    log = delivered(("lapsing", "customer:1", "held_out", 5))
    found = assign(segment(0), pa.array(["customer:1", "customer:2"]), log, 9)
    assert found.held.to_pylist() == [True, False]
    assert found.first_assigned.to_pylist() == [5, 9]


def test_whoever_was_sent_once_is_never_held_out() -> None:
    log = delivered(*(("lapsing", person, "sent", 5) for person in MANY))
    assert not any(held(0.9, MANY, log))


def test_being_left_out_decides_nothing() -> None:
    log = delivered(*(("lapsing", person, "left_out", None) for person in MANY))
    assert held(0.3, MANY, log) == held(0.3, MANY, NOTHING)


def test_a_decision_of_one_segment_says_nothing_of_another() -> None:
    log = delivered(("vip", "customer:1", "held_out", 5))
    assert held(0, ["customer:1"], log) == [False]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"cookie:a": "held_out"}, (True, 3)),
        ({"cookie:a": "sent"}, (False, 3)),
        ({"cookie:a": "held_out", "customer:1": "sent"}, (True, 3)),
        ({"cookie:a": "sent", "customer:1": "held_out"}, (True, 3)),
        ({"cookie:a": "sent", "customer:1": "sent"}, (False, 3)),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_decision_follows_the_person_and_held_out_wins_a_merge(
    statuses: dict[str, str], expected: tuple[bool, int], share: float
) -> None:
    log = delivered(
        *(("lapsing", who, status, 3 if who == "cookie:a" else 4)
          for who, status in statuses.items())
    )  # fmt: skip
    changes = pa.table({"old": ["cookie:a"], "new": ["customer:1"], "kind": ["merged"]})
    found = assign(segment(share), pa.array(["customer:1"]), carried(log, changes), 9)
    assert (found.held[0].as_py(), found.first_assigned[0].as_py()) == expected


def test_a_decision_is_carried_over_runs_in_which_the_person_was_no_member() -> None:
    log = delivered(("lapsing", "cookie:a", "held_out", 3))
    for old, new in (("cookie:a", "email:a"), ("email:a", "customer:1")):
        log = carried(log, pa.table({"old": [old], "new": [new]}))
    assert held(0, ["cookie:a", "email:a", "customer:1"], log) == [False, False, True]


def test_carrying_changes_ids_only() -> None:
    log = delivered(("lapsing", "cookie:a", "sent", 3), ("vip", "cookie:b", "left_out", None))
    moved = carried(log, pa.table({"old": ["cookie:a"], "new": ["customer:1"]}))
    assert moved["profile_id"].to_pylist() == ["customer:1", "cookie:b"]
    assert moved.drop_columns("profile_id").equals(log.drop_columns("profile_id"))
    assert moved.schema == DELIVERIES


def test_before_the_first_export_there_is_nothing_to_carry() -> None:
    assert carried(None, NO_CHANGES).equals(DELIVERIES.empty_table())
