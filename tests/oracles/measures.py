"""The slow twin of measures: plain decimals of any length, and float64 where they may not fit."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal
from math import isinf
from typing import Any

from features.conditions import tree as t

LONG = Context(prec=200)
EXACTLY = {"+": LONG.add, "-": LONG.subtract, "*": LONG.multiply}
ROUNDED = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
FITS = 10**38
COUNTS = ["count", "distinct", "active_days", "calendar_days", "calendar_months", "calendar_years"]
MOST = (
    dict.fromkeys(COUNTS, (10**10, 0))
    | dict.fromkeys(["min", "max", "first", "last"], (10**18, 4))
    | {"sum": (10**28, 4)}
)
"""Function to the size and the decimals of its exact values."""


@dataclass(frozen=True)
class Figure:
    """A value. An exact one is less than `most` times 10**-scale; a float64 has no `most`."""

    value: Any
    most: int = 0
    scale: int = 0


def figure(formula: t.Formula, value_of: Callable[[t.Value], Any]) -> Figure:
    """A formula over the values of one person."""
    match formula:
        case t.Number(value):
            scale = max(0, -int(value.normalize().as_tuple().exponent))
            return Figure(value, abs(int(value * 10**scale)) + 1, scale)
        case t.Arithmetic(left, "/", right):
            return quotient(figure(left, value_of), figure(right, value_of))
        case t.Arithmetic(left, sign, right):
            return combined(sign, figure(left, value_of), figure(right, value_of))
        case t.Aggregate(function):
            return Figure(value_of(formula), *MOST.get(function, (0, 0)))
        case t.Attribute():
            return Figure(value_of(formula), 10**18, 4)
    return Figure(value_of(formula))


def combined(sign: str, a: Figure, b: Figure) -> Figure:
    """The sum, the difference or the product: exact while it is sure to fit."""
    scale = a.scale + b.scale if sign == "*" else max(a.scale, b.scale)
    most = a.most * 10 ** (scale - a.scale) + b.most * 10 ** (scale - b.scale)
    most = a.most * b.most if sign == "*" else most
    exact = a.most and b.most and scale <= 9 and most * 10**scale <= FITS
    how = Figure(None, most, scale) if exact else Figure(None)
    if a.value is None or b.value is None:
        return how
    if exact:
        return Figure(EXACTLY[sign](Decimal(a.value), Decimal(b.value)), most, scale)
    return Figure(finite(ROUNDED[sign](float(a.value), float(b.value))))


def quotient(a: Figure, b: Figure) -> Figure:
    """One division: of whole numbers where both sides are exact and fit, else of float64s."""
    if a.value is None or b.value is None or b.value == 0:
        return Figure(None)
    scale = max(a.scale, b.scale)
    whole = a.most and b.most and max(a.most, b.most) * 10**scale <= FITS
    up, down = (float(LONG.scaleb(Decimal(v), scale)) if whole else float(v)
                for v in (a.value, b.value))  # fmt: skip
    return Figure(finite(up / down))


def finite(value: float) -> float | None:
    """Nothing where a float64 is too large."""
    return None if isinf(value) else value
