"""Spines: at which moments people are looked at to learn from.

`calendar`: snapshots step back from the newest whose outcome window has closed, by the outcome
window (at least 7 days), so that no two outcomes of one goal overlap. `at_events`: one random
event per person and window between those snapshots, each looked at just after it was known.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People
from features.engine import Engine
from features.errors import LikelierError
from features.identity.graph import NOBODY, Graph
from features.settings import Goal
from features.time import Window

SHORTEST_STEP = Window.parse("7d")
SHORTEST_HISTORY = Window.parse("30d")


class NotEnoughHistory(LikelierError):
    """History too short for one closed outcome window after a look at the past."""

    code = "not_enough_history"


def snapshots(goal: Goal, as_of: int, earliest: int, most: int) -> list[int]:
    """Return the calendar moments to learn from, newest first, at most `most`.

    `earliest` is the first event time. Before the oldest snapshot lie at least 30 days, or the
    outcome window if that is longer. Raises `NotEnoughHistory` when there is no such moment.
    """
    newest = time.newest_closed(as_of, goal.gap, goal.outcome_window)
    step = max(goal.outcome_window.micros, SHORTEST_STEP.micros)
    floor = earliest + max(goal.outcome_window.micros, SHORTEST_HISTORY.micros)
    found = [moment for i in range(most) if (moment := newest - i * step) >= floor]
    if not found:
        raise _too_short(goal, as_of, earliest, floor - earliest, as_of - newest)
    return found


def _too_short(goal: Goal, as_of: int, earliest: int, back: int, ahead: int) -> NotEnoughHistory:
    there = math.floor(time.days_between(earliest, as_of))
    needed = math.ceil((back + ahead) / time.MICROS_PER_DAY)
    gap = f" after a gap of {goal.gap.words}" if goal.gap else ""
    return NotEnoughHistory(
        f"goals.{goal.name}: {there} days of history before {time.format_instant(as_of)}, "
        f"{needed} needed: {Window(back).words} to look back on, and the outcome window of "
        f"{goal.outcome_window.words}{gap}.",
        hint="Load older files, or shorten outcome_window.",
        goal=goal.name,
        days=there,
        days_needed=needed,
    )


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
