"""Sequences over many people at many moments, as an Ibis expression.

`sequence(view then cart within 1d then not purchase within 3d)` is found step by step over the
*moments* of a row: its distinct event times, each with the steps that some event of that instant
passes. Every step that happened opens a span of time in which the next may come: from just after it
to the end of its `within`, and no further than the first event that must be absent. So a moment
that passes the next step is reached where one of the spans before it lasts until then: a running
maximum. One window function a step, no join of events with events, whatever their number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import pairwise
from typing import Any, cast

import ibis
import ibis.expr.types as ir

from features import time
from features.conditions.tree import EventFilter, Step
from features.conditions.tree import Sequence as Steps

FOREVER = time.LATEST
"""The end of a span that nothing limits: later than any event."""

Passes = Callable[[EventFilter, ir.Table], ir.BooleanValue]
"""Says of each event whether a filter lets it through."""


def rows_with(sequence: Steps, history: ir.Table, passes: Passes) -> ir.Table:
    """Return `row_id` of every row with events in this order, each once.

    history: several rows per `row_id`, only rows that may count: row_id, as_of, event_type,
    event_time and what the steps ask for.
    """
    table = _moments(sequence, history, passes)
    table = _with_first_after(sequence, table)
    steps = list(enumerate(sequence.steps))
    happened = [number for number, step in steps if step.happened]
    reached = f"step_{happened[0]}"
    for here, following in pairwise(happened):
        last = _lasts_until(table, sequence.steps[following], steps[here + 1 : following])
        table = table.mutate(until=cast("Any", table[reached]).ifelse(last, ibis.null("int64")))
        # Moments are distinct, so the rows before are just the earlier moments.
        spans = table["until"].max().over(_frame(preceding=(None, 1)))
        lasting = time.is_within(table["event_time"], spans).fill_null(ibis.literal(False))
        reached = f"reached_{following}"
        table = table.mutate(**{reached: table[f"step_{following}"] & lasting})
    tests = [table[reached], *(_absent(table, *step) for step in steps[happened[-1] + 1 :])]
    return table.filter(reduce(operator.and_, tests)).select("row_id").distinct()


def _moments(sequence: Steps, history: ir.Table, passes: Passes) -> ir.Table:
    types = sorted({step.events.event for step in sequence.steps})
    rows = history.filter(history["event_type"].isin(types))
    flags = {
        f"step_{number}": passes(step.events, rows).any()
        for number, step in enumerate(sequence.steps)
    }
    return rows.group_by("row_id", "as_of", "event_time").aggregate(**flags)


def _with_first_after(sequence: Steps, table: ir.Table) -> ir.Table:
    """Add, for each step that must not happen, `next_<number>`: when it first does afterwards."""
    later = _frame(following=(1, None))
    return table.mutate(
        **{
            f"next_{number}": cast("Any", table[f"step_{number}"])
            .ifelse(table["event_time"], ibis.null("int64"))
            .min()
            .over(later)
            for number, step in enumerate(sequence.steps)
            if not step.happened
        }
    )


def _frame(**bounds: Any) -> Any:
    return ibis.window(group_by="row_id", order_by="event_time", **bounds)


def _lasts_until(
    table: ir.Table, following: Step, between: Sequence[tuple[int, Step]]
) -> ir.IntegerValue:
    """Return the last instant at which the step that follows may come after a moment."""
    moment = table["event_time"]
    ends: list[Any] = [ibis.literal(FOREVER, "int64")]
    if following.within is not None:
        ends = [time.latest_within(moment, following.within)]
    for number, step in between:
        first = cast("Any", table[f"next_{number}"])
        if step.within is not None:
            inside = time.is_within(first, time.latest_within(moment, step.within))
            first = inside.ifelse(first, ibis.null("int64"))
        ends.append(first.fill_null(FOREVER))
    return cast("ir.IntegerValue", reduce(ibis.least, ends))


def _absent(table: ir.Table, number: int, step: Step) -> ir.BooleanValue:
    """Say of each moment whether a last step is sure not to have happened after it."""
    first = cast("Any", table[f"next_{number}"])
    if step.within is None:
        return cast("ir.BooleanValue", first.isnull())
    end = time.latest_within(table["event_time"], step.within)
    came = time.is_within(first, end).fill_null(ibis.literal(False))
    return cast("ir.BooleanValue", ~came & time.is_over(end, table["as_of"]))
