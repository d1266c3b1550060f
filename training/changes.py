"""Why a margin changed between two runs: how much the data did, and how much the model.

Both changed at once, and what one did depends on when the other is taken to have changed. So each
is given the mean over both orders: the Shapley value of a game of two players. Neither order is
preferred, the two parts add up to the change to rounding, a model that stayed gets exactly 0, and
so do data that stayed. Reason by reason, since contributions add up within each of the four cases.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

BASE = "base"
"""The code of what all margins of a model start from: it changes only with the model."""

Weights = Mapping[str, float]
"""Contributions by reason code, `BASE` among them; a reason that a model lacks gives 0."""


@dataclass(frozen=True)
class Cases:
    """What each model says of each run's data: one person's contributions, or means of many."""

    old_model_old_data: Weights
    old_model_new_data: Weights
    new_model_old_data: Weights
    new_model_new_data: Weights

    @property
    def before(self) -> float:
        """The old margin: the sum of contributions."""
        return sum(self.old_model_old_data.values())

    @property
    def after(self) -> float:
        """The new margin."""
        return sum(self.new_model_new_data.values())


@dataclass(frozen=True)
class Change:
    """What one reason contributed before and after, and what data and model did to it.

    All on the scale of the margin: `data` + `model` = `after` - `before`.
    """

    code: str
    before: float
    after: float
    data: float
    model: float

    @property
    def total(self) -> float:
        """By how much the reason changed the margin."""
        return self.data + self.model


def changes(cases: Cases) -> list[Change]:
    """Return every reason's change, largest first, then by code; `BASE` is one of them.

    Over all reasons `data` + `model` adds up to the change of the margin.
    """
    found = list(_changes(cases))
    return sorted(found, key=lambda each: (-abs(each.total), each.code))


def _changes(cases: Cases) -> Iterator[Change]:
    four = (
        cases.old_model_old_data, cases.old_model_new_data,
        cases.new_model_old_data, cases.new_model_new_data,
    )  # fmt: skip
    for code in sorted(set().union(*four)):
        old_old, old_new, new_old, new_new = (case.get(code, 0.0) for case in four)
        data = ((old_new - old_old) + (new_new - new_old)) / 2
        model = ((new_old - old_old) + (new_new - old_new)) / 2
        yield Change(code, old_old, new_new, data, model)
