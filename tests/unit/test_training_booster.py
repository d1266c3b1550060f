"""Trees: repeatable, the same bits alone and in a batch, robust on small noisy data."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from lightgbm.basic import LightGBMError
from sklearn.metrics import roc_auc_score

from features.errors import SettingsError
from training.booster import BoosterParams, Trees, choose_rounds, rows_to_bin_by

NAMES = [f"column_{number}" for number in range(12)]
QUICK = BoosterParams(max_rounds=200, early_stopping_rounds=30, num_threads=1)


def noisy(rows: int, seed: int):
    """Return 12 columns, 9 of them noise, some null, and outcomes of about one in seven."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, 12))
    signal = matrix[:, 0] + 0.7 * np.abs(matrix[:, 1]) - 0.5 * matrix[:, 2] - 2.5
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    label = (rng.random(rows) < 1 / (1 + np.exp(-signal))).astype(np.int8)
    return matrix, label


MATRIX, LABEL = noisy(1_500, seed=1)
TREES = Trees.fit(MATRIX, LABEL, NAMES, QUICK, 60)


def test_one_row_gives_the_bits_of_the_batch():
    awkward = MATRIX[:200].copy()
    awkward[::7, 3], awkward[1::7, 4], awkward[2::7] = np.inf, -np.inf, np.nan
    margin, contributions = TREES.margin(awkward), TREES.contributions(awkward)
    for row in range(len(awkward)):
        assert TREES.margin(awkward[row : row + 1]) == margin[row]
        assert (TREES.contributions(awkward[row : row + 1])[0] == contributions[row]).all()


def test_single_rows_may_be_asked_about_by_many_threads():
    rows = [MATRIX[place : place + 1] for place in range(200)] * 10
    with ThreadPoolExecutor(8) as pool:
        found = np.concatenate(list(pool.map(TREES.margin, rows)))
    assert found.tolist() == TREES.margin(MATRIX[:200]).tolist() * 10


@pytest.mark.parametrize("width", [11, 13])
def test_a_row_of_another_width_is_refused(width):
    with pytest.raises(LightGBMError, match="number of features"):
        TREES.margin(np.zeros((1, width)))


def test_row_layout_does_not_matter():
    by_column = np.asfortranarray(MATRIX)
    assert (TREES.margin(by_column) == TREES.margin(MATRIX)).all()
    assert (TREES.margin(MATRIX[::3]) == TREES.margin(MATRIX)[::3]).all()


def test_no_rows_give_no_margins():
    assert TREES.margin(MATRIX[:0]).shape == (0,)
    assert TREES.contributions(MATRIX[:0]).shape == (0, 13)


def test_the_same_data_gives_the_same_text_and_the_same_trees_on_more_threads():
    matrix, label = noisy(20_000, seed=2)
    texts = [Trees.fit(matrix, label, NAMES, QUICK, 5) for _ in range(2)]
    assert texts[0] == texts[1]
    two = Trees.fit(matrix, label, NAMES, BoosterParams(num_threads=2), 5)
    assert two.text != texts[0].text
    assert two.fingerprint == texts[0].fingerprint


def test_another_seed_gives_other_trees():
    other = Trees.fit(MATRIX, LABEL, NAMES, BoosterParams(seed=8, num_threads=1), 60)
    assert other.fingerprint != TREES.fingerprint


def test_text_is_the_whole_of_it():
    again = Trees.from_text(TREES.text)
    assert (again.margin(MATRIX) == TREES.margin(MATRIX)).all()
    assert (again.rounds, again.fingerprint) == (60, TREES.fingerprint)
    head = TREES.text[: TREES.text.index("\nparameters:")]
    assert TREES.fingerprint == hashlib.sha256(head.encode()).hexdigest()


def test_constant_and_null_columns_are_no_trouble():
    matrix = np.column_stack([np.ones(300), np.full(300, np.nan)])
    label = np.tile([0, 0, 1], 100).astype(np.int8)
    trees = Trees.fit(matrix, label, ["constant", "unknown"], QUICK, 10)
    # Nothing to split on: everyone has the log-odds of one in three.
    assert trees.margin(matrix[:1]) == pytest.approx([np.log(0.5)])
    assert trees.contributions(matrix[:1]).sum() == pytest.approx(np.log(0.5))


def test_trees_gain_from_what_there_is_to_learn():
    assert TREES.gain.shape == (12,)
    assert set(np.argsort(-TREES.gain)[:3]) == {0, 1, 2}
    assert (Trees.from_text(TREES.text).gain == TREES.gain).all()


def test_never_is_not_read_as_just_now():
    """Everyone in training has bought: the days since are never null, and few are near 0."""
    rng = np.random.default_rng(8)
    days = rng.exponential(60, 2_000)[:, None]
    label = (days[:, 0] < 10).astype(np.int8)
    trees = Trees.fit(days, label, ["days_since_purchase"], QUICK, 20)
    just_now, usual, never = trees.margin(np.array([[0.0], [60.0], [np.nan]]))
    assert never == usual < just_now


def rare_nulls(rows: int = 30_000):
    """Return noise, and a column whose 25 nulls all have the outcome, as one in five have else."""
    rng = np.random.default_rng(9)
    matrix = rng.normal(size=(rows, 3))
    label = (rng.random(rows) < 0.2).astype(np.int8)
    null = rng.choice(rows, 25, replace=False)
    matrix[null, 1], label[null] = np.nan, 1
    return matrix, label


def test_rare_nulls_are_learnt_from_where_columns_are_binned_by_a_sample(monkeypatch):
    monkeypatch.setattr("training.booster.SAMPLED", 500)
    matrix, label = rare_nulls()
    drawn = rows_to_bin_by(matrix, 500, seed=7)
    assert np.isnan(matrix[drawn, 1]).sum() == 1 and len(drawn) == 501
    params = BoosterParams(learning_rate=0.1, min_data_in_leaf=20, num_threads=1)
    trees = [Trees.fit(matrix, label, NAMES[:3], params, 20) for _ in range(2)]
    assert trees[0] == trees[1]
    null, known = trees[0].margin(np.array([[0.0, np.nan, 0.0], [0.0, 0.0, 0.0]]))
    assert null > known + 0.5


def test_bins_of_a_sample_rank_as_well_as_those_of_all_rows(monkeypatch):
    matrix, label = noisy(20_000, seed=12)
    test, truth = noisy(8_000, seed=13)
    whole = Trees.fit(matrix, label, NAMES, QUICK, 60).margin(test)
    monkeypatch.setattr("training.booster.SAMPLED", 5_000)
    sampled = Trees.fit(matrix, label, NAMES, QUICK, 60).margin(test)
    assert roc_auc_score(truth, sampled) == pytest.approx(roc_auc_score(truth, whole), abs=0.005)


@pytest.mark.parametrize("seed", range(5))
def test_the_rows_to_bin_by_show_every_column_that_has_nulls(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(3_000, 6))
    for column, nulls in enumerate([0, 1, 2, 30, 3_000, 1]):
        matrix[rng.choice(3_000, nulls, replace=False), column] = np.nan
    rows = rows_to_bin_by(matrix, 100, seed)
    assert 100 <= len(rows) == len(np.unique(rows)) <= 105
    assert (np.isnan(matrix[rows]).any(axis=0) == np.isnan(matrix).any(axis=0)).all()


def test_a_monotone_column_never_turns():
    rng = np.random.default_rng(4)
    days = rng.uniform(0, 100, 2_000)[:, None]
    label = (rng.random(2_000) < np.where(days[:, 0] < 50, 0.2, 0.6)).astype(np.int8)
    trees = Trees.fit(days, label, ["days"], QUICK, 50, monotone=[1])
    assert (np.diff(trees.margin(np.linspace(0, 100, 500)[:, None])) >= 0).all()


def test_rounds_are_few_on_noise_and_more_where_there_is_something_to_learn():
    people = np.arange(len(LABEL))
    shuffles = [np.random.default_rng(seed).permutation(LABEL) for seed in range(5, 12)]
    noise = [choose_rounds(MATRIX, shuffled, people, QUICK) for shuffled in shuffles]
    assert np.median(noise) < 30 and 2 * max(noise) < choose_rounds(MATRIX, LABEL, people, QUICK)


def test_a_person_is_never_validated_on_their_own_rows():
    # 150 people, ten equal rows each, labels by coin: only their own rows could be remembered.
    rng = np.random.default_rng(6)
    matrix = np.repeat(rng.normal(size=(150, 12)), 10, axis=0)
    label = np.repeat(rng.integers(0, 2, 150), 10).astype(np.int8)
    by_person = choose_rounds(matrix, label, np.repeat(np.arange(150), 10), QUICK)
    by_row = choose_rounds(matrix, label, np.arange(1_500), QUICK)
    assert by_person < 40 and by_row == 200


def test_when_no_fifth_can_validate_a_few_rounds_must_do():
    label = np.array([1, *[0] * 19], np.int8)
    assert choose_rounds(np.zeros((20, 2)), label, np.zeros(20, np.int64), QUICK) == 10


@pytest.mark.parametrize("rows", [400, 2_000, 10_000])
def test_the_defaults_do_at_least_as_well_as_lightgbms_own(rows):
    from lightgbm import LGBMClassifier

    test, truth = noisy(8_000, seed=90)
    matrix, label = noisy(rows, seed=91)
    params = BoosterParams(num_threads=1)
    rounds = choose_rounds(matrix, label, np.arange(rows), params)
    ours = Trees.fit(matrix, label, NAMES, params, rounds).margin(test)
    plain = LGBMClassifier(verbosity=-1, n_jobs=1).fit(matrix, label)
    theirs = plain.predict_proba(test)[:, 1]
    assert roc_auc_score(truth, ours) > roc_auc_score(truth, theirs)


@pytest.mark.parametrize(("rows", "leaf"), [(300, 20), (10_000, 33), (90_000, 100), (10**7, 200)])
def test_leaves_grow_with_the_square_root_of_the_rows(rows, leaf):
    assert BoosterParams().settings(rows)["min_data_in_leaf"] == leaf
    assert BoosterParams(min_data_in_leaf=5).settings(rows)["min_data_in_leaf"] == 5


def test_a_column_that_decides_is_the_reason_and_not_its_shadows():
    draw = np.random.default_rng(3)
    cause = draw.normal(size=20_000)
    shadows = [cause + draw.normal(size=20_000) for _ in range(11)]
    label = (draw.random(20_000) < 1 / (1 + np.exp(-2 * cause))).astype(np.int8)
    matrix = np.column_stack([cause, *shadows])
    trees = Trees.fit(matrix, label, NAMES, BoosterParams(), 100)
    sizes = np.abs(trees.contributions(matrix[:2_000])[:, :-1]).mean(axis=0)
    assert sizes[0] > 0.9 * sizes.sum()


@pytest.mark.parametrize("depth", [0, 7, -1])
def test_trees_too_deep_to_explain_are_refused(depth):
    with pytest.raises(SettingsError, match=f"max_depth is {depth}. Hint: Choose 1 to 6"):
        BoosterParams(max_depth=depth)


def test_nothing_that_ruins_probabilities_or_contributions_is_set():
    banned = {"is_unbalance", "scale_pos_weight", "zero_as_missing", "linear_tree"}
    assert not banned & set(BoosterParams().settings(100))
    assert BoosterParams().settings(100)["deterministic"] is True


def test_importing_the_room_loads_no_library_that_is_slow_to_load():
    code = (
        "import sys, training.fit, training.registry;"
        "print({'lightgbm', 'mlflow', 'numba', 'sklearn', 'plotly'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
