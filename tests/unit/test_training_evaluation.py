"""Figures against scikit-learn and against small sums done by hand."""

import numpy as np
import pytest
from sklearn import metrics

from training.errors import OneClassError
from training.evaluation import auc, evaluate, gains

RNG = np.random.default_rng(5)
MARGIN = np.round(RNG.normal(size=2_000), 1)
LABEL = (RNG.random(2_000) < 1 / (1 + np.exp(2 - MARGIN))).astype(np.int8)
PROBABILITY = 1 / (1 + np.exp(2 - MARGIN))


def test_figures_are_those_of_scikit_learn():
    found = evaluate(LABEL, PROBABILITY, MARGIN, baseline=-MARGIN).metrics()
    found = {name: value for name, value in found.items() if not name.endswith(("_low", "_high"))}
    expected = {
        "population": 2_000,
        "positives": LABEL.sum(),
        "auc": metrics.roc_auc_score(LABEL, MARGIN),
        "average_precision": metrics.average_precision_score(LABEL, MARGIN),
        "log_loss": metrics.log_loss(LABEL, PROBABILITY),
        "brier": metrics.brier_score_loss(LABEL, PROBABILITY),
        "mean_predicted": PROBABILITY.mean(),
        "positive_rate": LABEL.mean(),
        "predicted_minus_rate": PROBABILITY.mean() - LABEL.mean(),
        "auc_over_baseline": 2 * metrics.roc_auc_score(LABEL, MARGIN) - 1,
        "baseline_auc": 1 - metrics.roc_auc_score(LABEL, MARGIN),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert set(found) - set(expected) == {"lift_at_10", "ece"}


def test_figures_are_followed_by_the_ends_of_their_intervals():
    found = evaluate(LABEL, PROBABILITY, MARGIN)
    names = list(found.metrics())
    place = names.index("auc")
    assert names[place : place + 3] == ["auc", "auc_low", "auc_high"]
    assert found.metrics()["ece_high"] == found.intervals.headline["ece"].high


def test_a_missing_baseline_is_left_out():
    assert not any("baseline" in n for n in evaluate(LABEL, PROBABILITY, MARGIN).metrics())


@pytest.mark.parametrize(
    ("label", "ranking", "expected"),
    [
        ([0, 0, 1, 1], [1, 2, 3, 4], 1.0),
        ([1, 1, 0, 0], [1, 2, 3, 4], 0.0),
        ([0, 1, 0, 1], [1, 1, 1, 1], 0.5),
        ([0, 1, 0, 1], [1, 2, 3, np.inf], 0.75),
        ([0, 1, 1], [np.inf, np.inf, -np.inf], 0.25),
    ],
)
def test_auc_by_hand(label, ranking, expected):
    assert auc(np.array(label, np.int8), np.array(ranking)) == expected


def test_deciles_by_hand():
    # Twenty people; the likeliest two had it, as did one of the least likely four, all tied.
    margin = np.array([9, 8, *range(-14, 0), -20, -20, -20, -20], dtype=float)
    label = np.array([1, 1, *[0] * 14, 1, 0, 0, 0], dtype=np.int8)
    found = gains(label, margin)
    assert [each.positives for each in found] == pytest.approx([2, 0, 0, 0, 0, 0, 0, 0, 0.5, 0.5])
    assert found[0].lift == pytest.approx(1 / (3 / 20))
    assert [each.gain for each in found][::3] == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1])


def test_ties_are_broken_by_expectation_and_not_by_row_order():
    order = RNG.permutation(len(LABEL))
    first = evaluate(LABEL, PROBABILITY, MARGIN)
    second = evaluate(LABEL[order], PROBABILITY[order], MARGIN[order])
    assert second.lift_at_10 == first.lift_at_10
    assert second.deciles == first.deciles
    assert second.ece == pytest.approx(first.ece, abs=1e-12)
    assert all(each.lift == pytest.approx(1) for each in gains(LABEL, np.zeros(len(LABEL))))


def test_decile_edges_may_fall_between_two_people():
    # Of three people the first has it: the likeliest tenth is three tenths of that person.
    found = gains(np.array([1, 0, 0], np.int8), np.array([3.0, 2.0, 1.0]))
    assert found[0].positives == pytest.approx(0.3)
    assert found[0].lift == pytest.approx(3)
    assert found[3].gain == pytest.approx(1)


def test_calibration_error_by_hand():
    # Half predicted .2 with .4 happening, half .8 with .8: the mean distance is .1.
    label = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 0] * 4, np.int8)
    probability = np.tile(np.repeat([0.2, 0.8], 5), 4)
    found = evaluate(label, probability, probability)
    assert found.ece == pytest.approx(0.1)
    assert [each.people for each in found.bins] == [4] * 10


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_cannot_be_measured(label):
    same = np.full(4, label, np.int8)
    with pytest.raises(OneClassError, match="Of 4 rows in the evaluation"):
        evaluate(same, np.full(4, 0.5), np.zeros(4))
