"""A tiny published shop for tests of serving: real bundles, a real online store, a real pointer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.behavior.catalogue import to_json
from features.behavior.definitions import Count, DaysSince
from features.behavior.history import Events, History
from features.behavior.packed import pack
from features.identity.live import Component
from features.project_file import load
from features.settings import Project
from features.store import Manifest, Store
from features.time import MICROS_PER_DAY, Window, parse_instant
from serving.online import ProfileRecord
from serving.online.places import Place
from training.booster import BoosterParams, Trees
from training.bundle import Bundle
from training.calibration import Calibrator
from training.reference import Reference

PROJECT = """
project: shop
sources:
  - {name: clicks, kind: events, path: clicks.csv, event_time: t, event_type: e,
     identities: {customer: c, email: m, cookie: k}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: cookie, type: cookie}
  junk: [nobody]
serving: {served_sample: 1.0, max_batch: 20, max_body_bytes: 5000}
goals:
  - {name: churn, kind: churn, outcome: not any(purchase), outcome_window: 30d}
  - {name: buys, kind: conversion, outcome: any(purchase), outcome_window: 7d}
"""
AS_OF = parse_instant("2011-10-01")
DEFINITIONS = (
    Count("purchase", Window.parse("7d")),
    Count("purchase", Window.parse("30d")),
    DaysSince("purchase"),
)
FEATURES = tuple(definition.feature for definition in DEFINITIONS)
LIVE = {
    "events": {"purchase": {"amount": "number"}, "visit": {}},
    "attributes": {},
    "identities": ["customer", "email", "cookie"],
    "measures": [],
    "naming": ["customer", "email"],
    "linking": {
        "namespaces": [
            {"name": "customer", "type": "person", "unique": True},
            {"name": "email", "type": "email", "pii": True},
            {"name": "cookie", "type": "cookie"},
        ]
    },
    "time_zone": "UTC",
    "kinds": {"amount": "number"},
}
ANN_EMAIL = hashlib.sha256(b"ann@mail.example").hexdigest()
ANN = ProfileRecord(
    "customer:ann",
    True,
    ("cookie:c1", "cookie:a/b?c d:e", "customer:ann", f"email:{ANN_EMAIL}"),
    {"country": "France", "birth_date": None},
    ({"segment": "win_back", "since": AS_OF - MICROS_PER_DAY},),
    parse_instant("2011-01-02"),
    parse_instant("2011-09-30T12:00:00.000001"),
    {"total_spend": 12.5, "average_order": None},
)
VISITOR = ProfileRecord("cookie:c2", False, ("cookie:c2",), {}, (), AS_OF - 5, AS_OF - 5)
CROWD = [ProfileRecord(f"customer:{n}", True, (f"customer:{n}",)) for n in range(12)]
PEOPLE = [ANN, VISITOR, *CROWD]
"""Ann is eligible for both goals, the visitor for none, the crowd for churn."""


def purchases(*days_before: float) -> History:
    """Return the history of somebody who bought so many days before the shop's as_of."""
    times = np.array([AS_OF - round(days * MICROS_PER_DAY) for days in sorted(days_before)[::-1]])
    local = (times // MICROS_PER_DAY).astype(np.int32), np.zeros(len(times), np.int8)
    return History({"purchase": Events(times, times, *local)}, {}, {"customer": 1, "cookie": 2})


HISTORIES = {
    "customer:ann": purchases(3, 20),
    "cookie:c2": History(identities={"cookie": 1}),
    "customer:5": purchases(10),
}
"""The crowd's other histories are not kept, as if they were too long."""
PARTS = [("customer:ann", pack(purchases(3))), ("cookie:c1", pack(purchases(20)))]
ANNS = Component(
    identities=("customer:ann", f"email:{ANN_EMAIL}", "cookie:a/b?c d:e", "cookie:c1"),
    first_seen=(AS_OF - 9, AS_OF - 9, AS_OF - 9, AS_OF - 9),
    owns=(True, False, False, True),
    links=tuple((0, other, AS_OF - 9, False) for other in (1, 2, 3)),
)
"""Ann's links: she bought 3 days ago as a customer, and 20 days ago with a cookie."""


@cache
def bundle(goal: str, as_of: int = AS_OF) -> Bundle:
    """Train a goal's model on 300 synthetic rows."""
    rng = np.random.default_rng(len(goal))
    matrix = rng.poisson(3, (300, 3)).astype(np.float64)
    matrix[rng.random(300) < 0.2, 2] = np.nan
    label = (rng.random(300) < 1 / (1 + matrix[:, 0])).astype(np.int8)
    trees = Trees.fit(matrix, label, [f.name for f in FEATURES], BoosterParams(), 20)
    margin = trees.margin(matrix)
    calibrator = Calibrator.of(margin, label)
    return Bundle(
        goal=goal,
        kind="churn" if goal == "churn" else "conversion",
        basis="calendar",
        as_of=as_of,
        outcome_window="30d",
        gap="",
        trees=trees,
        calibrator=calibrator,
        features=FEATURES,
        definitions=[],
        categories=None,
        reference=Reference.of(margin, calibrator.probability(margin)),
        base_rate=float(label.mean()),
        serves="model",
        metrics={},
        data_fingerprint="f" * 64,
    )


def vectors(seed: int = 0) -> dict[tuple[str, str], NDArray[np.float64]]:
    """Return everyone's features by goal and profile; some are null."""
    rng = np.random.default_rng(seed)
    drawn = {
        (goal, person.profile_id): rng.poisson(3, 3).astype(np.float64)
        for goal, people in (("churn", [ANN, *CROWD]), ("buys", [ANN]))
        for person in people
    }
    drawn["churn", "customer:3"][2] = np.nan
    return drawn


def meta(bundles: Iterable[Bundle], as_of: int = AS_OF) -> dict[str, Any]:
    """Return the facts of a generation with these models."""
    goals = {
        each.goal: {
            "version": each.version,
            "eligible_words": "any purchase in the last 365 days",
            "base_rate": each.base_rate,
            "expires_at": as_of + 7 * MICROS_PER_DAY,
            "kind": each.kind,
            "basis": each.basis,
            "definitions": [to_json(definition) for definition in DEFINITIONS],
            "eligible": "any(purchase in last 365d)",
            "excluded": [],
        }
        for each in bundles
    }
    return {"project": "shop", "as_of": as_of, "goals": goals, "live": LIVE}


def shop(folder: Path, url: str = "lmdb") -> Project:
    """Write the project file and return its settings."""
    folder.mkdir(exist_ok=True)
    text = PROJECT.replace("project: shop", f"project: {name_in(folder, url)}")
    text = text.replace("serving: {", f"serving: {{online: '{url}', ")
    (folder / "likelier.yaml").write_text(text)
    return load(folder)


def place_in(folder: Path, url: str) -> Place:
    """Return where the generations of the shop in a folder are: no other folder shares them."""
    return Place(Store(folder / ".likelier"), url, name_in(folder, url))


def name_in(folder: Path, url: str) -> str:
    """Return the name of the shop in a folder, on a server of its own where it has one."""
    apart = hashlib.sha256(str(folder).encode()).hexdigest()[:10]
    return "shop" if url == "lmdb" else f"shop_{apart}"


def publish(
    folder: Path,
    run_id: str = "run-1",
    as_of: int = AS_OF,
    people: Iterable[ProfileRecord] = PEOPLE,
    seed: int = 0,
    erasures: int = 0,
    journal: Mapping[str, int] | None = None,
    url: str = "lmdb",
) -> Store:
    """Publish one run: bundles, an online store, and the pointer to them."""
    store = Store(folder / ".likelier")
    bundles = [replace(bundle(goal), as_of=as_of) for goal in ("churn", "buys")]
    for each in bundles:
        each.save(store.root / "models" / each.goal / each.version)
    rows = ((goal, person, vector) for (goal, person), vector in vectors(seed).items())
    with store.writing("online", run_id) as (draft, _):
        facts = meta(bundles, as_of) | {"erasures": erasures, "journal": journal or {}}
        packed = [(who, pack(history)) for who, history in HISTORIES.items()]
        place = place_in(folder, url)
        place.write(draft, run_id, facts, people, rows, packed, PARTS, [ANNS]).close()
    models = {each.goal: each.version for each in bundles}
    store.publish(Manifest(run_id, as_of, {"online": run_id}, models))
    return store
