"""Gradient boosted trees: the only importer of LightGBM.

Trees are kept as their text, so what is trained, stored, hashed and served is one thing. Training
is deterministic for given rows, parameters and thread count; no class weights (they ruin the
probabilities), no zero_as_missing and no linear trees (their contributions are wrong or missing).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from features.errors import SettingsError
from training.nulls import with_null_branches
from training.split import person_fraction

if TYPE_CHECKING:
    from training.shapley import ShapleyTables
    from training.walking import Walk

Floats = NDArray[np.float64]

DEEPEST = 6
FOLDS = 5
SMALL = 20_000
"""Below this many rows each fifth of the people validates in turn: one fifth would be noise.

Fewer rows also train on one thread: the trees are the same, and threads that wait for each other
on a busy machine can take many times as long.
"""
SAMPLED = 200_000
"""Rows that columns are binned by, where there are more. Nulls are looked for in every row."""
BLOCK = 50_000
MANY = 50_000
"""From this many rows on trees are grown in larger, fewer steps."""


@dataclass(frozen=True)
class BoosterParams:
    """How to grow the trees. The defaults are for small, noisy, strongly correlated features.

    `min_data_in_leaf` None grows with the square root of the rows, from 20 to 200. `max_depth` is
    1 to 6, since explaining a tree costs with the square of its depth. Every tree sees all columns:
    of one that it did not see, those that go along with it would be the reason (ADR 0017).
    `num_threads` is a setting and never the machine's, because the stored text names it.
    `learning_rate` None is settled by `settled`.
    """

    learning_rate: float | None = None
    num_leaves: int = 8
    max_depth: int = 5
    min_data_in_leaf: int | None = None
    bagging_fraction: float = 0.7
    lambda_l2: float = 1.0
    max_rounds: int = 2_000
    early_stopping_rounds: int = 100
    seed: int = 7
    num_threads: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.max_depth <= DEEPEST:
            raise SettingsError(
                f"max_depth is {self.max_depth}.",
                hint=f"Choose 1 to {DEEPEST}: deeper trees cost too much to explain.",
                max_depth=self.max_depth,
            )

    def settled(self, rows: int) -> BoosterParams:
        """Return the parameters for a goal with `rows` rows in all, the learning rate settled.

        Few rows learn slowly, since each tree is mostly noise; many learn in fewer, larger steps.
        It is settled once a goal: the number of trees is found on fewer rows than it is used on.
        """
        if self.learning_rate is not None:
            return self
        many = rows >= MANY
        patience = self.early_stopping_rounds // 2 if many else self.early_stopping_rounds
        return replace(self, learning_rate=0.05 if many else 0.02, early_stopping_rounds=patience)

    def settings(self, rows: int) -> dict[str, Any]:
        """Return LightGBM's parameters for a training on `rows` rows."""
        scaled = int(np.clip(np.sqrt(rows) / 3, 20, 200))
        leaf = scaled if self.min_data_in_leaf is None else self.min_data_in_leaf
        return {
            "objective": "binary",
            "learning_rate": self.settled(rows).learning_rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": leaf,
            "bagging_fraction": self.bagging_fraction,
            "bagging_freq": 1 if self.bagging_fraction < 1 else 0,
            "lambda_l2": self.lambda_l2,
            "seed": self.seed,
            "num_threads": 1 if rows < SMALL else self.num_threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


@dataclass(frozen=True)
class Trees:
    """A trained booster. Equal when the text is equal.

    A null in a column that had none in training follows the larger part of the training rows.
    """

    text: str
    threads: int = field(default=2, compare=False)

    @classmethod
    def fit(
        cls,
        matrix: Floats,
        label: NDArray[np.int8],
        names: Sequence[str],
        params: BoosterParams,
        rounds: int,
        *,
        monotone: Sequence[int] | None = None,
    ) -> Trees:
        """Train `rounds` trees on `matrix` (rows, features), NaN = null, against 0/1 labels.

        `monotone` holds -1, 0 or 1 per feature. Raises nothing on constant or all-null columns.
        """
        lightgbm = _lightgbm()

        settings = _settings(params, matrix, monotone)
        data = _data(matrix, label, names, settings)
        booster = lightgbm.train(settings, data, num_boost_round=rounds)
        return cls(with_null_branches(booster.model_to_string()), params.num_threads)

    def margin(self, matrix: Floats) -> Floats:
        """Return the raw log-odds (n,) of rows (n, features): one row gives a batch's bits."""
        if len(matrix) == 1:
            return np.array([self.margin_of_one(matrix[0])])
        return self._margin(matrix)

    def margin_of_one(self, row: Floats) -> float:
        """Return the raw log-odds of one row (features,), with the bits that a batch gives it."""
        if (walk := self._walk) and len(row) == walk.width:
            return walk.margin(row)
        return float(self._margin(row[None])[0])

    def _margin(self, matrix: Floats) -> Floats:
        raw = self._predict(matrix, raw_score=True)
        return raw.reshape(len(matrix))

    def contributions(self, matrix: Floats) -> Floats:
        """Return Shapley contributions (n, features + 1) to the margin; the last is the base.

        Path-dependent TreeSHAP (Lundberg et al. 2020), in float64: by tables, or by LightGBM itself
        where tables cannot. One row gives a batch's bits. The first call makes the tables.
        """
        tables = self._tables
        if tables is not None and matrix.shape[1] == tables.width:
            return tables.contributions(matrix, self.threads)
        raw = self._predict(matrix, pred_contrib=True)
        return raw.reshape(len(matrix), matrix.shape[1] + 1)

    @property
    def explained_by(self) -> ShapleyTables | None:
        """The tables that explain these trees; None where LightGBM's own method does."""
        return self._tables

    @property
    def rounds(self) -> int:
        """The number of trees."""
        return int(self._booster.num_trees())

    @property
    def gain(self) -> Floats:
        """What the splits on each column gained in training, summed over all trees."""
        return np.asarray(self._booster.feature_importance("gain"), dtype=np.float64)

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the trees alone: the same for any number of threads."""
        return hashlib.sha256(self.text.split("\nparameters:")[0].encode()).hexdigest()

    @classmethod
    def from_text(cls, text: str, threads: int = 2) -> Trees:
        """Read trees back from their text; margins are the same to the bit."""
        return cls(text, threads)

    @cached_property
    def _booster(self) -> Any:
        lightgbm = _lightgbm()

        return lightgbm.Booster(model_str=self.text)

    @cached_property
    def _walk(self) -> Walk | None:
        # Imported here: the compiler takes half a second, and few commands score single rows.
        from training.tree_text import Untabled
        from training.walking import Walk

        try:
            return Walk.from_text(self.text)
        except Untabled:
            return None

    @cached_property
    def _tables(self) -> ShapleyTables | None:
        # Imported here: the compiler takes most of a second, and few commands explain.
        from training.shapley import ShapleyTables
        from training.tree_text import Untabled

        row = np.zeros((1, int(self._booster.num_feature())))
        base = self._predict(row, pred_contrib=True).ravel()[-1]
        try:
            return ShapleyTables.from_text(self.text, float(base))
        except Untabled:
            return None

    def _predict(self, matrix: Floats, **how: bool) -> Floats:
        if len(matrix) == 0:
            width = int(self._booster.num_feature())
            return np.zeros((0, width + 1) if "pred_contrib" in how else 0)
        # Threads only cost time on few rows, and a server's workers must not fight over cores.
        threads = 1 if len(matrix) < 64 else self.threads
        plain = np.ascontiguousarray(matrix, dtype=np.float64)
        return np.asarray(self._booster.predict(plain, num_threads=threads, **how))


class Rehearsal:
    """Fit rows, and rows to judge by, binned once for trials of many parameters."""

    def __init__(
        self,
        matrix: Floats,
        label: NDArray[np.int8],
        judged: Floats,
        outcome: NDArray[np.int8],
        params: BoosterParams,
    ) -> None:
        names = [f"column_{number}" for number in range(matrix.shape[1])]
        # Without the filter the same bins serve for leaves of any size.
        settings = _settings(params, matrix, None) | {"feature_pre_filter": False}
        self._rows, self._judged, self._outcome = len(matrix), judged, outcome
        self._fit = _data(matrix, label, names, settings)
        plain = np.ascontiguousarray(judged, dtype=np.float64)
        self._later = self._fit.create_valid(plain, outcome)

    def leaf_of(self, params: BoosterParams) -> int:
        """Return the fewest rows of a leaf under `params`."""
        return int(params.settings(self._rows)["min_data_in_leaf"])

    def losses(
        self, params: BoosterParams, watch: Callable[[int, float], None]
    ) -> tuple[int, Floats]:
        """Fit; return the best number of trees and the log-loss of each judged row with them.

        `watch` is told the rounds so far and their mean log-loss; what it raises ends the fit.
        """
        lightgbm = _lightgbm()

        def each(env: Any) -> None:
            watch(env.iteration + 1, float(env.evaluation_result_list[0][2]))

        booster = lightgbm.train(
            params.settings(self._rows) | {"metric": "binary_logloss", "feature_pre_filter": False},
            self._fit,
            params.max_rounds,
            valid_sets=[self._later],
            callbacks=[each, lightgbm.early_stopping(params.early_stopping_rounds, verbose=False)],
        )
        rounds = int(booster.best_iteration)
        margin = np.asarray(booster.predict(self._judged, num_iteration=rounds, raw_score=True))
        return rounds, np.logaddexp(0.0, np.where(self._outcome == 1, -margin, margin))


def choose_rounds(
    matrix: Floats,
    label: NDArray[np.int8],
    person: NDArray[np.int64],
    params: BoosterParams,
    *,
    monotone: Sequence[int] | None = None,
) -> int:
    """Return the number of trees that does best, by log-loss, on people left out of the fit.

    A fifth of the people validates; below 20,000 rows every fifth does in turn and the mean counts.
    The answer is for all rows given: trees on a quarter more rows can bear some more rounds.
    """
    lightgbm = _lightgbm()

    fold = (person_fraction(person, salt=1) * FOLDS).astype(np.int64)
    turns = range(FOLDS if len(label) < SMALL else 1)
    folds = [(np.flatnonzero(fold != turn), np.flatnonzero(fold == turn)) for turn in turns]
    folds = [part for part in folds if all(_both_kinds(label[rows]) for rows in part)]
    if not folds:
        return max(1, params.max_rounds // 20)
    settings = _settings(params, matrix, monotone) | {"metric": "binary_logloss"}
    names = [f"column_{number}" for number in range(matrix.shape[1])]
    found: dict[str, Any] = lightgbm.cv(
        settings,
        _data(matrix, label, names, settings),
        num_boost_round=params.max_rounds,
        folds=folds,
        callbacks=[lightgbm.early_stopping(params.early_stopping_rounds, verbose=False)],
    )
    best = len(found["valid binary_logloss-mean"])
    return min(params.max_rounds, best + best // 10)


def _lightgbm() -> Any:
    """Import LightGBM with threads that sleep while they wait.

    Its threads spin by default: with another busy process on the machine, many times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    return lightgbm


def _settings(
    params: BoosterParams, matrix: Floats, monotone: Sequence[int] | None
) -> dict[str, Any]:
    settings = params.settings(len(matrix))
    if monotone is not None:
        settings["monotone_constraints"] = list(monotone)
    return settings


def _data(
    matrix: Floats, label: NDArray[np.int8], names: Sequence[str], settings: dict[str, Any]
) -> Any:
    """Return rows as LightGBM takes them, binned by a sample where they are many.

    LightGBM would draw the sample itself, and read a null as 0 in a column that shows none in it.
    """
    lightgbm = _lightgbm()

    plain = np.ascontiguousarray(matrix, dtype=np.float64)
    if len(plain) <= SAMPLED:
        return lightgbm.Dataset(plain, label, feature_name=list(names), params=settings)
    rows = rows_to_bin_by(plain, SAMPLED, settings["seed"])
    # What is rare in the sample may still be enough for a leaf of the whole: keep every column.
    how = settings | {"bin_construct_sample_cnt": len(rows), "feature_pre_filter": False}
    bins = lightgbm.Dataset(plain[rows], label[rows], feature_name=list(names), params=how)
    return lightgbm.Dataset(plain, label, reference=bins.construct(), params=how)


def rows_to_bin_by(matrix: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """Return `count` rows drawn by `seed`, and one with a null of each column that lacks it there.

    So every column with a null in any row has one in the sample, and nulls their own branch.
    """
    drawn = np.random.default_rng(seed).choice(len(matrix), count, replace=False, shuffle=False)
    starts = range(0, len(matrix), BLOCK)
    nulls = np.any([np.isnan(matrix[at : at + BLOCK]).any(axis=0) for at in starts], axis=0)
    sample = np.sort(drawn)
    seen = np.any(
        [np.isnan(matrix[sample[at : at + BLOCK]]).any(axis=0) for at in range(0, count, BLOCK)],
        axis=0,
    )
    rare = [int(np.isnan(matrix[:, place]).argmax()) for place in np.flatnonzero(nulls & ~seen)]
    return np.union1d(sample, np.array(rare, dtype=np.int64))


def _both_kinds(label: NDArray[np.int8]) -> bool:
    return 0 < int(label.sum()) < len(label)
