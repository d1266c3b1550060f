"""Leak lint: features that know the outcome, found before the figures are believed.

A feature may know the outcome because it was written by it, or after it, and dated too early. No
rule of time can see that, but the figures can. Two signs are looked for:

- **alone**: one feature alone ranks people almost perfectly (AUC of .95 or more). The run fails.
- **drop**: without one reason the model's AUC falls by .10 or more. The report warns first of all.

What is dropped is a reason, not a column: the windows of one behaviour and the values of one
attribute say nearly the same, so that without one of them the others would hide the leak. It is
not all that is known of an event type: without any of it, honest models fall as well.

`training.allow` names features that are right all the same, and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.booster import BoosterParams, Trees
from training.dataset import Dataset
from training.errors import LeakFound, UnknownFeature
from training.evaluation import auc
from training.factors import Reason, reasons_of
from training.split import person_fraction

Floats = NDArray[np.float64]

ALONE = 0.95
"""From this AUC on, a feature alone is taken for a leak."""
DROP = 0.10
"""A reason that the model loses so much AUC without is pointed out."""
ENOUGH = 50_000
"""Rows that a figure is computed from; people are left out, whole, where there are more."""
SHUFFLED = 10_000
"""Rows on which reasons are shuffled, to choose those worth a fit."""
MOST_ROUNDS, LARGEST_STEP = 200, 0.1
"""Trees of a fit without a reason, and the learning rate that makes up for fewer than the model's.
"""
MOST_SHUFFLED, MOST_FITS = 10, 5
"""Reasons that are shuffled, by what the trees gain from them, and that a model is fitted without:
more cannot each be worth so much."""


@dataclass(frozen=True)
class Suspect:
    """A feature, or all features of a reason, and what makes it suspicious.

    `name` is what `training.allow` calls it; `auc` that of the feature alone, or of the model where
    `without` says what the model manages without it. `allowed` is the reason given, if any.
    """

    name: str
    label: str
    auc: float
    without: float | None = None
    allowed: str = ""

    @property
    def words(self) -> str:
        """What was found, in a sentence."""
        what = f"{self.name} ({self.label})"
        if self.without is None:
            found = f"{what} alone tells who has the outcome (AUC {self.auc:.3f})"
        else:
            found = (
                f"The model leans on {what}: AUC {self.auc:.3f} with it, {self.without:.3f} without"
            )
        if self.allowed:
            return f"{found}. Allowed by training.allow: {self.allowed}"
        return f"{found}. Make sure that it is known before the outcome, not written by it."


def alone_aucs(dataset: Dataset) -> dict[str, float]:
    """Return each feature's AUC alone, highest first: .5 says nothing, 1 says all.

    Every person weighs the same, however many rows they have. A feature ranks whichever way it
    does better, with null as a value of its own, before or after all others. The yes/no columns
    of one attribute are one feature, under the name of their reason, whose values rank by their
    outcome rate. Raises `OneClassError`.
    """
    found = {name: figure for name, _, figure in _alone(_fewer(dataset, ENOUGH))}
    return dict(sorted(found.items(), key=lambda each: (-each[1], each[0])))


def check_alone(dataset: Dataset, allow: Mapping[str, str], goal: str) -> tuple[Suspect, ...]:
    """Return the allowed features that alone tell the outcome; raise `LeakFound` for any other.

    `allow` is feature, or reason, to why it is right. Raises `UnknownFeature` for a name that is
    neither.
    """
    excused = _excused(dataset, allow)
    suspects = [
        Suspect(name, _label(dataset, columns), figure, allowed=_excuse(columns, excused))
        for name, columns, figure in _alone(_fewer(dataset, ENOUGH))
        if figure >= ALONE
    ]
    suspects.sort(key=lambda each: -each.auc)
    if leaks := [each for each in suspects if not each.allowed]:
        raise LeakFound.among({each.name: each.auc for each in leaks}, goal, ALONE)
    return tuple(suspects)


def drops(
    fit: Dataset,
    evaluation: Dataset,
    trees: Trees,
    params: BoosterParams,
    allow: Mapping[str, str],
) -> tuple[Suspect, ...]:
    """Return the reasons without which the AUC on the evaluation rows falls most, from .10 on.

    `trees` were fitted on `fit` with `params`. As many trees, but at most 200 in larger steps, are
    fitted with and without a reason, where shuffling it costs half of that or more: a fit without
    it does better than noise in its place. Raises `UnknownFeature` as `check_alone` does.
    """
    excused = _excused(evaluation, allow)
    judged = _fewer(evaluation, ENOUGH)
    candidates = _candidates(_fewer(judged, SHUFFLED), trees, params.seed)
    if not candidates:
        return ()
    rows = _fewer(fit, ENOUGH)
    if len(rows.label) < len(fit.label) or trees.rounds > MOST_ROUNDS:
        params, rounds = _quicker(params, trees.rounds)
        trees = _grown(rows, params, rounds)
    whole = auc(judged.label, trees.margin(judged.matrix))
    found = []
    for reason in candidates:
        others = [place for place in range(len(fit.features)) if place not in reason.columns]
        fewer = _grown(_columns(rows, others), params, trees.rounds)
        left = auc(judged.label, fewer.margin(judged.matrix[:, others]))
        if whole - left >= DROP:
            excuse = _excuse(reason.columns, excused)
            found.append(Suspect(_name(fit, reason), reason.label, whole, left, excuse))
    return tuple(sorted(found, key=lambda each: each.without or 0.0))


# Alone -------------------------------------------------------------------------------------------


def _alone(dataset: Dataset) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """Yield name, columns and AUC of what can be judged alone."""
    _, person, rows = np.unique(dataset.person, return_inverse=True, return_counts=True)
    weight = 1.0 / rows[person]
    for reason in reasons_of(dataset.features):
        if reason.one_hot and len(reason.columns) > 1:
            rates = _rates(dataset.matrix[:, reason.columns], dataset.label, weight)
            yield reason.code, reason.columns, auc(dataset.label, rates, weight)
            continue
        for column in reason.columns:
            found = _either_way(dataset.matrix[:, column], dataset.label, weight)
            yield dataset.names[column], (column,), found


def _either_way(values: Floats, label: NDArray[np.int8], weight: Floats) -> float:
    null = np.isnan(values)
    # The greatest of a column's values is that of null, unless it is put before all others.
    ways = [values, np.where(null, -np.inf, values)] if null.any() else [values]
    found = [auc(label, way, weight) for way in ways]
    return max(*found, *(1.0 - each for each in found))


def _rates(columns: Floats, label: NDArray[np.int8], weight: Floats) -> Floats:
    """Return, for each row, the outcome rate of the rows with its value."""
    value = np.where((columns == 1).any(axis=1), (columns == 1).argmax(axis=1) + 1, 0)
    with_outcome = np.bincount(value, weights=weight * label)
    rates: Floats = with_outcome[value] / np.bincount(value, weights=weight)[value]
    return rates


# Drop --------------------------------------------------------------------------------------------


def _candidates(sample: Dataset, trees: Trees, seed: int) -> list[Reason]:
    """Return the reasons that cost most when shuffled, of those that cost enough."""
    reasons, gain = reasons_of(sample.features), trees.gain
    whole = auc(sample.label, trees.margin(sample.matrix))
    if len(reasons) == 1 or whole - 0.5 < DROP:
        return []
    largest = sorted(reasons, key=lambda each: (-float(gain[[*each.columns]].sum()), each.code))
    order = np.random.default_rng(seed).permutation(len(sample.label))
    costs = []
    for reason in largest[:MOST_SHUFFLED]:
        matrix, columns = sample.matrix.copy(), list(reason.columns)
        matrix[:, columns] = sample.matrix[order][:, columns]
        costs.append((whole - auc(sample.label, trees.margin(matrix)), reason))
    enough = [(cost, reason) for cost, reason in costs if cost >= DROP / 2]
    enough.sort(key=lambda each: -each[0])
    return [reason for _, reason in enough[:MOST_FITS]]


def _grown(dataset: Dataset, params: BoosterParams, rounds: int) -> Trees:
    return Trees.fit(dataset.matrix, dataset.label, dataset.names, params, rounds)


def _quicker(params: BoosterParams, rounds: int) -> tuple[BoosterParams, int]:
    """Return parameters under which at most 200 trees learn about as much as `rounds` do."""
    fewer = min(rounds, MOST_ROUNDS)
    step = (params.learning_rate or LARGEST_STEP) * rounds / fewer
    largest = max(LARGEST_STEP, params.learning_rate or 0.0)
    return replace(params, learning_rate=min(step, largest)), fewer


def _columns(dataset: Dataset, kept: list[int]) -> Dataset:
    features = tuple(dataset.features[place] for place in kept)
    return replace(dataset, features=features, matrix=dataset.matrix[:, kept])


def _fewer(dataset: Dataset, most: int) -> Dataset:
    """Return about `most` rows, of whole people, where there are more."""
    if len(dataset.label) <= most:
        return dataset
    kept = person_fraction(dataset.person, salt=2) < most / len(dataset.label)
    sample = dataset.rows(kept)
    return sample if 0 < sample.label.sum() < len(sample.label) else dataset


# Allowed -----------------------------------------------------------------------------------------


def allowed_of(dataset: Dataset, allow: Mapping[str, str]) -> dict[str, str]:
    """Return what of `allow` names features, or reasons, that the dataset still has."""
    known = {*dataset.names, *(reason.code for reason in reasons_of(dataset.features))}
    return {name: why for name, why in allow.items() if name in known}


def _excused(dataset: Dataset, allow: Mapping[str, str]) -> dict[int, str]:
    """Return, by column, why it is right; raise `UnknownFeature`."""
    known = {reason.code: reason.columns for reason in reasons_of(dataset.features)}
    known |= {name: (column,) for column, name in enumerate(dataset.names)}
    excused: dict[int, str] = {}
    for name, why in allow.items():
        if name not in known:
            raise UnknownFeature.named(name, list(known), "training.allow: ")
        excused |= dict.fromkeys(known[name], why)
    return excused


def _excuse(columns: tuple[int, ...], excused: Mapping[int, str]) -> str:
    """Return why all of `columns` are right, or nothing where one of them is not excused."""
    found = [excused.get(column, "") for column in columns]
    return "; ".join(dict.fromkeys(found)) if all(found) else ""


def _label(dataset: Dataset, columns: tuple[int, ...]) -> str:
    first = dataset.features[columns[0]]
    return first.label if len(columns) == 1 else first.reason_label


def _name(dataset: Dataset, reason: Reason) -> str:
    return dataset.names[reason.columns[0]] if len(reason.columns) == 1 else reason.code
