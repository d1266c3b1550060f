"""Figures of drawn people the slow way: every row written down as often as it was drawn."""

from __future__ import annotations

import numpy as np
from sklearn import metrics


def headline(label, probability, margin, times, baseline):
    """Return the headline figures of rows that were each drawn `times`."""
    y, p, m, b = (np.repeat(each, times) for each in (label, probability, margin, baseline))
    lift, _ = tenths(y, m)
    predicted = [part.mean() for part in np.split(expanded(p, p), 10)]
    happened = [part.mean() for part in np.split(expanded(y, p), 10)]
    return {
        "auc": metrics.roc_auc_score(y, m),
        "average_precision": metrics.average_precision_score(y, m),
        "log_loss": metrics.log_loss(y, p, labels=[0, 1]),
        "brier": metrics.brier_score_loss(y, p),
        "lift_at_10": lift[0],
        "ece": np.abs(np.subtract(predicted, happened)).mean(),
        "predicted_minus_rate": p.mean() - y.mean(),
        "auc_over_baseline": metrics.roc_auc_score(y, m) - metrics.roc_auc_score(y, b),
    }


def tenths(y, margin):
    """Return lift by tenth, likeliest first, and the share of outcomes found up to each."""
    parts = [part.mean() for part in np.split(expanded(y, margin), 10)][::-1]
    return np.array(parts) / y.mean(), np.cumsum(parts) / np.sum(parts)


def expanded(value, by):
    """Return `value` in the order of `by`, ties sharing their mean, ten slivers a row."""
    mean = [value[by == each].mean() for each in np.sort(by)]
    return np.repeat(mean, 10)
