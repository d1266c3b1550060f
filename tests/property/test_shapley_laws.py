"""Laws of the tables that explain trees and of the walk of single rows, held to LightGBM's own."""

from dataclasses import dataclass

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training import shapley
from training.booster import BoosterParams, Trees
from training.nulls import with_null_branches
from training.shapley import ShapleyTables

READS = {
    "none": {"use_missing": False}, "zero": {"zero_as_missing": True}, "nan": {}, "branched": {},
}  # fmt: skip
"""The settings that make trees read null as 0, 0 as null, or null as itself.

Branched: trees that saw no null in training and were given branches for it afterwards.
"""
ZERO = float(np.float32(1e-35))
EDGES = [0.0, -0.0, ZERO, -ZERO, 1e-36, 2e-35, 5e-324, 1e308, np.inf, -np.inf, np.nan, 0.5, 1.0]


@dataclass(frozen=True)
class Model:
    """Trees grown to a depth on so many columns, reading null in one of four ways."""

    depth: int
    columns: int
    reads: str
    seed: int

    def data(self, rows: int = 400) -> np.ndarray:
        rng = np.random.default_rng(self.seed)
        matrix = rng.normal(size=(rows, self.columns)).round(1)
        awkward = rng.random(matrix.shape) < 0.3
        return np.where(awkward, rng.choice(EDGES, size=matrix.shape), matrix)

    def grown(self) -> Trees:
        matrix = self.data()
        rng = np.random.default_rng(self.seed + 1)
        finite = np.nan_to_num(matrix, nan=0.7, posinf=3, neginf=-3).clip(-3, 3)
        label = np.sin(3 * finite).sum(axis=1) + rng.normal(size=len(matrix)) > 0
        grow = {
            "objective": "binary", "max_depth": self.depth, "num_leaves": 40, "verbosity": -1,
            "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0, "num_threads": 1,
            "bagging_fraction": 0.7, "bagging_freq": 1, "learning_rate": 0.3,
        }  # fmt: skip
        settings = grow | READS[self.reads]
        if self.reads == "branched":
            matrix = np.where(np.isnan(matrix), 0.7, matrix)
        booster = lightgbm.train(settings, lightgbm.Dataset(matrix, label, params=settings), 6)
        text = booster.model_to_string()
        return Trees(with_null_branches(text) if self.reads == "branched" else text, threads=2)


MODELS = st.builds(
    Model,
    st.integers(1, 10),
    st.integers(1, 12),
    st.sampled_from(sorted(READS)),
    st.integers(0, 99),
)


def by_lightgbm(trees: Trees, matrix: np.ndarray) -> np.ndarray:
    booster = lightgbm.Booster(model_str=trees.text)
    return np.asarray(booster.predict(matrix, pred_contrib=True, num_threads=1))


def margins_by_lightgbm(trees: Trees, matrix: np.ndarray) -> np.ndarray:
    booster = lightgbm.Booster(model_str=trees.text)
    return np.asarray(booster.predict(matrix, raw_score=True, num_threads=1))


def one_by_one(trees: Trees, matrix: np.ndarray) -> np.ndarray:
    return np.array([trees.margin(row[None])[0] for row in matrix])


def near_thresholds(trees: Trees, matrix: np.ndarray) -> np.ndarray:
    """Put values of `matrix` exactly on, or next to, the thresholds of the column's splits."""
    tables = ShapleyTables.from_text(trees.text, 0.0)
    found, rng = matrix.copy(), np.random.default_rng(0)
    for column, threshold in zip(tables.feature, tables.threshold, strict=True):
        rows = rng.integers(0, len(found), 3)
        found[rows, column] = [threshold, np.nextafter(threshold, 9), np.nextafter(threshold, -9)]
    return found


@settings(max_examples=60, deadline=None)
@given(MODELS)
def test_contributions_are_lightgbms_own(model):
    trees = model.grown()
    assert trees._tables is not None
    matrix = near_thresholds(trees, model.data())
    found, wanted = trees.contributions(matrix), by_lightgbm(trees, matrix)
    assert np.abs(found - wanted).max() < 1e-9
    assert np.abs(found.sum(axis=1) - trees.margin(matrix)).max() < 1e-9


@pytest.mark.parametrize("reads", sorted(READS))
@pytest.mark.parametrize("depth", range(1, 11))
def test_every_depth_and_every_reading_of_null(depth, reads):
    model = Model(depth, 6, reads, seed=depth)
    trees = model.grown()
    matrix = near_thresholds(trees, model.data())
    assert np.isnan(matrix).any()
    assert np.isinf(matrix).any()
    assert trees.explained_by is not None
    assert trees.explained_by.deepest == depth
    found = trees.contributions(matrix)
    assert np.abs(found - by_lightgbm(trees, matrix)).max() < 1e-9
    assert (one_by_one(trees, matrix) == margins_by_lightgbm(trees, matrix)).all()


@pytest.mark.parametrize("depth", range(1, 7))
@pytest.mark.parametrize("monotone", [None, (1, 0, -1, 0)])
def test_trees_as_the_project_grows_them(depth, monotone):
    model = Model(depth, 4, "nan", seed=depth)
    matrix = model.data(900)
    matrix[:, 1] = np.nan_to_num(matrix[:, 1], nan=2.0)  # Null is new to this column.
    label = (np.nan_to_num(matrix).clip(-3, 3).sum(axis=1) > 1).astype(np.int8)
    names = [f"column_{place}" for place in range(4)]
    params = BoosterParams(max_depth=depth, num_leaves=31, num_threads=1)
    trees = Trees.fit(matrix, label, names, params, 40, monotone=monotone)
    asked = model.data(900)[::-1]
    assert np.isnan(asked[:, 1]).any()
    assert trees.explained_by is not None
    found = trees.contributions(asked)
    assert np.abs(found - by_lightgbm(trees, asked)).max() < 1e-9
    assert np.abs(found.sum(axis=1) - trees.margin(asked)).max() < 1e-9


@settings(max_examples=30, deadline=None)
@given(MODELS, st.data())
def test_any_row_of_numbers_is_explained(model, data):
    trees = model.grown()
    values = st.one_of(st.floats(), st.sampled_from(EDGES))
    matrix = data.draw(arrays(np.float64, (3, model.columns), elements=values))
    assert np.abs(trees.contributions(matrix) - by_lightgbm(trees, matrix)).max() < 1e-9
    assert (one_by_one(trees, matrix) == margins_by_lightgbm(trees, matrix)).all()


@settings(max_examples=15, deadline=None)
@given(MODELS, st.integers(1, 1_300), st.integers(1, 5))
def test_a_rows_bits_depend_on_nothing_but_the_row(model, size, threads):
    tables = model.grown()._tables
    matrix = model.data(1_300)
    together = tables.contributions(matrix, 1)
    parts = [matrix[start : start + size] for start in range(0, len(matrix), size)]
    assert (np.concatenate([tables.contributions(part) for part in parts]) == together).all()
    assert (tables.contributions(matrix, threads) == together).all()
    assert (tables.contributions(np.asfortranarray(matrix)) == together).all()
    for row in range(0, len(matrix), 97):
        assert (tables.contributions(matrix[row : row + 1])[0] == together[row]).all()


@settings(max_examples=10, deadline=None)
@given(MODELS)
def test_the_size_of_groups_is_no_matter(model):
    trees, matrix = model.grown(), model.data()
    base = trees.contributions(matrix[:1])[0, -1]
    with pytest.MonkeyPatch.context() as patch:
        for bits in (1, 5, 11):
            patch.setattr(shapley, "BITS", bits)
            found = ShapleyTables.from_text(trees.text, base).contributions(matrix)
            assert np.abs(found - trees.contributions(matrix)).max() < 1e-12
