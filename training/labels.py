"""Labels: what happened in the outcome window, read once it has closed.

The outcome happened if a matching event of the window, known by its end c, belongs at c to the
profile holding the row's anchor. The graph is asked at c, never later, so a closed label never
changes. Rows that are one person at c share a `person_group`: a hash of who they are, since keys
are numbered anew in every version of the tables, and people must stay in the same fold.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People, outcome_history
from features.conditions.table import matches
from features.engine import Engine
from features.identity.graph import NOBODY, Graph
from training.goals import CompiledGoal
from training.subscriptions import lost

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Labels:
    """By spine row: 1 where the outcome happened, 0 where it did not; and who it is at c.

    `person_group` is a 63 bit hash of the anchor at c.
    `known` is false for the rare row whose anchor no longer names anyone at c: it has no label.
    """

    label: NDArray[np.int8]
    person_group: Ints
    known: NDArray[np.bool_]


def labels(engine: Engine, log: Log, graph: Graph, goal: CompiledGoal, people: People) -> Labels:
    """Return the closed labels of `people`, each read at its own c.

    `log` holds the events that count for the goal. Whoever loses a subscription within the gap has
    no label: at the beginning of the window there was nothing left to lose.
    """
    gap, window = goal.settings.gap, goal.settings.outcome_window
    closed = time.outcome_end(people.as_of, gap, window)
    if len(people) and np.all(closed == closed[0]):
        resolution = graph.at(int(closed[0]))
        group = resolution.anchor[people.profile_key]
        later = People.everyone(resolution, np.unique(group[group != NOBODY]))
        place = np.searchsorted(later.profile_key, group)
    else:
        found = graph.at_rows(people.profile_key, closed)
        later, group = People.at_rows(found, closed), found.anchor
        place = np.arange(len(people))
    known = group != NOBODY
    if goal.settings.subscription:
        members = engine.hold(_members(engine, later))
        happened, sooner = lost(engine, log, goal, members, len(later))
        engine.drop(members)
        known[known] = ~sooner[place[known]]
    else:
        happened = _happened(engine, log, goal, later)
    label = np.zeros(len(people), dtype=np.int8)
    label[known] = happened[place[known]]
    return Labels(label, _groups(graph, group), known)


def _groups(graph: Graph, anchor: Ints) -> Ints:
    """Return a number for each person, the same in every version of the tables."""
    people, place = np.unique(anchor, return_inverse=True)
    numbers, known = np.full(len(people), NOBODY), people != NOBODY
    names = graph.identities.take(people[known]).to_pylist()
    numbers[known] = [_number(name) for name in names]
    return numbers[place]


def _number(identity: str) -> int:
    digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _happened(engine: Engine, log: Log, goal: CompiledGoal, later: People) -> NDArray[np.bool_]:
    """Return, by row of `later` (people at c), whether the outcome came true."""
    members = engine.hold(_members(engine, later))
    # c stands after the gap already, so the outcome window is the length before c.
    history = engine.hold(outcome_history(log, members, goal.settings.outcome_window))
    spine = engine.table(
        pa.table({"row_id": np.arange(len(later), dtype=np.int64), "as_of": later.as_of})
    )
    found = engine.arrow(matches(goal.outcome, spine, history).order_by("row_id"))
    engine.drop(members, history)
    return np.asarray(found["matches"].to_numpy(zero_copy_only=False), dtype=bool)


def _members(engine: Engine, later: People) -> ir.Table:
    member = {
        "row_id": later.member_row,
        "identity_key": later.member_key,
        "as_of": later.as_of[later.member_row],
    }
    return engine.table(pa.table(member))
