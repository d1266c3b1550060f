"""Goals, as `likelier.yaml` has them: what is predicted, of whom, and over which window."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from features.setting_values import Length, Name, Settings


class Subscription(Settings):
    """When a subscription is lost: it has ended, and was not renewed in time."""

    end: Name
    """Profile attribute: the date on which the subscription ends. A renewal states a later one."""
    renewed_within: Length
    """Time after the end in which a renewal still counts; who has not renewed by then is lost."""


class Goal(Settings):
    """What is predicted, of whom, and over which window."""

    name: Name
    """Name of the goal: `churn` makes `churn.score`."""
    kind: Literal["churn", "conversion"]
    """Which wording and colours: a high churn score is bad news, a high conversion score good."""
    outcome: str | None = None
    """Condition over the outcome window: true for the people counted as positive."""
    subscription: Subscription | None = None
    """In place of an outcome: the loss of a subscription within the outcome window."""
    outcome_window: Length
    """How far ahead the outcome is looked for."""
    gap: Length | None = None
    """Time between as_of and the outcome window."""
    eligible: str | None = None
    """Condition, known at as_of, for the people who are scored; by default active in 45 days, or
    with a subscription that is not lost yet."""
    exclude: str | None = None
    """Events that do not count for this goal, neither in `outcome` and `eligible` nor in features:
    `any(EVENT where …)`, several joined by `or`."""
    spine: Literal["calendar", "at_events"] = "calendar"
    """`calendar`: scored in batch at dates. `at_events`: scored while the person is on the page."""
    min_people: Annotated[int, Field(ge=2)] = 500
    """People needed with the outcome, and as many without, before a model is trained."""
    retrain_every: Length | None = None
    """How far as_of moves on before it is trained again; `training.retrain_every` by default."""

    @model_validator(mode="after")
    def _complete(self) -> Goal:
        if (self.outcome is None) == (self.subscription is None):
            raise ValueError(f"{self.name}: needs either an outcome or a subscription")
        return self
