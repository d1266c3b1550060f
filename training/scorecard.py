"""What was predicted against what then happened: the figures of one closed card, and its alarms.

An alarm is a matter of size: the odds predicted are 1.5 times those that happened, or the other
way round, or people are ranked worse by .03 of AUC than at training. Chance alone must not ring
either: what was predicted lies outside the 99.9% interval of what happened (Wilson 1927), and the
intervals of the two AUCs do not touch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.calibration import LEAST, MOST
from training.intervals import intervals
from training.reference import BUCKETS
from training.weighted import Judged, weigh

Floats = NDArray[np.float64]
Code = Literal["miscalibrated", "ranks_worse"]

ODDS_OFF = 1.5
"""How many times off the odds predicted must be for an alarm."""
AUC_LOST = 0.03
"""How much lower the AUC must be than at training for an alarm."""
SHOWN_Z, ALARM_Z = 1.959964, 3.290527
"""Two-sided normal quantiles: 95% for the intervals shown, 99.9% for alarms."""
FEWEST_FOUND = 0.95
"""Below this share of people found again, those found may not stand for all: nothing is judged."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Scored people of whom it is known what happened, as arrays (n,).

    `margin` ranks them (higher = likelier), `bucket` is low, medium or high, `happened` 0 or 1,
    `person` a number by person.
    """

    probability: Floats
    margin: Floats
    bucket: NDArray[np.str_]
    happened: NDArray[np.int8]
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Compared:
    """Some people: mean probability, share with the outcome, and its 95% interval (Wilson)."""

    people: int
    outcomes: int
    predicted: float
    happened: float
    low: float
    high: float

    @classmethod
    def of(cls, probability: Floats, happened: NDArray[np.int8]) -> Compared:
        """Compare at least one person's probabilities with what happened; order does not matter."""
        people, outcomes = len(probability), int(happened.sum())
        predicted = float(np.sort(probability).mean())
        return cls(people, outcomes, predicted, outcomes / people, *wilson(outcomes, people))

    @property
    def off(self) -> bool:
        """Whether prediction and outcome are further apart than size and chance allow."""
        low, high = wilson(self.outcomes, self.people, ALARM_Z)
        inside = min(max(self.predicted, LEAST), MOST)
        # Half a person on either side: where nobody or everybody had it, odds stay finite.
        happened = (self.outcomes + 0.5) / (self.people - self.outcomes + 0.5)
        ratio = inside / (1 - inside) / happened
        return not (low <= self.predicted <= high or 1 / ODDS_OFF < ratio < ODDS_OFF)


@dataclass(frozen=True)
class Card:
    """One closed scorecard. `missing`: people scored who could not be found when it closed.

    `bins` are tenths by probability; `ece` their mean distance. `auc` and its 95% interval are null
    where all or none had the outcome; `promised` is the AUC at training with its interval.
    """

    missing: int
    everyone: Compared
    buckets: Mapping[str, Compared]
    bins: tuple[tuple[float, float], ...]
    ece: float
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    promised: tuple[float, float, float]

    @classmethod
    def of(cls, found: Outcomes, missing: int, promised: tuple[float, float, float]) -> Card:
        """Return the card of at least one person."""
        judged = Judged(found.happened, found.probability, found.margin)
        figures = weigh(judged, np.ones((1, len(found.happened))))
        both = 0 < int(found.happened.sum()) < len(found.happened)
        interval = intervals(judged, found.person).headline["auc"] if both else None
        return cls(
            missing=missing,
            everyone=Compared.of(found.probability, found.happened),
            buckets={
                name: Compared.of(found.probability[mine], found.happened[mine])
                for name in BUCKETS.tolist()
                if (mine := found.bucket == name).any()
            },
            bins=tuple(
                zip(figures.predicted[0].tolist(), figures.happened[0].tolist(), strict=True)
            ),
            ece=float(figures.headline["ece"][0]),
            auc=float(figures.headline["auc"][0]) if both else None,
            auc_low=interval.low if interval else None,
            auc_high=interval.high if interval else None,
            promised=promised,
        )

    def body(self) -> dict[str, Any]:
        """Return the card JSON-ready, its alarms included."""
        return asdict(self) | {"alarms": [{"code": c, "what": what} for c, what in self.alarms()]}

    def alarms(self) -> Iterator[tuple[Code, str]]:
        """Yield what is wrong, each with its code: nothing when too few were found again."""
        if self.everyone.people < FEWEST_FOUND * (self.everyone.people + self.missing):
            return
        for name, each in {"all": self.everyone, **self.buckets}.items():
            if each.off:
                who = "in all" if name == "all" else f"in the bucket {name}"
                yield (
                    "miscalibrated",
                    f"{who} {each.predicted:.1%} predicted and {each.happened:.1%} "
                    f"({each.low:.1%} to {each.high:.1%}) happened, of {each.people:,} people",
                )
        promised, promised_low, _ = self.promised
        if self.auc is None or self.auc_high is None or self.auc > promised - AUC_LOST:
            return
        if self.auc_high < promised_low:
            yield (
                "ranks_worse",
                f"AUC {self.auc:.3f} ({self.auc_low:.3f} to {self.auc_high:.3f}) where training "
                f"promised {promised:.3f} (from {promised_low:.3f})",
            )


def wilson(outcomes: int, people: int, z: float = SHOWN_Z) -> tuple[float, float]:
    """Return Wilson's interval of a rate (Wilson 1927, J. Am. Stat. Assoc. 22:209)."""
    rate, share = outcomes / people, z * z / people
    middle = (rate + share / 2) / (1 + share)
    half = z * float(np.sqrt(rate * (1 - rate) / people + share / people / 4)) / (1 + share)
    return max(0.0, middle - half), min(1.0, middle + half)
