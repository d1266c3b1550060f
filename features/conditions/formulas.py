"""Arithmetic over columns: what a measure is made of, as an Ibis expression over one row.

Exact values are decimals wide enough never to overflow, as `features.conditions.exactness` says,
so nothing is rounded before the one float64 division of a quotient. What a quotient by zero or a
result too large for a float64 would give (infinite, or no number) is asked for once, at the end:
engines write the operand of a `nullif` twice, which would double a formula at every step. On Spark
that needs `spark.sql.ansi.enabled` to be false, as `features.spark` sets it: a quotient by zero is
null there at once, not an error that ends the job.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, cast

import ibis
import ibis.expr.types as ir

from features.conditions.exactness import DIGITS, Exact, common_scale, exactness
from features.conditions.tree import Arithmetic, Formula, Number, Value

UNITS = 10_000
"""Numeric event attributes are DECIMAL(18,4): whole numbers of 1/10000."""

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}

Resolve = Callable[[Value], ir.Value]
"""Gives the column a value stands for."""


def formula_value(formula: Formula, column: Resolve) -> ir.Value:
    """Return the value of a formula; `column` gives what it is made of. Null = not defined."""
    value = _value(formula, column)
    if not isinstance(formula, Arithmetic) or exactness(formula):
        return value
    # Infinities stay what they are in all that follows, but for a divisor: 1 / infinity is 0.
    undefined = [_no_number(part) for part in (value, *_float_divisors(formula, column))]
    return cast("ir.Value", reduce(operator.or_, undefined).ifelse(ibis.null("float64"), value))


def _value(formula: Formula, column: Resolve) -> ir.Value:
    match formula:
        case Number(value):
            return ibis.literal(value, _decimal(cast("Exact", exactness(formula))))
        case Arithmetic(left, "/", right):
            return _quotient(left, right, column)
        case Arithmetic(left, sign, right):
            if exact := exactness(formula):
                return _exactly(exact, left, sign, right, column)
            return cast("ir.Value", _SIGNS[sign](_float(left, column), _float(right, column)))
        case _:
            return column(formula)


def _float_divisors(formula: Formula, column: Resolve) -> Iterator[ir.Value]:
    if isinstance(formula, Arithmetic):
        yield from _float_divisors(formula.left, column)
        yield from _float_divisors(formula.right, column)
        computed = isinstance(formula.right, Arithmetic) and not exactness(formula.right)
        if formula.sign == "/" and computed:
            yield _value(formula.right, column)


def _no_number(value: Any) -> Any:
    # Not isinf(), which ibis 12 writes as FALSE for Spark; and it writes floats for a session only.
    greatest = ibis.literal(str(sys.float_info.max), "string").cast("float64")
    return (value.abs() > greatest) | value.isnan()


def _exactly(exact: Exact, left: Formula, sign: str, right: Formula, column: Resolve) -> ir.Value:
    if sign == "*":
        found = _exact(left, column) * _exact(right, column)
    else:
        a, b = (_value(side, column).cast(_decimal(exact)) for side in (left, right))
        found = _SIGNS[sign](a, b)
    return cast("ir.Value", found.cast(_decimal(exact)))


def _quotient(left: Formula, right: Formula, column: Resolve) -> ir.Value:
    scale = common_scale(exactness(left), exactness(right))
    if scale is None:
        return cast("ir.Value", _float(left, column) / _float(right, column))
    a, b = (_whole(side, scale, column) for side in (left, right))
    return cast("ir.Value", a.cast("float64") / b.nullif(0).cast("float64"))


def _exact(formula: Formula, column: Resolve) -> Any:
    return _value(formula, column).cast(_decimal(cast("Exact", exactness(formula))))


def _whole(formula: Formula, scale: int, column: Resolve) -> Any:
    """Return an exact value as a whole number of 10**-scale."""
    units = _exact(formula, column) * ibis.literal(10**scale, _decimal(Exact(1, 0)))
    return units.cast(_decimal(Exact(1, 0)))


def _float(formula: Formula, column: Resolve) -> Any:
    """Return a value as the nearest float64."""
    if exactness(formula) is None:
        return _value(formula, column)
    # Through its digits: engines round a decimal with more than 53 bits each in their own way.
    return _exact(formula, column).cast("string").cast("float64")


def _decimal(exact: Exact) -> str:
    # Always the widest: DuckDB lets narrow decimals overflow rather than widen them.
    return f"decimal({DIGITS}, {exact.scale})"
