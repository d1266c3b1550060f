"""Are there enough people to learn from? People are counted, not rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features import time
from features.conditions.tree import event_filters
from features.time import Window
from training.errors import OneClassError, TooFewExamples
from training.goals import CompiledGoal

FEWEST_PEOPLE = 500
"""People needed with, and as many without, the outcome, unless a goal says otherwise."""


@dataclass(frozen=True)
class Examples:
    """Rows with a closed label, and the people in them.

    `with_outcome` counts people who had it at least once, `without` those who at least once had
    not: someone seen at several moments may be in both.
    """

    rows: int
    positives: int
    with_outcome: int
    without: int

    @classmethod
    def of(cls, label: NDArray[np.int8], person: NDArray[np.int64]) -> Examples:
        """Count rows by their label and person."""
        had = label == 1
        with_outcome, without = (len(np.unique(person[rows])) for rows in (had, ~had))
        return cls(len(label), int(had.sum()), with_outcome, without)

    def enough(self, fewest: int) -> bool:
        """Say whether there are `fewest` people on either side."""
        return min(self.with_outcome, self.without) >= fewest

    def require(self, fewest: int, where: str) -> None:
        """Raise `OneClassError` or `TooFewExamples`, naming `where`, if there are not enough."""
        if self.positives in (0, self.rows):
            raise OneClassError.among(self.rows, self.positives, where)
        if not self.enough(fewest):
            raise TooFewExamples.of(where, self.with_outcome, self.without, fewest)


def short_look_backs(
    goal: CompiledGoal, windows: Sequence[Window], moments: Sequence[int], earliest: int
) -> Iterator[str]:
    """Say which look-backs are longer than the history, and how far they see.

    `windows` are those of the features; `moments` the snapshots; `earliest` the first event.
    """
    oldest, newest = min(moments), max(moments)
    stated = [f.window for f in event_filters(goal.eligible) if f.window is not None]
    for name, found in (("features.windows", windows), (f"goals.{goal.name}.eligible", stated)):
        longer = sorted({each for each in found if time.sees_less(each, oldest, earliest)})
        if longer:
            before = [Window(max(moment - earliest, 0)).days for moment in (oldest, newest)]
            look = "looks" if len(longer) == 1 else "look"
            yield (
                f"{name}: {', '.join(map(str, longer))} {look} back further than the history, "
                f"which is {before[0]:.0f} days long at the oldest snapshot and {before[1]:.0f} "
                "at the newest: no more than that is seen."
            )
