"""How good a model is, on rows it has not seen.

People with equal margins are in no order, so every figure by rank spreads their outcomes evenly
among them: the expected value over all orders, the same in any order of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training.errors import OneClassError

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]

BINS = 10


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

    people: int
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
    |predicted - happened| over ten equal bins; `baseline_auc` that of the baseline on these rows.
    """

    population: int
    positives: int
    auc: float
    average_precision: float
    log_loss: float
    brier: float
    lift_at_10: float
    ece: float
    mean_predicted: float
    positive_rate: float
    baseline_auc: float | None
    deciles: tuple[Decile, ...]
    bins: tuple[CalibrationBin, ...]
    roc: Curve
    precision_recall: Curve

    def metrics(self) -> dict[str, float]:
        """Return the single figures by name; the baseline's only where there is one."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: float(v) for name, v in values.items() if isinstance(v, (int, float))}


def evaluate(
    label: Labels, probability: Floats, margin: Floats, baseline: Floats | None = None
) -> Evaluation:
    """Measure probabilities and margins (n,) against 0/1 labels; raise `OneClassError`.

    `baseline` ranks the same rows (higher = likelier); it may be infinite, never NaN.
    """
    from sklearn import metrics

    positives = _both_kinds(label)
    false_rate, true_rate, _ = metrics.roc_curve(label, margin)
    precision, recall, _ = metrics.precision_recall_curve(label, margin)
    bins = calibration_bins(label, probability)
    found = gains(label, margin)
    weights = np.array([each.people for each in bins]) / len(label)
    distance = [abs(each.mean_predicted - each.positive_rate) for each in bins]
    return Evaluation(
        population=len(label),
        positives=positives,
        auc=auc(label, margin),
        average_precision=float(metrics.average_precision_score(label, margin)),
        log_loss=float(metrics.log_loss(label, probability, labels=[0, 1])),
        brier=float(metrics.brier_score_loss(label, probability)),
        lift_at_10=found[0].lift,
        ece=float(weights @ np.array(distance)),
        mean_predicted=float(probability.mean()),
        positive_rate=positives / len(label),
        baseline_auc=None if baseline is None else auc(label, baseline),
        deciles=found,
        bins=bins,
        roc=Curve(false_rate, true_rate),
        precision_recall=Curve(recall, precision),
    )


def auc(label: Labels, ranking: Floats, weight: Floats | None = None) -> float:
    """Return the chance that a person with the outcome ranks above one without; ties half.

    NaN is one value, above all others. Rows count as much as `weight` says, or all alike.
    """
    _both_kinds(label)
    _, place = np.unique(ranking, return_inverse=True)
    return _weighted_auc(label, place, np.ones(len(label)) if weight is None else weight)


def auc_interval(
    label: Labels,
    margin: Floats,
    person: NDArray[np.int64],
    *,
    resamples: int = 200,
    seed: int = 7,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the bootstrap interval of the AUC, drawing whole people, not rows.

    Resamples in which everyone has the same label are left out; raise `OneClassError` when the
    rows themselves have one.
    """
    _both_kinds(label)
    _, place = np.unique(margin, return_inverse=True)
    _, group = np.unique(person, return_inverse=True)
    people = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = (
        np.bincount(rng.integers(0, people, people), minlength=people) for _ in range(resamples)
    )
    weights = (counts[group].astype(np.float64) for counts in drawn)
    found = [_weighted_auc(label, place, weight) for weight in weights]
    low, high = np.nanquantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def gains(label: Labels, margin: Floats) -> tuple[Decile, ...]:
    """Return the ten deciles from the likeliest down; their edges may fall between two people."""
    positives = _both_kinds(label)
    count = len(label)
    caught = np.concatenate([[0.0], np.cumsum(_expected(label, margin)[::-1])])
    edges = count * np.arange(BINS + 1) / BINS
    at = np.interp(edges, np.arange(count + 1), caught)
    size = count / BINS
    return tuple(
        Decile(
            number + 1,
            size,
            float(at[number + 1] - at[number]),
            float((at[number + 1] - at[number]) / size / (positives / count)),
            float(at[number + 1] / positives),
        )
        for number in range(BINS)
    )


def calibration_bins(label: Labels, probability: Floats) -> tuple[CalibrationBin, ...]:
    """Return up to ten bins of equal count, lowest probability first."""
    predicted = np.array_split(np.sort(probability), BINS)
    happened = np.array_split(_expected(label, probability), BINS)
    return tuple(
        CalibrationBin(len(p), float(p.mean()), float(h.mean()))
        for p, h in zip(predicted, happened, strict=True)
        if len(p)
    )


def _expected(label: Labels, by: Floats) -> Floats:
    """Return the expected label at each place, lowest `by` first; ties share their mean."""
    _, place, size = np.unique(by, return_inverse=True, return_counts=True)
    mean = np.bincount(place, weights=label) / size
    expected: Floats = np.repeat(mean, size)
    return expected


def _weighted_auc(label: Labels, place: NDArray[np.intp], weight: Floats) -> float:
    """Mann-Whitney with ties: `place` numbers the distinct values from the lowest up."""
    with_outcome = np.bincount(place, weights=weight * label)
    without = np.bincount(place, weights=weight * (1 - label))
    pairs = with_outcome.sum() * without.sum()
    if pairs == 0:
        return float("nan")
    below = np.cumsum(without) - without
    return float((with_outcome * (below + without / 2)).sum() / pairs)


def _both_kinds(label: Labels) -> int:
    positives = int(label.sum())
    if positives in (0, len(label)):
        raise OneClassError.among(len(label), positives, "the evaluation")
    return positives
