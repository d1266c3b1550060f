"""The functions of the condition language, by what they take, and an example of each."""

from __future__ import annotations

OF_CALENDAR = ("active_days", "calendar_days", "calendar_months", "calendar_years")
OF_EVENTS = ("count", "days_since", "days_since_first", "lifespan", *OF_CALENDAR)
OF_NUMBERS = ("sum", "mean", "min", "max")
AS_STATED = ("first", "last")
OF_ATTRIBUTES = (*OF_NUMBERS, *AS_STATED, "distinct")
YES_OR_NO = ("any", "in_segment", "sequence")
ELSE = ("days_since_date", "identity", "factor")
FUNCTIONS = (*OF_EVENTS, *OF_ATTRIBUTES, *YES_OR_NO, *ELSE)

SCORE_FIELDS = ("score", "probability", "percentile", "bucket")
BUCKETS = ("low", "medium", "high")
DIRECTIONS = ("raises", "lowers")
MAX_STEPS = 10
"""Steps a sequence may have: each is one query inside another."""

EXAMPLES = {
    "any": "any(purchase in last 30d)",
    "in_segment": "in_segment(win_back)",
    "sequence": "sequence(view then purchase within 1d)",
    "identity": "identity(email) exists",
    "factor": "factor(churn, days_since_purchase) = raises",
    "count": "count(purchase in last 30d) >= 2",
    "days_since": "days_since(purchase) < 30",
    "days_since_first": "days_since_first(purchase) > 365",
    "days_since_date": "days_since_date(birth_date) > 6574",
    "lifespan": "lifespan(purchase) > 365",
    **{name: f"{name}(purchase in last 30d) >= 2" for name in OF_CALENDAR},
    **{name: f"{name}(purchase.amount in last 30d) >= 2" for name in OF_ATTRIBUTES},
}
"""Function → how it is used."""
