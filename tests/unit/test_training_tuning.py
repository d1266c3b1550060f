"""Tuning: repeatable under trials, bounded in time, and blind to the rows that evaluate."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.test_training_fit import DATASET, PARAMS, POPULATION, TASK
from training.booster import DEEPEST, BoosterParams, Trees
from training.fit import train
from training.tuning import MOST_LEAVES, Budget, Tuned, tune

QUICK = replace(PARAMS, max_rounds=60, early_stopping_rounds=10)
FIT, LATER = DATASET.rows(DATASET.person % 3 > 0), DATASET.rows(DATASET.person % 3 == 0)
BUDGET = Budget(trials=8)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(FIT, LATER, QUICK, BUDGET)


def test_the_same_trials_in_every_run_bounded_by_trials(tuned):
    said: list[str] = []
    again = tune(FIT, LATER, QUICK, BUDGET, said.append)
    assert again == tuned and again.pages == tuned.pages
    assert len(tuned.trials) == 8 and tuned.in_time
    assert said[-1].startswith("Tuning: trial 8 of 8, best log-loss 0.")
    assert "8 of 8 trials" in tuned.sentence and "give the same trials" in tuned.sentence
    other = tune(FIT, LATER, replace(QUICK, seed=8), BUDGET)
    assert [each.params for each in other.trials] != [each.params for each in tuned.trials]


def test_the_first_trial_is_the_defaults_judged_by_their_log_loss(tuned):
    first = tuned.trials[0]
    assert first.params["max_depth"] == QUICK.max_depth
    assert first.params["num_leaves"] == QUICK.num_leaves
    leaf = QUICK.settings(len(FIT.matrix))["min_data_in_leaf"]
    assert first.params["min_data_in_leaf"] == leaf
    trees = Trees.fit(FIT.matrix, FIT.label, FIT.names, QUICK, first.rounds)
    chance = 1 / (1 + np.exp(-trees.margin(LATER.matrix)))
    loss = -np.log(np.where(LATER.label == 1, chance, 1 - chance)).mean()
    assert first.loss == pytest.approx(loss, rel=1e-9)


def test_depth_and_leaves_stay_cheap_to_explain(tuned):
    for each in tuned.trials:
        assert 1 <= each.params["max_depth"] <= DEEPEST
        assert each.params["num_leaves"] <= min(MOST_LEAVES, 2 ** each.params["max_depth"])


def test_poor_defaults_are_replaced_and_lucky_trials_are_not():
    poor = replace(QUICK, num_leaves=2, max_depth=1, max_rounds=5, learning_rate=0.05)
    noise = np.random.default_rng(1).permutation(FIT.label)
    chance = np.random.default_rng(2).permutation(LATER.label)
    kept = tune(replace(FIT, label=noise), replace(LATER, label=chance), QUICK, Budget(12))
    assert kept.chosen == 0 and kept.params == QUICK
    assert "so they stay" in kept.sentence
    found = tune(FIT, LATER, poor, Budget(12))
    assert found.chosen > 0 and found.params.num_leaves > 2
    assert found.trials[found.chosen].loss < found.trials[0].loss
    assert f"Trial {found.chosen} serves" in found.sentence


def test_a_limit_of_time_cuts_the_trials_and_is_told():
    found = tune(FIT, LATER, QUICK, Budget(trials=500, minutes=0.01))
    assert 0 < len(found.trials) < 500 and not found.in_time
    assert "The time limit cut it short" in found.sentence


def test_poisoned_outcomes_of_the_evaluation_change_no_trial():
    newest = DATASET.as_of == DATASET.as_of.max()
    poisoned = replace(DATASET, label=np.where(newest, 1 - DATASET.label, DATASET.label))
    task = replace(TASK, tuning=Budget(4))
    said: list[str] = []
    found, again = (
        train(each, POPULATION, task, QUICK, said.append) for each in (DATASET, poisoned)
    )
    assert found.roles.evaluate.tolist() == newest.tolist()
    assert found.tuned is not None and found.tuned == again.tuned
    assert found.evaluation.auc != again.evaluation.auc
    assert found.tuned.sentence in found.summary
    assert "Tuning: trial 4 of 4" in " ".join(said)


def test_the_trials_stand_in_a_table_and_a_chart(tuned):
    rows = list(csv.DictReader(tuned.pages["tuning.csv"].splitlines()))
    assert [int(row["trial"]) for row in rows] == list(range(8))
    assert float(rows[0]["loss"]) == tuned.trials[0].loss
    assert 'id="chart-trials"' in tuned.pages["tuning.html"]


def test_without_a_budget_the_parameters_are_those_given():
    found = train(DATASET, POPULATION, TASK, QUICK)
    assert found.tuned is None
    assert found.params["num_leaves"] == BoosterParams().num_leaves
