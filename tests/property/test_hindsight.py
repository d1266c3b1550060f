"""Hindsight: how many rows of the past today's identities would have changed."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from features.identity.graph import NOBODY, Graph
from features.identity.hindsight import rewritten
from pipelines.learning import hindsight_of, lessons
from pipelines.stages import plan_features
from tests.worlds import DAY, Row, days, seen, world

NOW = days(30)


def differs(graph: Graph, asked: list[tuple[str, int]]) -> list[bool]:
    keys = np.array([graph.identities.index(name) for name, _ in asked])
    as_of = np.array([moment for _, moment in asked])
    return rewritten(graph, graph.at_rows(keys, as_of), as_of, graph.at(NOW)).tolist()


def twin(graph: Graph, name: str, as_of: int) -> bool:
    """Compare two sets of identities, one row at a time."""
    key = list(graph.identities).index(name)
    then, today = graph.at(as_of).anchor, graph.at(NOW).anchor
    known = {k for k, t in zip(graph.seen_key, graph.seen_known, strict=True) if t < as_of}
    anchor = then[key]
    if anchor == NOBODY or today[anchor] == NOBODY:
        return False
    had = {k for k in known if then[k] == anchor}
    return had != {k for k in known if today[k] == today[anchor]}


LOGIN = seen(days(9), cookie="c", customer="tom")


@pytest.mark.parametrize(
    ("name", "as_of", "expected"),
    [
        ("cookie:c", days(2), False),  # nobody else was known yet
        ("cookie:c", days(9), True),  # the other cookie was, and both are tom's by now
        ("cookie:d", days(9) + 1, True),
        ("customer:tom", days(9) + 1, True),
        ("customer:tom", days(12) + 1, False),
    ],
)
def test_a_later_login_would_have_lent_history(
    tmp_path: Path, name: str, as_of: int, expected: bool
) -> None:
    joined = seen(days(12), cookie="d", customer="tom")
    rows = [seen(days(1), cookie="c"), seen(days(2), cookie="d"), LOGIN, joined]
    with world(tmp_path, rows) as bench:
        assert differs(bench.graph, [(name, as_of)]) == [expected]


def test_a_shared_device_that_moved_on_would_have_taken_history_away(tmp_path: Path) -> None:
    rows = [LOGIN, seen(days(20), cookie="c", customer="ann")]
    with world(tmp_path, rows) as bench:
        asked = [("customer:tom", days(10)), ("customer:ann", days(20) + 1)]
        assert differs(bench.graph, asked) == [True, False]


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_sets_of_identities_say(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = [_row(rng) for _ in range(60)]
    with world(tmp_path, rows, identity={"max_fan_out": 3, "max_identities": 5}) as bench:
        graph = bench.graph
        names = list(graph.identities)
        asked = [(rng.choice(names), days(rng.uniform(1, 30))) for _ in range(40)]
        expected = [twin(graph, name, as_of) for name, as_of in asked]
        assert differs(graph, asked) == expected


def _row(rng: random.Random) -> Row:
    who = {"cookie": f"c{rng.randrange(9)}"}
    if rng.random() < 0.3:
        who["customer"] = f"p{rng.randrange(6)}"
    if rng.random() < 0.2:
        who["email"] = f"e{rng.randrange(4)}@m.org"
    moment = days(rng.uniform(0, 28))
    return Row(who, moment, received_at=rng.choice([None, moment + rng.randrange(3 * DAY)]))


@pytest.mark.parametrize("spine", ["calendar", "at_events"])
def test_a_goal_counts_the_rows_of_its_lesson(tmp_path: Path, spine: str) -> None:
    rows = [seen(days(day), cookie=cookie) for day in range(100) for cookie in "abc"]
    rows.append(seen(days(99.5), cookie="a", customer="tom"))
    rows.append(seen(days(99.6), cookie="b", customer="tom"))
    goal = {"name": "returns", "kind": "conversion", "outcome": "any(visit)",
            "outcome_window": "7d", "spine": spine}  # fmt: skip
    with world(tmp_path, rows, goals=[goal], training={"max_snapshots": 2}) as bench:
        plan = plan_features(bench, days(100))
        found = hindsight_of(bench, plan, lessons(bench, plan)[0])
    # Cookies a and b are one person today; c always was alone. Two moments.
    assert (found.rows, found.changed, found.people) == (6, 4, 1)
    assert "4 of 6 training rows (66.7%)" in found.words
