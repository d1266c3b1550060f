"""Tests of known values, for the live renderer: of one value, or of an array of whole numbers.

Exact numbers are whole numbers of 10**-scale; so a literal becomes the whole number that says the
same of all of them, and nothing is rounded. What is no exact number is compared as a float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import numpy as np

from features.conditions.tree import (
    COMPARE,
    Compare,
    Contains,
    EndsWith,
    Exists,
    In,
    Instant,
    Operator,
    Scalar,
    StartsWith,
    ValueTest,
)

Test = Callable[[Any], Any]
"""Says of a value that is known whether it passes; of an array, of each of its values."""


def test_of(atom: ValueTest, scale: int | None) -> Test:
    """Return the test that an atom makes; `scale` of its exact numbers, None for all else."""
    match atom:
        case Compare(_, sign, Decimal() as literal) if scale is not None:
            return _exact(sign, literal.scaleb(scale))
        case Compare(_, sign, literal):
            plain, compare = _plain(literal), COMPARE[sign]
            return lambda value: compare(value, plain)
        case In(_, literals):
            return _among(literals, scale)
        case Contains(_, part):
            return lambda text: part in text
        case StartsWith(_, part):
            return lambda text: text.startswith(part)
        case EndsWith(_, part):
            return lambda text: text.endswith(part)
        case Exists():
            return _known


def _known(value: Any) -> Any:
    return value == value


def _never(value: Any) -> Any:
    return value != value


def _exact(sign: Operator, literal: Decimal) -> Test:
    """Compare whole numbers with a literal that may lie between two of them."""
    below, above = math.floor(literal), math.ceil(literal)
    if below != above and sign in ("=", "!="):
        return _never if sign == "=" else _known
    compare, bound = COMPARE[sign], below if sign in ("<=", ">") else above
    return lambda units: compare(units, bound)


def _among(literals: tuple[Scalar, ...], scale: int | None) -> Test:
    if scale is None:
        plain = frozenset(map(_plain, literals))
        return lambda value: value in plain
    shifted = (cast("Decimal", literal).scaleb(scale) for literal in literals)
    whole = frozenset(int(literal) for literal in shifted if literal == int(literal))
    listed = np.array(sorted(whole), np.int64)
    return lambda units: np.isin(units, listed) if isinstance(units, np.ndarray) else units in whole


def _plain(literal: Scalar) -> float | str | bool | int:
    """Return a literal as it stands beside values that are no exact numbers."""
    match literal:
        case Decimal():
            return float(literal)
        case Instant(micros):
            return micros
    return literal
