"""The simplest rule that a model must beat: how long ago it last happened.

Many models lose to recency. The rule ranks people by days since their last outcome event; never
counts as longest ago. Its direction is learnt on the fit rows, never on the evaluation rows. To
be served it becomes trees on that one column, monotone in its direction; there null (never) is its
own branch, placed where the data say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.booster import BoosterParams
from training.evaluation import auc

Floats = NDArray[np.float64]

BASELINE_DEPTH = 3


@dataclass(frozen=True)
class RecencyBaseline:
    """Ranks by days since the last outcome event. `sign` +1: longer ago is likelier, -1: less."""

    sign: int

    @classmethod
    def fit(cls, days: Floats, label: NDArray[np.int8]) -> RecencyBaseline:
        """Learn the direction on fit rows; `days` NaN = never."""
        return cls(1 if auc(label, _days(days)) >= 0.5 else -1)

    def rank(self, days: Floats) -> Floats:
        """Return values that grow with likelihood, for ranking only; may be infinite."""
        return self.sign * _days(days)


def best_column(matrix: Floats, label: NDArray[np.int8]) -> int:
    """Return the column that alone ranks fit rows best, either way round; the first among equals.

    It is what stands in for recency where rows have no time.
    """
    columns = (matrix[:, place] for place in range(matrix.shape[1]))
    return int(np.argmax([abs(auc(label, _days(column)) - 0.5) for column in columns]))


def baseline_params(params: BoosterParams) -> BoosterParams:
    """Return parameters for small trees on days-since alone, so that the rule can be served."""
    return replace(params, max_depth=min(BASELINE_DEPTH, params.max_depth))


def _days(days: Floats) -> Floats:
    return np.where(np.isnan(days), np.inf, days)
