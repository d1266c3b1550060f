"""The letter a model gets: how often it is right, and how much better than the baseline.

After the grade of Dynamics 365 Customer Insights' churn predictions: A where at least half of the
predictions are right and those with the outcome are found at least ten points more often than the
baseline finds them; B where it is none to ten points; else C. We depart from it twice, to be fair
to rare outcomes and stricter: not everyone above one half is predicted, but everyone above a cut
that names as many people as have the outcome; and the baseline, the best simple rule, may name as
many. (Theirs is the best rule "no purchase in L", L halved again and again: of those it is the one
that names as many.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.weighted import Steps

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Letter = Literal["A", "B", "C"]

HALF, TEN_POINTS = 0.5, 0.1


@dataclass(frozen=True)
class Grade:
    """The four counts of people at the cut, and what the baseline finds when it names as many.

    `cut` is the probability from which on a person is named. `caught` had the outcome and were
    named, `missed` had it and were not; `false_alarms` were named without, `rightly_left` neither.
    `outdone` says that the baseline serves, since the model ranks no better: that is a C.
    """

    cut: float
    caught: int
    false_alarms: int
    missed: int
    rightly_left: int
    baseline_caught: float
    outdone: bool = False

    @property
    def right(self) -> float:
        """The share of people of whom the right thing is predicted."""
        people = self.caught + self.false_alarms + self.missed + self.rightly_left
        return (self.caught + self.rightly_left) / people

    @property
    def found(self) -> float:
        """The share of those with the outcome who are named."""
        return self.caught / (self.caught + self.missed)

    @property
    def baseline_found(self) -> float:
        """The share of them that the baseline finds, naming as many people."""
        return self.baseline_caught / (self.caught + self.missed)

    @property
    def letter(self) -> Letter:
        """A, B or C."""
        # In counts of people, where ten points are ten points whatever the rounding.
        over, positives = self.caught - self.baseline_caught, self.caught + self.missed
        if self.outdone or self.right < HALF or over < 0:
            return "C"
        return "A" if over >= TEN_POINTS * positives else "B"

    def metrics(self) -> dict[str, float]:
        """Return the figures at the cut, by name."""
        return {
            "cut": self.cut,
            "right_at_cut": self.right,
            "found_at_cut": self.found,
            "baseline_found_at_cut": self.baseline_found,
        }


def cut_of(margin: Floats, label: Labels) -> float:
    """Return the margin from which on as many rows are named as have the outcome.

    For rows earlier than those it will be used on. Rows of one margin are named all or none, so
    there may be some more.
    """
    return float(np.sort(margin)[::-1][max(0, int(label.sum()) - 1)])


def grade(
    label: Labels, margin: Floats, baseline: Floats, cut: float, probability_at_cut: float
) -> Grade:
    """Name everyone from margin `cut` on and count; `baseline` ranks the same rows.

    People whom the baseline cannot tell apart are named evenly.
    """
    named = margin >= cut
    caught, positives = int(label[named].sum()), int(label.sum())
    count = int(named.sum())
    return Grade(
        probability_at_cut,
        caught,
        count - caught,
        positives - caught,
        len(label) - positives - (count - caught),
        _caught_by(baseline, label, count),
    )


def _caught_by(ranking: Floats, label: Labels, count: int) -> float:
    """Return the outcomes to expect among the `count` rows that rank highest."""
    steps, ones = Steps.by(ranking), np.ones((1, len(label)))
    reached = np.cumsum(steps.sums(ones)[0][::-1])
    found = np.cumsum(steps.sums(ones * label)[0][::-1])
    return float(np.interp(count, np.r_[0.0, reached], np.r_[0.0, found]))
