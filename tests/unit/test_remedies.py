"""A refusal says which change of setting would do, and what it says is what the change does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml

from features.settings import Project
from features.time import parse_instant
from pipelines.learning import dataset_of, lessons, task_of
from pipelines.remedies import with_remedies
from pipelines.stages import Bench, plan_features
from tests.worlds import Row, days, seen, world
from training.errors import NotEnoughHistory, Refusal, Remedy
from training.sufficiency import Examples

Changes = Mapping[str, Any]


def goal(**changes: Any) -> dict[str, Any]:
    return {
        "name": "buys", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "10d",
        "eligible": "any(visit in last 20d)", "min_people": 60, **changes,
    }  # fmt: skip


def shop() -> Iterator[Row]:
    """Yield 240 days of 120 people who visit every ten days; every third buys, every 60 days."""
    for person in range(120):
        who = {"customer": f"c{person}"}
        for day in range(person % 10, 240, 10):
            yield seen(days(day), **who)
        if person % 3 == 0:
            for day in range(person % 60, 240, 60):
                yield seen(days(day + 0.5), "purchase", **who)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The shop, read once; what a test asks of it is said by `asking`."""
    with world(tmp_path_factory.mktemp("shop"), list(shop())) as bench:
        yield bench


def asking(bench: Bench, wanted: Changes, most: int = 3) -> Bench:
    """Return the bench with one goal in its project file, and so many snapshots at most."""
    said = bench.workspace.project.model_dump(mode="json")
    said |= {"goals": [dict(wanted)], "training": {"max_snapshots": most}}
    workspace = replace(bench.workspace, project=Project.model_validate(said))
    return replace(bench, workspace=workspace)


def counted(bench: Bench, as_of: int) -> Examples:
    """Return the people training would learn from; raise what it would refuse."""
    plan = plan_features(bench, as_of)
    lesson = lessons(bench, plan)[0]
    dataset = dataset_of(bench, plan, lesson)
    found = Examples.of(dataset.label, dataset.person)
    found.require(task_of(bench, plan, lesson.goal).fewest_people, "goals.buys")
    return found


def refused(bench: Bench, as_of: int) -> Refusal:
    """Return the refusal of the bench's goal, with its remedies."""
    with pytest.raises(Refusal) as caught:
        counted(bench, as_of)
    if isinstance(caught.value, NotEnoughHistory):
        return caught.value
    return with_remedies(bench, plan_features(bench, as_of).goals[0], as_of, caught.value)


def changed(bench: Bench, wanted: Changes, remedy: Remedy, as_of: int) -> Examples:
    """Make the change a remedy names, and count anew."""
    if remedy.setting == "--as-of":
        return counted(asking(bench, wanted), parse_instant(remedy.value))
    value = yaml.safe_load(remedy.value)
    if remedy.setting == "training.max_snapshots":
        return counted(asking(bench, wanted, value), as_of)
    return counted(asking(bench, {**wanted, remedy.setting: value}), as_of)


CASES: dict[str, tuple[Changes, float, set[str]]] = {
    "few buy in ten days": (goal(min_people=35), 240, {"outcome_window"}),
    "few are eligible": (goal(eligible="any(visit in last 2d)", min_people=15), 240, {"eligible"}),
    "nobody goes without for so long": (
        goal(outcome_window="70d", eligible="any(purchase in last 65d)", min_people=20), 240,
        {"outcome_window"},
    ),
    "none buys by then": (goal(outcome="count(purchase) >= 2"), 240, set()),
    "too short for window and gap": (
        goal(outcome_window="30d", gap="20d", min_people=5), 70, {"outcome_window", "gap"}
    ),
    "too early": (goal(outcome_window="30d", min_people=5), 50, {"outcome_window", "--as-of"}),
}  # fmt: skip
"""The goal, the days after which it is asked for, and what would certainly mend it."""


@pytest.mark.parametrize("name", CASES)
def test_what_a_remedy_says_is_what_the_change_gives(name: str, rows: Bench) -> None:
    wanted, day, expected = CASES[name]
    bench = asking(rows, wanted)
    refusal = refused(bench, days(day))
    enough = [remedy for remedy in refusal.remedies if remedy.enough]
    assert {remedy.setting for remedy in enough} >= expected
    assert refusal.details["remedies"] == [remedy.body() for remedy in refusal.remedies]
    for remedy in enough:
        found = changed(bench, wanted, remedy, days(day))
        assert (found.with_outcome, found.without) == (remedy.with_outcome, remedy.without)
        assert f"{remedy.setting}: {remedy.value} would give" in refusal.hint
