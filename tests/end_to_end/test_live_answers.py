"""Events of a moment ago count as a fresh run over the same events would count them, to the bit."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.time import MICROS_PER_DAY, format_instant
from pipelines.champions import definitions_of
from pipelines.learning import TRAINED, bundle_of, models_before
from pipelines.parity import ParityFailed, check_parity
from pipelines.stages import Bench, eligible_rows, feature_table, ingest_all, plan_features, unify
from pipelines.workspace import Workspace
from serving.journal.event import LiveEvent
from serving.scorer import Asked, Scorer
from tests.end_to_end.shops import current, store_of, write_rows

HOUR = MICROS_PER_DAY // 24
GOALS = ("churn", "conversion")
TYPES = {
    "page_view": {"category": ["shoes", "hats", "never seen"], "device": ["mobile", "desktop"]},
    "purchase": {"amount": ["19.99", "0.00005", "7"], "items": ["1", "3"]},
    "search": {"term": ["red shoe"]},
    "wholly_new": {},
}


def happen(rng: random.Random, number: int, identity: str, now: int) -> LiveEvent:
    """Draw an event of the last two days that the service took in not long ago."""
    received = now - rng.choice([0, 1, HOUR])
    event_type = rng.choice([*TYPES])
    stated = {name: rng.choice(some) for name, some in TYPES[event_type].items()}
    return LiveEvent(
        id=f"live-{number}",
        event_type=event_type,
        event_time=received - rng.choice([0, 0, 1, HOUR, 47 * HOUR]) - rng.choice([0, 123_456]),
        received_at=received,
        identities=(identity,),
        attributes=stated if rng.random() < 0.8 else {},
        profile={},
        raw={},
    )


def as_row(event: LiveEvent) -> dict[str, Any]:
    """Return the row of the shop's own files that says what an event says."""
    who = dict(identity.split(":", 1) for identity in event.identities)
    numbers = {name: float(event.attributes[name]) for name in ("amount", "items")
               if name in event.attributes}  # fmt: skip
    return {
        "id": event.id,
        "type": event.event_type,
        "ts": format_instant(event.event_time),
        "received_at": format_instant(event.received_at),
        **who,
        **event.attributes,
        **numbers,
    }


@pytest.fixture(scope="module")
def scorer(shop: Path) -> Scorer:
    store = store_of(shop)
    return Scorer.load(store, store.require_current())


def everyone(scorer: Scorer) -> Iterator[str]:
    with scorer.online._environment.begin(db=scorer.online._tables["profiles"]) as some:  # type: ignore[attr-defined]
        yield from (key.decode() for key, _ in some.cursor())


def test_live_at_the_runs_own_as_of_is_the_stored_vector(scorer: Scorer) -> None:
    people = list(everyone(scorer))
    columns = {name: goal.bundle.names for name, goal in scorer.goals.items()}
    compared = check_parity(scorer.online, columns, people)
    assert compared["people"] == len(people) > 400
    scored = [sum(scorer.online.vector(who, goal) is not None for who in people) for goal in GOALS]
    assert compared["values"] == sum(
        count * len(columns[goal]) for count, goal in zip(scored, GOALS, strict=True)
    )
    assert min(scored) > 0


def test_a_vector_that_differs_fails_with_the_feature_and_both_values(scorer: Scorer) -> None:
    columns = {name: goal.bundle.names for name, goal in scorer.goals.items()}
    who = next(who for who in everyone(scorer) if scorer.online.vector(who, "churn") is not None)
    turned = {"churn": (*columns["churn"][1:], columns["churn"][0])}
    before = scorer.online.vector(who, "churn")
    assert before is not None
    with pytest.raises(ParityFailed) as failed:
        check_parity(scorer.online, turned, [who])
    found = failed.value.details
    assert found["goal"] == "churn"
    place = turned["churn"].index(found["feature"])
    assert found["table"] == (None if np.isnan(before[place]) else before[place])
    assert found["table"] != found["live"]
    assert str(found["feature"]) in failed.value.message
    assert f"{found['table']!r} in the table and {found['live']!r} live" in failed.value.message
    assert who not in failed.value.message


def test_events_in_the_question_count_as_in_a_fresh_run(a_copy: Path, scorer: Scorer) -> None:
    manifest = current(a_copy)
    assert manifest is not None
    rng = random.Random(5)
    now = manifest.as_of + 3 * MICROS_PER_DAY + 4_321
    people = rng.sample(list(everyone(scorer)), 80)
    owners = {who: rng.choice(_owning(scorer, who)) for who in people}
    owners |= {f"cookie:fresh{n}": f"cookie:fresh{n}" for n in range(6)}
    numbers = iter(range(10_000))
    events = {
        # Someone was seen at the very last moment, so that all answers are of one as_of.
        who: [
            replace(happen(rng, next(numbers), identity, now), event_time=now, received_at=now),
            *(happen(rng, next(numbers), identity, now) for _ in range(rng.randrange(12))),
        ]
        for who, identity in owners.items()
    }
    answers = {
        who: scorer.answer([Asked(who, who)], events=some)[0] for who, some in events.items()
    }
    live = {who: answer.vectors for who, answer in answers.items()}
    moments = {s["as_of"] for answer in answers.values() for s in answer.body["scores"].values()}
    assert moments == {format_instant(now + 1)}

    rows = [as_row(event) for some in events.values() for event in some]
    keys = sorted({key for row in rows for key in row} | {"customer", "cookie"})
    full = [{key: row.get(key) for key in keys} for row in rows]
    write_rows(a_copy / "data" / "events" / "events-2026-07.jsonl.gz", json.loads(json.dumps(full)))
    batch = fresh(a_copy, now + 1, scorer)
    compared = 0
    for who, vectors in live.items():
        for goal in GOALS:
            expected = batch[goal].get(who)
            assert (goal in vectors) == (expected is not None), (who, goal)
            if expected is not None:
                assert vectors[goal].tobytes() == expected.tobytes(), (who, goal)
                compared += 1
    assert compared > 60
    newcomers = [who for who in live if who.startswith("cookie:fresh") and live[who]]
    assert newcomers


def _owning(scorer: Scorer, who: str) -> list[str]:
    """Return the identities of a person that may own an event: e-mail addresses are not sent."""
    profile = scorer.online.profile(who)
    assert profile is not None
    return [each for each in profile.identities if not each.startswith("email:")]


def fresh(folder: Path, as_of: int, scorer: Scorer) -> dict[str, dict[str, Any]]:
    """Return the features of everyone eligible at `as_of` by what now is in the files."""
    workspace = Workspace.open(folder)
    found: dict[str, dict[str, Any]] = {}
    with workspace.engine() as engine:
        bench = Bench(workspace, engine)
        unify(bench, ingest_all(bench))
        plan = plan_features(bench, as_of)
        models = models_before(bench, workspace.store.require_current())
        for goal in plan.goals:
            bundle = bundle_of(bench, goal.name, models[goal.name])
            facts = workspace.store.facts(TRAINED, models[goal.name])
            own = replace(plan, definitions=definitions_of(bundle, facts), goals=(goal,))
            key = feature_table(bench, own, as_of, own.goals)
            rows = eligible_rows(workspace.store, key, goal.name)
            names = scorer.goals[goal.name].bundle.names
            matrix = np.stack([rows[n].to_numpy(zero_copy_only=False) for n in names], axis=1)
            ids = [bench.graph.identities[key] for key in rows["profile_key"].to_pylist()]
            found[goal.name] = dict(zip(ids, matrix.astype(np.float64), strict=True))
    return found
