"""Leak lint: what tells the outcome alone fails the run, what the model leans on is said."""

from dataclasses import replace

import numpy as np
import pytest

from features.behavior.definitions import CategoryIs, Count, DaysSince, Feature, NumberAttribute
from features.time import Window
from training.booster import BoosterParams, Trees
from training.dataset import Dataset
from training.errors import LeakFound, OneClassError, UnknownFeature
from training.lint import alone_aucs, check_alone, drops

PARAMS = BoosterParams(learning_rate=0.1, num_threads=1)
AMOUNT, AGE = NumberAttribute("amount").feature, NumberAttribute("age").feature
DAYS = DaysSince("cancel").feature
PLANS = tuple(
    CategoryIs("plan", value, place).feature for place, value in enumerate(["a", "b", None])
)


def made(columns: dict[Feature, object], label, person=None) -> Dataset:
    label = np.asarray(label, dtype=np.int8)
    people = np.arange(len(label)) if person is None else np.asarray(person)
    matrix = np.column_stack([np.asarray(each, dtype=float) for each in columns.values()])
    return Dataset(tuple(columns), matrix, label, np.zeros(len(label), np.int64), people)


HALF = np.repeat([0, 1], 50)
NAN = np.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param(HALF, 1.0, id="up"),
        pytest.param(-HALF, 1.0, id="down"),
        pytest.param(np.zeros(100), 0.5, id="constant"),
        pytest.param(np.full(100, NAN), 0.5, id="never known"),
        pytest.param(np.tile([1, 2], 50), 0.5, id="says nothing"),
        # Only those who left have a date of leaving, whatever it is; and the other way round.
        pytest.param(np.where(HALF == 1, np.arange(100), NAN), 1.0, id="known of some"),
        pytest.param(np.where(HALF == 0, -np.arange(100), NAN), 1.0, id="known of the others"),
        # 25 of 50 rank above all, 25 are level with all: .5 + .5 / 2.
        pytest.param(np.repeat([0, 0, 0, 1], 25), 0.75, id="half"),
    ],
)
def test_a_feature_ranks_whichever_way_it_does_better(values, expected):
    assert alone_aucs(made({AMOUNT: values}, HALF)) == {AMOUNT.name: expected}


def test_people_count_and_not_their_rows():
    """One person has half of the rows, and is the only one whom the feature is right for."""
    rows = made(
        {AMOUNT: [*[1] * 99, *[0] * 100]},
        [*[1] * 99, *[0, 1] * 50],
        person=[*[0] * 99, *range(1, 101)],
    )
    # Of 1 + 50 people with the outcome, one is above the 50 without; the others level.
    assert alone_aucs(rows)[AMOUNT.name] == pytest.approx((1 + 50 * 0.5) / 51)


def test_values_of_an_attribute_are_judged_together():
    """No column alone gives it away: a has the outcome, b has not, and so on."""
    values = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])[np.tile(np.arange(4), 25)]
    label = np.tile([1, 0, 1, 0], 25)
    columns = dict(zip(PLANS, values.T, strict=True)) | {AGE: np.arange(100)}
    assert alone_aucs(made(columns, label)) == {
        "profile_plan": 1.0,
        "profile_age": pytest.approx(0.51),
    }
    # a is above the 50 without, as are 25 of the 50 with it.
    assert alone_aucs(made({PLANS[0]: values[:, 0]}, label)) == {PLANS[0].name: 0.75}


def leaking(noise: float = 0.05, rows: int = 1_000) -> Dataset:
    """Return people whose `days_since_cancel` says who leaves, but for a share of `noise`."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, rows)
    known = np.where(rng.random(rows) < noise, 1 - label, label)
    return made({DAYS: np.where(known == 1, 3.0, NAN), AGE: rng.normal(40, 9, rows)}, label)


def test_a_feature_that_tells_the_outcome_alone_fails_the_run():
    message = r"goals.churn: days_since_cancel \(AUC 0.97.\) alone tells .*; from 0.95 on"
    with pytest.raises(LeakFound, match=message) as caught:
        check_alone(leaking(0.025), {}, "churn")
    assert caught.value.details["features"].keys() == {"days_since_cancel"}
    assert "add it to training.allow with the reason" in str(caught.value)


def test_a_feature_that_nearly_tells_it_passes():
    assert check_alone(leaking(0.1), {}, "churn") == ()


def test_an_allowed_feature_passes_and_its_reason_is_said():
    (found,) = check_alone(leaking(0.01), {"days_since_cancel": "a notice period"}, "churn")
    assert found.words.startswith("days_since_cancel (Days since the last cancel) alone tells who")
    assert found.words.endswith("Allowed by training.allow: a notice period")
    with pytest.raises(LeakFound, match=r"days_since_cancel"):
        check_alone(leaking(0.01), {"profile_age": "of another feature"}, "churn")


def test_all_columns_of_an_attribute_must_be_allowed():
    plan = np.tile([0, 1], 50)
    columns = {PLANS[0]: plan, PLANS[1]: 1 - plan}
    data = made(columns, plan)
    with pytest.raises(LeakFound, match=r"profile_plan \(AUC 1.000\)"):
        check_alone(data, {PLANS[0].name: "half of it"}, "churn")
    (found,) = check_alone(data, {"profile_plan": "sold as such"}, "churn")
    assert (found.name, found.label, found.allowed) == ("profile_plan", "Plan", "sold as such")


def test_an_allowed_name_must_be_a_feature():
    with pytest.raises(UnknownFeature, match=r"training.allow: .* 'profile_agee'.*'profile_age'"):
        check_alone(leaking(), {"profile_agee": "?"}, "churn")


def test_one_class_cannot_be_judged():
    with pytest.raises(OneClassError, match="none has"):
        alone_aucs(made({AMOUNT: [1, 2]}, [0, 0]))


def test_many_rows_are_judged_by_some_whole_people(monkeypatch):
    data = leaking(0.1)
    whole = alone_aucs(data)
    monkeypatch.setattr("training.lint.ENOUGH", 400)
    fewer = alone_aucs(data)
    assert whole != fewer
    assert fewer["days_since_cancel"] == pytest.approx(whole["days_since_cancel"], abs=0.05)


# Drop --------------------------------------------------------------------------------------------

WINDOWS = tuple(Count("refund", Window.parse(text)).feature for text in ("7d", "30d"))


def world(leaning: float, rows: int = 3_000) -> Dataset:
    """Return people whose outcome follows refunds (two windows alike) by `leaning`, and age."""
    rng = np.random.default_rng(2)
    refunds, age = rng.normal(size=rows), rng.normal(size=rows)
    strength = leaning * refunds + age
    label = rng.random(rows) < 1 / (1 + np.exp(-strength))
    near = refunds + rng.normal(0, 0.05, rows)
    return made({WINDOWS[0]: refunds, WINDOWS[1]: near, AGE: age, AMOUNT: -age}, label)


def found_drops(data: Dataset, allow=None):
    fit, judged = data.rows(data.person % 3 > 0), data.rows(data.person % 3 == 0)
    trees = Trees.fit(fit.matrix, fit.label, fit.names, PARAMS, 40)
    return drops(fit, judged, trees, PARAMS, allow or {})


def test_a_reason_that_the_model_leans_on_is_said():
    """Its two windows hide each other: without one alone, nothing would be lost."""
    (found,) = found_drops(world(3.0))
    assert (found.name, found.label) == ("refund_count", "Number of refund events")
    assert found.auc - found.without > 0.1
    assert found.words.startswith("The model leans on refund_count (Number of refund events): AUC")


def test_what_the_model_would_do_without_is_not_said():
    assert found_drops(world(0.4)) == ()
    assert found_drops(world(0.0)) == ()


def test_what_is_leant_on_can_be_allowed():
    (found,) = found_drops(world(3.0), {"refund_count": "asked for in advance"})
    assert found.words.endswith("without. Allowed by training.allow: asked for in advance")
    with pytest.raises(UnknownFeature, match=r"Did you mean 'refund_count'"):
        found_drops(world(3.0), {"refund_counts": "?"})


def test_one_reason_alone_cannot_be_done_without():
    data = world(3.0)
    assert found_drops(replace(data, features=WINDOWS, matrix=data.matrix[:, :2])) == ()


def test_only_what_costs_something_when_shuffled_is_fitted_without(monkeypatch):
    fits = []
    fit = Trees.fit.__func__

    def counted(cls, matrix, *rest, **how):
        fits.append(matrix.shape[1])
        return fit(cls, matrix, *rest, **how)

    monkeypatch.setattr(Trees, "fit", classmethod(counted))
    found_drops(world(3.0))
    assert fits == [4, 2]


def test_of_many_reasons_those_that_the_trees_gain_most_from_are_shuffled(monkeypatch):
    monkeypatch.setattr("training.lint.MOST_SHUFFLED", 1)
    (found,) = found_drops(world(3.0))
    assert found.name == "refund_count"
    monkeypatch.setattr("training.lint.MOST_SHUFFLED", 0)
    assert found_drops(world(3.0)) == ()


def test_many_rows_are_fitted_by_fewer(monkeypatch):
    (whole,) = found_drops(world(3.0))
    monkeypatch.setattr("training.lint.ENOUGH", 700)
    (fewer,) = found_drops(world(3.0))
    assert fewer.without == pytest.approx(whole.without, abs=0.06)
