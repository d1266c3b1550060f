"""Leaks in a world with dates: what is known too early is found, whoever's fault it is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from features import time
from features.behavior import buckets, scene
from features.behavior.definitions import NumberAttribute
from features.profiles import merging
from pipelines import provenance
from pipelines.learning import dataset_of, lessons, population, train_goal
from pipelines.provenance import check_provenance
from pipelines.stages import Bench, described, plan_features
from tests.worlds import DAY, Row, days, world
from training.errors import LeakFound
from training.lint import alone_aucs, check_alone

T = days(120)
PEOPLE = 120
GOAL = {"name": "buys", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "10d",
        "eligible": "any(view in last 60d)", "min_people": 20}  # fmt: skip
VISITS = GOAL | {"name": "visits", "spine": "at_events"}


def visits(seed: int = 1) -> list[Row]:
    """Return people who view all the time, and buy now and then after much viewing."""
    rng = random.Random(seed)
    found = []
    for number in range(PEOPLE):
        who, zeal = {"customer": f"p{number}"}, rng.random()
        for day in range(0, 119, 3):
            moment = days(day + rng.random())
            if rng.random() < 0.4 + zeal / 3:
                found.append(Row(who, moment, "view", None, {}, {"tier": rng.choice("ab")}))
            if rng.random() < zeal / 4:
                found.append(Row(who, moment + DAY, "purchase"))
    return found


def shipped(rows: list[Row], honest: bool) -> list[Row]:
    """Let purchases of the last days write an attribute: dated then, or in place of the first."""
    lately = [
        row for row in rows if row.event_type == "purchase" and row.event_time >= T - 10 * DAY
    ]
    found = []
    for number in range(PEOPLE):
        who = {"customer": f"p{number}"}
        bought = [row.event_time for row in lately if row.who == who]
        found.append(Row(who, days(0), "note", None, {}, {"parcel": "none"}))
        if bought:
            moment = bought[0] if honest else days(0.5)
            found.append(Row(who, moment, "note", None, {}, {"parcel": "on its way"}))
    return [*rows, *found]


@contextmanager
def opened(folder: Path, rows: list[Row], goal=GOAL, **more: Any) -> Iterator[Bench]:
    training = {"max_snapshots": 1}
    features = {"windows": ["10d", "60d"], "events": ["view", "purchase"]}
    with world(folder, rows, goals=[goal], features=features, training=training, **more) as bench:
        yield bench


@pytest.mark.parametrize("goal", [GOAL, VISITS], ids=["calendar", "at_events"])
def test_what_is_learnt_from_was_known_in_time(tmp_path, goal):
    with opened(tmp_path, visits(), goal) as bench:
        plan = plan_features(bench, T)
        (lesson,) = lessons(bench, plan)
        rows = described(bench.store, lesson.features[0], plan, goal["name"])
        assert len(rows.profile_key) > 50
        check_provenance(bench, plan, lesson.goal, lesson.features)


def everything(known_at, as_of):
    return known_at == known_at


@pytest.mark.parametrize("goal", [GOAL, VISITS], ids=["calendar", "at_events"])
def test_features_that_hold_the_outcome_fail_the_run(tmp_path, goal, monkeypatch):
    """The defect is made here: for once every event counts, whenever it was known."""
    with opened(tmp_path, visits(), goal) as bench:
        plan = plan_features(bench, T)
        with monkeypatch.context() as patch:
            patch.setattr(scene.time, "known_before", everything)
            (lesson,) = lessons(bench, plan)
        assert time.known_before(1, 2) and not time.known_before(2, 2)
        everyone = population(bench, plan)
        message = rf"goals.{goal['name']}: \d+ of \d+ training rows at 2024-0.* differ from what"
        with pytest.raises(LeakFound, match=message) as caught:
            train_goal(bench, plan, lesson, everyone)
        assert {"days_since_view", "view_count_10d"} <= {*caught.value.details["features"]}
        assert "run --from features" in str(caught.value)


def test_attributes_of_later_fail_the_run(tmp_path, monkeypatch):
    with opened(tmp_path, shipped(visits(), honest=True)) as bench:
        plan = plan_features(bench, T)
        with monkeypatch.context() as patch:
            patch.setattr(merging, "time", SimpleNamespace(known_before=everything))
            (lesson,) = lessons(bench, plan)
        with pytest.raises(LeakFound, match=r"in profile_parcel_is_\d") as caught:
            check_provenance(bench, plan, lesson.goal, lesson.features)
        assert all(name.startswith("profile_") for name in caught.value.details["features"])


def test_attributes_nobody_dated_fail_the_run(tmp_path, monkeypatch):
    """They are no features; here one is made a feature, and let in, for the sake of the test."""
    crm = {"name": "crm", "kind": "records", "path": "crm.jsonl",
           "identities": {"customer": "customer"}, "profile": {"age": "age"}}  # fmt: skip
    ages = [f'{{"customer": "p{number}", "age": {number}}}\n' for number in range(PEOPLE)]
    (tmp_path / "crm.jsonl").write_text("".join(ages))
    with opened(tmp_path, visits(), more=[crm]) as bench:
        plan = plan_features(bench, T)
        plan = replace(plan, definitions=(*plan.definitions, NumberAttribute("age")))
        with monkeypatch.context() as patch:
            patch.setattr(buckets, "scene_of", partial(scene.scene_of, undated=True))
            (lesson,) = lessons(bench, plan)
        monkeypatch.setattr(provenance, "scene_of", partial(scene.scene_of, undated=True))
        with pytest.raises(LeakFound, match=r"in profile_age\."):
            check_provenance(bench, plan, lesson.goal, lesson.features)


@pytest.mark.parametrize("honest", [True, False], ids=["dated then", "dated before"])
def test_what_the_outcome_writes_leaks_only_when_it_is_dated_before(tmp_path, honest):
    """No rule of time can see a wrong date: how much the feature knows gives it away."""
    with opened(tmp_path, shipped(visits(), honest)) as bench:
        plan = plan_features(bench, T)
        (lesson,) = lessons(bench, plan)
        check_provenance(bench, plan, lesson.goal, lesson.features)
        dataset = dataset_of(bench, plan, lesson)
        if honest:
            assert check_alone(dataset, {}, "buys") == ()
            assert alone_aucs(dataset)["profile_parcel"] == 0.5
            return
        with pytest.raises(LeakFound, match=r"goals.buys: profile_parcel \(AUC 1.000\) alone"):
            train_goal(bench, plan, lesson, population(bench, plan))
