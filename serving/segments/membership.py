"""Who is in which segment: conditions over people, their scores and their factors.

The condition renderer reads everything from one spine row per person; here the spine of a scene
gets the columns that only serving knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.behavior.scene import AnyEngine, Ints, Scene
from features.conditions import uses
from features.conditions.table import matches
from features.settings import EVERYTHING
from serving.segments.definitions import CompiledSegment

SCORE_FIELDS = ("score", "probability", "percentile", "bucket")
DIRECTIONS = ("raises", "lowers")


def evaluate(
    scene: Scene,
    compiled: Sequence[CompiledSegment],
    scores: pa.Table,
    factors: pa.Table,
    profile_keys: Ints,
) -> dict[str, Ints]:
    """Return, by segment, the ascending profile keys of its members.

    `compiled` is in the order `compile_segments` gives. `scores` and `factors` hold one row per
    (goal, profile) and (goal, profile, rank); a person without a row has no score, and every test
    of it is false. `profile_keys` is by row id of the scene's spine.
    """
    goals = sorted({goal for segment in compiled for goal in uses(segment.condition).goals})
    parts = [part for goal in goals for part in _of_goal(goal, scores, factors, profile_keys)]
    spine = scene.engine.hold(_joined(scene.engine, scene.spine, parts))
    rows: dict[str, Ints] = {}
    for segment in compiled:
        built = [_of_segment(name, rows[name]) for name in sorted(segment.parts)]
        table = _joined(scene.engine, spine, built)
        found = matches(segment.condition, table, scene.history)
        members = scene.engine.arrow(found.filter(found.matches).select("row_id"))
        rows[segment.name] = members["row_id"].to_numpy()
    scene.engine.drop(spine)
    return {name: np.sort(profile_keys[row]) for name, row in rows.items()}


def opted_out(consents_now: pa.Table) -> pa.Array:
    """Return the profile keys of people who refuse everything: they are in no segment."""
    said = pc.and_(
        pc.equal(consents_now["purpose"], EVERYTHING), pc.invert(consents_now["allowed"])
    )
    return consents_now["profile_key"].filter(said).combine_chunks()


def without(members: Mapping[str, Ints], keys: pa.Array) -> tuple[dict[str, Ints], dict[str, int]]:
    """Return members without people who refuse everything, and how many those are, by segment."""
    left = {
        name: people[~np.isin(people, keys.to_numpy(zero_copy_only=False))]
        for name, people in members.items()
    }
    return left, {name: len(members[name]) - len(people) for name, people in left.items()}


def _of_goal(
    goal: str, scores: pa.Table, factors: pa.Table, profile_keys: Ints
) -> Iterable[pa.Table]:
    """Yield the columns of one goal by row id: its score, then its reasons by direction."""
    scored = scores.filter(pc.equal(scores["goal"], goal))
    names = {"profile_key": "profile_key"} | {f: f"{goal}_{f}" for f in SCORE_FIELDS}
    yield _by_row(scored.select(list(names)).rename_columns(names), profile_keys)
    for direction in DIRECTIONS:
        said = pc.and_(pc.equal(factors["goal"], goal), pc.equal(factors["direction"], direction))
        listed = factors.filter(said).group_by("profile_key").aggregate([("code", "list")])
        yield _by_row(listed.rename_columns({"code_list": f"{goal}_{direction}"}), profile_keys)


def _by_row(table: pa.Table, profile_keys: Ints) -> pa.Table:
    """Replace `profile_key` by the row id of the person; rows of nobody here are dropped."""
    row = pc.index_in(table["profile_key"], value_set=pa.array(profile_keys))
    numbered = table.drop_columns("profile_key").append_column("row_id", row.cast(pa.int64()))
    return numbered.filter(pc.is_valid(row))


def _of_segment(name: str, rows: Ints) -> pa.Table:
    return pa.table({"row_id": rows, f"segment_{name}": np.ones(len(rows), dtype=bool)})


def _joined(engine: AnyEngine, spine: ir.Table, parts: Iterable[pa.Table]) -> ir.Table:
    """Return the spine with the columns of `parts`: null for the rows that a part lacks."""
    for part in parts:
        spine = spine.left_join(engine.table(part), "row_id").drop("row_id_right")
    return spine
