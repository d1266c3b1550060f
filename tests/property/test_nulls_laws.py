"""Nulls that training has not seen: they go with the larger part, and nothing else changes."""

from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.booster import Trees
from training.nulls import with_null_branches

SOME_NULL = 2
"""The one column of the data below that holds nulls."""


def data(seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 4)).round(1)
    matrix[:, 0] = rng.exponential(50, rows)
    label = np.sin(matrix).sum(axis=1) + rng.normal(size=rows) > 0
    matrix[rng.random(rows) < 0.2, SOME_NULL] = np.nan
    return matrix, label


def plain(seed: int, depth: int, **more: Any) -> str:
    """Return LightGBM's own text of trees on that data."""
    matrix, label = data(seed)
    params = {
        "objective": "binary", "max_depth": depth, "num_leaves": 12, "verbosity": -1, "seed": seed,
        "min_data_in_leaf": 2, "num_threads": 1, "bagging_fraction": 0.7, "bagging_freq": 1,
    }  # fmt: skip
    params |= more
    return lightgbm.train(params, lightgbm.Dataset(matrix, label), 8).model_to_string()


def with_nulls(seed: int) -> np.ndarray:
    matrix, _ = data(seed + 1)
    rng = np.random.default_rng(seed)
    return np.where(rng.random(matrix.shape) < 0.4, np.nan, matrix)


def walked(text: str, row: np.ndarray) -> float:
    """Return a row's margin, tree by tree; null in a column without nulls takes the larger side."""

    def rows(node: dict[str, Any]) -> int:
        return int(node.get("internal_count", node.get("leaf_count", 0)))

    def value(node: dict[str, Any]) -> float:
        if "split_index" not in node:
            return float(node["leaf_value"])
        left, right, x = node["left_child"], node["right_child"], row[node["split_feature"]]
        if not np.isnan(x):
            return value(left if x <= node["threshold"] else right)
        if node["split_feature"] == SOME_NULL:
            return value(left if node["default_left"] else right)
        return value(left if rows(left) >= rows(right) else right)

    model = lightgbm.Booster(model_str=text).dump_model()
    return sum(value(tree["tree_structure"]) for tree in model["tree_info"])


CASES = given(st.integers(0, 50), st.integers(1, 6))


@settings(max_examples=25)
@CASES
def test_a_null_of_later_goes_with_the_larger_part(seed, depth):
    text = plain(seed, depth)
    matrix = with_nulls(seed)
    expected = [walked(text, row) for row in matrix[:40]]
    assert Trees(with_null_branches(text)).margin(matrix[:40]) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=25)
@CASES
def test_rows_like_those_of_the_training_keep_their_bits(seed, depth):
    text = plain(seed, depth)
    matrix, _ = data(seed + 1)
    matrix[::7, 0], matrix[1::7, 1], matrix[2::7, 3] = np.inf, -np.inf, 0.0
    assert (Trees(with_null_branches(text)).margin(matrix) == Trees(text).margin(matrix)).all()


@settings(max_examples=25)
@CASES
def test_reasons_see_nulls_as_scores_do(seed, depth):
    trees = Trees(with_null_branches(plain(seed, depth)))
    assert trees._tables is not None
    matrix = with_nulls(seed)
    found = trees.contributions(matrix)
    booster = lightgbm.Booster(model_str=trees.text)
    assert np.abs(found - booster.predict(matrix, pred_contrib=True)).max() < 1e-9
    assert np.abs(found.sum(axis=1) - trees.margin(matrix)).max() < 1e-9


@settings(max_examples=10)
@CASES
def test_the_text_is_one_that_lightgbm_would_write(seed, depth):
    text = with_null_branches(plain(seed, depth))
    again = lightgbm.Booster(model_str=text).model_to_string()
    assert again.split("\nparameters:")[0] == text.split("\nparameters:")[0]
    assert with_null_branches(text) == text


def test_a_split_that_has_a_rule_for_null_keeps_it():
    zero = plain(1, 4, zero_as_missing=True)
    assert with_null_branches(zero) == zero


def test_trees_of_one_leaf_stay_as_they_are():
    text = plain(1, 4, min_data_in_leaf=300)
    assert with_null_branches(text) == text
