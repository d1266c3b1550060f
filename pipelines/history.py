"""The history of scores: what was said of whom and when, kept until long after it can be judged.

A version is one goal at one as_of by one model, named in the manifest of every later run, so it
outlives the runs that stay readable. Versions are only added: what was said first stands. People
leave it when they are erased or have expired: the version is then written anew without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import time
from features.goal_settings import Goal
from features.sources.unite import TABLE as UNITED
from features.store import Manifest, Store, key_of
from pipelines.drifting import drift_metrics, drift_of_scores
from pipelines.learning import TRAINED
from pipelines.scoring import SCORES
from pipelines.stages import Bench, Plan
from serving.exports.deliveries import unerased
from training.goals import CompiledGoal, canonical
from training.registry import Registry

HISTORY = "history"
HISTORY_VERSION = 1
COLUMNS = ("profile_id", "probability", "margin", "bucket")


@dataclass(frozen=True)
class Entry:
    """What is known of one version of the history; `as_of` and `closes_at` in microseconds.

    `id` stays the same when people leave; `settings` are the goal's, and `outcome` its condition
    in full; `promised` is the AUC at training with its interval; `missing` counts those who left.
    """

    key: str
    id: str
    goal: str
    version: str
    as_of: int
    closes_at: int
    settings: Mapping[str, Any]
    outcome: str
    promised: tuple[float, float, float]
    people: int
    missing: int

    @classmethod
    def read(cls, store: Store, key: str) -> Entry:
        """Return the entry of a version."""
        facts = store.facts(HISTORY, key)
        return cls(key=key, **facts | {"promised": tuple(facts["promised"])})

    def scores(self, store: Store) -> pa.Table:
        """Return who was scored, with `COLUMNS`; a row a profile."""
        return pq.read_table(store.folder(HISTORY, self.key) / "scores.parquet")


def entries_of(store: Store, manifest: Manifest | None) -> list[Entry]:
    """Return the history that a run published, in the order it was added."""
    keys = manifest.tables.get(HISTORY, "") if manifest else ""
    return [Entry.read(store, key) for key in keys.split("+") if key]


def remember(bench: Bench, plan: Plan, scores: str, models: Mapping[str, str]) -> list[Entry]:
    """Return the history with this run's scores added, and without whom must leave it."""
    published = bench.store.current()
    kept = [_without_gone(bench, published, each) for each in entries_of(bench.store, published)]
    held = {each.id for each in kept}
    said = [_written(bench, goal, plan.as_of, scores, models[goal.name]) for goal in plan.goals]
    return [*kept, *(each for each in said if each and each.id not in held)]


def _written(
    bench: Bench, goal: CompiledGoal, as_of: int, scores: str, trained: str
) -> Entry | None:
    """Write what a run says of one goal; None where it says nothing of anybody."""
    store, model = bench.store, bench.store.facts(TRAINED, trained)
    outcome = canonical(goal)["outcome"]
    closes_at = time.outcome_end(as_of, goal.settings.gap, goal.settings.outcome_window)
    said = (goal.name, as_of, model["version"], outcome, closes_at)
    key = key_of(HISTORY, HISTORY_VERSION, *said)
    if not store.facts(SCORES, scores)["goals"][goal.name]["people"]:
        return None
    if bench.due("score", HISTORY, key, f"keeping what is said of {goal.name}"):
        everyone = pq.read_table(store.folder(SCORES, scores) / "scores.parquet")
        mine = everyone.filter(pc.equal(everyone["goal"], goal.name)).select(COLUMNS)
        metrics = model["metrics"]
        facts = {
            "id": key, "goal": goal.name, "version": model["version"], "as_of": as_of,
            "closes_at": int(closes_at), "outcome": outcome,
            "settings": goal.settings.model_dump(mode="json", include=set(JUDGED_BY)),
            "promised": [metrics["auc"], metrics["auc_low"], metrics["auc_high"]],
            "missing": 0,
        }  # fmt: skip
        _write(store, key, mine, facts)
        moved = drift_metrics(drift_of_scores(store, scores)[goal.name])
        record(bench, goal.name, model["version"], moved, as_of)
    return Entry.read(store, key)


def record(bench: Bench, goal: str, version: str, metrics: Mapping[str, float], at: int) -> None:
    """Add figures as of a moment to the run that trained a model, where MLflow is at hand."""
    if metrics:
        workspace = bench.workspace
        registry = Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)
        registry.record(goal, version, metrics, at)


JUDGED_BY = ("name", "kind", "outcome", "subscription", "exclude", "outcome_window", "gap")
"""Settings of a goal that say what its outcome is."""


def settings_of(entry: Entry) -> Goal:
    """Return the goal as it was set when the scores were made; its population is left out."""
    return Goal.model_validate(dict(entry.settings))


def _write(store: Store, key: str, scores: pa.Table, facts: dict[str, Any]) -> None:
    with store.writing(HISTORY, key) as (folder, noted):
        pq.write_table(scores, folder / "scores.parquet", compression="zstd")
        noted |= facts | {"people": scores.num_rows}


def _without_gone(bench: Bench, published: Manifest | None, entry: Entry) -> Entry:
    """Return the entry without people who are being erased, or of whom nothing is kept any more."""
    if not published or not (len(bench.leaving) or _expiring(bench, published)):
        return entry
    scores = entry.scores(bench.store)
    left = unerased(scores, bench.leaving)
    if _expiring(bench, published):
        names = bench.graph.identities.texts
        left = left.filter(pc.is_in(left["profile_id"].cast(names.type), value_set=names))
    if left.num_rows == scores.num_rows:
        return entry
    # Named by who is left: the old version must go, and a killed run finds the new one.
    key = key_of(entry.id, key_of(*left["profile_id"].to_pylist()))
    if bench.due("score", HISTORY, key, f"taking {scores.num_rows - left.num_rows} people out"):
        facts = {n: v for n, v in vars(entry).items() if n not in ("key", "people")}
        gone = scores.num_rows - left.num_rows
        _write(bench.store, key, left, facts | {"missing": entry.missing + gone})
    return Entry.read(bench.store, key)


def _expiring(bench: Bench, published: Manifest) -> bool:
    project = bench.workspace.project
    expires = project.identity.expire_anonymous or any(s.keep for s in project.sources)
    return bool(expires) and bench.united != published.tables[UNITED]
