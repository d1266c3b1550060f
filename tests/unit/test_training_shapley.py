"""Tables that explain trees: by hand on one tree, and what they leave to LightGBM."""

import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from tests.contracts.sources import CHECKOUT
from training import shapley
from training.booster import Trees
from training.shapley import ShapleyTables
from training.tree_text import Untabled

BASE = {"verbosity": -1, "min_data_in_leaf": 1, "min_sum_hessian_in_leaf": 0, "num_threads": 1}
HEADER = "tree\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\n"
# 8 rows: column 0 at most 1 (4 rows) gives 0; else column 1 at most 5 (3 of 4) gives 4, or 8.
TREE = """
Tree=0
num_leaves=3
num_cat=0
split_feature=0 1
threshold=1 5
decision_type=2 2
left_child=-1 -2
right_child=1 -3
leaf_value=0 4 8
leaf_count=4 3 1
internal_count=8 4
is_linear=0
"""


def grown(rows: int = 300, label: np.ndarray | None = None, **settings: object) -> Trees:
    matrix = np.random.default_rng(1).normal(size=(rows, 2)).round(1)
    categories = settings.pop("categories", "auto")
    if categories != "auto":
        matrix[:, 0] = np.arange(rows) % 7
    label = (np.arange(rows) % 7 < 3) + matrix[:, 1] if label is None else label
    data = lightgbm.Dataset(matrix, label, categorical_feature=categories, params=BASE)
    return Trees(lightgbm.train(BASE | settings, data, 5).model_to_string())


def test_a_tree_small_enough_for_paper():
    # v(none) = 2.5, v(0) = 0 or 5, v(1) = 2 or 4, v(both) = the leaf.
    found = ShapleyTables.from_text(HEADER + TREE, 2.5)
    rows = np.array([[0.0, 9.0], [2.0, 5.0], [2.0, 9.0]])
    wanted = [
        [((0 - 2.5) + (0 - 4)) / 2, ((4 - 2.5) + (0 - 0)) / 2, 2.5],
        [((5 - 2.5) + (4 - 2)) / 2, ((2 - 2.5) + (4 - 5)) / 2, 2.5],
        [((5 - 2.5) + (8 - 4)) / 2, ((4 - 2.5) + (8 - 5)) / 2, 2.5],
    ]
    assert found.contributions(rows) == pytest.approx(np.array(wanted), abs=1e-15)


@pytest.mark.parametrize(
    ("decision_type", "right"),
    # Bit 1: null goes left. Bits 2 and 3: null is read as 0, or 0 as null, or as itself.
    [(2, []), (0, []), (4, [0, 1]), (6, []), (8, [1]), (10, [])],
)
def test_where_zero_and_null_go(decision_type, right):
    text = HEADER + TREE.replace("decision_type=2 2", f"decision_type={decision_type} 2")
    found = ShapleyTables.from_text(text, 2.5).contributions([[0.0, 5.0], [np.nan, 5.0]])
    assert [row for row in range(2) if found[row, 0] > 0] == right


@pytest.mark.parametrize(("threshold", "goes"), [("-1", "right"), ("0", "left"), ("1", "left")])
def test_null_without_a_branch_of_its_own_goes_where_zero_goes(threshold, goes):
    text = TREE.replace("threshold=1 5", f"threshold={threshold} 5")
    found = ShapleyTables.from_text(
        HEADER + text.replace("decision_type=2 2", "decision_type=0 2"), 0
    )
    null, zero = found.contributions([[np.nan, 5.0], [0.0, 5.0]])
    assert (null == zero).all()
    assert (null[0] > 0) == (goes == "right")


def test_trees_that_never_split_give_the_base_alone():
    trees = grown(label=np.ones(300), objective="regression")
    assert (trees.contributions(np.zeros((2, 2))) == [[0, 0, 1], [0, 0, 1]]).all()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"categories": [0], "min_data_per_group": 1}, "Categorical splits"),
        ({"num_leaves": 200, "max_depth": -1, "objective": "l2"}, "tables reach 3"),
        ({"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1}, "Not one margin"),
    ],
)
def test_what_tables_cannot_explain_lightgbm_does(settings, reason, monkeypatch):
    monkeypatch.setattr(shapley, "MOST_BITS", 3 if "reach" in reason else 12)
    trees = grown(**settings)
    with pytest.raises(Untabled, match=reason):
        ShapleyTables.from_text(trees.text, 0.0)
    matrix = np.array([[1.0, 0.3], [6.0, np.nan]])
    wanted = lightgbm.Booster(model_str=trees.text).predict(matrix, pred_contrib=True)
    assert (trees.contributions(matrix) == wanted).all()


def test_linear_trees_are_refused():
    trees = grown(linear_tree=True)
    with pytest.raises(Untabled, match="linear leaves"):
        ShapleyTables.from_text(trees.text, 0.0)


def test_tables_too_large_to_keep_are_refused(monkeypatch):
    monkeypatch.setattr(shapley, "MOST_CELLS", 50)
    with pytest.raises(Untabled, match="more than 50 numbers"):
        ShapleyTables.from_text(grown().text, 0.0)


def test_rows_of_another_width_are_refused_as_ever():
    with pytest.raises(lightgbm.basic.LightGBMError, match="number of features"):
        grown().contributions(np.zeros((1, 3)))


def test_it_compiles_where_nothing_can_be_kept():
    code = (
        "import sys, numba.core.caching as caching;"
        "caching.CacheImpl._locator_classes = [];"
        "caching.CodeLibraryCacheImpl._locator_classes = [];"
        "import training.shapley as s, numpy as np;"
        "print(s.ShapleyTables.from_text(sys.argv[1], 2.5).contributions(np.zeros((1, 2))).sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, HEADER + TREE],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == "0.0", done.stderr
