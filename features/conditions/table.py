"""Conditions over many people at many moments: the Ibis renderer.

One `group_by(row_id).aggregate(...)` over the history serves every event aggregate of the tree, one
left join brings it to the spine, and everything else is a boolean expression over one row. Literals
become typed Ibis literals, never pieces of SQL. Nothing here is particular to one engine.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, cast

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir

from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Attribute,
    Compare,
    Condition,
    Contains,
    EventAttribute,
    EventFilter,
    Exists,
    Factor,
    HasIdentity,
    In,
    InSegment,
    Instant,
    Not,
    Or,
    Scalar,
    Score,
    StartsWith,
    Value,
    atoms,
)
from features.time import days_between, within_lookback

UNITS = 10_000
"""Numeric event attributes are DECIMAL(18,4): whole numbers of 1/10000."""

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ZERO_IF_NONE = ("count", "sum", "distinct", "active_days")

Resolve = Callable[[Value], ir.Value]
"""Gives the column a value stands for."""


def matches(condition: Condition, spine: ir.Table, history: ir.Table) -> ir.Table:
    """Say for each spine row whether the condition holds.

    spine, one row per `row_id`: row_id, as_of (int64 microseconds), and of what the condition uses:
    `profile_<name>` (dates as int64 microseconds), `identity_<namespace>`, `segment_<name>`,
    `<goal>_score`, `_probability`, `_percentile`, `_bucket`, `_raises`, `_lowers` (arrays of reason
    codes). history, several rows per `row_id`, only rows that may count: row_id, as_of, event_type,
    event_time, local_day and `attr_<name>`.

    Returns row_id: int64, matches: boolean, never null, one row per spine row.
    """
    wanted = _aggregates(condition)
    table = _with_aggregates(spine, history, wanted) if wanted else spine

    def column(value: Value) -> ir.Value:
        match value:
            case Aggregate():
                return _finished(value, table, wanted[value])
            case Score(goal, field):
                return table[f"{goal}_{field}"]
            case Attribute(name) | EventAttribute(name):
                return table[f"profile_{name}"]

    return table.select(
        row_id=table["row_id"].cast("int64"), matches=_holds(condition, table, column)
    )


# --- aggregates of events ---------------------------------------------------------------------


def _aggregates(condition: Condition) -> dict[Aggregate, str]:
    """Return the distinct aggregates of a condition with the column prefix of each."""
    found: dict[Aggregate, str] = {}
    for atom in atoms(condition):
        aggregate = _aggregate_of(atom)
        if aggregate is not None:
            found.setdefault(aggregate, f"aggregate_{len(found)}")
    return found


def _aggregate_of(atom: Condition) -> Aggregate | None:
    match atom:
        case AnyEvent(events):
            return Aggregate("count", events)
        case Compare(Aggregate() as value) | In(Aggregate() as value):
            return value
    return None


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


def _metrics(aggregate: Aggregate, rows: ir.Table, prefix: str) -> dict[str, ir.Scalar]:
    where = _passes(aggregate.events, rows)
    column: Any = rows[f"attr_{aggregate.attribute}"] if aggregate.attribute else None
    match aggregate.measure:
        case "count":
            metric = rows.count(where=where)
        case "active_days":
            metric = cast("Any", rows["local_day"]).nunique(where=where)
        case "days_since":
            metric = cast("Any", rows["event_time"]).max(where=where)
        case "distinct":
            metric = column.nunique(where=where)
        case "min":
            metric = column.min(where=where)
        case "max":
            metric = column.max(where=where)
        case "sum":
            metric = column.sum(where=where)
        case "mean":
            total, number = column.sum(where=where), column.count(where=where)
            return {f"{prefix}_sum": total, f"{prefix}_count": number}
    return {prefix: metric}


def _finished(aggregate: Aggregate, table: ir.Table, prefix: str) -> ir.Value:
    if aggregate.measure == "mean":
        # One float64 division of exact whole numbers: 1/10000s over 1/10000s.
        units = (table[f"{prefix}_sum"] * UNITS).cast("decimal(38, 0)").cast("float64")
        return units / (table[f"{prefix}_count"] * UNITS).nullif(0).cast("float64")
    column = table[prefix]
    if aggregate.measure == "days_since":
        return cast("ir.Value", days_between(column, table["as_of"]))
    return column.fill_null(0) if aggregate.measure in _ZERO_IF_NONE else column


def _passes(events: EventFilter, rows: ir.Table) -> ir.BooleanValue:
    tests = [rows["event_type"] == events.event]
    if events.window is not None:
        tests.append(within_lookback(rows["event_time"], rows["as_of"], events.window))
    if events.where is not None:
        tests.append(_holds(events.where, rows, lambda value: rows[_attribute_column(value)]))
    return _balanced(tests, operator.and_)


def _attribute_column(value: Value) -> str:
    return f"attr_{cast('EventAttribute', value).name}"


# --- booleans over one row ----------------------------------------------------------------------


def _holds(condition: Condition, table: ir.Table, column: Resolve) -> ir.BooleanValue:
    """Return the condition as a boolean that is never null."""
    match condition:
        case And(terms):
            return _balanced([_holds(term, table, column) for term in terms], operator.and_)
        case Or(terms):
            return _balanced([_holds(term, table, column) for term in terms], operator.or_)
        case Not(term):
            return ~_holds(term, table, column)
        case Compare() | In() | Contains() | StartsWith() | Exists():
            return _test(condition, column(condition.value))
        case AnyEvent(events):
            return column(Aggregate("count", events)) > 0
        case Factor(goal, reason, direction):
            reasons = cast("ir.ArrayValue", table[f"{goal}_{direction}"])
            return _false_if_null(reasons.contains(reason))
        case HasIdentity(namespace):
            return _false_if_null(table[f"identity_{namespace}"])
        case InSegment(segment):
            return _false_if_null(table[f"segment_{segment}"])


def _test(atom: Compare | In | Contains | StartsWith | Exists, column: Any) -> ir.BooleanValue:
    match atom:
        case Compare(_, sign, literal):
            return _false_if_null(_COMPARE[sign](column, _literal(literal, column.type())))
        case In(_, literals):
            bound = [_literal(literal, column.type()) for literal in literals]
            return _false_if_null(column.isin(bound))
        case Contains(_, text):
            return _false_if_null(column.contains(ibis.literal(text, "string")))
        case StartsWith(_, text):
            return _false_if_null(column.startswith(ibis.literal(text, "string")))
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
            exponent = cast("int", literal.normalize().as_tuple().exponent)
            fits = "decimal(18, 4)" if exponent >= -4 else "decimal(38, 9)"
            return ibis.literal(literal, fits)
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
