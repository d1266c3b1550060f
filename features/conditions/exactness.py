"""Which values of a formula are exact, told from the formula alone, so that renderers agree.

An exact value is a whole number of 10**-scale, and below a bound, so that an engine's decimals of
38 digits hold it. Counts, sums and stated numbers are exact, and so are their sums and differences.
A product is exact while it is sure to fit. A quotient is one float64 division of two whole numbers.
What is not exact is a float64, and arithmetic with one is float64 arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass

from features.conditions.tree import Aggregate, Arithmetic, Attribute, Formula, Number

DIGITS = 38
MOST_SCALE = 9
"""Decimals of an exact product: as many as a written number may have."""

STATED_UNITS, STATED_SCALE = 10**18, 4
"""A number read from data is a DECIMAL(18,4)."""
MOST_ROWS = 10**10
"""No person has as many events."""

_COUNTS = ("count", "distinct", "active_days", "calendar_days", "calendar_months", "calendar_years")
_STATED = ("min", "max", "first", "last")


@dataclass(frozen=True)
class Exact:
    """A whole number of 10**-scale, less than `bound` in size."""

    bound: int
    scale: int

    def at(self, scale: int) -> Exact:
        """Return the same value as a whole number of a smaller unit."""
        return Exact(self.bound * 10 ** (scale - self.scale), scale)

    @property
    def fits(self) -> bool:
        """Whether 38 digits are sure to hold the value, and hold it as a whole number."""
        return self.scale <= MOST_SCALE and self.bound * 10**self.scale <= 10**DIGITS


def exactness(formula: Formula) -> Exact | None:
    """Return how a formula's value is exact; None for float64."""
    match formula:
        case Number(value):
            scale = max(0, -int(value.normalize().as_tuple().exponent))
            return Exact(abs(int(value.scaleb(scale))) + 1, scale)
        case Attribute():
            return Exact(STATED_UNITS, STATED_SCALE)
        case Aggregate(function):
            return _of_aggregate(function)
        case Arithmetic(left, sign, right):
            return _of_two(exactness(left), sign, exactness(right))
    return None


def _of_aggregate(function: str) -> Exact | None:
    if function in _COUNTS:
        return Exact(MOST_ROWS, 0)
    if function in _STATED:
        return Exact(STATED_UNITS, STATED_SCALE)
    return Exact(STATED_UNITS * MOST_ROWS, STATED_SCALE) if function == "sum" else None


def _of_two(left: Exact | None, sign: str, right: Exact | None) -> Exact | None:
    if left is None or right is None or sign == "/":
        return None
    if sign == "*":
        found = Exact(left.bound * right.bound, left.scale + right.scale)
    else:
        scale = max(left.scale, right.scale)
        found = Exact(left.at(scale).bound + right.at(scale).bound, scale)
    return found if found.fits else None


def common_scale(left: Exact | None, right: Exact | None) -> int | None:
    """Return the decimals at which both sides of a quotient are whole numbers that fit.

    None where a side is a float64, or too large: then the quotient is one of float64s.
    """
    if left is None or right is None:
        return None
    scale = max(left.scale, right.scale)
    fits = all(side.bound * 10**scale <= 10**DIGITS for side in (left, right))
    return scale if fits else None
