"""The stage that scores: everyone eligible at as_of, with reasons, by the shipped bundles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.store import key_of, write_whole
from features.time import Window
from pipelines.champions import Shipped
from pipelines.explaining import explained
from pipelines.learning import bundle_of
from pipelines.stages import Bench, Described, Plan, described
from training import bucket_factors
from training.bucket_factors import BucketSums
from training.bundle import Bundle
from training.drift import drifts

SCORES, FACTORS = "scores", "factors"
BUCKET_FACTORS, BUCKET_VALUES = "bucket_factors", "bucket_values"
SCORES_VERSION = 5
DRIFT = "drift.json"
"""File beside the scores: how far each feature and the score are from the model's reference."""

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
     ("value_text", pa.string()), ("direction", pa.string()), ("contribution", pa.float64()),
     ("importance_share", pa.float64()), ("importance", pa.string())]
)  # fmt: skip
GOAL = pa.field("goal", pa.string())
SCHEMAS = {
    SCORES: SCORE_SCHEMA,
    FACTORS: FACTOR_SCHEMA,
    BUCKET_FACTORS: bucket_factors.FACTORS.insert(0, GOAL),
    BUCKET_VALUES: bucket_factors.VALUES.insert(0, GOAL),
}
"""The files of one version of `scores`."""

Floats = NDArray[np.float64]
Write = Callable[[str, Mapping[str, Any]], pa.Table]
"""Appends columns to one of the files; returns them as the table written."""


def score_everyone(bench: Bench, shipped: Mapping[str, Shipped]) -> str:
    """Write the tables of one as_of: scores, factors, and what moves each bucket.

    Every person's base + contributions is checked against the raw margin before anything is
    written. Grain of scores: goal, profile; of factors: goal, profile, rank; of bucket_factors:
    goal, bucket, rank; of bucket_values: goal, reason, bucket, name. Returns their version.
    """
    store = bench.store
    interval = bench.workspace.project.scoring_interval
    key = key_of(
        SCORES,
        SCORES_VERSION,
        [[name, each.everyone, each.trained] for name, each in sorted(shipped.items())],
        str(interval),
        bench.salt("score"),
    )
    if not bench.due("score", SCORES, key, "scoring"):
        return key
    with store.writing(SCORES, key) as (folder, facts), _writers(folder) as write:
        facts["features"] = {name: goal.everyone for name, goal in shipped.items()}
        facts["goals"] = {}
        moved: dict[str, list[dict[str, Any]]] = {}
        for name, goal in shipped.items():
            bundle = bundle_of(bench, name, goal.trained)
            rows = described(store, goal.everyone, goal.plan, name)
            bench.say(f"scoring {name}: {len(rows.profile_key):,} people")
            matrix = np.ascontiguousarray(rows.matrix[:, columns_of(bundle, goal.plan)])
            scores = _score_goal(bench, bundle, rows, matrix, write)
            facts["goals"][name] = _counts(scores)
            margin = scores["margin"].to_numpy()
            found = drifts(bundle.distributions, bundle.features, matrix, margin)
            moved[name] = [each.body() for each in found]
        write_whole(folder / DRIFT, json.dumps(moved).encode())
    return key


@contextmanager
def _writers(folder: Path) -> Iterator[Write]:
    """Yield what appends rows to the files of scores, so that nobody's reasons wait in memory."""
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd")
            )
            for name, schema in SCHEMAS.items()
        }

        def write(name: str, columns: Mapping[str, Any]) -> pa.Table:
            schema = SCHEMAS[name]
            table = pa.table({each: columns[each] for each in schema.names}).cast(schema)
            if len(table):
                files[name].write_table(table)
            return table

        yield write


def columns_of(bundle: Bundle, plan: Plan) -> NDArray[np.int64]:
    """Return where the bundle's features stand among the plan's."""
    places = {definition.feature.name: i for i, definition in enumerate(plan.definitions)}
    return np.array([places[name] for name in bundle.names], dtype=np.int64)


def _score_goal(
    bench: Bench, bundle: Bundle, rows: Described, matrix: Floats, write: Write
) -> pa.Table:
    """Write what one goal's bundle says of described rows; return their scores.

    `matrix` has the bundle's columns of them.
    """
    scored = bundle.score(matrix)
    ids = bench.graph.identities.take(rows.profile_key)
    sums, parts = BucketSums(bundle.features), np.empty((len(ids), 2))
    for some, factors, part in explained(bundle, matrix, scored, sums, bench.say):
        parts[some] = part
        row = factors["row"].to_numpy() + some.start
        who = {"profile_id": ids.take(pa.array(row)), "profile_key": rows.profile_key[row]}
        write(FACTORS, _columns(factors, bundle.goal) | who)
    for name, table in zip(
        (BUCKET_FACTORS, BUCKET_VALUES), sums.tables(matrix, scored.bucket), strict=True
    ):
        write(name, _columns(table, bundle.goal))
    interval = bench.workspace.project.scoring_interval
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
        "base": parts[:, 0],
        "rest": parts[:, 1],
        "expires_at": rows.as_of + life,
    }
    return write(SCORES, columns)


def _columns(table: pa.Table, goal: str) -> dict[str, Any]:
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    return columns | {"goal": pa.array([goal] * len(table), pa.string())}


def _counts(scores: pa.Table) -> dict[str, Any]:
    buckets = scores["bucket"].to_pylist()
    return {
        "people": scores.num_rows,
        "buckets": {name: buckets.count(name) for name in ("low", "medium", "high")},
        "mean_probability": float(np.mean(scores["probability"])) if buckets else None,
    }
