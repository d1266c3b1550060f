"""Challenger against champion: whether a newly trained version is better than the one that serves.

Both are judged by their twins of the evaluation, the trees and the curve as they were before they
were fitted again on the newest outcomes, on rows whose outcomes neither twin has seen. So neither
has an advantage: each twin is as much older than what it would serve as the other. They differ in
log loss, which sees the order of people and the level of probabilities; the interval is that of a
paired bootstrap that draws people, not rows (Efron and Tibshirani 1993, chapter 8).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.evaluation import auc
from training.split import SMALLEST_ROLE

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Decision = Literal["promoted", "kept", "apart"]

RESAMPLES = 1_000
LEVEL = 0.95


@dataclass(frozen=True)
class Duel:
    """The figures of two versions on the same rows. `gain`: how much less the challenger loses.

    Losses are mean -log(probability given to what happened); `low` and `high` bound the gain.
    """

    rows: int
    people: int
    positives: int
    loss: float
    champion_loss: float
    gain: float
    low: float
    high: float
    auc: float
    champion_auc: float

    @property
    def better(self) -> bool:
        """Whether the challenger is better by more than chance: all of the interval is above 0."""
        return self.low > 0

    @property
    def words(self) -> str:
        """The figures in a sentence."""
        return (
            f"on {self.rows:,} rows of {self.people:,} people, {self.positives:,} with the "
            f"outcome, which neither had seen, its log loss is {self.loss:.4f} against "
            f"{self.champion_loss:.4f}: {self.gain:+.4f} better (95% {self.low:+.4f} to "
            f"{self.high:+.4f}); its AUC is {self.auc:.3f} against {self.champion_auc:.3f}"
        )


@dataclass(frozen=True)
class Verdict:
    """What became of a newly trained version. `champion` is the one before, None for a first.

    `promoted`: it serves now. `kept`: the champion goes on. `apart`: it serves one run of a past
    moment, and the champion stays. `duel` is None where the two were not compared.
    """

    decision: Decision
    champion: str | None
    why: str
    duel: Duel | None = None

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        if self.decision == "promoted":
            over = f" over {self.champion}" if self.champion else ""
            return f"Promoted{over}: {self.why}."
        if self.decision == "kept":
            return f"Not promoted; {self.champion} is kept: {self.why}."
        return f"Of a past moment, and for this run alone: {self.why}."

    def body(self) -> dict[str, Any]:
        """Return the verdict as JSON-ready facts."""
        return asdict(self) | {"words": self.words}

    def figures(self) -> dict[str, float]:
        """Return the figures of the duel by name, for metrics; none where there was none."""
        if self.duel is None:
            return {}
        return {f"challenge_{name}": float(value) for name, value in asdict(self.duel).items()}


def verdict_of(duel: Duel | None, champion: str) -> Verdict:
    """Return the verdict of a duel; None: too few outcomes were unseen for there to be one."""
    if duel is None:
        why = (
            f"fewer than {SMALLEST_ROLE} outcomes of a kind have come since {champion} learnt, too "
            "few to compare the two"
        )
        return Verdict("kept", champion, why)
    if duel.better:
        return Verdict("promoted", champion, duel.words, duel)
    return Verdict("kept", champion, f"it is not shown to be better: {duel.words}", duel)


def duel(
    label: Labels,
    person: NDArray[np.int64],
    challenger: tuple[Floats, Floats],
    champion: tuple[Floats, Floats],
    *,
    seed: int = 7,
    resamples: int = RESAMPLES,
) -> Duel | None:
    """Return how two versions do on the same rows; None where too few outcomes of a kind are there.

    Each version gives its (margin, probability) of the rows (n,). Rows of a `person` are drawn
    together.
    """
    positives = int(label.sum())
    if min(positives, len(label) - positives) < SMALLEST_ROLE:
        return None
    ours, theirs = log_losses(label, challenger[1]), log_losses(label, champion[1])
    _, group = np.unique(person, return_inverse=True)
    rows = np.bincount(group).astype(np.float64)
    gains = np.asarray(np.bincount(group, weights=theirs - ours), dtype=np.float64)
    low, high = _interval(gains, rows, seed, resamples)
    return Duel(
        rows=len(label),
        people=len(rows),
        positives=positives,
        loss=float(ours.mean()),
        champion_loss=float(theirs.mean()),
        gain=float((theirs - ours).mean()),
        low=low,
        high=high,
        auc=auc(label, challenger[0]),
        champion_auc=auc(label, champion[0]),
    )


def log_losses(label: Labels, probability: Floats) -> Floats:
    """Return, by row, the loss of a probability: -log of what was given to what happened."""
    return -np.log(np.where(label == 1, probability, 1 - probability))


def _interval(gains: Floats, rows: Floats, seed: int, resamples: int) -> tuple[float, float]:
    """Return the bounds of the mean gain a row; `gains` and `rows` are sums by person."""
    rng = np.random.default_rng(seed)
    people, found = len(rows), []
    for _ in range(resamples):
        drawn = rng.integers(0, people, people)
        found.append(gains[drawn].sum() / rows[drawn].sum())
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
