"""The loss of a subscription: it has ended, and was not renewed in time.

Statements of an end, each made at a moment, follow one another: each holds until the next. The
subscription is lost at the moment at which the time for a renewal has run out after the end that
holds then. A renewal made in time states a later end before that; one made after it comes too late,
and the loss stays a loss. A cancellation states an earlier end.
"""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log
from features.engine import Engine
from features.profiles.attributes import typed
from training.goals import CompiledGoal

Mask = NDArray[np.bool_]


def lost(
    engine: Engine, log: Log, goal: CompiledGoal, members: ir.Table, rows: int
) -> tuple[Mask, Mask]:
    """Return who lost the goal's subscription in the outcome window, and who in the gap before it.

    `members` has row_id (0 to `rows`), identity_key and as_of, the end c of the window. Statements
    count as far as they were known by c. Where the end is merged as `max`, one that is earlier than
    those before it changes nothing.
    """
    window, gap = goal.settings.outcome_window, goal.settings.gap
    held = _held(log, goal, members)
    start = held.as_of - window.micros
    before = time.newest_closed(held.as_of, gap, window)
    gone = held.select(
        "row_id",
        window=time.within(held.runs_out, start, held.until),
        gap=time.within(held.runs_out, before, ibis.least(start, held.until)),
    )
    found = engine.arrow(
        gone.group_by("row_id").aggregate(window=gone.window.any(), gap=gone.gap.any())
    ).to_pydict()
    masks = np.zeros((2, rows), dtype=bool)
    masks[0, found["row_id"]], masks[1, found["row_id"]] = found["window"], found["gap"]
    return masks[0], masks[1]


def _held(log: Log, goal: CompiledGoal, members: ir.Table) -> ir.Table:
    """Return each statement of an end: when it would be lost by it, and until when it holds."""
    subscription = goal.settings.subscription
    assert subscription is not None
    policy = next(each for each in log.policies if subscription.end in each.attributes)
    said = log.observations.filter(log.observations.attribute == subscription.end)
    joined = said.filter(said.dated).inner_join(members, "identity_key")
    known = joined.filter(time.known_before(joined.known_at, joined.as_of))
    ends = known.select("row_id", "as_of", said_at=known.event_time, end=typed(known.value, "date"))
    order = {"group_by": ends.row_id, "order_by": [ends.said_at, ends.end]}
    end = ends.end
    if policy.merge == "max":
        end = end.max().over(ibis.cumulative_window(**order))
    # A statement counts just after it was made, at the moment itself the one before it holds.
    following = time.just_after(ends.said_at).lead().over(ibis.window(**order))
    lapses = end + subscription.renewed_within.micros
    return ends.select(
        "row_id",
        "as_of",
        runs_out=ibis.greatest(time.just_after(ends.said_at), lapses),
        until=following.coalesce(ends.as_of),
    )
