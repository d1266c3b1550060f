"""Values of features as people read them, with their unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.behavior.definitions import Feature

Floats = NDArray[np.float64]

SINGULAR = {
    "days": "day", "events": "event", "values": "value", "identities": "identity",
    "sessions": "session", "minutes": "minute", "hours": "hour",
}  # fmt: skip
"""Units that are counted, as said of one."""
DAYS_A_YEAR = 365.25
YEARS_FROM = 2 * DAYS_A_YEAR


def said_number(value: float) -> str:
    """Say a finite number with about three digits that count: `1,250`, `31.5`, `0.25`, `4`."""
    if value == int(value) or abs(value) >= 100:
        return f"{value + 0.0:,.0f}"  # No sign on zero.
    if abs(value) < 0.01:
        return f"{value:.2g}"
    places = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    shown = f"{value:.{places}f}"
    return shown.rstrip("0").rstrip(".")


def said_value(feature: Feature, value: float | None) -> str:
    """Say a value: `12 days`, `1 event`, `51 years`, `2.5 times`, `40%`, `yes`, `never`.

    Null (None or NaN), and what is infinite, is said as `said_null`. An attribute's own numbers
    have no unit.
    """
    if value is None or not math.isfinite(value):
        return said_null(feature)
    if feature.unit == "yes/no":
        return "yes" if value else "no"
    if feature.unit == "share":
        return f"{said_number(100 * value)}%"
    if feature.unit == "ratio":
        return f"{said_number(value)} times"
    if feature.unit == "days" and abs(value) >= YEARS_FROM:
        return f"{said_number(math.floor(value / DAYS_A_YEAR))} years"
    said = said_number(value)
    if feature.unit not in SINGULAR:
        return said
    return f"{said} {SINGULAR[feature.unit] if said == '1' else feature.unit}"


def said_null(feature: Feature) -> str:
    """Say what null means of a feature: `never`, `none seen` or `unknown`."""
    meaning = feature.null.removeprefix("null = ")
    return meaning if meaning in ("never", "none seen") else "unknown"


def said_values(
    features: Sequence[Feature], column: NDArray[np.int64], value: Floats
) -> pa.StringArray:
    """Say many values, each of the feature its `column` numbers; -1 is an attribute nobody knows.

    Values that are said alike are said once, so that millions take seconds.
    """
    said: NDArray[Any] = np.full(len(value), "unknown", dtype=object)
    shown = as_shown(value)
    order = np.argsort(column, kind="stable")
    starts = np.flatnonzero(np.diff(column[order], prepend=-2))
    for mine in np.split(order, starts[1:]):
        if len(mine) and column[mine[0]] >= 0:
            feature = features[column[mine[0]]]
            found, place = np.unique(shown[mine], return_inverse=True)
            texts = [said_value(feature, each) for each in found.tolist()]
            said[mine] = np.array(texts, dtype=object)[place]
    return pa.array(said, pa.string())


def as_shown(value: Floats | np.float64) -> Floats:
    """Return values rounded to the digits that are shown of them."""
    size, finite = np.abs(value), np.where(np.isfinite(value), value, np.nan)
    modest = np.clip(finite, -100, 100)  # Rounding to a place multiplies: the largest overflow.
    small = np.where(size >= 0.1, np.round(modest, 2), np.round(modest, 3))
    small = np.where(size < 0.01, finite, small)
    rounded: Floats = np.where(
        size >= 100, np.round(finite), np.where(size >= 10, np.round(modest, 1), small)
    )
    return rounded
