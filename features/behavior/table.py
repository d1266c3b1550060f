"""The table renderer: feature definitions over a scene, as Ibis expressions.

Grain in: a scene (rows of people at moments, with the events known then). Grain out: one row per
row id, one float64 column per definition, in the definitions' order.

How it goes, for all event types and windows at once:

1. `history` grouped by (row, event type): counts, sums and shares of every window, first and last
   time, first and last values.
2. Distinct values: grouped by (row, event type, value) with the latest time. A value is in the
   window exactly when its latest time is, so one grouping serves every window with exact edges.
   Active days are the distinct local days.
3. Silences: distinct event times of a (row, event type), and the squares of their distances.
4. The three are joined by (row, event type), then one left join per event type makes the row wide.
5. Sessions are runs of a row's events, whatever their types: one more left join.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from functools import reduce
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior import definitions as d
from features.behavior.history import UNITS
from features.behavior.scene import Scene
from features.time import MICROS_PER_DAY, MICROS_PER_MINUTE, MICROS_PER_SECOND, Window

KEY = ("row_id", "event_type")


def render(scene: Scene, definitions: Sequence[d.Definition]) -> pa.Table:
    """Return the features of every row of the scene: float64 columns, nulls where unknown."""
    engine, key = scene.engine, (tuple(definitions), _described(scene.history, scene.spine))
    behaviour = engine.hold(engine.sql(("by type", key), lambda: _by_type(scene, definitions)))
    wide = engine.sql(
        ("wide", key, _described(behaviour)),
        lambda: _widen(scene, behaviour, definitions).order_by("row_id"),
    )
    rows = engine.arrow(wide)
    engine.drop(behaviour)
    return rows.drop_columns("row_id")


def _described(*tables: ir.Table) -> tuple[Hashable, ...]:
    return tuple((table.op().name, *map(str, table.schema().items())) for table in tables)


def matrix_of(features: pa.Table) -> NDArray[np.float64]:
    """Return rendered features as a matrix (rows, features), null = NaN."""
    matrix = np.empty((features.num_rows, features.num_columns), dtype=np.float64)
    for position, column in enumerate(features.columns):
        values = column.to_numpy(zero_copy_only=False)
        matrix[:, position] = np.asarray(values, dtype=np.float64)
    return matrix


def _by_type(scene: Scene, definitions: Sequence[d.Definition]) -> ir.Table:
    """Return every measure by row and event type: steps 1 to 3."""
    history = scene.history
    used = {e for e in (getattr(x, "event", None) for x in definitions) if e is not None}
    history = history.filter(history.event_type.isin(sorted(used)))
    joined = _counts_and_sums(history, definitions)
    values = {x.attribute for x in definitions if isinstance(x, d.Distinct)}
    tables = [_distinct(history, f"attr_{n}", _windows(definitions, d.Distinct, n), f"distinct_{n}")
              for n in sorted(values)]  # fmt: skip
    if days := _windows(definitions, d.ActiveDays):
        tables.append(_distinct(history, "local_day", days, "active_days"))
    if any(isinstance(x, d.Gap) for x in definitions):
        tables.append(_silences(history))
    for table in tables:
        joined = joined.left_join(table, KEY).drop("row_id_right", "event_type_right")
    return joined


def _windows(
    definitions: Iterable[d.Definition],
    kind: type[d.Distinct | d.ActiveDays],
    attribute: str | None = None,
) -> list[Window]:
    found = {
        x.window
        for x in definitions
        if isinstance(x, kind) and getattr(x, "attribute", None) == attribute
    }
    return sorted(found)


def _counts_and_sums(history: ir.Table, definitions: Sequence[d.Definition]) -> ir.Table:
    measures: dict[str, ir.Value] = {
        "first": history.event_time.min(),
        "last": history.event_time.max(),
    }
    for definition in definitions:
        measures |= _measures(history, definition, definitions)
    return history.group_by(*KEY).aggregate(**measures)


def _measures(
    history: ir.Table, definition: d.Definition, definitions: Sequence[d.Definition]
) -> dict[str, ir.Value]:
    """Return what a definition needs of the events of one row and type."""

    def inside(window: Window) -> Any:
        return time.within_lookback(history.event_time, history.as_of, window)

    def count(window: Window) -> dict[str, ir.Value]:
        return {f"count_{window}": history.count(where=inside(window))}

    match definition:
        case d.Count(_, window):
            return count(window)
        case d.Trend(_, short, long):
            return count(short) | count(long)
        case d.Sum(_, attribute, window):
            total = history[f"attr_{attribute}"].sum(where=inside(window))
            return {f"sum_{attribute}_{window}": total}
        case d.Statistic(_, attribute, _, window):
            return _statistics(history[f"attr_{attribute}"], definition, inside(window))
        case d.ValueShare(_, attribute, _, _, window):
            column = history[f"attr_{attribute}"]
            wanted = _wanted(column, definition, definitions)
            return {
                definition.feature.name: history.count(where=wanted & inside(window)),
                f"stated_{attribute}_{window}": column.count(where=inside(window)),
            }
        case d.ValueIs(end, _, attribute, _, _):
            column, when = history[f"attr_{attribute}"], history.event_time
            # The greatest pair of (time, value): of several at that time, the greatest value.
            pair = ibis.struct({"when": when if end == "last" else -when, "value": column})
            return {f"{end}_{attribute}": pair.max(where=column.notnull())}
        case d.HourShare(_, start, stop, window):
            on_time = (history.local_hour >= start) & (history.local_hour < stop)
            part = history.count(where=on_time & inside(window))
            return count(window) | {f"hours_{start}_{stop}_{window}": part}
        case d.WeekdayShare(_, weekday, window):
            on_day = time.weekday_of(history.local_day) == weekday
            part = history.count(where=on_day & inside(window))
            return count(window) | {f"weekday_{weekday}_{window}": part}
    return {}


def _statistics(column: Any, definition: d.Statistic, where: Any) -> dict[str, ir.Value]:
    suffix = f"{definition.attribute}_{definition.window}"
    if definition.measure == "mean":
        total, stated = column.sum(where=where), column.count(where=where)
        return {f"sum_{suffix}": total, f"stated_{suffix}": stated}
    extreme = column.min(where=where) if definition.measure == "min" else column.max(where=where)
    return {f"{definition.measure}_{suffix}": extreme}


def _wanted(column: Any, definition: d.Valued, definitions: Sequence[d.Definition]) -> Any:
    """Return where a value is the definition's: null or false where it is unknown."""
    if definition.value is not None:
        return column == definition.value
    listed = d.listed_beside(definition, definitions)
    return reduce(lambda known, name: known & (column != name), listed, column.notnull())


def _distinct(history: ir.Table, column: str, windows: list[Window], name: str) -> ir.Table:
    known = history.filter(history[column].notnull())
    latest = known.group_by(*KEY, "as_of", column).aggregate(latest=known.event_time.max())
    return latest.group_by(*KEY).aggregate(
        **{
            f"{name}_{window}": latest.count(
                where=time.within_lookback(latest.latest, latest.as_of, window)
            )
            for window in windows
        }
    )


def _silences(history: ir.Table) -> ir.Table:
    """Return moments (distinct event times), squares of silences in whole seconds, and the last."""
    moments = history.select(*KEY, "event_time").distinct()
    order = ibis.window(group_by=list(KEY), order_by="event_time")
    before = moments.mutate(before=moments.event_time.lag().over(order))
    second = before.event_time // MICROS_PER_SECOND - before.before // MICROS_PER_SECOND
    gaps = before.mutate(gap=before.event_time - before.before, square=second * second)
    return gaps.group_by(*KEY).aggregate(
        moments=gaps.count(),
        squares=gaps.square.sum(),
        last_gap=gaps.gap.argmax(gaps.event_time),
    )


def _sessions(
    history: ir.Table, sessions: d.OfSessions, definitions: Sequence[d.Definition]
) -> ir.Table:
    """Return, by row, what is known of its sessions: columns `sessions/...`."""
    some = history.filter(history.event_type.isin(sessions.events))
    order = ibis.window(group_by="row_id", order_by="event_time")
    steps = some.select("row_id", "as_of", "event_time", before=some.event_time.lag().over(order))
    anew = time.starts_session(steps.event_time, steps.before, sessions.gap)
    steps = steps.mutate(anew=anew.fill_null(True))
    whole = ibis.window(group_by="row_id")
    steps = steps.mutate(began=steps.event_time.max(where=steps.anew).over(whole))
    now = time.within(steps.event_time, steps.began, steps.as_of)
    measures = {
        "sessions/count": steps.count(where=steps.anew),
        "sessions/lengths": (steps.event_time - steps.before).sum(where=~steps.anew),
        "sessions/began": steps.began.max(),
        "sessions/last": steps.event_time.max(),
        "sessions/now": steps.count(where=now),
    }
    for x in definitions:
        if isinstance(x, d.SessionCount):
            inside = time.within_lookback(steps.event_time, steps.as_of, x.window)
            measures[f"sessions/count_{x.window}"] = steps.count(where=steps.anew & inside)
    return steps.group_by("row_id").aggregate(**measures)


def _widen(scene: Scene, behaviour: ir.Table, definitions: Sequence[d.Definition]) -> ir.Table:
    """One left join per event type; then every definition is a formula over the wide row."""
    events = list(dict.fromkeys(e for x in definitions if (e := getattr(x, "event", None))))
    measures = [name for name in behaviour.columns if name not in KEY]
    wide = scene.spine
    for event in events:
        some = behaviour.filter(behaviour.event_type == event)
        named = some.select(
            __row=some.row_id, **{f"{event}/{name}": some[name] for name in measures}
        )
        wide = wide.left_join(named, wide.row_id == named["__row"]).drop("__row")
    if any(isinstance(x, d.Tenure) for x in definitions):
        seen = scene.history.group_by("row_id").aggregate(__first=scene.history.event_time.min())
        wide = wide.left_join(seen, "row_id").drop("row_id_right")
    for sessions in {
        (x.gap, x.events): x for x in definitions if isinstance(x, d.OfSessions)
    }.values():
        found = _sessions(scene.history, sessions, definitions)
        wide = wide.left_join(found, "row_id").drop("row_id_right")
    columns = {x.feature.name: _formula(wide, x, definitions) for x in definitions}
    return wide.select("row_id", **{n: v.cast("float64") for n, v in columns.items()})


def _formula(
    wide: ir.Table, definition: d.Definition, definitions: Sequence[d.Definition]
) -> ir.Value:
    """Return a definition's value over a wide row."""
    match definition:
        case d.Count(event, window):
            return wide[f"{event}/count_{window}"].fill_null(0)
        case d.ActiveDays(event, window):
            return wide[f"{event}/active_days_{window}"].fill_null(0)
        case d.Sum(event, attribute, window):
            return wide[f"{event}/sum_{attribute}_{window}"].fill_null(0)
        case d.Statistic(event, attribute, measure, window):
            return _statistic(wide, event, attribute, measure, window)
        case d.ValueShare(event, attribute, _, _, window):
            stated = wide[f"{event}/stated_{attribute}_{window}"]
            return wide[f"{event}/{definition.feature.name}"] / stated.nullif(0)
        case d.ValueIs(end, event, attribute, _, _):
            return _is(wide[f"{event}/{end}_{attribute}"]["value"], definition, definitions)
        case d.HourShare(event, start, stop, window):
            part = wide[f"{event}/hours_{start}_{stop}_{window}"]
            return part / wide[f"{event}/count_{window}"].nullif(0)
        case d.WeekdayShare(event, weekday, window):
            part = wide[f"{event}/weekday_{weekday}_{window}"]
            return part / wide[f"{event}/count_{window}"].nullif(0)
        case d.SessionCount(_, _, window):
            return wide[f"sessions/count_{window}"].fill_null(0)
        case d.Session(measure, gap, _):
            return _session(wide, measure, gap)
        case d.IsKnown(namespaces):
            found = [wide[f"identities_{name}"] > 0 for name in namespaces]
            return ibis.or_(*found).cast("int64")
        case d.Distinct(event, attribute, window):
            return wide[f"{event}/distinct_{attribute}_{window}"].fill_null(0)
        case d.DaysSince(event):
            return time.days_between(wide[f"{event}/last"], wide.as_of)
        case d.DaysSinceFirst(event):
            return time.days_between(wide[f"{event}/first"], wide.as_of)
        case d.Tenure():
            return time.days_between(wide["__first"], wide.as_of)
        case d.Gap(event, measure):
            return _gap(wide, event, measure)
        case d.Trend(event, short, long):
            recent = wide[f"{event}/count_{short}"].cast("float64")
            whole = wide[f"{event}/count_{long}"].nullif(0).cast("float64")
            return recent / whole * (long.micros / short.micros)
        case d.NumberAttribute(attribute):
            return wide[f"profile_{attribute}"]
        case d.DaysSinceAttribute(attribute):
            return time.days_between(wide[f"profile_{attribute}"], wide.as_of)
        case d.CategoryIs(attribute, _, _):
            return _is(wide[f"profile_{attribute}"].cast("string"), definition, definitions)
        case d.IdentityCount(namespace):
            return wide[f"identities_{namespace}"]


def _gap(wide: ir.Table, event: str, measure: d.GapMeasure) -> ir.Value:
    first, last = wide[f"{event}/first"], wide[f"{event}/last"]
    gaps = (wide[f"{event}/moments"] - 1).nullif(0)
    if measure == "mean":
        return (last - first) / (gaps * MICROS_PER_DAY)
    if measure == "last":
        return wide[f"{event}/last_gap"] / MICROS_PER_DAY
    if measure == "ratio":
        return (wide.as_of - last) / (last - first).nullif(0) * gaps.cast("float64")
    # Population deviation from exact integers: sqrt(n·Σg² - (Σg)²) / n, in seconds.
    count = gaps.cast("float64")
    total = (last // MICROS_PER_SECOND - first // MICROS_PER_SECOND).cast("float64")
    squares = wide[f"{event}/squares"].cast("float64")
    spread = ibis.greatest(count * squares - total * total, ibis.literal(0.0))
    return spread.sqrt() / count / (MICROS_PER_DAY / MICROS_PER_SECOND)


def _statistic(
    wide: ir.Table, event: str, attribute: str, measure: d.StatisticMeasure, window: Window
) -> ir.Value:
    if measure != "mean":
        return wide[f"{event}/{measure}_{attribute}_{window}"]
    # One float64 division of exact whole numbers: 1/10000s over 1/10000s.
    units = (wide[f"{event}/sum_{attribute}_{window}"] * UNITS).cast("decimal(38, 0)")
    stated = (wide[f"{event}/stated_{attribute}_{window}"] * UNITS).nullif(0)
    return units.cast("float64") / stated.cast("float64")


def _session(wide: ir.Table, measure: d.SessionMeasure, gap: Window) -> ir.Value:
    last, began = wide["sessions/last"], wide["sessions/began"]
    if measure == "length_mean":
        number = wide["sessions/count"] * MICROS_PER_MINUTE
        return wide["sessions/lengths"].fill_null(0) / number
    if measure == "length_last":
        return (last - began) / MICROS_PER_MINUTE
    goes_on = time.session_goes_on(last, wide.as_of, gap).fill_null(False)
    return goes_on.ifelse(wide["sessions/now"], 0)


def _is(column: ir.Value, definition: d.Valued, definitions: Sequence[d.Definition]) -> ir.Value:
    """Return 1 where a value is the definition's, else 0: also where it is unknown."""
    return _wanted(column, definition, definitions).fill_null(False).cast("int64")
