"""Figures of weighted rows, for many weightings at once: what bootstrap intervals are made of.

A row of weight 2 counts as two rows, one of weight 0 as none. People with equal margins are in no
order, so every figure by rank spreads their outcomes evenly among them: the expected value over
all orders. A tenth may begin or end within a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

BINS = 10


@dataclass(frozen=True, eq=False)
class Steps:
    """Rows ordered by a value, lowest first; rows of one value are one step.

    `order` None: they stand in that order already.
    """

    order: NDArray[np.intp] | None
    starts: NDArray[np.intp]
    rows: int

    @classmethod
    def by(cls, value: Floats) -> Steps:
        """Order rows by `value` (n,): it may be infinite, never NaN."""
        order = None if (value[1:] >= value[:-1]).all() else np.argsort(value, kind="stable")
        ordered = value if order is None else value[order]
        differs = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        return cls(order, np.flatnonzero(differs), len(value))

    def sums(self, weight: Floats) -> Floats:
        """Return (draws, steps): the sums of `weight` (draws, rows) by step."""
        ordered = weight if self.order is None else np.take(weight, self.order, axis=1)
        if len(self.starts) == self.rows:
            return ordered
        summed: Floats = np.add.reduceat(ordered, self.starts, axis=1)
        return summed


@dataclass(frozen=True, eq=False)
class Judged:
    """What was said of n rows, and what happened: probabilities, margins, 0/1 labels.

    `baseline` ranks the same rows (higher = likelier), or None.
    """

    label: Labels
    probability: Floats
    margin: Floats
    baseline: Floats | None = None

    def sorted(self) -> tuple[Judged, NDArray[np.intp]]:
        """Return the rows by margin, and where they stood: many weightings are then faster."""
        order = np.argsort(self.margin, kind="stable")
        baseline = None if self.baseline is None else self.baseline[order]
        probability, margin = self.probability[order], self.margin[order]
        return Judged(self.label[order], probability, margin, baseline), order

    @cached_property
    def by_margin(self) -> Steps:
        """The rows by margin."""
        return Steps.by(self.margin)

    @cached_property
    def by_probability(self) -> Steps:
        """The rows by probability."""
        return Steps.by(self.probability)

    @cached_property
    def by_baseline(self) -> Steps | None:
        """The rows by the baseline, where there is one."""
        return None if self.baseline is None else Steps.by(self.baseline)


@dataclass(frozen=True, eq=False)
class Weighed:
    """Figures by draw. `headline`: name to (draws,), NaN where a draw has one class only.

    `lift` and `gain` (draws, 10) are by tenth of the people, likeliest first; `predicted` and
    `happened` (draws, 10) by tenth of the probabilities, lowest first.
    """

    headline: dict[str, Floats]
    lift: Floats
    gain: Floats
    predicted: Floats
    happened: Floats


def weigh(judged: Judged, weight: Floats) -> Weighed:
    """Return the figures of `judged` under each row of `weight` (draws, rows).

    `predicted_minus_rate` is the mean probability minus the outcome rate; `ece` the mean |predicted
    - happened| over tenths; `lift_at_10` the outcome rate of the likeliest tenth over that of all;
    `auc_over_baseline`, where there is a baseline, how much higher the AUC is.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        total, positives = weight.sum(axis=1), weight @ judged.label
        with_outcome, everyone = _outcomes(judged.by_margin, judged.label, weight)
        ranked = auc_of(with_outcome, everyone - with_outcome)
        gain = _caught(with_outcome, everyone) / positives[:, None]
        lift = np.diff(gain, axis=1, prepend=0.0) * BINS
        predicted, happened = _bins(judged, weight)
        headline = {
            "auc": ranked,
            "average_precision": _average_precision(with_outcome, everyone),
            "log_loss": weight @ _surprise(judged) / total,
            "brier": weight @ (judged.probability - judged.label) ** 2 / total,
            "lift_at_10": lift[:, 0],
            "ece": np.abs(predicted - happened).mean(axis=1),
            "predicted_minus_rate": (weight @ judged.probability - positives) / total,
        }
        if judged.by_baseline is not None:
            found, all_rows = _outcomes(judged.by_baseline, judged.label, weight)
            headline["auc_over_baseline"] = ranked - auc_of(found, all_rows - found)
    return Weighed(headline, lift, gain, predicted, happened)


def auc_of(with_outcome: Floats, without: Floats) -> Floats:
    """Return the chance that one with the outcome stands above one without; ties half.

    Both are weights by step, lowest first, along the last axis. NaN where one of them is all 0.
    """
    below = np.cumsum(without, axis=-1) - without
    pairs = with_outcome.sum(axis=-1) * without.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray((with_outcome * (below + without / 2)).sum(axis=-1) / pairs)


def _outcomes(steps: Steps, label: Labels, weight: Floats) -> tuple[Floats, Floats]:
    return steps.sums(weight * label), steps.sums(weight)


def _average_precision(with_outcome: Floats, everyone: Floats) -> Floats:
    """Return the precision at each step from the top, weighted by the outcomes found there."""
    found = with_outcome[:, ::-1]
    precision = np.cumsum(found, axis=1) / np.cumsum(everyone[:, ::-1], axis=1)
    # Above the first row of any weight there is no precision, and no outcome to weigh it by.
    reached = np.where(found > 0, found * precision, 0.0)
    return np.asarray(reached.sum(axis=1) / found.sum(axis=1))


def _caught(with_outcome: Floats, everyone: Floats) -> Floats:
    """Return (draws, 10): outcomes among the likeliest tenth, two tenths, and so on."""
    found, reached = with_outcome[:, ::-1], everyone[:, ::-1]
    return _between_edges(reached, found)[:, 1:]


def _bins(judged: Judged, weight: Floats) -> tuple[Floats, Floats]:
    """Return mean probability and outcome rate (draws, 10) by tenth of the probabilities."""
    steps, size = judged.by_probability, weight.sum(axis=1)[:, None] / BINS
    everyone = steps.sums(weight)
    parts = (steps.sums(weight * value) for value in (judged.probability, judged.label))
    predicted, happened = (np.diff(_between_edges(everyone, part)) / size for part in parts)
    return predicted, happened


def _between_edges(everyone: Floats, part: Floats) -> Floats:
    """Return (draws, 11): the running sum of `part` at each tenth of the running `everyone`."""
    reached, summed = np.cumsum(everyone, axis=1), np.cumsum(part, axis=1)
    shares = np.arange(BINS + 1) / BINS
    rows = zip(reached, summed, strict=True)
    return np.array(
        [np.interp(shares * x[-1], np.r_[0.0, x], np.r_[0.0, y]) for x, y in rows]
    ).reshape(-1, BINS + 1)


def _surprise(judged: Judged) -> Floats:
    said = np.where(judged.label == 1, judged.probability, 1 - judged.probability)
    return -np.log(np.maximum(said, np.finfo(np.float64).eps))
