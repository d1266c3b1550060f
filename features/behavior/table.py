"""The table renderer: feature definitions over a scene, as Ibis expressions.

Grain in: a scene (rows of people at moments, with the events known then). Grain out: one row per
row id, one float64 column per definition, in the definitions' order.

Definitions are computed in parts, for all event types and windows at once. A part is one grouping
of the history by (row, event type), as one whole number:

1. Counts, sums and shares of every window, first and last time, first and last values.
2. Distinct values: grouped by value, too, with the latest time. A value is in the window exactly
   when its latest time is, so one grouping serves every window with exact edges. Active days are
   the distinct local days.
3. Silences: distinct event times, and the squares of their distances.
4. Sessions are runs of a row's events, whatever their types; tenure is a row's first event.
5. What the spine says itself: attributes and identities.

What a part finds is narrow and has no rows for those who did nothing. Its columns are laid into
the wide result by row number, which costs a tenth of joining them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
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

Placed = tuple[int, d.Definition]
"""A definition and its place among all."""


def render(scene: Scene, definitions: Sequence[d.Definition]) -> pa.Table:
    """Return the features of every row of the scene: float64 columns, nulls where unknown."""
    engine, key = scene.engine, (tuple(definitions), _described(scene.history, scene.spine))
    rows = int(engine.arrow(scene.spine.count().as_table())[0][0].as_py())
    columns = [np.full(rows, x.feature.of_nothing) for x in definitions]
    events = sorted({e for x in definitions if (e := getattr(x, "event", None)) is not None})
    by_type = partial(_by_type, scene.history, definitions, events)
    keyed = engine.hold(engine.sql(("by type", key), by_type)) if events else scene.history
    for part in _parts(definitions):
        build = partial(part.table, scene, keyed, definitions)
        sql = engine.sql((part.name, key, _described(keyed)), build)
        _lay(engine.arrow(sql), part, events, columns)
    if events:
        engine.drop(keyed)
    names = list(d.names(tuple(definitions)))
    arrays = [pa.array(column, from_pandas=True) for column in columns]
    return pa.Table.from_arrays(arrays, names=names)


def _described(*tables: ir.Table) -> tuple[Hashable, ...]:
    return tuple((table.op().name, *map(str, table.schema().items())) for table in tables)


def _by_type(
    history: ir.Table, definitions: Sequence[d.Definition], events: Sequence[str]
) -> ir.Table:
    """Return the events that definitions are of, `key` one whole number a (row, event type).

    Text is compared here once, and not in each part again.
    """
    codes = [(history.event_type == name, code) for code, name in enumerate(events)]
    keyed = history.mutate(key=history.row_id * len(events) + ibis.cases(*codes))
    used = dict.fromkeys(f"attr_{x.attribute}" for x in definitions if hasattr(x, "event")
                         and hasattr(x, "attribute"))  # fmt: skip
    columns = ("key", "as_of", "event_time", "local_day", "local_hour", *used)
    return keyed.filter(keyed.key.notnull()).select(*columns)


def matrix_of(features: pa.Table) -> NDArray[np.float64]:
    """Return rendered features as a matrix (rows, features), null = NaN."""
    matrix = np.empty((features.num_rows, features.num_columns), dtype=np.float64)
    for position, column in enumerate(features.columns):
        values = column.to_numpy(zero_copy_only=False)
        matrix[:, position] = np.asarray(values, dtype=np.float64)
    return matrix


# Parts -------------------------------------------------------------------------------------------

Group = Callable[[ir.Table, Sequence[Placed], Sequence[d.Definition]], ir.Table]
"""Groups the history by `key`, a (row, event type): the measures of some definitions."""


@dataclass(frozen=True)
class Part:
    """Definitions that one query computes. `group` None: the spine says them itself."""

    name: str
    placed: tuple[Placed, ...]
    group: Group | None
    by_type: bool = True

    def table(self, scene: Scene, keyed: ir.Table, definitions: Sequence[d.Definition]) -> ir.Table:
        """Return `key` and a column a definition; definitions alike but for the type share one."""
        if self.group is None:
            found = scene.spine.mutate(key=scene.spine.row_id)
        else:
            by_row = scene.history.mutate(key=scene.history.row_id)
            found = self.group(keyed if self.by_type else by_row, self.placed, definitions)
        formulas = {_column(x): _formula(found, x, definitions) for _, x in self.placed}
        named = {f"c{n}": value.cast("float64") for n, value in enumerate(formulas.values())}
        return found.select("key", **named)


def _column(definition: d.Definition) -> Hashable:
    """Return what definitions share that are alike but for the event type."""
    if isinstance(definition, d.Valued):
        return definition
    fields = {name: said for name, said in vars(definition).items() if name != "event"}
    return type(definition), *fields.items()


def _parts(definitions: Sequence[d.Definition]) -> Iterator[Part]:
    by_part: dict[tuple[str, Group | None, bool], list[Placed]] = {}
    for at, x in enumerate(definitions):
        by_part.setdefault(_part_of(x), []).append((at, x))
    for (name, group, by_type), placed in by_part.items():
        yield Part(name, tuple(placed), group, by_type)


def _part_of(definition: d.Definition) -> tuple[str, Group | None, bool]:
    """Return the name of a definition's part, how it groups, and whether by event type."""
    match definition:
        case d.Distinct(_, attribute, _):
            return f"distinct {attribute}", _distinct, True
        case d.ActiveDays():
            return "active days", _distinct, True
        case d.Gap():
            return "silences", _silences, True
        case d.SessionCount(gap, events, _) | d.Session(_, gap, events):
            return f"sessions {gap} {events}", _sessions, False
        case d.Tenure():
            return "tenure", _tenure, False
        case d.NumberAttribute() | d.DaysSinceAttribute() | d.CategoryIs():
            return "spine", None, False
        case d.IdentityCount() | d.IsKnown():
            return "spine", None, False
    return "counts", _counts_and_sums, True


def _lay(
    found: pa.Table, part: Part, events: Sequence[str], columns: Sequence[NDArray[np.float64]]
) -> None:
    """Write what a part found into the columns of its definitions, by row number."""
    keys = found["key"].to_numpy()
    order = list(dict.fromkeys(_column(x) for _, x in part.placed))
    values = {c: found[f"c{n}"].to_numpy(zero_copy_only=False) for n, c in enumerate(order)}
    if not part.by_type:
        for at, x in part.placed:
            columns[at][keys] = values[_column(x)]
        return
    rows, codes = np.divmod(keys, len(events))
    for code, event in enumerate(events):
        mine = np.flatnonzero(codes == code)
        for at, x in part.placed:
            if getattr(x, "event", None) == event:
                columns[at][rows[mine]] = values[_column(x)][mine]


# Groupings ---------------------------------------------------------------------------------------


def _counts_and_sums(
    history: ir.Table, placed: Sequence[Placed], definitions: Sequence[d.Definition]
) -> ir.Table:
    measures: dict[str, ir.Value] = {
        "first": history.event_time.min(),
        "last": history.event_time.max(),
        "as_of": history.as_of.min(),
    }
    for _, definition in placed:
        measures |= _measures(history, definition, definitions)
    return history.group_by("key").aggregate(**measures)


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
        case d.Statistic(_, _, _, window):
            return _statistics(history, definition, inside(window))
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


def _statistics(history: Any, definition: d.Statistic, where: Any) -> dict[str, ir.Value]:
    column, suffix = (
        history[f"attr_{definition.attribute}"],
        f"{definition.attribute}_{definition.window}",
    )
    if definition.measure == "mean":
        return {
            f"sum_{suffix}": column.sum(where=where),
            f"stated_{suffix}": column.count(where=where),
        }
    extreme = column.min(where=where) if definition.measure == "min" else column.max(where=where)
    return {f"{definition.measure}_{suffix}": extreme}


def _wanted(column: Any, definition: d.Valued, definitions: Sequence[d.Definition]) -> Any:
    """Return where a value is the definition's: null or false where it is unknown."""
    if definition.value is not None:
        return column == definition.value
    listed = d.listed_beside(definition, definitions)
    return reduce(lambda known, name: known & (column != name), listed, column.notnull())


def _distinct(
    history: ir.Table, placed: Sequence[Placed], definitions: Sequence[d.Definition]
) -> ir.Table:
    """Count the distinct values of one column in each window; all of `placed` speak of it."""
    found = [x for _, x in placed if isinstance(x, d.Distinct | d.ActiveDays)]
    column = f"attr_{found[0].attribute}" if isinstance(found[0], d.Distinct) else "local_day"
    windows = sorted({x.window for x in found})
    recent = time.within_lookback(history.event_time, history.as_of, windows[-1])
    known = history.filter(history[column].notnull() & recent)
    latest = known.group_by("key", column).aggregate(
        latest=known.event_time.max(), as_of=known.as_of.min()
    )
    counts = {
        f"distinct_{window}": latest.count(
            where=time.within_lookback(latest.latest, latest.as_of, window)
        )
        for window in windows
    }
    return latest.group_by("key").aggregate(**counts)


def _silences(
    history: ir.Table, placed: Sequence[Placed], definitions: Sequence[d.Definition]
) -> ir.Table:
    """Return moments (distinct event times), squares of silences in whole seconds, and the last."""
    moments = history.select("key", "as_of", "event_time").distinct()
    order = ibis.window(group_by="key", order_by="event_time")
    before = moments.mutate(before=moments.event_time.lag().over(order))
    second = before.event_time // MICROS_PER_SECOND - before.before // MICROS_PER_SECOND
    gaps = before.mutate(gap=before.event_time - before.before, square=second * second)
    return gaps.group_by("key").aggregate(
        first=gaps.event_time.min(),
        last=gaps.event_time.max(),
        as_of=gaps.as_of.min(),
        moments=gaps.count(),
        squares=gaps.square.sum(),
        last_gap=gaps.gap.argmax(gaps.event_time),
    )


def _tenure(
    history: ir.Table, placed: Sequence[Placed], definitions: Sequence[d.Definition]
) -> ir.Table:
    return history.group_by("key").aggregate(
        first=history.event_time.min(), as_of=history.as_of.min()
    )


def _sessions(
    history: ir.Table, placed: Sequence[Placed], definitions: Sequence[d.Definition]
) -> ir.Table:
    """Return what is known of a row's sessions; all of `placed` speak of the same ones."""
    found = [x for _, x in placed if isinstance(x, d.OfSessions)]
    sessions = found[0]
    some = history.filter(history.event_type.isin(sessions.events))
    order = ibis.window(group_by="key", order_by="event_time")
    steps = some.select("key", "as_of", "event_time", before=some.event_time.lag().over(order))
    anew = time.starts_session(steps.event_time, steps.before, sessions.gap)
    steps = steps.mutate(anew=anew.fill_null(True))
    whole = ibis.window(group_by="key")
    steps = steps.mutate(began=steps.event_time.max(where=steps.anew).over(whole))
    now = time.within(steps.event_time, steps.began, steps.as_of)
    measures = {
        "as_of": steps.as_of.min(),
        "sessions_count": steps.count(where=steps.anew),
        "sessions_lengths": (steps.event_time - steps.before).sum(where=~steps.anew),
        "sessions_began": steps.began.max(),
        "sessions_last": steps.event_time.max(),
        "sessions_now": steps.count(where=now),
    }
    for x in found:
        if isinstance(x, d.SessionCount):
            inside = time.within_lookback(steps.event_time, steps.as_of, x.window)
            measures[f"sessions_count_{x.window}"] = steps.count(where=steps.anew & inside)
    return steps.group_by("key").aggregate(**measures)


# Formulas ----------------------------------------------------------------------------------------


def _formula(
    found: ir.Table, definition: d.Definition, definitions: Sequence[d.Definition]
) -> ir.Value:
    """Return a definition's value over a row of its part."""
    match definition:
        case d.Count(_, window):
            return found[f"count_{window}"].fill_null(0)
        case d.ActiveDays(_, window):
            return found[f"distinct_{window}"].fill_null(0)
        case d.Sum(_, attribute, window):
            return found[f"sum_{attribute}_{window}"].fill_null(0)
        case d.Statistic(_, attribute, measure, window):
            return _statistic(found, attribute, measure, window)
        case d.ValueShare(_, attribute, _, _, window):
            stated = found[f"stated_{attribute}_{window}"]
            return found[definition.feature.name] / stated.nullif(0)
        case d.ValueIs(end, _, attribute, _, _):
            return _is(found[f"{end}_{attribute}"]["value"], definition, definitions)
        case d.HourShare(_, start, stop, window):
            part = found[f"hours_{start}_{stop}_{window}"]
            return part / found[f"count_{window}"].nullif(0)
        case d.WeekdayShare(_, weekday, window):
            part = found[f"weekday_{weekday}_{window}"]
            return part / found[f"count_{window}"].nullif(0)
        case d.SessionCount(_, _, window):
            return found[f"sessions_count_{window}"].fill_null(0)
        case d.Session(measure, gap, _):
            return _session(found, measure, gap)
        case d.IsKnown(namespaces):
            some = [found[f"identities_{name}"] > 0 for name in namespaces]
            return ibis.or_(*some).cast("int64")
        case d.Distinct(_, _, window):
            return found[f"distinct_{window}"].fill_null(0)
        case d.DaysSince(_):
            return time.days_between(found["last"], found.as_of)
        case d.DaysSinceFirst(_):
            return time.days_between(found["first"], found.as_of)
        case d.Tenure():
            return time.days_between(found["first"], found.as_of)
        case d.Gap(_, measure):
            return _gap(found, measure)
        case d.Trend(_, short, long):
            recent = found[f"count_{short}"].cast("float64")
            whole = found[f"count_{long}"].nullif(0).cast("float64")
            return recent / whole * (long.micros / short.micros)
        case d.NumberAttribute(attribute):
            return found[f"profile_{attribute}"]
        case d.DaysSinceAttribute(attribute):
            return time.days_between(found[f"profile_{attribute}"], found.as_of)
        case d.CategoryIs(attribute, _, _):
            return _is(found[f"profile_{attribute}"].cast("string"), definition, definitions)
        case d.IdentityCount(namespace):
            return found[f"identities_{namespace}"]


def _gap(found: ir.Table, measure: d.GapMeasure) -> ir.Value:
    first, last = found["first"], found["last"]
    gaps = (found["moments"] - 1).nullif(0)
    if measure == "mean":
        return (last - first) / (gaps * MICROS_PER_DAY)
    if measure == "last":
        return found["last_gap"] / MICROS_PER_DAY
    if measure == "ratio":
        return (found.as_of - last) / (last - first).nullif(0) * gaps.cast("float64")
    # Population deviation from exact integers: sqrt(n·Σg² - (Σg)²) / n, in seconds.
    count = gaps.cast("float64")
    total = (last // MICROS_PER_SECOND - first // MICROS_PER_SECOND).cast("float64")
    squares = found["squares"].cast("float64")
    spread = ibis.greatest(count * squares - total * total, ibis.literal(0.0))
    return spread.sqrt() / count / (MICROS_PER_DAY / MICROS_PER_SECOND)


def _statistic(
    found: ir.Table, attribute: str, measure: d.StatisticMeasure, window: Window
) -> ir.Value:
    if measure != "mean":
        return found[f"{measure}_{attribute}_{window}"]
    # One float64 division of exact whole numbers: 1/10000s over 1/10000s.
    total, stated = (found[f"{name}_{attribute}_{window}"] for name in ("sum", "stated"))
    return _units(total) / (stated * UNITS).nullif(0).cast("float64")


def _units(total: Any) -> ir.Value:
    """Return a sum in whole 1/10000s as a float64.

    A float64 of a sum below 10^10 is off by so little that rounding gives the whole number itself.
    What is wider goes through text, since DuckDB rounds negative ones twice.
    """
    narrow = total.abs() < ibis.literal(10**10)
    rounded = (total.cast("float64") * float(UNITS)).round().cast("float64")
    wide = (total * UNITS).cast("string").cast("float64")
    return ibis.cases((narrow, rounded), else_=wide)


def _session(found: ir.Table, measure: d.SessionMeasure, gap: Window) -> ir.Value:
    last, began = found["sessions_last"], found["sessions_began"]
    if measure == "length_mean":
        number = found["sessions_count"] * MICROS_PER_MINUTE
        return found["sessions_lengths"].fill_null(0) / number
    if measure == "length_last":
        return (last - began) / MICROS_PER_MINUTE
    goes_on = time.session_goes_on(last, found.as_of, gap).fill_null(False)
    return goes_on.ifelse(found["sessions_now"], 0)


def _is(column: ir.Value, definition: d.Valued, definitions: Sequence[d.Definition]) -> ir.Value:
    """Return 1 where a value is the definition's, else 0: also where it is unknown."""
    return _wanted(column, definition, definitions).fill_null(False).cast("int64")
