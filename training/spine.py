"""Spines: at which moments people are looked at to learn from.

`calendar`: snapshots step back from the newest whose outcome window has closed, by the outcome
window (at least 7 days), so that no two outcomes of one goal overlap. `at_events`: one random
event per person and window between those snapshots, each looked at just after it was known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People
from features.engine import Engine
from features.goal_settings import Goal
from features.identity.graph import NOBODY, Graph
from features.time import Window
from training.errors import NotEnoughHistory

SHORTEST_STEP = Window.parse("7d")
SHORTEST_HISTORY = Window.parse("30d")


def snapshots(goal: Goal, as_of: int, earliest: int, most: int) -> list[int]:
    """Return the calendar moments to learn from, newest first, at most `most`.

    `earliest` is the first event time. Before the oldest snapshot lie at least 30 days, or the
    outcome window if that is longer. Raises `NotEnoughHistory` when there is no such moment.
    """
    newest = time.newest_closed(as_of, goal.gap, goal.outcome_window)
    step = max(goal.outcome_window.micros, SHORTEST_STEP.micros)
    back = look_back(goal)
    moments = (newest - number * step for number in range(most))
    found = [moment for moment in moments if time.has_history(moment, earliest, back)]
    if not found:
        raise NotEnoughHistory.before(goal, as_of, earliest, back)
    return found


def look_back(goal: Goal) -> Window:
    """Return the history a goal needs before each snapshot: 30 days, or its outcome window."""
    return max(goal.outcome_window, SHORTEST_HISTORY)


def event_rows(
    engine: Engine, log: Log, graph: Graph, moments: Sequence[int], step: Window, seed: int
) -> People:
    """Return people just after a random event: one a person and window `[moment - step, moment)`.

    `moments` are calendar snapshots; no row is later than the newest.
    """
    keys, as_of = [], []
    for moment in moments:
        events = log.events.filter(
            time.known_before(log.events.known_at, moment)
            & time.within_lookback(log.events.event_time, moment, step)
        ).select("event_id", "identity_key", "known_at")
        key, known_at = _one_each(engine.arrow(events), graph.at(moment).anchor, seed)
        keys.append(key)
        as_of.append(time.just_after(known_at))
    rows, moments_of_rows = np.concatenate(keys), np.concatenate(as_of)
    people = People.at_rows(graph.at_rows(rows, moments_of_rows), moments_of_rows)
    return people.only(people.profile_key != NOBODY)


def _one_each(
    events: pa.Table, anchor: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose, for every person, the event whose hashed id is least: random, yet repeatable."""
    key = events["identity_key"].to_numpy()
    known_at = events["known_at"].to_numpy()
    drawn = np.array([_draw(seed, text) for text in events["event_id"].to_pylist()], np.uint64)
    person = anchor[key]
    order = np.lexsort((key, drawn, person))
    first = np.ones(len(order), dtype=bool)
    first[1:] = person[order][1:] != person[order][:-1]
    chosen = order[first]
    return key[chosen].astype(np.int64), known_at[chosen].astype(np.int64)


def _draw(seed: int, event_id: str) -> int:
    digest = hashlib.blake2b(event_id.encode(), digest_size=8, salt=seed.to_bytes(8, "little"))
    return int.from_bytes(digest.digest(), "little")
