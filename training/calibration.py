"""From the booster's margin to a probability, outside the booster.

A sigmoid (Platt 1999) where outcomes are few, an isotonic step curve (Zadrozny and Elkan 2002)
where there are enough of both kinds. Both never decrease, so a higher margin never has a lower
probability. The percentile is read from the margin instead, where isotonic ties do not matter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from training.split import person_fraction

Floats = NDArray[np.float64]
Method = Literal["sigmoid", "isotonic", "identity"]

ENOUGH_FOR_ISOTONIC = 1_000
"""Rows with, and rows without, the outcome from which on the isotonic curve is used."""
FOLDS = 5
MANY_ROWS = 20_000
"""From this many rows on, trees grown on half of them are much like trees grown on all."""
LEAST, MOST = 1e-6, 1.0 - 1e-6
"""Probabilities stay within these: nothing is ever certain."""


@dataclass(frozen=True)
class Calibrator:
    """A non-decreasing curve from margin (log-odds) to probability.

    `sigmoid`: expit(slope * margin + intercept). `isotonic`: straight lines between the points
    (`knots`, `levels`), flat outside. `identity`: expit(margin).
    """

    method: Method
    slope: float = 1.0
    intercept: float = 0.0
    knots: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()

    @classmethod
    def of(cls, margin: Floats, label: NDArray[np.int8]) -> Calibrator:
        """Fit the curve on rows the booster has not seen; `identity` when all labels are alike."""
        positives = int(label.sum())
        fewest = min(positives, len(label) - positives)
        if fewest == 0:
            return cls("identity")
        if fewest < ENOUGH_FOR_ISOTONIC:
            return _sigmoid(margin, label)
        return _isotonic(margin, label)

    def probability(self, margin: Floats) -> Floats:
        """Return the probabilities of margins (n,)."""
        if self.method == "isotonic":
            raw = _between(margin, *self._points)
        else:
            raw = expit(self.slope * margin + self.intercept)
        return np.asarray(within(raw, LEAST, MOST))

    def of_one(self, margin: float) -> float:
        """Return the probability of one margin, with the bits that `probability` gives it."""
        if self.method == "isotonic":
            raw = _between_two(margin, self.knots, self.levels)
        else:
            raw = float(expit(self.slope * margin + self.intercept))
        return min(max(raw, LEAST), MOST)

    @cached_property
    def _points(self) -> tuple[Floats, Floats]:
        return np.asarray(self.knots), np.asarray(self.levels)

    def to_json(self) -> dict[str, object]:
        """Return the calibrator as JSON-ready values, exact to the bit."""
        return {
            "method": self.method,
            "slope": self.slope,
            "intercept": self.intercept,
            "knots": list(self.knots),
            "levels": list(self.levels),
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Calibrator:
        """Read what `to_json` wrote."""
        return cls(
            cast(Method, body["method"]),
            float(body["slope"]),
            float(body["intercept"]),
            tuple(body["knots"]),
            tuple(body["levels"]),
        )


def parts_of(person: NDArray[np.int64], label: NDArray[np.int8]) -> list[NDArray[np.bool_]]:
    """Return masks of rows that divide the people: five parts, or two from 20,000 rows on.

    Empty where a part leaves rows of one kind alone, of which no trees can be grown.
    """
    turns = FOLDS if len(label) < MANY_ROWS else 2
    part = (person_fraction(person, salt=3) * turns).astype(np.int64)
    masks = [part == turn for turn in range(turns)]
    return masks if all(0 < label[~out].mean() < 1 for out in masks) else []


def judged_apart(
    margin: Floats, label: NDArray[np.int8], person: NDArray[np.int64]
) -> tuple[Calibrator, Floats]:
    """Return the curve of all rows, and what a curve that never saw a row's person says of it.

    The probabilities (n,) are those of five curves, each fitted without a fifth of the people: they
    judge the way the curve was made on people it does not know.
    """
    fold = (person_fraction(person, salt=2) * FOLDS).astype(np.int64)
    apart = np.empty(len(margin))
    for turn in range(FOLDS):
        out = fold == turn
        apart[out] = Calibrator.of(margin[~out], label[~out]).probability(margin[out])
    return Calibrator.of(margin, label), apart


def _sigmoid(margin: Floats, label: NDArray[np.int8]) -> Calibrator:
    """Fit Platt's sigmoid to his softened targets, which keep separable data finite."""
    from sklearn.linear_model import LogisticRegression

    positives = int(label.sum())
    negatives = len(label) - positives
    target = np.where(label == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    twice = np.concatenate([margin, margin])[:, None]
    outcome = np.repeat([1, 0], len(margin))
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1_000)
    model.fit(twice, outcome, sample_weight=np.concatenate([target, 1 - target]))
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        # A margin that ranks the wrong way here carries no information: everyone gets the mean.
        return Calibrator("sigmoid", 0.0, float(np.log(positives / negatives)))
    return Calibrator("sigmoid", slope, intercept)


def _isotonic(margin: Floats, label: NDArray[np.int8]) -> Calibrator:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted = model.fit_transform(margin, label)
    levels = _never_certain(model.y_thresholds_, fitted)
    return Calibrator(
        "isotonic", knots=_floats(model.X_thresholds_), levels=_floats(levels)
    )  # fmt: skip


def _never_certain(levels: Floats, fitted: Floats) -> Floats:
    """Replace the levels 0 and 1 by the rule of succession, keeping the order of levels."""
    lowest = 1.0 / (int((fitted == 0).sum()) + 2)
    highest = 1.0 - 1.0 / (int((fitted == 1).sum()) + 2)
    inner = levels[(levels > 0) & (levels < 1)]
    floor = min(lowest, float(inner.min(initial=0.5)))
    ceiling = max(highest, float(inner.max(initial=0.5)))
    return np.where(levels == 0, floor, np.where(levels == 1, ceiling, levels))


def _between(margin: Floats, knots: Floats, levels: Floats) -> Floats:
    """Interpolate linearly, element by element, never leaving the two levels around a margin."""
    if len(knots) == 1:
        return np.full_like(margin, levels[0])
    inside = within(margin, knots[0], knots[-1])
    left = within(knots.searchsorted(inside, side="right") - 1, 0, len(knots) - 2)
    low, high = levels[left], levels[left + 1]
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    return np.asarray(within(low + share * (high - low), low, high))


def _between_two(margin: float, knots: Sequence[float], levels: Sequence[float]) -> float:
    """Interpolate one margin as `_between` does: of a single one NumPy's calls cost far more."""
    if len(knots) == 1:
        return levels[0]
    inside = min(max(margin, knots[0]), knots[-1])
    left = min(max(bisect_right(knots, inside) - 1, 0), len(knots) - 2)
    low, high = levels[left], levels[left + 1]
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    return min(max(low + share * (high - low), low), high)


def within(values: Any, least: Any, most: Any) -> Any:
    """Return values drawn into limits: what `np.clip` gives, in a third of its time for one row."""
    return np.minimum(np.maximum(values, least), most)


def _floats(values: Sequence[float] | Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
