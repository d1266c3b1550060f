"""How good a model is, on rows it has not seen.

People with equal margins are in no order, so every figure by rank spreads their outcomes evenly
among them: the expected value over all orders, the same in any order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.errors import OneClassError
from training.intervals import SEED, Intervals, intervals
from training.weighted import BINS, Judged, Weighed, auc_of, weigh

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

OF_CURVE = ("log_loss", "brier", "ece", "predicted_minus_rate", "mean_predicted")
"""Figures that the curve to probabilities decides; the others are of the order of people."""


@dataclass(frozen=True)
class Decile:
    """A tenth of the people by margin, 1 the likeliest. `gain`: share of outcomes up to here."""

    decile: int
    people: float
    positives: float
    lift: float
    gain: float


@dataclass(frozen=True)
class CalibrationBin:
    """A tenth of the people by probability: what was predicted and what happened."""

    people: float
    mean_predicted: float
    positive_rate: float


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve as two arrays of equal length."""

    x: Floats
    y: Floats


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of one model on one set of rows.

    `lift_at_10` is the outcome rate of the likeliest tenth over the rate of all; `ece` the mean
    |predicted - happened| over tenths of the probabilities; `baseline_auc` that of the baseline on
    these rows. `intervals` are of the people, by bootstrap.
    """

    population: int
    positives: int
    auc: float
    average_precision: float
    log_loss: float
    brier: float
    lift_at_10: float
    ece: float
    predicted_minus_rate: float
    mean_predicted: float
    positive_rate: float
    baseline_auc: float | None
    auc_over_baseline: float | None
    intervals: Intervals
    deciles: tuple[Decile, ...]
    bins: tuple[CalibrationBin, ...]
    roc: Curve
    precision_recall: Curve

    def metrics(self) -> dict[str, float]:
        """Return the single figures by name, those of the baseline only where there is one.

        A figure with an interval is followed by its ends, as `auc_low` and `auc_high`.
        """
        values: dict[str, float] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (int, float)):
                values[each.name] = float(value)
            if (interval := self.intervals.headline.get(each.name)) is not None:
                values[f"{each.name}_low"], values[f"{each.name}_high"] = interval
        return values


def evaluate(
    label: Labels,
    probability: Floats,
    margin: Floats,
    baseline: Floats | None = None,
    *,
    person: NDArray[np.int64] | None = None,
    seed: int = SEED,
) -> Evaluation:
    """Measure probabilities and margins (n,) against 0/1 labels; raise `OneClassError`.

    `baseline` ranks the same rows (higher = likelier); it may be infinite, never NaN. Rows of one
    `person` are drawn together for the intervals; None: each row is a person.
    """
    from sklearn import metrics

    positives = _both_kinds(label)
    false_rate, true_rate, _ = metrics.roc_curve(label, margin)
    precision, recall, _ = metrics.precision_recall_curve(label, margin)
    judged = Judged(label, probability, margin, baseline)
    found = weigh(judged, np.ones((1, len(label))))
    headline = {name: float(value[0]) for name, value in found.headline.items()}
    over = headline.pop("auc_over_baseline", None)
    who = np.arange(len(label)) if person is None else person
    return Evaluation(
        population=len(label),
        positives=positives,
        **headline,
        mean_predicted=float(probability.mean()),
        positive_rate=positives / len(label),
        baseline_auc=None if baseline is None else auc(label, baseline),
        auc_over_baseline=over,
        intervals=intervals(judged, who, seed=seed),
        deciles=_deciles(found, len(label), positives),
        bins=_bins(found, len(label)),
        roc=Curve(false_rate, true_rate),
        precision_recall=Curve(recall, precision),
    )


def auc(label: Labels, ranking: Floats, weight: Floats | None = None) -> float:
    """Return the chance that a person with the outcome ranks above one without; ties half.

    NaN is one value, above all others. Rows count as much as `weight` says, or all alike.
    """
    _both_kinds(label)
    _, place = np.unique(ranking, return_inverse=True)
    times = np.ones(len(label)) if weight is None else weight
    parts = (np.bincount(place, weights=times * part) for part in (label, 1 - label))
    with_outcome, without = (part.astype(np.float64) for part in parts)
    return float(auc_of(with_outcome, without))


def gains(label: Labels, margin: Floats) -> tuple[Decile, ...]:
    """Return the ten deciles from the likeliest down; their edges may fall between two people."""
    positives = _both_kinds(label)
    judged = Judged(label, np.full(len(label), 0.5), margin)
    return _deciles(weigh(judged, np.ones((1, len(label)))), len(label), positives)


def _deciles(found: Weighed, people: int, positives: int) -> tuple[Decile, ...]:
    gain, lift = found.gain[0], found.lift[0]
    caught = np.diff(gain, prepend=0.0) * positives
    return tuple(
        Decile(
            place + 1, people / BINS, float(caught[place]), float(lift[place]), float(gain[place])
        )
        for place in range(BINS)
    )


def _bins(found: Weighed, people: int) -> tuple[CalibrationBin, ...]:
    pairs = zip(found.predicted[0], found.happened[0], strict=True)
    return tuple(CalibrationBin(people / BINS, float(p), float(h)) for p, h in pairs)


def _both_kinds(label: Labels) -> int:
    positives = int(label.sum())
    if positives in (0, len(label)):
        raise OneClassError.among(len(label), positives, "the evaluation")
    return positives
