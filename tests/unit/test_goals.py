"""Goals of every kind: all or any of, events left out, subscriptions; tables that goals share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from features.behavior.scene import People
from features.conditions import Vocabulary, text, words
from features.goal_settings import Goal
from features.settings import Project
from pipelines.learning import dataset_of, lessons, population
from pipelines.provenance import check_provenance
from pipelines.stages import Bench, described, plan_features
from tests.worlds import Row, days, project, seen, world
from training.goals import BadGoal, by_exclusion, canonical, compile_goal
from training.labels import labels

VOCABULARY = Vocabulary(
    events={"visit": {}, "purchase": {"amount": "number", "staff": "text"}},
    attributes={"ends": "date", "plan": "text"},
    identities=frozenset(["customer"]),
)
AS_OF = days(100)


def goal(**changes: Any) -> Goal:
    said: dict[str, Any] = {
        "name": "g", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "30d",
        "min_people": 2,
    } | changes  # fmt: skip
    return Goal.model_validate({key: value for key, value in said.items() if value is not None})


def labelled(
    bench: Bench, wanted: Goal, who: Sequence[str], as_of: int = AS_OF
) -> list[int | None]:
    """Return the label of customers at `as_of`: None where there is none."""
    moments = np.full(len(who), as_of)
    keys = np.array([bench.graph.identities.index(f"customer:{name}") for name in who])
    people = People.at_rows(bench.graph.at_rows(keys, moments), moments)
    compiled = compile_goal(wanted, VOCABULARY)
    found = labels(bench.engine, bench.log_of(compiled), bench.graph, compiled, people)
    return [int(n) if k else None for n, k in zip(found.label, found.known, strict=True)]


# All of, any of, will not, gap --------------------------------------------------------------------

HAPPENINGS = {
    "both": [(5, "visit"), (9, "purchase")],
    "visits": [(5, "visit"), (6, "visit"), (7, "visit")],
    "buys": [(5, "purchase")],
    "neither": [],
    "late": [(31, "visit"), (31, "purchase")],
}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("any(visit) and any(purchase)", {"both"}),
        ("any(visit) or any(purchase)", {"both", "visits", "buys"}),
        ("not any(visit) and not any(purchase)", {"neither", "late"}),
        ("not any(purchase) or count(visit) >= 3", {"visits", "neither", "late"}),
        ("count(visit) >= 2 and not any(purchase)", {"visits"}),
    ],
)
def test_an_outcome_asks_for_all_or_any_of_what_will_or_will_not_be(
    outcome: str, expected: set[str], tmp_path: Path
) -> None:
    rows = [seen(days(0), customer=who) for who in HAPPENINGS]
    for who, found in HAPPENINGS.items():
        rows += [seen(days(100 + day), what, customer=who) for day, what in found]
    with world(tmp_path, rows) as bench:
        found = labelled(bench, goal(outcome=outcome), list(HAPPENINGS))
        gapped = labelled(bench, goal(outcome=outcome, gap="2d"), list(HAPPENINGS))
    assert {who for who, had in zip(HAPPENINGS, found, strict=True) if had} == expected
    # Two days later the window of the same length reaches what was late.
    if outcome == "any(visit) and any(purchase)":
        assert gapped == [1, 0, 0, 0, 1]


# Events left out ----------------------------------------------------------------------------------


def bought(day: float, who: str, staff: str = "no") -> Row:
    return Row({"customer": who}, days(day), "purchase", attributes={"amount": 10, "staff": staff})


STAFF = 'any(purchase where staff = "yes")'


def test_what_is_left_out_counts_in_no_outcome_population_or_feature(tmp_path: Path) -> None:
    rows = [seen(days(day), customer=who) for day in (0, 60, 95) for who in ("own", "ann", "bob")]
    rows += [bought(90, "own", "yes"), bought(105, "own", "yes")]
    rows += [bought(90, "ann"), bought(105, "ann"), bought(91, "bob")]
    common = {"kind": "conversion", "outcome": "any(purchase)", "outcome_window": "30d",
              "eligible": "any(visit in last 50d)"}  # fmt: skip
    buyers = common | {"eligible": "any(purchase in last 50d)"}
    goals = [
        {"name": "every", **common}, {"name": "real", "exclude": STAFF, **common},
        {"name": "again", "exclude": STAFF, **buyers},
    ]  # fmt: skip
    training = {"max_snapshots": 1}
    with world(tmp_path, rows, goals=goals, training=training) as bench:
        plan = plan_features(bench, days(130))
        made = bench.made
        found = {}
        for lesson in lessons(bench, plan):
            check_provenance(bench, plan, lesson.goal, lesson.features)
            dataset = dataset_of(bench, plan, lesson)
            keys = described(bench.store, lesson.features[0], plan, lesson.goal.name).profile_key
            names = [bench.graph.identities[key].removeprefix("customer:") for key in keys]
            column = dataset.column("purchase_count_10d")
            found[lesson.goal.name] = {
                name: (int(label), int(count))
                for name, label, count in zip(names, dataset.label, column, strict=True)
            }
        everyone = population(bench, plan)
    assert found == {
        "every": {"ann": (1, 1), "bob": (0, 1), "own": (1, 1)},
        "real": {"ann": (1, 1), "bob": (0, 1), "own": (0, 0)},
        "again": {"ann": (1, 1), "bob": (0, 1)},
    }
    assert made["features"] == 2, "one version for all goals at a moment, and everyone now"
    assert everyone


def test_goals_that_leave_out_the_same_share_what_is_measured() -> None:
    wanted = [goal(name="a", exclude=STAFF), goal(name="b"), goal(name="c", exclude=STAFF)]
    compiled = [compile_goal(each, VOCABULARY) for each in wanted]
    assert [[each.name for each in alike] for alike in by_exclusion(compiled)] == [
        ["b"],
        ["a", "c"],
    ]
    assert canonical(compiled[0])["excluded"] == STAFF
    assert canonical(compiled[1])["excluded"] == ""


@pytest.mark.parametrize(
    "exclude",
    ["not any(purchase)", "any(purchase) and any(visit)", "count(purchase) > 3", 'plan = "x"',
     "any(purchase in last 3d)", "any(visit) or count(purchase) > 3"],
)  # fmt: skip
def test_an_exclusion_says_which_events(exclude: str) -> None:
    with pytest.raises(BadGoal, match=r"goals\.g\.exclude: .* does not say which events"):
        compile_goal(goal(exclude=exclude), VOCABULARY)


def test_goals_of_the_same_moments_share_the_feature_table(tmp_path: Path) -> None:
    rows = [seen(days(day), customer=f"c{n}") for n in range(4) for day in range(0, 100, 9)]
    rows += [bought(40.5 + n, f"c{n}") for n in range(4)]
    goals = [
        {"name": name, "kind": "conversion", "outcome": outcome, "outcome_window": window}
        for name, outcome, window in (
            ("buys", "any(purchase)", "10d"), ("visits", "count(visit) >= 2", "10d"),
            ("stays", "any(visit)", "20d"),
        )
    ]  # fmt: skip
    with world(tmp_path, rows, goals=goals, training={"max_snapshots": 3}) as bench:
        plan = plan_features(bench, days(100))
        buys, visits, stays = lessons(bench, plan)
        assert buys.features == visits.features
        assert set(stays.features) & set(buys.features), "every second moment is of both"
        assert bench.made["features"] == len({*buys.features, *stays.features}) == 5


# Subscriptions ------------------------------------------------------------------------------------

LOSES: dict[str, Any] = {
    "outcome": None, "kind": "churn", "subscription": {"end": "ends", "renewed_within": "7d"},
}  # fmt: skip


def date(day: int) -> str:
    return str(np.datetime64("2024-01-01") + np.timedelta64(day, "D"))


def states(said: float, end: int, who: str) -> Row:
    """Return a row that says, on day `said`, that the subscription ends on day `end`."""
    return Row({"customer": who}, days(said), "visit", profile={"ends": date(end)})


STATED = {
    # Of a window of days 100 to 130: what was stated on which day, and whether it was lost in it.
    "renewed on the last day": ([(0, 110), (116.9, 200)], 0),
    "renewed as the time is over": ([(0, 110), (117, 200)], 1),
    "renewed too late": ([(0, 110), (125, 200)], 1),
    "never renewed": ([(0, 110)], 1),
    "ends before it, runs out in it": ([(0, 95)], 1),
    "runs out as it begins": ([(0, 93)], 1),
    "runs out as it ends": ([(0, 123)], 0),
    "runs out a day before": ([(0, 122)], 1),
    "goes on": ([(0, 300)], 0),
    "cancelled": ([(0, 300), (104, 104)], 1),
    "cancelled, and back in time": ([(0, 300), (104, 104), (108, 300)], 0),
    "cancelled after its time was over": ([(0, 300), (125, 110)], 1),
    "twice renewed": ([(0, 105), (106, 112), (118, 300)], 0),
    "once renewed, then not": ([(0, 105), (106, 112)], 1),
}


@pytest.mark.parametrize(("merge", "differ"), [
    ("most_recent", {}),
    ("max", {"cancelled": 0, "cancelled after its time was over": 0}),
])  # fmt: skip
def test_a_subscription_is_lost_when_the_time_to_renew_it_runs_out(
    merge: str, differ: Mapping[str, int], tmp_path: Path
) -> None:
    rows = [states(said, end, who) for who, (told, _) in STATED.items() for said, end in told]
    profiles = {"attributes": {"ends": {"merge": merge}}}
    with world(tmp_path, rows, profiles=profiles) as bench:
        found = dict(zip(STATED, labelled(bench, goal(**LOSES), list(STATED)), strict=True))
    assert found == {who: expected for who, (_, expected) in STATED.items()} | differ


def test_a_renewal_counts_as_known_by_the_end_of_the_window(tmp_path: Path) -> None:
    """One booked in time and received before the window closes is in time; later, it is not."""
    rows = [states(0, 110, who) for who in ("soon", "late")]
    for who, received in (("soon", 129.9), ("late", 130)):
        renewal = states(112, 300, who)
        rows.append(Row(renewal.who, renewal.event_time, "visit", days(received),
                        profile=renewal.profile))  # fmt: skip
    with world(tmp_path, rows) as bench:
        assert labelled(bench, goal(**LOSES), ["soon", "late"]) == [0, 1]


def test_what_is_lost_within_the_gap_has_no_label(tmp_path: Path) -> None:
    rows = [states(0, end, f"d{end}") for end in (96, 97, 98, 102, 103)]
    with world(tmp_path, rows) as bench:
        found = labelled(bench, goal(**LOSES, gap="5d", outcome_window="10d"),
                         ["d96", "d97", "d98", "d102", "d103"])  # fmt: skip
    # Seven days on: 103 and 104 are in the gap, 105 is where the window begins.
    assert found == [None, None, 1, 1, 1]


def test_only_who_has_a_subscription_not_yet_lost_is_eligible(tmp_path: Path) -> None:
    rows = [states(0, end, f"d{end}") for end in (92, 93, 94, 300)] + [
        seen(days(99), customer="no")
    ]
    goals = [{"name": "loss", "outcome_window": "30d", **{k: v for k, v in LOSES.items() if v}}]
    with world(tmp_path, rows, goals=goals) as bench:
        plan = plan_features(bench, AS_OF)
        key = population(bench, plan)
        keys = described(bench.store, key, plan, "loss").profile_key
        assert {bench.graph.identities[k] for k in keys} == {"customer:d94", "customer:d300"}
        assert plan.goals[0].end in [d.feature.name for d in plan.definitions]


def test_a_subscription_goal_says_itself() -> None:
    found = compile_goal(goal(**LOSES, eligible='plan = "pro"'), VOCABULARY)
    assert text(found.outcome) == "days_since_date(ends) >= 7"
    assert text(found.eligible) == 'days_since_date(ends) < 7 and plan = "pro"'
    assert words(found.outcome)
    assert found.end == "days_since_profile_ends"


@pytest.mark.parametrize(
    ("end", "says"), [("born", "nobody dated 'born'"), ("plan", "'plan' is a text, not a date")]
)
def test_an_end_is_a_dated_date(end: str, says: str) -> None:
    wanted = goal(**LOSES | {"subscription": {"end": end, "renewed_within": "7d"}})
    with pytest.raises(BadGoal, match=rf"goals\.g\.subscription\.end: {says}"):
        compile_goal(wanted, VOCABULARY)


def test_a_goal_has_one_way_to_come_true() -> None:
    for changes in ({"outcome": None}, LOSES | {"outcome": "any(visit)"}):
        with pytest.raises(ValidationError, match="either an outcome or a subscription"):
            goal(**changes)


@pytest.mark.parametrize(
    ("profiles", "end", "says"),
    [
        ({"merge": "source_order"}, "ends", "must be merged by itself"),
        ({"attributes": {"ends": {"merge": "min"}}}, "ends", "must be merged by itself"),
        ({"groups": [{"name": "s", "attributes": ["ends"]}]}, "ends", "must be merged by itself"),
        ({}, "end", "no attribute 'end'"),
    ],
)
def test_one_statement_says_when_a_subscription_ends(
    profiles: dict[str, Any], end: str, says: str
) -> None:
    loss = {"name": "loss", "kind": "churn", "outcome_window": "30d",
            "subscription": {"end": end, "renewed_within": "7d"}}  # fmt: skip
    said = project([states(0, 10, "ann")], goals=[loss], profiles=profiles)
    with pytest.raises(ValidationError, match=says):
        Project.model_validate(said)
