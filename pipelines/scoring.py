"""The stage that scores: everyone eligible at as_of, with reasons, by the shipped bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.identity.names import Names
from features.store import key_of
from features.time import Window
from pipelines.learning import bundle_of
from pipelines.stages import Bench, Described, Plan, described
from training.bundle import Bundle
from training.factors import check_additive, explain

SCORES = "scores"
SCORES_VERSION = 1
LISTED_FACTORS = 10

SCORE_SCHEMA = pa.schema(
    [("goal", pa.string()), ("profile_id", pa.string()), ("profile_key", pa.int64()),
     ("as_of", pa.int64()), ("kind", pa.string()), ("basis", pa.string()),
     ("model_version", pa.string()), ("probability", pa.float64()), ("score", pa.float64()),
     ("percentile", pa.int32()), ("bucket", pa.string()), ("margin", pa.float64()),
     ("base", pa.float64()), ("rest", pa.float64()), ("expires_at", pa.int64())]
)  # fmt: skip
FACTOR_SCHEMA = pa.schema(
    [("goal", pa.string()), ("profile_id", pa.string()), ("profile_key", pa.int64()),
     ("rank", pa.int8()), ("code", pa.string()), ("label", pa.string()), ("value", pa.float64()),
     ("direction", pa.string()), ("contribution", pa.float64()),
     ("importance_share", pa.float64()), ("importance", pa.string())]
)  # fmt: skip


def score_everyone(bench: Bench, plan: Plan, everyone: str, trained: Mapping[str, str]) -> str:
    """Write the tables `scores` and `factors` of one as_of; return their version.

    Every person's base + contributions is checked against the raw margin before anything is
    written. Grain of scores: goal, profile; of factors: goal, profile, rank.
    """
    store = bench.store
    interval = bench.workspace.project.scoring_interval
    key = key_of(
        SCORES,
        SCORES_VERSION,
        everyone,
        sorted(trained.items()),
        str(interval),
        bench.salt("score"),
    )
    if not bench.due("score", SCORES, key, "scoring"):
        return key
    with store.writing(SCORES, key) as (folder, facts):
        scores, factors = [SCORE_SCHEMA.empty_table()], [FACTOR_SCHEMA.empty_table()]
        for goal in plan.goals:
            bundle = bundle_of(bench, goal.name, trained[goal.name])
            rows = described(store, everyone, plan, goal.name)
            bench.say(f"scoring {goal.name}: {len(rows.profile_key)} people, with reasons")
            some, reasons = score_rows(bundle, rows, plan, bench.graph.identities, interval)
            scores.append(some)
            factors.append(reasons)
            facts[goal.name] = _counts(some)
        pq.write_table(pa.concat_tables(scores), folder / "scores.parquet", compression="zstd")
        pq.write_table(pa.concat_tables(factors), folder / "factors.parquet", compression="zstd")
    return key


def columns_of(bundle: Bundle, plan: Plan) -> NDArray[np.int64]:
    """Return where the bundle's features stand among the plan's."""
    places = {definition.feature.name: i for i, definition in enumerate(plan.definitions)}
    return np.array([places[name] for name in bundle.names], dtype=np.int64)


def score_rows(
    bundle: Bundle, rows: Described, plan: Plan, names: Names, interval: Window
) -> tuple[pa.Table, pa.Table]:
    """Return scores and factors of described rows, by the score contract."""
    matrix = np.ascontiguousarray(rows.matrix[:, columns_of(bundle, plan)])
    scored = bundle.score(matrix)
    contributions = bundle.trees.contributions(matrix)
    check_additive(contributions, scored.margin)
    explained = explain(contributions, matrix, bundle.features, top=LISTED_FACTORS)
    ids = names.take(rows.profile_key)
    life = min(Window.parse(bundle.outcome_window).micros, interval.micros)
    same: dict[str, Any] = {
        "goal": bundle.goal, "kind": bundle.kind, "basis": bundle.basis,
        "model_version": bundle.version,
    }  # fmt: skip
    columns: dict[str, Any] = {
        **{name: pa.array([value] * len(ids), pa.string()) for name, value in same.items()},
        "profile_id": ids,
        "profile_key": rows.profile_key,
        "as_of": rows.as_of,
        "probability": scored.probability,
        "score": scored.score,
        "percentile": scored.percentile.astype(np.int32),
        "bucket": pa.array(scored.bucket.tolist(), pa.string()),
        "margin": scored.margin,
        "base": explained.base,
        "rest": explained.rest,
        "expires_at": rows.as_of + life,
    }
    scores = pa.table({name: columns[name] for name in SCORE_SCHEMA.names}, schema=SCORE_SCHEMA)
    return scores, _factor_rows(explained.table(), bundle.goal, ids, rows.profile_key)


def _factor_rows(table: pa.Table, goal: str, ids: pa.Array, keys: NDArray[np.int64]) -> pa.Table:
    row = table["row"].to_numpy()
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= {
        "goal": pa.array([goal] * len(row), pa.string()),
        "profile_id": ids.take(pa.array(row)),
        "profile_key": keys[row],
    }
    rows = {name: columns[name] for name in FACTOR_SCHEMA.names}
    return pa.table(rows).cast(FACTOR_SCHEMA)


def _counts(scores: pa.Table) -> dict[str, Any]:
    buckets = scores["bucket"].to_pylist()
    return {
        "people": scores.num_rows,
        "buckets": {name: buckets.count(name) for name in ("low", "medium", "high")},
        "mean_probability": float(np.mean(scores["probability"])) if buckets else None,
    }
