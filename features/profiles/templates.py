"""The twelve measure templates: for each, the value it stands for.

The names are those of the measure templates of Dynamics 365 Customer Insights ("Create measures
from templates", 2023-09-01). That page gives no formulas; these are ours, and docs/measures.md says
what each means. A template with several values takes the one that the given keys fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

OPTIONAL = "in_last"
"""The one key that may be left out: a look-back for all events of the template."""

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "average_transaction_value": ("mean({event}.{amount}{in_last})",),
    "total_transaction_value": ("sum({event}.{amount}{in_last})",),
    "average_daily_revenue": ("sum({event}.{amount}{in_last}) / calendar_days({event}{in_last})",),
    "average_monthly_revenue": (
        "sum({event}.{amount}{in_last}) / calendar_months({event}{in_last})",
    ),
    "average_yearly_revenue": (
        "sum({event}.{amount}{in_last}) / calendar_years({event}{in_last})",
    ),
    "transaction_count": ("count({event}{in_last})",),
    "loyalty_points_earned": ("sum({event}.{points}{in_last})",),
    "loyalty_points_redeemed": ("sum({event}.{points}{in_last})",),
    "loyalty_points_balance": (
        "sum({event}.{earned}{in_last}) - sum({event}.{redeemed}{in_last})",
        "sum({event}.{earned}{in_last}) - sum({redeemed_event}.{redeemed}{in_last})",
    ),
    "active_lifespan": ("lifespan({event}{in_last})",),
    "membership_duration": ("days_since_first({event})", "days_since_date({since})"),
    "time_since_last_purchase": ("days_since({event})",),
}


def keys_of(value: str) -> tuple[str, ...]:
    """Return the keys that fill the value of a template, each once, in order."""
    named = (key for _, key, _, _ in Formatter().parse(value) if key)
    return tuple(dict.fromkeys(named))


def value_of(template: str, given: frozenset[str]) -> str:
    """Return the value of a template that the given keys fill.

    Raises `ValueError`, which names the keys that the template takes.
    """
    for value in TEMPLATES[template]:
        if set(keys_of(value)) - {OPTIONAL} == given - {OPTIONAL} and given <= set(keys_of(value)):
            return value
    raise ValueError(f"the template {template} takes {' or '.join(_said(template))}")


def _said(template: str) -> list[str]:
    """Return the keys of each value in words: `event, amount (and in_last)`."""
    return [
        ", ".join(key for key in keys if key != OPTIONAL)
        + (f" (and {OPTIONAL})" if OPTIONAL in keys else "")
        for keys in map(keys_of, TEMPLATES[template])
    ]
