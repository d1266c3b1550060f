"""Arithmetic over the values of one person: what a measure is made of, exact as in the table.

Exact values are whole numbers of 10**-scale, of any length; `features.conditions.exactness` says
which. What is not exact is a float64, and null where it would be infinite.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, cast

from features.conditions.exactness import Exact, common_scale, exactness
from features.conditions.tree import Arithmetic, Formula, Number

Figure = Callable[[Any], Any]
"""Gives a value of a person: whole numbers of 10**-scale, or a float64. None = null."""

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def arithmetic(formula: Arithmetic | Number, figure: Callable[[Formula], Figure]) -> Figure:
    """Return what gives the value of a formula; `figure` gives what it is made of."""
    exact = exactness(formula)
    if isinstance(formula, Number):
        units = int(formula.value.scaleb(cast("Exact", exact).scale))
        return lambda _: units
    if formula.sign == "/":
        return _quotient(formula, figure)
    sign = _SIGNS[formula.sign]
    if exact is None:
        compute = _finite(sign)
        return _of_two(_as_float(formula.left, figure), _as_float(formula.right, figure), compute)
    if formula.sign == "*":
        return _of_two(figure(formula.left), figure(formula.right), sign)
    left, right = (_at_scale(side, exact.scale, figure) for side in (formula.left, formula.right))
    return _of_two(left, right, sign)


def _of_two(left: Figure, right: Figure, compute: Callable[[Any, Any], Any]) -> Figure:
    def figure(person: Any) -> Any:
        a = left(person)
        b = None if a is None else right(person)
        return None if b is None else compute(a, b)

    return figure


def _quotient(formula: Arithmetic, figure: Callable[[Formula], Figure]) -> Figure:
    left, right = formula.left, formula.right
    scale = common_scale(exactness(left), exactness(right))
    if scale is None:
        a, b = _as_float(left, figure), _as_float(right, figure)
    else:
        a, b = _at_scale(left, scale, figure), _at_scale(right, scale, figure)
    divide = _finite(operator.truediv)
    return _of_two(a, b, lambda up, down: divide(float(up), float(down)) if down else None)


def _finite(compute: Callable[[float, float], float]) -> Callable[[float, float], float | None]:
    def finite(a: float, b: float) -> float | None:
        value = compute(a, b)
        return value if math.isfinite(value) else None

    return finite


def _at_scale(formula: Formula, scale: int, figure: Callable[[Formula], Figure]) -> Figure:
    """Return an exact value as a whole number of a smaller unit."""
    units = figure(formula)
    factor = 10 ** (scale - cast("Exact", exactness(formula)).scale)
    return units if factor == 1 else _scaled(units, factor)


def _scaled(units: Figure, factor: int) -> Figure:
    def figure(person: Any) -> int | None:
        value = units(person)
        return None if value is None else value * factor

    return figure


def _as_float(formula: Formula, figure: Callable[[Formula], Figure]) -> Figure:
    """Return a value as the nearest float64."""
    exact, units = exactness(formula), figure(formula)
    if exact is None:
        return units
    unit = 10**exact.scale

    def nearest(person: Any) -> float | None:
        value = units(person)
        return None if value is None else value / unit

    return nearest
