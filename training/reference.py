"""The population a person is compared with: score, percentile and bucket.

The score is relative: 50 is the odds of the reference population's mean probability, 75 three
times those odds, 25 a third. The percentile is the mid-rank of the raw margin among the stored
margins, so one call and a batch agree and isotonic ties do not matter.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.calibration import LEAST, MOST, within

Floats = NDArray[np.float64]

MOST_QUANTILES = 10_001
MEDIUM_FROM, HIGH_FROM = 25.0, 75.0
_NAMES, _FROM = ("low", "medium", "high"), (MEDIUM_FROM, HIGH_FROM)
BUCKETS = np.array(_NAMES)


@dataclass(frozen=True, eq=False)
class Reference:
    """Everyone eligible at the training run's as_of, scored by the shipped model.

    `margins` is sorted, with at most 10,001 entries: all of them, or evenly spaced quantiles.
    """

    mean_probability: float
    margins: Floats

    @classmethod
    def of(cls, margins: Floats, probabilities: Floats) -> Reference:
        """Summarise a scored population of at least one person; order does not matter."""
        ordered = np.sort(margins)
        if len(ordered) > MOST_QUANTILES:
            levels = np.linspace(0.0, 1.0, MOST_QUANTILES)
            ordered = np.quantile(ordered, levels, method="inverted_cdf")
        # Sorted first: the mean then has the same bits in whatever order the people came.
        return cls(float(np.sort(probabilities).mean()), ordered)

    def score(self, probability: Floats) -> Floats:
        """Return 100*o / (o + o0) for probabilities (n,): 0 to 100, unrounded."""
        odds = _odds(np.asarray(probability, dtype=np.float64))
        # The same ratio written so that rounding cannot turn the order of two people.
        relative: Floats = 100.0 / (1.0 + self._average / odds)
        return relative

    @cached_property
    def _average(self) -> float:
        return float(_odds(np.float64(self.mean_probability)))

    def percentile(self, margin: Floats) -> NDArray[np.int8]:
        """Return 1 to 100: the mid-rank of each margin among the reference, in exact integers."""
        below = self.margins.searchsorted(margin, side="left")
        up_to = self.margins.searchsorted(margin, side="right")
        rank = -(-(below + up_to) * 50 // len(self.margins))
        percentile: NDArray[np.int8] = within(rank, 1, 100).astype(np.int8)
        return percentile

    @staticmethod
    def bucket(score: Floats) -> NDArray[np.str_]:
        """Return low < 25 <= medium < 75 <= high, read from unrounded scores."""
        return BUCKETS[np.searchsorted(_FROM, score, side="right")]

    def of_one(self, margin: float, probability: float) -> tuple[float, int, str]:
        """Return score, percentile and bucket of one person, with the bits that arrays give them.

        Of a single number one call into NumPy costs more than all of this.
        """
        inside = min(max(probability, LEAST), MOST)
        score = 100.0 / (1.0 + self._average / (inside / (1.0 - inside)))
        below, up_to = bisect_left(self._ordered, margin), bisect_right(self._ordered, margin)
        rank = -(-(below + up_to) * 50 // len(self._ordered))
        return score, min(max(rank, 1), 100), _NAMES[bisect_right(_FROM, score)]

    @cached_property
    def _ordered(self) -> list[float]:
        ordered: list[float] = self.margins.tolist()
        return ordered

    def to_json(self) -> dict[str, object]:
        """Return the reference as JSON-ready values, exact to the bit."""
        return {"mean_probability": self.mean_probability, "margins": self.margins.tolist()}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Reference:
        """Read what `to_json` wrote."""
        margins = np.asarray(body["margins"], dtype=np.float64)
        return cls(float(body["mean_probability"]), margins)


def _odds(probability: Any) -> Any:
    inside = within(probability, LEAST, MOST)
    return inside / (1.0 - inside)
