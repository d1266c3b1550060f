"""Labels: what counts as the outcome, for whom, and that a closed one never changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.behavior.scene import People
from features.conditions import ConditionError, Vocabulary, text
from features.identity.graph import NOBODY
from features.settings import Goal
from pipelines.stages import Bench
from tests.worlds import Row, days, seen, world
from training.goals import BadGoal, canonical, compile_goal
from training.labels import Labels, labels

AS_OF = days(10)
VOCABULARY = Vocabulary(
    events={"visit": {}, "purchase": {"amount": "number"}},
    attributes={"country": "text"},
    identities=frozenset(["customer"]),
)


def goal(outcome: str = "any(purchase)", **more: Any) -> Goal:
    return Goal.model_validate(
        {"name": "buys", "kind": "conversion", "outcome": outcome, "outcome_window": "5d",
         "gap": "2d"} | more
    )  # fmt: skip


def read(bench: Bench, wanted: Goal, asked: Sequence[tuple[str, int]]) -> Labels:
    """Return the labels of (identity, as_of) rows."""
    names, moments = zip(*asked, strict=True)
    as_of = np.array(moments)
    keys = np.array([bench.graph.identities.index(name) for name in names])
    people = People.at_rows(bench.graph.at_rows(keys, as_of), as_of)
    compiled = compile_goal(wanted, VOCABULARY)
    return labels(bench.engine, bench.log, bench.graph, compiled, people)


def label(folder: Path, rows: Sequence[Row], outcome: str = "any(purchase)") -> int:
    """Return the label of cookie `c` at AS_OF, read in both ways: alone and among other moments."""
    with world(folder, [seen(days(0), cookie="c"), *rows]) as bench:
        one = read(bench, goal(outcome), [("cookie:c", AS_OF)])
        several = read(bench, goal(outcome), [("cookie:c", AS_OF), ("cookie:c", days(1))])
    assert one.known.tolist() == [True]
    assert one.label[0] == several.label[0]
    assert one.person_group[0] == several.person_group[0]
    return int(one.label[0])


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(days(12) - 1, 0), (days(12), 1), (days(17) - 1, 1), (days(17), 0)],
)
def test_the_window_holds_its_start_and_not_its_end(
    tmp_path: Path, moment: int, expected: int
) -> None:
    bought = [seen(moment, "purchase", cookie="c")]
    assert label(tmp_path, bought) == expected
    assert label(tmp_path / "not", bought, "not any(purchase)") == 1 - expected


@pytest.mark.parametrize(("received", "expected"), [(days(17) - 1, 1), (days(17), 0)])
def test_what_becomes_known_after_the_end_changes_no_closed_label(
    tmp_path: Path, received: int, expected: int
) -> None:
    assert label(tmp_path, [Row({"cookie": "c"}, days(13), "purchase", received)]) == expected


@pytest.mark.parametrize(
    ("login", "expected"), [(days(9), 1), (days(16), 1), (days(17) - 1, 1), (days(17), 0)]
)
def test_an_outcome_belongs_to_the_person_of_the_windows_end(
    tmp_path: Path, login: int, expected: int
) -> None:
    """Ann buys with her customer number alone; that cookie c is hers is learnt at the login."""
    bought = seen(days(13), "purchase", customer="ann")
    assert label(tmp_path, [bought, seen(login, cookie="c", customer="ann")]) == expected


def test_a_login_known_too_late_moves_nothing(tmp_path: Path) -> None:
    login = Row({"cookie": "c", "customer": "ann"}, days(13), received_at=days(17))
    assert label(tmp_path, [seen(days(13), "purchase", customer="ann"), login]) == 0


def test_rows_that_are_one_person_at_the_end_share_a_group(tmp_path: Path) -> None:
    rows = [seen(days(0), cookie=name) for name in "abc"]
    rows += [seen(days(11), customer="ann", cookie=name) for name in "ab"]
    asked = [(f"cookie:{name}", AS_OF) for name in "abc"]
    with world(tmp_path / "one", rows) as bench:
        found = read(bench, goal(), asked)
    a, b, c = found.person_group.tolist()
    assert a == b != c
    # Keys are numbered anew in every version of the tables; a person keeps their fold.
    with world(tmp_path / "two", [*rows, seen(days(30), customer="aaa", cookie="aa")]) as bench:
        again = read(bench, goal(), asked)
    assert again.person_group.tolist() == [a, b, c]


def test_an_anchor_that_names_nobody_any_more_has_no_label(tmp_path: Path) -> None:
    """The device is seen on Tom's row alone, and names the cookie's visitor till Bob logs in."""
    rows = [
        seen(days(0), cookie="c"),
        seen(days(1), customer="tom", login="t", device="d", cookie="c"),
        seen(days(11), customer="bob", cookie="c"),
    ]
    with world(tmp_path, rows, identity={"max_identities": 2}) as bench:
        before = bench.graph.at(AS_OF).anchor
        after = bench.graph.at(days(17)).anchor
        gone = [k for k in range(len(before)) if before[k] == k and after[k] == NOBODY]
        asked = [(bench.graph.identities[key], AS_OF) for key in gone]
        assert asked == [("device:d", AS_OF)]
        found = read(bench, goal("not any(purchase)"), [*asked, ("customer:tom", AS_OF)])
    assert found.known.tolist() == [False, True]
    assert found.label.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("outcome", "code", "says"),
    [
        ("identity(customer) exists", BadGoal, "names no event"),
        ("any(purchase in last 3d)", BadGoal, "looks beyond the outcome window"),
        ('any(purchase) and country = "FR"', BadGoal, "looks beyond the outcome window"),
        ("any(purchase) and churn.score > 3", ConditionError, "churn"),
    ],
)
def test_an_outcome_speaks_of_its_window_alone(
    outcome: str, code: type[Exception], says: str
) -> None:
    with pytest.raises(code, match=says):
        compile_goal(goal(outcome), VOCABULARY)


def test_a_goal_knows_its_words() -> None:
    compiled = compile_goal(goal("not  any( purchase )", eligible="any(visit in last 4w)"),
                            VOCABULARY)  # fmt: skip
    assert compiled.event == "purchase"
    assert canonical(compiled) == {
        "outcome": "not any(purchase)",
        "eligible": "any(visit in last 28d)",
        "outcome_window": "5d",
        "gap": "2d",
        "spine": "calendar",
        "excluded": "",
    }


def test_by_default_whoever_was_active_is_eligible() -> None:
    compiled = compile_goal(goal(), VOCABULARY)
    assert text(compiled.eligible) == "any(visit in last 45d) or any(purchase in last 45d)"


def test_the_default_population_takes_hundreds_of_event_types() -> None:
    many = Vocabulary(events={"purchase": {}} | {f"happening_{n}": {} for n in range(300)})
    assert text(compile_goal(goal(), many).eligible).count("any(") == 301
