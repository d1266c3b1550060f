"""Why the curve that serves is fitted on two months, in simulated worlds whose truth is known.

Three months each: the older and the newer one are there to calibrate on, the third is what scores
are for. The log-odds of the outcome are the trees' margin times a slope plus the month's level.
"""

import numpy as np
import pytest
from scipy.special import expit

from training.calibration import Calibrator

PEOPLE, WORLDS = 600, 30


def off_by(probability: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean distance from the truth over ten groups, lowest probability first."""
    tenths = np.array_split(np.argsort(probability), 10)
    return float(np.mean([abs(probability[t].mean() - truth[t].mean()) for t in tenths]))


def levels(rng: np.random.Generator, world: str) -> np.ndarray:
    """Return the levels of three months: all alike, each its own, or moving on from the last."""
    moves = {"still": 0.0, "jumping": 0.25, "drifting": 0.25}[world] * rng.normal(size=3)
    return rng.uniform(-2, 1) + (np.cumsum(moves) if world == "drifting" else moves)


@pytest.mark.parametrize("world", ["still", "jumping", "drifting"])
def test_two_months_are_nearer_to_the_next_than_the_older_alone(world):
    rng = np.random.default_rng(11)
    older, both = [], []
    for _ in range(WORLDS):
        margins = rng.normal(0, 1.3, (3, PEOPLE))
        truth = expit(levels(rng, world)[:, None] + rng.uniform(0.6, 1.1) * margins)
        label = (rng.random((3, PEOPLE)) < truth).astype(np.int8)
        first = Calibrator.of(margins[0], label[0])
        pooled = Calibrator.of(margins[:2].ravel(), label[:2].ravel())
        older.append(off_by(first.probability(margins[2]), truth[2]))
        both.append(off_by(pooled.probability(margins[2]), truth[2]))
    assert np.mean(both) < 0.95 * np.mean(older)
