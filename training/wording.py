"""Values of features as people read them, with their unit."""

from __future__ import annotations

import math

from features.behavior.definitions import Feature

SINGULAR = {"days": "day", "events": "event", "values": "value", "identities": "identity"}
"""Units that are counted, as said of one."""
DAYS_A_YEAR = 365.25
YEARS_FROM = 2 * DAYS_A_YEAR


def said_number(value: float) -> str:
    """Say a finite number with about three digits that count: `1,250`, `31.5`, `0.25`, `4`."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) < 0.01:
        return f"{value:.2g}"
    shown = f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return shown.rstrip("0").rstrip(".")


def said_value(feature: Feature, value: float | None) -> str:
    """Say a value: `12 days`, `1 event`, `51 years`, `2.5 times`, `yes`, `never`, `unknown`.

    Null (None or NaN), and what is infinite, is `never` or `unknown` by what the feature says null
    means. An attribute's own numbers have no unit.
    """
    if value is None or not math.isfinite(value):
        return "never" if feature.null == "null = never" else "unknown"
    if feature.unit == "yes/no":
        return "yes" if value else "no"
    if feature.unit == "ratio":
        return f"{said_number(value)} times"
    if feature.unit == "days" and abs(value) >= YEARS_FROM:
        return f"{said_number(math.floor(value / DAYS_A_YEAR))} years"
    said = said_number(value)
    if feature.unit not in SINGULAR:
        return said
    return f"{said} {SINGULAR[feature.unit] if said == '1' else feature.unit}"
