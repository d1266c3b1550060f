"""Named measures of people, as `likelier.yaml` has them."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from features.profiles.templates import value_of
from features.setting_values import Length, Name, Settings

Template = Literal[
    "average_transaction_value", "total_transaction_value", "average_daily_revenue",
    "average_monthly_revenue", "average_yearly_revenue", "transaction_count",
    "loyalty_points_earned", "loyalty_points_redeemed", "loyalty_points_balance",
    "active_lifespan", "membership_duration", "time_since_last_purchase",
]  # fmt: skip


class Measure(Settings):
    """A named value of a person: `value` says what it is made of, or a `template` with its keys."""

    name: Name
    """Name used in conditions, and as `measure.NAME` in files."""
    label: str = ""
    """What people call it; the name by default."""
    value: str | None = None
    """What it is made of, in the [language of measures](measures.md)."""
    template: Template | None = None
    """A [template](measures.md#templates) instead of a `value`; the other keys fill it."""
    event: str | None = None
    """Event type of a template."""
    amount: Name | None = None
    """Attribute of the event: the value of a transaction."""
    points: Name | None = None
    """Attribute of the event: loyalty points earned, or redeemed."""
    earned: Name | None = None
    """Attribute of the event: loyalty points earned (balance)."""
    redeemed: Name | None = None
    """Attribute of the event, or of `redeemed_event`: loyalty points redeemed (balance)."""
    redeemed_event: str | None = None
    """Event type of redeemed points where it is another (balance)."""
    since: Name | None = None
    """Profile attribute: the date the membership began, where no event says it."""
    in_last: Length | None = None
    """Look-back of the template's events; their whole history by default."""

    @property
    def title(self) -> str:
        """What people call it."""
        return self.label or self.name.replace("_", " ")

    @property
    def keys(self) -> dict[str, object]:
        """The keys that fill a template, by name."""
        return self.model_dump(exclude_none=True, exclude={"name", "label", "value", "template"})

    @model_validator(mode="after")
    def _complete(self) -> Measure:
        if (self.value is None) == (self.template is None):
            raise ValueError(f"{self.name}: needs either a value or a template")
        if self.value is not None and self.keys:
            raise ValueError(f"{self.name}: {min(self.keys)} belongs to a template, not to a value")
        if self.template is not None:
            value_of(self.template, frozenset(self.keys))
        return self
