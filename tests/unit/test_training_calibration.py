"""Probabilities from margins, and the score, percentile and bucket read from them."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from training.calibration import LEAST, MANY_ROWS, MOST, Calibrator, judged_apart, parts_of
from training.reference import MOST_QUANTILES, Reference


def outcomes(count: int, slope: float, intercept: float, seed: int = 1):
    rng = np.random.default_rng(seed)
    margin = rng.normal(-1, 1.5, count)
    label = (rng.random(count) < expit(slope * margin + intercept)).astype(np.int8)
    return margin, label


def test_few_outcomes_give_the_sigmoid_that_logistic_regression_finds():
    margin, label = outcomes(3_000, slope=0.6, intercept=-1.0)
    found = Calibrator.of(margin, label)
    oracle = LogisticRegression(C=1e9, tol=1e-9).fit(margin[:, None], label)
    assert found.method == "sigmoid"
    # Platt's softened targets pull a little towards the middle.
    assert found.slope == pytest.approx(oracle.coef_[0, 0], rel=0.01)
    assert found.intercept == pytest.approx(oracle.intercept_[0], rel=0.01)


def test_a_thousand_of_each_kind_give_an_isotonic_curve_that_is_true_on_its_rows():
    margin, label = outcomes(12_000, slope=0.5, intercept=-0.5)
    found = Calibrator.of(margin, label)
    assert found.method == "isotonic"
    probability = found.probability(margin)
    assert probability.mean() == pytest.approx(label.mean(), abs=1e-3)
    truth = expit(0.5 * margin - 0.5)
    assert np.abs(probability - truth).mean() < 0.03


@pytest.mark.parametrize("threshold", [999, 1_000])
def test_the_method_changes_at_a_thousand(threshold):
    margin = np.linspace(-1, 1, threshold + 3_000)
    label = (np.arange(len(margin)) >= 3_000).astype(np.int8)
    expected = "isotonic" if threshold == 1_000 else "sigmoid"
    assert Calibrator.of(margin, label).method == expected


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_the_margin_as_it_is(label):
    found = Calibrator.of(np.array([0.0, 1.0]), np.full(2, label, np.int8))
    assert found.probability(np.array([0.0, 2.0])) == pytest.approx([0.5, expit(2.0)])
    assert found.method == "identity"


def test_a_margin_that_ranks_the_wrong_way_gives_everyone_the_mean():
    margin, label = outcomes(2_000, slope=-1.0, intercept=0.0)
    found = Calibrator.of(margin, label)
    assert found.probability(np.array([-9.0, 9.0])) == pytest.approx([label.mean()] * 2)


def test_nothing_is_ever_certain():
    separable = np.linspace(-50, 50, 6_000)
    label = (separable > 0).astype(np.int8)
    isotonic = Calibrator.of(separable, label)
    # 3,000 people without one outcome: the rule of succession says 1 in 3,002.
    expected = [1 / 3_002, 1 - 1 / 3_002]
    assert isotonic.probability(np.array([-1e9, 1e9])) == pytest.approx(expected)
    few = Calibrator.of(separable[::10], label[::10])
    assert few.probability(np.array([-1e9, 1e9])).tolist() == [LEAST, MOST]


@pytest.mark.parametrize("count", [300, 12_000])
def test_a_calibrator_survives_json_to_the_bit(count):
    found = Calibrator.of(*outcomes(count, 1.0, 0.0))
    again = Calibrator.from_json(json.loads(json.dumps(found.to_json())))
    assert again == found


def test_score_is_50_at_average_odds_75_at_three_times_25_at_a_third():
    reference = Reference(0.2, np.array([0.0]))
    probability = expit(logit(0.2) + np.log([1, 3, 1 / 3]))
    assert reference.score(np.array([0.2]))[0] == 50.0
    assert reference.score(probability) == pytest.approx([50, 75, 25])


def test_percentile_is_the_mid_rank():
    reference = Reference.of(np.array([3.0, 1.0, 2.0, 2.0]), np.full(4, 0.5))
    # below .5: none; at 1: rank .5 of 4; at 2: (1 + 3) / 2 of 4; at 3: 3.5 of 4; above: all.
    margin = np.array([0.5, 1.0, 2.0, 3.0, 4.0])
    assert reference.percentile(margin).tolist() == [1, 13, 50, 88, 100]


def test_buckets_are_cut_on_unrounded_scores():
    score = np.array([0.0, 24.999999, 25.0, 74.999999, 75.0, 100.0])
    expected = ["low", "low", "medium", "medium", "high", "high"]
    assert Reference.bucket(score).tolist() == expected


def test_a_large_population_is_kept_as_quantiles_that_rank_almost_the_same():
    margin = np.random.default_rng(2).normal(size=50_000)
    reference = Reference.of(margin, expit(margin))
    assert len(reference.margins) == MOST_QUANTILES
    rank = 100 * (np.searchsorted(np.sort(margin), margin[:500]) + 0.5) / len(margin)
    assert np.abs(reference.percentile(margin[:500]) - rank).max() < 1.02


def test_the_reference_does_not_depend_on_the_order_of_people_and_survives_json():
    margin = np.random.default_rng(3).normal(size=999)
    first = Reference.of(margin, expit(margin))
    second = Reference.of(margin[::-1], expit(margin[::-1]))
    again = Reference.from_json(json.loads(json.dumps(second.to_json())))
    assert (again.margins == first.margins).all()
    assert again.mean_probability == first.mean_probability


def test_nobody_is_judged_by_a_curve_that_has_seen_them():
    margin, label = outcomes(3_000, slope=1.0, intercept=0.0)
    person = np.arange(3_000) // 3
    curve, apart = judged_apart(margin, label, person)
    assert curve == Calibrator.of(margin, label)
    told = label.copy()
    told[person == 77] = 1 - told[person == 77]
    _, again = judged_apart(margin, told, person)
    assert (again[person == 77] == apart[person == 77]).all()
    assert (again != apart).any()


def test_curves_made_apart_say_about_what_the_whole_one_says():
    margin, label = outcomes(6_000, slope=1.0, intercept=-1.0)
    curve, apart = judged_apart(margin, label, np.arange(6_000))
    assert np.abs(apart - curve.probability(margin)).mean() < 0.02


@pytest.mark.parametrize(("rows", "parts"), [(600, 5), (MANY_ROWS - 1, 5), (MANY_ROWS, 2)])
def test_parts_divide_the_people(rows, parts):
    person = np.arange(rows) % (rows // 3)
    found = parts_of(person, np.arange(rows) % 2)
    assert len(found) == parts
    assert (np.sum(found, axis=0) == 1).all()
    for part in found:
        assert len(np.intersect1d(person[part], person[~part])) == 0
        assert part.mean() == pytest.approx(1 / parts, abs=0.1)


def test_there_are_no_parts_where_one_has_all_the_outcomes():
    label = (np.arange(100) == 7).astype(np.int8)
    assert parts_of(np.arange(100), label) == []
