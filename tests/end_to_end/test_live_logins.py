"""A login a moment ago makes of people what a fresh run makes of them, features to the bit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.time import MICROS_PER_DAY, format_instant
from pipelines.stages import Bench, ingest_all, unify
from pipelines.workspace import Workspace
from serving.journal.event import LiveEvent
from serving.online import Floats
from serving.scorer import Asked, Scorer
from tests.end_to_end.shops import current, store_of, table, write_rows
from tests.end_to_end.test_live_answers import GOALS, as_row, fresh, happen


def login(rng: random.Random, number: int, identities: Sequence[str], now: int) -> LiveEvent:
    """Draw an event just before `now` with several identities on it."""
    drawn = happen(rng, number, identities[0], now)
    return replace(drawn, event_time=now, received_at=now, identities=tuple(identities))


def differing(scorer: Scorer, goal: str, live: Floats, batch: Floats) -> dict[str, tuple]:
    """Return the features, by name, that are not the same to the bit, with both values."""
    names = scorer.goals[goal].bundle.names
    return {n: (a, b) for n, a, b in zip(names, live, batch, strict=True) if repr(a) != repr(b)}


@pytest.mark.slow
def test_a_login_joins_and_parts_people_as_a_fresh_run_does(a_copy: Path) -> None:
    store, manifest = store_of(a_copy), current(a_copy)
    assert manifest is not None
    scorer = Scorer.load(store, store.require_current())
    now, rng = manifest.as_of + MICROS_PER_DAY + 77, random.Random(3)
    people = table(a_copy, "profiles", "profiles")
    visitors = rng.sample(sorted(people.loc[~people["known"], "profile_id"]), 25)
    customers = sorted(w for w in people["profile_id"] if w.startswith("customer:"))
    with_cookie = [
        (who, cookie)
        for who, listed in zip(people["profile_id"], people["identities"], strict=True)
        for cookie in listed
        if who.startswith("customer:") and cookie.startswith("cookie:")
    ]
    said = [(rng.choice(customers), visitor) for visitor in visitors]  # A visitor logs in.
    said += [(rng.choice(customers), cookie) for _, cookie in rng.sample(with_cookie, 25)]
    said += [(rng.choice(customers), f"cookie:fresh{n}") for n in range(5)]
    said += [(f"customer:fresh{n}", rng.choice(with_cookie)[1]) for n in range(5)]
    events = [login(rng, number, pair, now) for number, pair in enumerate(said)]
    scorer.recent.add(events)

    asked = sorted({each for pair in said for each in pair} | {who for who, _ in with_cookie[:40]})
    answers = {who: scorer.answer([Asked(who, who)])[0] for who in asked}

    rows = [as_row(event) for event in events]
    keys = sorted({key for row in rows for key in row})
    full = [{key: row.get(key) for key in keys} for row in rows]
    write_rows(a_copy / "data" / "events" / "events-2026-07.jsonl.gz", full)
    batch = fresh(a_copy, now + 1, scorer)
    with Workspace.open(a_copy).engine() as engine:
        bench = Bench(Workspace.open(a_copy), engine)
        unify(bench, ingest_all(bench))
        anchor = bench.graph.at(now + 1).anchor
        names = bench.graph.identities
        holds = {names[key]: names[anchor[key]] for key in np.flatnonzero(anchor >= 0).tolist()}

    moved = compared = unsettled = 0
    for who, answer in answers.items():
        assert answer.body["profile_id"] == holds[who], who
        if answer.body["provisional"]:
            unsettled += 1
            continue
        moments = {score["as_of"] for score in answer.body["scores"].values()}
        if moments != {format_instant(now + 1)}:
            assert moments == {format_instant(manifest.as_of)}
            continue
        moved += scorer.online.profile_id_of(who) not in (None, holds[who])
        for goal in GOALS:
            expected = batch[goal].get(holds[who])
            assert (goal in answer.vectors) == (expected is not None), (who, goal)
            if expected is not None:
                assert differing(scorer, goal, answer.vectors[goal], expected) == {}, who
                compared += 1
    assert moved > 20
    assert unsettled < len(answers) / 10
    assert compared > 60
