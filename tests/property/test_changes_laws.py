"""Laws of why a margin changed, on random contributions and on random trees."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.behavior.definitions import Count, DaysSince
from features.time import Window
from training.booster import BoosterParams, Trees
from training.changes import BASE, Cases, changes
from training.factors import gather

CODES = ("purchase_count", "days_since_purchase", "tenure_days", BASE)
WEIGHTS = st.dictionaries(st.sampled_from(CODES), st.floats(-50, 50), max_size=4)
FOUR = st.builds(Cases, WEIGHTS, WEIGHTS, WEIGHTS, WEIGHTS)
FEATURES = (
    Count("purchase", Window.parse("7d")).feature,
    Count("purchase", Window.parse("90d")).feature,
    DaysSince("purchase").feature,
)


def grown(seed: int) -> Trees:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(0, 9, (500, 3)).astype(np.float64)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    label = (np.nan_to_num(matrix) @ rng.normal(size=3) > 0).astype(np.int8)
    names = [feature.name for feature in FEATURES]
    return Trees.fit(matrix, label, names, BoosterParams(num_threads=1, seed=seed), 30)


MODELS = [grown(seed) for seed in range(3)]


def weights(trees: Trees, row: np.ndarray) -> dict[str, float]:
    found = gather(trees.contributions(row), row, FEATURES)
    codes = [reason.code for reason in found.reasons]
    return dict(zip(codes, found.sums[0].tolist(), strict=True)) | {BASE: found.by_column[-1, 0]}


def cases(old: Trees, new: Trees, then: np.ndarray, now: np.ndarray) -> Cases:
    return Cases(*(weights(trees, row) for trees in (old, new) for row in (then, now)))


@given(FOUR)
def test_data_and_model_add_up_to_the_change(four):
    found = changes(four)
    assert abs(sum(each.data + each.model for each in found) - (four.after - four.before)) < 1e-9
    for each in found:
        assert each.data + each.model == pytest.approx(each.after - each.before, abs=1e-12)
        assert each.total == each.data + each.model


@given(FOUR)
def test_told_backwards_it_is_the_opposite(four):
    back = Cases(
        four.new_model_new_data, four.new_model_old_data,
        four.old_model_new_data, four.old_model_old_data,
    )  # fmt: skip
    there = {each.code: each for each in changes(four)}
    for each in changes(back):
        assert each.data == pytest.approx(-there[each.code].data, abs=1e-12)
        assert each.model == pytest.approx(-there[each.code].model, abs=1e-12)


@given(FOUR)
def test_each_part_is_the_mean_of_both_orders(four):
    def at(case, code):
        return case.get(code, 0.0)

    for each in changes(four):
        a, b = at(four.old_model_old_data, each.code), at(four.old_model_new_data, each.code)
        c, d = at(four.new_model_old_data, each.code), at(four.new_model_new_data, each.code)
        data_first, model_first = (b - a, d - b), (d - c, c - a)
        assert each.data == pytest.approx((data_first[0] + model_first[0]) / 2, abs=1e-12)
        assert each.model == pytest.approx((data_first[1] + model_first[1]) / 2, abs=1e-12)


ROWS = st.lists(
    st.one_of(st.integers(-1, 10).map(float), st.sampled_from([np.nan, np.inf, -np.inf])),
    min_size=3, max_size=3,
).map(lambda values: np.array([values]))  # fmt: skip
TREES = st.sampled_from(MODELS)


@given(TREES, TREES, ROWS, ROWS)
def test_of_trees_it_is_the_difference_of_their_margins(old, new, then, now):
    found = changes(cases(old, new, then, now))
    moved = new.margin(now)[0] - old.margin(then)[0]
    assert abs(sum(each.total for each in found) - moved) < 1e-9


@given(TREES, ROWS, ROWS)
def test_a_model_that_stayed_did_nothing(trees, then, now):
    assert all(each.model == 0 for each in changes(cases(trees, trees, then, now)))


@given(TREES, TREES, ROWS)
def test_data_that_stayed_did_nothing(old, new, row):
    found = changes(cases(old, new, row, row))
    assert all(each.data == 0 for each in found)
    base = next(each for each in found if each.code == BASE)
    assert base.model == base.after - base.before
