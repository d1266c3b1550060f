"""How well the model does for people it has learnt from, and for people new to it.

Rows of a later time mostly hold people whose earlier rows were learnt from. Whoever comes new next
month has no such rows, so each kind has figures of its own: by `person_group`, so that a visitor
who logged in meanwhile is no new person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from training.evaluation import Evaluation, evaluate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int8]

FEWEST = 10
"""People with, and without, the outcome from which on figures are told."""
WORSE = 0.03
"""How much lower the AUC of new people must be, and by its interval too, for a warning."""
TOLD = ("auc", "auc_low", "auc_high", "ece", "ece_low", "ece_high", "mean_predicted")


@dataclass(frozen=True, eq=False)
class Acquaintance:
    """People evaluated who were `seen` in the fit rows, or are `new`.

    `found` is None where fewer than ten people had the outcome, or had it not.
    """

    kind: Literal["seen", "new"]
    people: int
    found: Evaluation | None

    def metrics(self) -> dict[str, float]:
        """Return what is known, by name: `new_people`, `new_auc`, `new_auc_low` and so on."""
        figures = {"people": float(self.people)}
        if self.found is not None:
            known = self.found.metrics()
            figures |= {name: known[name] for name in (*TOLD, "positive_rate")}
        return {f"{self.kind}_{name}": value for name, value in figures.items()}

    @property
    def words(self) -> str:
        """Who they are and how well they are ranked, as part of a sentence."""
        who = f"{self.people:,} " + ("were in the fit" if self.kind == "seen" else "are new")
        if self.found is None:
            return who + (" (too few to say how they are ranked)" if self.people else "")
        low, high = self.found.intervals.headline["auc"]
        return f"{who} (AUC {self.found.auc:.3f}, 95% interval {low:.3f} to {high:.3f})"


Kinds = tuple[Acquaintance, Acquaintance]
"""People seen, and people new."""


def by_acquaintance(
    learnt: Ints, person: Ints, label: Labels, probability: Floats, margin: Floats, seed: int
) -> Kinds:
    """Return the figures of both kinds; `learnt` is the person of each fit row.

    The others are of the evaluation rows, (n,).
    """
    seen = np.isin(person, learnt)

    def of(kind: Literal["seen", "new"], rows: NDArray[np.bool_]) -> Acquaintance:
        who, happened = person[rows], label[rows]
        fewest = min(len(np.unique(who[happened == value])) for value in (0, 1))
        found = None
        if fewest >= FEWEST:
            found = evaluate(happened, probability[rows], margin[rows], person=who, seed=seed)
        return Acquaintance(kind, len(np.unique(who)), found)

    return of("seen", seen), of("new", ~seen)


def sentence(kinds: Kinds) -> str:
    """Say how both kinds are ranked."""
    seen, new = kinds
    return f"Of the people evaluated, {seen.words} and {new.words}."


def warnings_of_new(kinds: Kinds) -> Iterator[str]:
    """Warn where new people are ranked worse, beyond chance."""
    seen, new = (kind.found for kind in kinds)
    if seen is None or new is None:
        return
    high = new.intervals.headline["auc"].high
    if new.auc < seen.auc - WORSE and high < seen.auc:
        yield (
            f"People new to the model are ranked worse (AUC {new.auc:.3f}) than those it has "
            f"learnt from (AUC {seen.auc:.3f}): trust the scores of newcomers less."
        )
