"""Proof by a second look that training rows hold nothing from at or after their moment.

Some rows of a lesson are measured again from a log in which only what was known at that moment
stands: no event, statement or date of later is there to be seen, and no attribute nobody dated.
Whatever differs from what was learnt from knows the future, or lacks the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People, scene_of
from features.behavior.table import matrix_of, render
from pipelines.stages import Bench, Described, Plan, described
from training.errors import LeakFound
from training.goals import CompiledGoal

MOMENTS = 4
"""Moments looked at again: the oldest, the newest, and some between."""
MOST_ROWS = 200
"""Rows looked at again, for a moment."""


def check_provenance(bench: Bench, plan: Plan, goal: CompiledGoal, tables: Sequence[str]) -> None:
    """Raise `LeakFound` where rows of `goal` are not of their time.

    `tables` are the versions of the feature tables that it is learnt from.
    """
    for moment, rows in _samples(bench, plan, goal.name, tables):
        log = only_known(bench.log_of(goal), moment)
        differs = ~_same(rows.matrix, _measured_again(bench, plan, log, rows.profile_key, moment))
        columns = np.flatnonzero(differs.any(axis=0))
        if len(columns):
            names = [plan.definitions[column].feature.name for column in columns]
            count = int(differs.any(axis=1).sum())
            raise LeakFound.of_the_future(names, goal.name, count, len(differs), moment)


def _samples(
    bench: Bench, plan: Plan, goal: str, tables: Sequence[str]
) -> Iterator[tuple[int, Described]]:
    """Yield some moments, oldest to newest, each with some of its rows in order of profile."""
    found = [described(bench.store, key, plan, goal) for key in tables]
    keys, as_of, matrix = (
        np.concatenate([getattr(rows, name) for rows in found])
        for name in ("profile_key", "as_of", "matrix")
    )
    moments = np.unique(as_of)
    for place in np.unique(np.linspace(0, len(moments) - 1, min(MOMENTS, len(moments)), dtype=int)):
        rows = np.flatnonzero(as_of == moments[place])
        rows = rows[:: max(1, len(rows) // MOST_ROWS)][:MOST_ROWS]
        yield int(moments[place]), Described(keys[rows], as_of[rows], matrix[rows])


def _measured_again(
    bench: Bench, plan: Plan, log: Log, profiles: NDArray[np.int64], moment: int
) -> NDArray[np.float64]:
    people = People.everyone(bench.graph.at(moment), profiles)
    scene = scene_of(bench.engine, log, people)
    features = matrix_of(render(scene, plan.definitions))
    scene.close()
    return features


def only_known(log: Log, moment: int) -> Log:
    """Return a log of what was known at `moment` and nothing else: dated statements, and events."""
    events, stated = log.events, log.observations
    return replace(
        log,
        events=events.filter(time.known_before(events.known_at, moment)),
        observations=stated.filter(stated.dated, time.known_before(stated.known_at, moment)),
    )


def _same(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (left == right) | (np.isnan(left) & np.isnan(right))
    return same
