"""Leaving out features that say nothing, and saying which.

On the fit rows: columns without any value, with one value alone, or equal to an earlier column.
Then columns from which trees gain no more than they gain from them when outcomes are shuffled (null
importance, Altmann et al. 2010), but these only together, and only where the model without them
does no worse by log-loss on the calibration rows. Evaluation rows are never given to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.booster import BoosterParams, Rehearsal, Trees
from training.dataset import Dataset
from training.split import person_fraction

Floats = NDArray[np.float64]

SHUFFLES, ROUNDS, RATE = 3, 100, 0.1
"""Trainings on shuffled outcomes, their trees, and their learning rate."""
ENOUGH = 50_000
"""Rows that gains are measured on; people are left out, whole, where there are more."""


@dataclass(frozen=True)
class Dropped:
    """A feature left out, and why; what trees gained from it, and at most by chance."""

    name: str
    label: str
    why: str
    gain: float | None = None
    by_chance: float | None = None


@dataclass(frozen=True)
class Selection:
    """The places of the columns kept, and what was dropped, in the order of columns."""

    kept: tuple[int, ...]
    dropped: tuple[Dropped, ...]

    @property
    def sentence(self) -> str:
        """What was left out, in short."""
        if not self.dropped:
            return f"Feature selection: all {len(self.kept)} features stay."
        shown = ", ".join(f"{each.name} ({each.why})" for each in self.dropped[:5])
        more = f" and {len(self.dropped) - 5} more" if len(self.dropped) > 5 else ""
        total = len(self.kept) + len(self.dropped)
        return f"Feature selection: {len(self.dropped)} of {total} left out: {shown}{more}."

    @property
    def reasons(self) -> dict[str, str]:
        """Why each dropped feature was, by name."""
        return {each.name: each.why for each in self.dropped}

    @property
    def pages(self) -> dict[str, str]:
        """The features dropped as a table, by file name."""
        sink = io.StringIO()
        rows = csv.writer(sink, lineterminator="\n")
        rows.writerow(["feature", "label", "why", "gain", "gain_by_chance"])
        rows.writerows([d.name, d.label, d.why, d.gain, d.by_chance] for d in self.dropped)
        return {"selection.csv": sink.getvalue()}


def select(
    fit: Dataset,
    later: Dataset,
    params: BoosterParams,
    say: Callable[[str], None] = lambda text: None,
) -> Selection:
    """Return which columns of the fit rows are worth keeping; at least one always is.

    `params` are settled; `later` are the calibration rows.
    """
    say(f"Selecting of {len(fit.features)} features")
    dropped = _plainly_useless(fit)
    kept = [place for place in range(len(fit.features)) if place not in dropped]
    if not kept:
        return Selection((0,), tuple(each for place, each in dropped.items() if place))
    weak = _weak(fit, kept, params)
    strong = [place for place in kept if place not in weak]
    if weak and strong and _loss(fit, later, strong, params) <= _loss(fit, later, kept, params):
        dropped, kept = dropped | weak, strong
    return Selection(tuple(kept), tuple(dropped[place] for place in sorted(dropped)))


def narrowed(dataset: Dataset, kept: tuple[int, ...]) -> Dataset:
    """Return the dataset with the columns `kept` alone."""
    features = tuple(dataset.features[place] for place in kept)
    return replace(dataset, features=features, matrix=dataset.matrix[:, list(kept)])


def _plainly_useless(fit: Dataset) -> dict[int, Dropped]:
    """Return the columns that cannot say anything, or nothing that an earlier one does not."""
    found: dict[int, Dropped] = {}
    seen: dict[bytes, int] = {}
    for place, feature in enumerate(fit.features):
        column = fit.matrix[:, place]
        null = np.isnan(column)
        same = seen.setdefault(np.where(null, np.nan, column + 0.0).tobytes(), place)
        if null.all():
            why = "never known"
        elif not null.any() and (column == column[0]).all():
            why = "the same for everyone"
        elif same != place:
            why = f"equal to {fit.names[same]}"
        else:
            continue
        found[place] = Dropped(feature.name, feature.label, why)
    return found


def _weak(fit: Dataset, kept: list[int], params: BoosterParams) -> dict[int, Dropped]:
    """Return the columns from which trees gain no more than from them by chance."""
    rows = fit
    if len(fit.label) > ENOUGH:
        rows = fit.rows(person_fraction(fit.person, salt=3) < ENOUGH / len(fit.label))
    part = narrowed(rows, tuple(kept))
    how = replace(params, learning_rate=RATE)
    rng = np.random.default_rng(params.seed)

    def gain(label: NDArray[np.int8]) -> Floats:
        return Trees.fit(part.matrix, label, part.names, how, ROUNDS).gain

    found = gain(part.label)
    chance = np.max([gain(rng.permutation(part.label)) for _ in range(SHUFFLES)], axis=0)
    return {
        place: Dropped(
            fit.names[place], fit.features[place].label, "no more than chance",
            float(found[number]), float(chance[number]),
        )
        for number, place in enumerate(kept) if found[number] <= chance[number]
    }  # fmt: skip


def _loss(fit: Dataset, later: Dataset, kept: list[int], params: BoosterParams) -> float:
    """Return the log-loss on later rows of trees fitted on these columns."""
    some, judged = narrowed(fit, tuple(kept)), narrowed(later, tuple(kept))
    stage = Rehearsal(some.matrix, some.label, judged.matrix, judged.label, params)
    return float(stage.losses(params, lambda rounds, loss: None)[1].mean())
