"""At which moments people are looked at: calendar snapshots, and visits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.settings import Goal
from features.time import Window
from pipelines.stages import Bench
from tests.worlds import DAY, Row, days, seen, world
from training.spine import NotEnoughHistory, event_rows, snapshots

WEEK = Window.parse("7d")


def goal(window: str, **more: Any) -> Goal:
    return Goal.model_validate(
        {"name": "buys", "kind": "conversion", "outcome": "any(purchase)",
         "outcome_window": window} | more
    )  # fmt: skip


@pytest.mark.parametrize(
    ("window", "gap", "expected"),
    [
        ("30d", None, [270, 240, 210]),
        ("30d", "5d", [265, 235, 205]),
        ("7d", None, [293, 286, 279]),
        ("1d", None, [299, 292, 285]),
        ("12h", "12h", [299, 292, 285]),
    ],
)
def test_snapshots_step_back_from_the_newest_closed_one(
    window: str, gap: str | None, expected: list[int]
) -> None:
    found = snapshots(goal(window, gap=gap), days(300), days(0), most=3)
    assert found == [days(day) for day in expected]


@pytest.mark.parametrize("window", ["1d", "7d", "30d", "90d"])
@pytest.mark.parametrize("gap", [None, "3d"])
def test_outcomes_have_closed_and_never_overlap(window: str, gap: str | None) -> None:
    wanted, as_of = goal(window, gap=gap), days(3_000)
    found = snapshots(wanted, as_of, days(0), most=12)
    ahead = wanted.outcome_window.micros + (wanted.gap.micros if wanted.gap else 0)
    assert len(found) == 12
    assert found[0] + ahead == as_of
    steps = -np.diff(found)
    assert set(steps) == {max(wanted.outcome_window.micros, 7 * DAY)}


@pytest.mark.parametrize(
    ("window", "history", "expected"),
    [("10d", 40, 1), ("10d", 50, 2), ("60d", 120, 1), ("60d", 180, 2)],
)
def test_there_is_a_past_before_the_oldest_snapshot(
    window: str, history: int, expected: int
) -> None:
    """30 days of it, or the outcome window when that is longer."""
    assert len(snapshots(goal(window), days(history), days(0), most=12)) == expected


@pytest.mark.parametrize(
    ("gap", "short", "message"),
    [
        (None, 1, "goals.buys: 39 days of history before 2024-02-09T23:59:59.999999Z, 40 needed: "
         "30 days to look back on, and the outcome window of 10 days."),
        ("2d", DAY, "goals.buys: 41 days of history before 2024-02-11T00:00:00Z, 42 needed: "
         "30 days to look back on, and the outcome window of 10 days after a gap of 2 days."),
    ],
)  # fmt: skip
def test_too_short_a_history_says_how_short(gap: str | None, short: int, message: str) -> None:
    enough = days(40 if gap is None else 42)
    assert len(snapshots(goal("10d", gap=gap), enough, days(0), most=12)) == 1
    with pytest.raises(NotEnoughHistory, match="history") as caught:
        snapshots(goal("10d", gap=gap), enough - short, days(0), most=12)
    assert caught.value.message == message
    assert caught.value.code == "not_enough_history"
    days_there = (enough - short - days(0)) // DAY
    assert caught.value.details == {
        "goal": "buys", "days": days_there, "days_needed": days_there + 1,
    }  # fmt: skip


def visits(folder: Path, rows: list[Row], moments: list[int], seed: int = 7) -> list[Any]:
    """Return (as_of, profile id) of the visits chosen, oldest first."""
    with world(folder, rows) as bench:
        return chosen(bench, moments, seed)


def chosen(bench: Bench, moments: list[int], seed: int) -> list[Any]:
    people = event_rows(bench.engine, bench.log, bench.graph, moments, WEEK, seed)
    named = [bench.graph.identities[key] for key in people.profile_key]
    return sorted(zip(people.as_of.tolist(), named, strict=True))


def test_one_visit_of_each_person_and_window_just_after_it_was_known(tmp_path: Path) -> None:
    rows = [seen(days(day), cookie=who) for day in range(14) for who in "ab"]
    found = visits(tmp_path, rows, [days(14), days(7)])
    windows = [(name, (moment - days(0)) // (7 * DAY)) for moment, name in found]
    assert sorted(windows) == [(f"cookie:{who}", week) for who in "ab" for week in (0, 1)]
    assert all((moment - 1 - days(0)) % DAY == 0 for moment, _ in found)
    assert found == visits(tmp_path / "again", rows[::-1], [days(14), days(7)])
    assert found != visits(tmp_path / "seed", rows, [days(14), days(7)], seed=8)


def test_a_visit_is_in_the_window_when_it_happened_and_was_known_in_it(tmp_path: Path) -> None:
    week = [days(14)]
    edges = {"first": days(7), "before": days(7) - 1, "last": days(14) - 1, "after": days(14)}
    late = Row({"cookie": "late"}, days(8), received_at=days(9))
    too_late = Row({"cookie": "too_late"}, days(8), received_at=days(14))
    rows = [seen(moment, cookie=name) for name, moment in edges.items()]
    assert visits(tmp_path, [*rows, late, too_late], week) == [
        (days(7) + 1, "cookie:first"),
        (days(9) + 1, "cookie:late"),
        (days(14), "cookie:last"),
    ]


def test_a_visitor_is_who_they_could_be_seen_to_be(tmp_path: Path) -> None:
    """Two visits of one person make one row; it bears the name known just after the visit."""
    rows = [seen(days(8), cookie="c"), seen(days(10), cookie="c", customer="ann")]
    with world(tmp_path, rows) as bench:
        drawn = [chosen(bench, [days(14)], seed) for seed in range(20)]
    assert {len(rows) for rows in drawn} == {1}
    assert {rows[0] for rows in drawn} == {
        (days(8) + 1, "cookie:c"),
        (days(10) + 1, "customer:ann"),
    }


def test_no_visit_is_no_row(tmp_path: Path) -> None:
    assert visits(tmp_path, [seen(days(0), cookie="c")], [days(14)]) == []
