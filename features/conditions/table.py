"""Conditions over many people at many moments: the Ibis renderer.

One `group_by(row_id).aggregate(...)` over the history serves every event aggregate of the tree, one
left join brings it to the spine, and everything else is an expression over one row. Literals become
typed Ibis literals, never pieces of SQL. Nothing here is particular to one engine.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from features.conditions.exactness import DIGITS
from features.conditions.formulas import UNITS, Resolve, formula_value
from features.conditions.sequences import rows_with
from features.conditions.tree import (
    COMPARE,
    Aggregate,
    And,
    AnyEvent,
    Attribute,
    Compare,
    Condition,
    Contains,
    DaysSinceDate,
    EndsWith,
    EventAttribute,
    EventFilter,
    Exists,
    Factor,
    HasIdentity,
    In,
    InSegment,
    Instant,
    Measure,
    Not,
    Or,
    Scalar,
    Score,
    StartsWith,
    Value,
    ValueTest,
    leaves,
    sequences,
    values,
)
from features.conditions.tree import Sequence as Steps
from features.time import EARLIEST, LATEST, days_between, month_of, within, within_lookback

Said = Callable[[Value | Steps], ir.Value]
"""Gives the column of a value, or of whether a sequence is found."""

_ZERO_IF_NONE = ("count", "sum", "distinct", "active_days")


def matches(condition: Condition, spine: ir.Table, history: ir.Table) -> ir.Table:
    """Say for each spine row whether the condition holds.

    spine, one row per `row_id`: row_id, as_of (int64 microseconds), and of what the condition uses:
    `profile_<name>` (dates as int64 microseconds), `identity_<namespace>`, `segment_<name>`,
    `<goal>_score`, `_probability`, `_percentile`, `_bucket`, `_raises`, `_lowers` (arrays of reason
    codes). history, several rows per `row_id`, only rows that may count: row_id, as_of, event_type,
    event_time, local_day and `attr_<name>`.

    Returns row_id: int64, matches: boolean, never null, one row per spine row.
    """
    marks = {found: f"sequence_{number}" for number, found in enumerate(sequences(condition))}
    for found, name in marks.items():
        spine = _marked(spine, rows_with(found, history, _passes), name)
    table, column = _resolved(values(condition, Aggregate), spine, history)

    def said(asked: Value | Steps) -> ir.Value:
        return table[marks[asked]] if isinstance(asked, Steps) else column(asked)

    return table.select(
        row_id=table["row_id"].cast("int64"), matches=_holds(condition, table, said)
    )


def measured(measures: Sequence[Measure], spine: ir.Table, history: ir.Table) -> ir.Table:
    """Return row_id and `measure_<name>` of each measure, one row per spine row.

    `spine` and `history` are those of `matches`; what is not known is null.
    """
    used = (leaf for measure in measures for leaf in leaves(measure))
    aggregates = (leaf for leaf in used if isinstance(leaf, Aggregate))
    table, column = _resolved(aggregates, spine, history)
    named = {f"measure_{measure.name}": column(measure) for measure in measures}
    return table.select(row_id=table["row_id"].cast("int64"), **named)


def _marked(spine: ir.Table, found: ir.Table, name: str) -> ir.Table:
    """Return the spine with a column that says whether a row is among those found."""
    found = found.select(found_row_id=found["row_id"])
    joined = spine.left_join(found, spine["row_id"] == found["found_row_id"])
    return joined.mutate(**{name: joined["found_row_id"].notnull()}).drop("found_row_id")


def passing(filters: Sequence[EventFilter], rows: ir.Table) -> ir.BooleanValue:
    """Say of each event whether one of `filters`, without `in last`, takes it; never null.

    `rows` has event_type, event_time and `attr_<name>`.
    """
    return _balanced([_passes(events, rows) for events in filters], operator.or_)


def _resolved(
    aggregates: Iterable[Aggregate], spine: ir.Table, history: ir.Table
) -> tuple[ir.Table, Resolve]:
    """Return the spine with all aggregates, and what gives the column of a value there."""
    wanted: dict[Aggregate, str] = {}
    for aggregate in aggregates:
        wanted.setdefault(aggregate, f"aggregate_{len(wanted)}")
    table = _with_aggregates(spine, history, wanted) if wanted else spine

    def column(value: Value) -> ir.Value:
        match value:
            case Aggregate():
                return _finished(value, table, wanted[value])
            case Score(goal, field):
                return table[f"{goal}_{field}"]
            case DaysSinceDate(name):
                return cast("ir.Value", days_between(table[f"profile_{name}"], table["as_of"]))
            case Attribute(name) | EventAttribute(name):
                return table[f"profile_{name}"]
            case Measure():
                return formula_value(value.formula, column)

    return table, column


# --- aggregates of events ---------------------------------------------------------------------


def _with_aggregates(spine: ir.Table, history: ir.Table, wanted: dict[Aggregate, str]) -> ir.Table:
    types = sorted({aggregate.events.event for aggregate in wanted})
    rows = history.filter(history["event_type"].isin(types))
    metrics = {
        name: metric
        for aggregate, prefix in wanted.items()
        for name, metric in _metrics(aggregate, rows, prefix).items()
    }
    grouped = rows.group_by(aggregate_row_id=rows["row_id"]).aggregate(**metrics)
    return spine.left_join(grouped, spine["row_id"] == grouped["aggregate_row_id"])


def _metrics(aggregate: Aggregate, rows: ir.Table, prefix: str) -> dict[str, ir.Value]:
    where = _passes(aggregate.events, rows)
    column: Any = rows[f"attr_{aggregate.attribute}"] if aggregate.attribute else None
    times, days = cast("Any", rows["event_time"]), cast("Any", rows["local_day"])
    match aggregate.function:
        case "count":
            return {prefix: rows.count(where=where)}
        case "active_days":
            return {prefix: days.nunique(where=where)}
        case "days_since":
            return {prefix: times.max(where=where)}
        case "days_since_first":
            return {prefix: times.min(where=where)}
        case "lifespan":
            return _ends(times, where, prefix)
        case "calendar_days" | "calendar_months" | "calendar_years":
            return _ends(days, where, prefix)
        case "distinct":
            return {prefix: column.nunique(where=where)}
        case "min":
            return {prefix: column.min(where=where)}
        case "max":
            return {prefix: column.max(where=where)}
        case "sum":
            return {prefix: column.sum(where=where)}
        case "mean":
            total, number = column.sum(where=where), column.count(where=where)
            return {f"{prefix}_sum": total, f"{prefix}_count": number}
        case "first" | "last":
            # The greatest pair of (time, value): of several at that time, the greatest value.
            when = times if aggregate.function == "last" else -times
            stated = ibis.struct({"when": when, "value": column})
            return {prefix: stated.max(where=where & column.notnull())}


def _ends(column: Any, where: ir.BooleanValue, prefix: str) -> dict[str, ir.Value]:
    return {f"{prefix}_{end}": getattr(column, end)(where=where) for end in ("min", "max")}


def _finished(aggregate: Aggregate, table: ir.Table, prefix: str) -> ir.Value:
    match aggregate.function:
        case "mean":
            # One float64 division of exact whole numbers: 1/10000s over 1/10000s.
            # Through text: DuckDB rounds negative ones twice that are wider than a float64.
            units = (table[f"{prefix}_sum"] * UNITS).cast("string").cast("float64")
            return units / (table[f"{prefix}_count"] * UNITS).nullif(0).cast("float64")
        case "days_since" | "days_since_first":
            return cast("ir.Value", days_between(table[prefix], table["as_of"]))
        case "lifespan":
            return cast("ir.Value", days_between(table[f"{prefix}_min"], table[f"{prefix}_max"]))
        case "calendar_days" | "calendar_months" | "calendar_years":
            return _calendar(aggregate.function, table[f"{prefix}_min"], table[f"{prefix}_max"])
        case "first" | "last":
            return cast("Any", table[prefix])["value"]
    column = table[prefix]
    return column.fill_null(0) if aggregate.function in _ZERO_IF_NONE else column


def _calendar(function: str, first: Any, last: Any) -> ir.Value:
    """Return the days, months or years of the calendar from one day to another, both included."""
    first, last = first.cast("int64"), last.cast("int64")
    if function != "calendar_days":
        first, last = month_of(first), month_of(last)
    if function == "calendar_years":
        first, last = first // 12, last // 12
    return cast("ir.Value", (last - first + 1).fill_null(0))


def _passes(events: EventFilter, rows: ir.Table) -> ir.BooleanValue:
    tests = [rows["event_type"] == events.event]
    if events.window is not None:
        tests.append(within_lookback(rows["event_time"], rows["as_of"], events.window))
    if events.since is not None or events.before is not None:
        since = events.since.micros if events.since else EARLIEST
        before = events.before.micros if events.before else LATEST
        tests.append(within(rows["event_time"], since, before))
    if events.where is not None:
        tests.append(_holds(events.where, rows, lambda value: rows[_attribute_column(value)]))
    return _balanced(tests, operator.and_)


def _attribute_column(value: Value | Steps) -> str:
    return f"attr_{cast('EventAttribute', value).name}"


# --- booleans over one row ----------------------------------------------------------------------


def _holds(condition: Condition, table: ir.Table, column: Said) -> ir.BooleanValue:
    """Return the condition as a boolean that is never null."""
    match condition:
        case And(terms):
            return _balanced([_holds(term, table, column) for term in terms], operator.and_)
        case Or(terms):
            return _balanced([_holds(term, table, column) for term in terms], operator.or_)
        case Not(term):
            return ~_holds(term, table, column)
        case Steps():
            return cast("ir.BooleanValue", column(condition))
        case AnyEvent(events):
            return cast("Any", column(Aggregate("count", events))) > 0
        case Factor(goal, reason, direction):
            reasons = cast("ir.ArrayValue", table[f"{goal}_{direction}"])
            return _false_if_null(reasons.contains(reason))
        case HasIdentity(namespace):
            return _false_if_null(table[f"identity_{namespace}"])
        case InSegment(segment):
            return _false_if_null(table[f"segment_{segment}"])
        case _:
            return _test(condition, column(condition.value))


def _test(atom: ValueTest, column: Any) -> ir.BooleanValue:
    match atom:
        case Compare(_, sign, literal):
            return _false_if_null(COMPARE[sign](column, _literal(literal, column.type())))
        case In(_, literals):
            bound = [_literal(literal, column.type()) for literal in literals]
            return _false_if_null(column.isin(bound))
        case Contains(_, text):
            return _false_if_null(column.contains(ibis.literal(text, "string")))
        case StartsWith(_, text):
            return _false_if_null(column.startswith(ibis.literal(text, "string")))
        case EndsWith(_, text):
            return _false_if_null(column.endswith(ibis.literal(text, "string")))
        case Exists():
            return cast("ir.BooleanValue", column.notnull())


def _false_if_null(test: Any) -> ir.BooleanValue:
    return cast("ir.BooleanValue", test.fill_null(ibis.literal(False)))


def _literal(literal: Scalar, column: dt.DataType) -> ir.Scalar:
    """Return a typed literal: exact beside exact columns, float64 beside float64 ones."""
    match literal:
        case Decimal() if column.is_floating():
            return ibis.literal(float(literal), "float64")
        case Decimal() if literal == int(literal):
            return ibis.literal(int(literal), "int64")
        case Decimal():
            scale = -cast("int", literal.normalize().as_tuple().exponent)
            if column.is_decimal() and column.precision == DIGITS:
                return ibis.literal(literal, f"decimal({DIGITS}, {max(scale, column.scale)})")
            return ibis.literal(literal, "decimal(18, 4)" if scale <= 4 else "decimal(38, 9)")
        case Instant(micros):
            return ibis.literal(micros, "int64")
        case bool():
            return ibis.literal(literal, "boolean")
        case str():
            return ibis.literal(literal, "string")


def _balanced(terms: Sequence[ir.BooleanValue], join: Callable[[Any, Any], Any]) -> ir.BooleanValue:
    """Join terms as a tree of logarithmic height: engines cap how deep an expression may be."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    left, right = _balanced(terms[:middle], join), _balanced(terms[middle:], join)
    return cast("ir.BooleanValue", join(left, right))
