"""Poison: rows received at or after a moment change nothing that is computed for it, to the bit.

A random world is looked at from a moment T: who is who, who is eligible, what is measured, what is
learnt from. Then rows arrive at T or later, of before T and of after: purchases, logins that join
people, changed attributes, unheard-of events, refusals. From T, all must look as it did.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.behavior.scene import People, scene_of
from features.sources.unite import TABLE as UNITED
from pipelines.learning import dataset_of, lessons, population
from pipelines.people import consents_now, profiles_table
from pipelines.stages import Bench, described, plan_features
from tests.worlds import DAY, Row, bench_of, days, project, write

T = days(60)
SPACES = [
    {"name": "customer", "type": "person", "unique": True},
    {"name": "email", "type": "email"},
    {"name": "cookie", "type": "cookie"},
]
GOALS = [
    {"name": "buys", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "7d",
     "eligible": 'any(view in last 20d) or country = "FR"'},
    {"name": "leaves", "kind": "churn", "outcome": "not any(purchase)", "outcome_window": "9d",
     "gap": "1d", "spine": "at_events"},
]  # fmt: skip
View = dict[str, Any]


def row(rng: random.Random, moment: int, received_at: int | None) -> Row:
    """Draw a row about one of seven people, or about what joins them."""
    who = {"cookie": f"c{rng.randrange(7)}"}
    if rng.random() < 0.3:
        who["customer"] = f"p{rng.randrange(7)}"
    if rng.random() < 0.1:
        who["email"] = f"e{rng.randrange(3)}@m.org"
    return Row(
        who,
        moment,
        rng.choice(["view", "view", "purchase"]),
        received_at,
        {"amount": rng.choice([None, "0.1", "12"]), "item": rng.choice(["a", "b", None])},
        {"country": rng.choice([None, "FR", "DE"]), "age": rng.choice([None, None, "7", "40.5"])},
        {"ads": rng.choice([None, None, True, False])},
    )


def past(rng: random.Random) -> list[Row]:
    """Draw what is known at T, some of it late."""
    drawn = [row(rng, days(0), None)]
    for _ in range(60):
        moment = rng.randrange(days(0), T)
        late = rng.choice([None, None, moment + rng.randrange(9 * DAY)])
        drawn.append(row(rng, moment, late if late and late < T else None))
    return drawn


def poison(rng: random.Random) -> list[Row]:
    """Draw what comes at T or later, of any time since the world began."""
    drawn = []
    for number in range(30):
        moment = rng.randrange(days(0), T + 20 * DAY)
        received = T if number == 0 else rng.randrange(T, T + 30 * DAY)
        one = row(rng, moment, received)
        if rng.random() < 0.3:
            one = replace(one, event_type="unheard_of", profile={"country": "XX", "age": "1"})
        if rng.random() < 0.2:
            one = replace(one, who=dict(one.who) | {"customer": f"new{number}"})
        drawn.append(one)
    return drawn


def views(folder: Path, known: Sequence[Row], later: Sequence[Row], goals: Any) -> list[View]:
    """Return all that T sees of a world, and once more when a file of later rows has come."""
    settings = project(
        [*known, *later],
        path="log*.jsonl",
        identity={"namespaces": SPACES, "max_fan_out": 3, "max_identities": 5},
        features={"windows": ["3d", "20d"], "categories": 2, "max_event_types": 2},
        profiles={"attributes": {"age": {"merge": "max"}, "country": {"merge": "most_filled"}}},
        training={"max_snapshots": len(goals)},
        goals=goals,
    )
    found = []
    for name, rows in (("log.jsonl", known), ("log_later.jsonl", later)):
        write(folder / name, rows, settings)
        with bench_of(folder, settings) as bench:
            seen = learnt(bench)
            found.append(seen | (people_seen(bench) if len(goals) > 1 else {}))
    return found


def people_seen(bench: Bench) -> View:
    """Return everyone at T by name: profiles as they are published, and consents."""
    identity, graph = bench.workspace.project.identity, bench.graph
    people = People.everyone(graph.at(T))
    scene = scene_of(bench.engine, bench.log, people)
    profiles = profiles_table(bench.engine, graph, identity, people, scene).drop("profile_key")
    stated = pq.read_table(bench.store.folder(UNITED, bench.united) / "consents.parquet")
    consents = [
        row | {"profile_key": graph.identities[row["profile_key"]]}
        for row in consents_now(stated, people, T).to_pylist()
    ]
    return {"profiles": profiles.to_pylist(), "consents": consents}


def learnt(bench: Bench) -> View:
    """Return the catalogue, everyone's features at T, and the dataset of every goal."""
    plan = plan_features(bench, T)
    found: View = {"definitions": plan.manifest, "behaviour": plan.behaviour}
    everyone = population(bench, plan)
    for lesson in lessons(bench, plan):
        goal = lesson.goal.name
        found[f"{goal} moments"] = lesson.moments
        for name, key in (("now", everyone), *((str(n), k) for n, k in enumerate(lesson.features))):
            seen = described(bench.store, key, plan, goal)
            ids = [bench.graph.identities[key] for key in seen.profile_key]
            found[f"{goal} {name}"] = (ids, seen.as_of.tobytes(), seen.matrix.tobytes())
        dataset = dataset_of(bench, plan, lesson)
        parts = (dataset.matrix, dataset.label, dataset.as_of, dataset.person)
        found[f"{goal} dataset"] = [part.tobytes() for part in parts]
        found[f"{goal} fingerprint"] = dataset.fingerprint()
        assert len(dataset.label), "a world in which nothing could go wrong"
    return found


@pytest.mark.parametrize("seed", range(25))
def test_what_comes_later_changes_nothing(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    goals = GOALS if seed % 12 == 0 else [GOALS[seed % 2]]
    clean, spoilt = views(tmp_path, past(rng), poison(rng), goals)
    for name, expected in clean.items():
        assert spoilt[name] == expected, name


def test_the_poison_would_be_seen_if_it_came_earlier(tmp_path: Path) -> None:
    """The poison is poison: known at T, it changes people, what is measured and what is learnt."""
    rng = random.Random(0)
    known, later = past(rng), poison(rng)
    early = [replace(row, received_at=None) for row in later if row.event_time < T]
    clean, spoilt = views(tmp_path, known, early, GOALS)
    changed = {name for name in clean if spoilt[name] != clean[name]}
    assert changed >= {"profiles", "consents", "behaviour"}
    assert changed >= {f"{goal} {what}" for goal in ("buys", "leaves") for what in
                       ("now", "0", "dataset", "fingerprint")}  # fmt: skip


NUMBERS = Row({"customer": "p0"}, days(20), "view", None, {"amount": "1"}, {"age": "7"})
TEXT = replace(NUMBERS, received_at=T, attributes={"amount": "n/a"}, profile={"age": "seven"})


def test_a_later_text_leaves_a_number_a_number(tmp_path: Path) -> None:
    known = [*past(random.Random(1)), NUMBERS]
    clean, spoilt = views(tmp_path, known, [TEXT], GOALS)
    assert {"kind": "NumberAttribute", "attribute": "age"} in clean["definitions"]
    assert spoilt == clean


def test_a_late_row_of_long_ago_adds_no_snapshot(tmp_path: Path) -> None:
    """Else a moment would be learnt from at which hardly anything was known."""
    rng = random.Random(2)
    known = [row for row in past(rng) if row.event_time >= days(20)]
    ancient = Row({"customer": "p0"}, days(-300), "view", received_at=T)
    clean, spoilt = views(tmp_path, known, [ancient], [GOALS[0], GOALS[0] | {"name": "again"}])
    assert len(clean["buys moments"]) == 1
    assert spoilt == clean
