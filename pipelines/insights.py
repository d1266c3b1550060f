"""What the published run says of a goal as a whole: what moves the people of each bucket."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import time
from features.errors import StoreError, did_you_mean
from features.store import Manifest
from pipelines.scoring import BUCKET_FACTORS, BUCKET_VALUES, SCORES
from pipelines.unification_page import save_page
from pipelines.workspace import Workspace
from serving.scorer import UnknownGoal
from training.bucket_charts import bucket_charts, value_charts
from training.bucket_factors import insights
from training.bundle import Bundle
from training.charts import page_html


def goal_insights(workspace: Workspace, goal: str) -> dict[str, Any]:
    """Return what moves each bucket of a goal, JSON-ready, as `GET /goals/{name}` shows it.

    `buckets` are low, medium and high, each with its people and up to ten `factors`. Raises
    `UnknownGoal`, and `StoreError` before the first run.
    """
    manifest = workspace.store.require_current()
    require_goal(manifest, goal)
    folder = workspace.store.folder(SCORES, manifest.tables[SCORES])
    if not (folder / f"{BUCKET_FACTORS}.parquet").exists():
        raise too_old()
    tables = (pq.read_table(folder / f"{n}.parquet") for n in (BUCKET_FACTORS, BUCKET_VALUES))
    factors, values = (table.filter(pc.field("goal") == goal).drop("goal") for table in tables)
    scored = manifest.figures["goals"][goal]["scored"]
    return {
        "goal": goal,
        "kind": _kind(workspace, manifest, goal),
        "model_version": manifest.models[goal],
        "as_of": time.format_instant(manifest.as_of),
        "people": scored["people"],
        "buckets": insights(factors, values, scored["buckets"]),
    }


def too_old() -> StoreError:
    """Build the error for a run that lacks what is asked about it."""
    return StoreError(
        "The run was made by an earlier version, which did not keep what this needs.",
        hint="Run `likelier run` once more.",
    )


def require_goal(manifest: Manifest, goal: str) -> None:
    """Raise `UnknownGoal` unless the run scored that goal."""
    if goal not in manifest.models:
        raise UnknownGoal(
            f"The published run has no goal {goal!r}.", hint=did_you_mean(goal, manifest.models)
        )


def _kind(workspace: Workspace, manifest: Manifest, goal: str) -> str:
    return Bundle.load(workspace.bundle_folder(goal, manifest.models[goal])).kind


def write_insights(found: dict[str, Any], path: Path) -> None:
    """Write a goal's buckets as one page that opens anywhere. Raises `PageNotWritten`."""
    title = f"{found['goal']}: what moves each bucket"
    body = (
        f"<p>{found['people']:,} people scored as of {escape(found['as_of'])} by model "
        f"{escape(found['model_version'])}. A bar is a reason's mean importance in the bucket; "
        "hover for coverage, the share of the bucket among whose three strongest reasons it is. "
        "Below: the values behind the reasons, by bucket.</p>"
    )
    charts = bucket_charts(found["buckets"], found["kind"]) | value_charts(found["buckets"])
    save_page(path, page_html(title, body, charts))
