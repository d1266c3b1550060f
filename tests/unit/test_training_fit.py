"""Training whole: roles, the contest with recency, warnings, repeatability, the report."""

import re
from dataclasses import replace

import numpy as np
import pytest

from features.behavior.definitions import Count, DaysSince
from features.time import MICROS_PER_DAY, Window
from training.baselines import EventColumns
from training.booster import BoosterParams, Trees
from training.calibration import Calibrator, parts_of
from training.charts import figures, report_html
from training.dataset import Dataset
from training.errors import LeakFound, OneClassError, TooFewExamples, UnknownFeature
from training.evaluation import auc
from training.fit import Trained, TrainingTask, train
from training.pictures import pngs

DAYS_30 = Window.parse("30d")
RECENCY = DaysSince("purchase").feature
FEATURES = (Count("purchase", DAYS_30).feature, Count("view", DAYS_30).feature, RECENCY)
PARAMS = BoosterParams(learning_rate=0.1, max_rounds=150, early_stopping_rounds=20, num_threads=1)
TASK = TrainingTask(
    "conversion", "conversion", "calendar", 150 * MICROS_PER_DAY, DAYS_30, None,
    EventColumns(RECENCY.name), definitions=["purchases", "views", "recency"], fewest_people=50,
)  # fmt: skip


def shop(weight_of_counts: float, days: tuple[int, ...] = (0, 30, 60, 90, 120)) -> Dataset:
    """Return 400 people a day; purchases follow recency and, by the weight, what else they do."""
    rng = np.random.default_rng(3)
    rows = 400 * len(days)
    purchases, views = rng.poisson(2, rows), rng.poisson(6, rows)
    recency = np.where(purchases > 0, rng.uniform(0, 30, rows), rng.uniform(30, 200, rows))
    recency[rng.random(rows) < 0.05] = np.nan
    never_or_days = np.nan_to_num(recency, nan=300)
    strength = weight_of_counts * (views - 6) - never_or_days / 40
    label = (rng.random(rows) < 1 / (1 + np.exp(-strength))).astype(np.int8)
    matrix = np.column_stack([purchases, views, recency]).astype(np.float64)
    as_of = np.repeat(np.array(days, dtype=np.int64) * MICROS_PER_DAY, 400)
    return Dataset(FEATURES, matrix, label, as_of, np.tile(np.arange(400), len(days)))


DATASET = shop(0.6)
POPULATION = DATASET.matrix[-400:]


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(DATASET, POPULATION, TASK, PARAMS)


def test_the_model_serves_when_it_beats_recency(trained):
    assert trained.bundle.serves == "model"
    assert trained.outdone is None
    assert trained.evaluation.auc > trained.evaluation.baseline_auc + 0.05
    assert trained.grade.letter in "AB"
    assert trained.bundle.metrics["found_at_cut"] == trained.grade.found
    assert f"Grade {trained.grade.letter}: " in trained.summary[2]
    assert trained.roles.protocol == "out_of_time"
    low, high = trained.evaluation.intervals.headline["auc"]
    assert low < trained.evaluation.auc < high


def test_a_model_that_leans_on_one_reason_says_so_first(trained):
    """Views are nearly all that this world's purchases follow: no leak, but who could tell?"""
    (found,) = trained.warnings
    assert found.startswith("The model leans on view_count_30d")
    page = report_html(trained.report)
    assert page.index(found[:40]) < page.index("of the time")
    fewer = train(shop(0.25), POPULATION, TASK, PARAMS).warnings
    assert not any("leans on" in each for each in fewer)


def test_the_bundle_knows_where_it_comes_from(trained):
    bundle = trained.bundle
    assert bundle.trained_on == {
        "rows": 2_000, "positives": int(DATASET.label.sum()), "people": 400, "fit": 1_200,
        "calibrate": 400, "evaluate": 400, "persons_in_fit_and_evaluate": 400, "reference": 400,
    }  # fmt: skip
    assert bundle.base_rate == DATASET.label.mean()
    assert bundle.data_fingerprint == DATASET.fingerprint()
    assert (bundle.outcome_window, bundle.gap) == ("30d", "")
    assert bundle.definitions == ["purchases", "views", "recency"]
    assert bundle.metrics["auc"] == bundle.metrics["model_auc"] == trained.evaluation.auc
    assert bundle.metrics["rounds"] == bundle.trees.rounds == trained.params["rounds"]


def test_scores_compare_with_the_population(trained):
    scored = trained.bundle.score(POPULATION)
    assert scored.probability.mean() == pytest.approx(trained.bundle.reference.mean_probability)
    assert scored.probability.mean() == pytest.approx(DATASET.label.mean(), abs=0.05)
    assert scored.percentile.mean() == pytest.approx(50.5, abs=1)
    assert (trained.population.score == scored.score).all()


def test_two_trainings_are_the_same_to_the_byte(trained, tmp_path):
    trained.bundle.save(tmp_path / "first")
    train(DATASET, POPULATION, TASK, PARAMS).bundle.save(tmp_path / "second")
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_people_learnt_from_and_new_people_have_figures_of_their_own():
    """In the newest month half of the people are others, who buy whatever they look at."""
    newest = np.flatnonzero(DATASET.as_of == DATASET.as_of.max())
    strangers = newest[::2]
    person, label = DATASET.person.copy(), DATASET.label.copy()
    person[strangers] += 1_000
    label[strangers] = np.random.default_rng(6).random(len(strangers)) < 0.4
    found = train(replace(DATASET, person=person, label=label), POPULATION, TASK, PARAMS)
    metrics = found.bundle.metrics
    assert (metrics["seen_people"], metrics["new_people"]) == (200, 200)
    assert metrics["new_positive_rate"] == label[strangers].mean()
    assert metrics["new_auc"] == pytest.approx(0.5, abs=0.1)
    assert metrics["new_auc"] < metrics["seen_auc"] - 0.1
    assert metrics["new_auc_low"] < metrics["new_auc"] < metrics["new_auc_high"]
    said = "Of the people evaluated, 200 were in the fit (AUC"
    assert any(each.startswith(said) for each in found.summary)
    assert any("People new to the model are ranked worse" in each for each in found.warnings)


def test_where_nobody_is_new_nothing_is_said_of_new_people(trained):
    metrics = trained.bundle.metrics
    assert (metrics["seen_people"], metrics["new_people"]) == (400, 0)
    assert metrics["seen_auc"] == metrics["auc"] and "new_auc" not in metrics
    assert any(each.endswith("and 0 are new.") for each in trained.summary)
    assert not any("new to the model" in each for each in trained.warnings)


def test_recency_serves_when_nothing_beats_it():
    said = []
    found = train(shop(0.0), POPULATION, TASK, PARAMS, said.append)
    assert found.outdone is not None
    assert found.outdone.auc <= found.evaluation.baseline_auc
    assert found.bundle.serves == "baseline"
    assert found.grade.letter == "C"
    assert found.bundle.features == (RECENCY,)
    assert found.bundle.definitions == ["recency"]
    assert found.evaluation.auc == pytest.approx(found.evaluation.baseline_auc, abs=0.02)
    assert found.bundle.metrics["model_auc"] == found.outdone.auc
    assert "does not beat days since the last time alone" in found.warnings[0]
    assert any("does not beat days since the last time" in message for message in said)


def test_a_model_that_only_draws_level_with_recency_does_not_serve():
    days = DATASET.column(RECENCY.name)
    label = (np.nan_to_num(days, nan=300) > 15).astype(np.int8)
    task = replace(TASK, allow={RECENCY.name: "purchases are cancelled after 15 days"})
    found = train(replace(DATASET, label=label), POPULATION, task, PARAMS)
    assert found.outdone is not None
    assert found.outdone.auc == found.evaluation.baseline_auc == 1.0
    assert found.warnings[0].endswith("Allowed by training.allow: " + task.allow[RECENCY.name])
    assert found.bundle.serves == "baseline"


def test_what_serves_has_learnt_from_every_row(trained):
    names = [feature.name for feature in FEATURES]
    rounds = trained.params["rounds"]
    expected = Trees.fit(DATASET.matrix, DATASET.label, names, PARAMS, rounds)
    assert trained.bundle.trees == expected


def test_the_curve_that_serves_has_learnt_from_the_newest_outcomes():
    """The rate rises in the last month: the curve of the report cannot know, that of scores can."""
    newest = DATASET.as_of == DATASET.as_of.max()
    more = newest & (np.random.default_rng(5).random(len(newest)) < 0.3)
    data = replace(DATASET, label=np.where(more, 1, DATASET.label).astype(np.int8))
    found = train(data, POPULATION, TASK, PARAMS)
    served = found.bundle.score(data.matrix[newest]).probability.mean()
    rate = found.evaluation.positive_rate
    assert rate - served < 0.6 * (rate - found.evaluation.mean_predicted)
    off = abs(found.served.predicted_minus_rate)
    assert off < 0.6 * abs(found.evaluation.predicted_minus_rate)
    assert found.bundle.metrics["served_ece"] == found.served.ece < found.evaluation.ece
    assert found.bundle.metrics["served_ece_high"] == found.served.intervals.headline["ece"].high


def margins_apart(data: Dataset, rounds: int) -> np.ndarray:
    """Return what trees of the other people, as many as serve, say of each row: one by one."""
    margin = np.empty(len(data.label))
    for part in parts_of(data.person, data.label):
        rest = data.rows(~part)
        trees = Trees.fit(rest.matrix, rest.label, rest.names, PARAMS, rounds)
        for row in np.flatnonzero(part):
            assert data.person[row] not in rest.person
            margin[row] = trees.margin(data.matrix[row : row + 1])[0]
    return margin


def test_the_curve_that_serves_is_made_by_trees_like_those_that_serve(trained):
    margin, later = margins_apart(DATASET, trained.params["rounds"]), ~trained.roles.fit
    expected = Calibrator.of(margin[later], DATASET.label[later])
    assert trained.bundle.calibrator == expected
    newest = trained.roles.evaluate
    assert trained.served.auc == pytest.approx(auc(DATASET.label[newest], margin[newest]))
    assert trained.judged.calibrator != expected


def moved(seed: int) -> tuple[Dataset, np.ndarray]:
    """Return five months whose last three have more purchases for the same looks, and the truth."""
    rng = np.random.default_rng(seed)
    days = np.repeat(np.arange(5, dtype=np.int64) * 30, 400)
    traits = rng.normal(size=(len(days), 3))
    truth = 1 / (1 + np.exp(-(traits @ [1.0, 0.6, 0.0] - 0.8 + 0.9 * (days >= 60))))
    label = (rng.random(len(days)) < truth).astype(np.int8)
    person = np.tile(np.arange(400), 5)
    return Dataset(FEATURES, traits, label, days * MICROS_PER_DAY, person), truth


def test_where_the_rate_has_moved_it_is_corrected_once():
    """Trees grown again have learnt the new rate in part; the curve of the older adds it whole."""
    task, ours, older = replace(TASK, allow={each.name: "a test" for each in FEATURES}), [], []
    for seed in range(6):
        data, truth = moved(seed)
        found = train(data, data.matrix[-400:], task, PARAMS)
        bundle, judged, later = found.bundle, found.judged, ~found.roles.fit
        unseen, newest = data.rows(later), found.roles.evaluate
        curve = Calibrator.of(judged.trees.margin(unseen.matrix), unseen.label)
        margin = bundle.trees.margin(data.matrix[newest])
        ours.append(bundle.calibrator.probability(margin).mean() - truth[newest].mean())
        older.append(curve.probability(margin).mean() - truth[newest].mean())
    assert abs(np.mean(ours)) < 0.02 < 0.03 < np.mean(older)


def test_served_recency_falls_with_the_days():
    bundle = train(shop(0.0), POPULATION, TASK, PARAMS).bundle
    days = np.linspace(0, 300, 200)[:, None]
    assert (np.diff(bundle.score(days).probability) <= 0).all()


def test_one_snapshot_is_split_by_person_with_a_warning():
    found = train(shop(0.6, days=(0,)), POPULATION, TASK, PARAMS)
    assert found.roles.protocol == "person_hash"
    assert found.bundle.trained_on["persons_in_fit_and_evaluate"] == 0
    assert any("people rather than dates were split" in each for each in found.warnings)


def test_moments_of_events_are_split_in_blocks():
    spread = np.random.default_rng(4).permutation(2_000) * (150 * MICROS_PER_DAY // 2_000)
    data = replace(DATASET, as_of=spread)
    found = train(data, POPULATION, replace(TASK, basis="at_events"), PARAMS)
    assert found.roles.protocol == "out_of_time"
    assert 300 < found.bundle.trained_on["evaluate"] < 500


def test_an_empty_population_is_replaced_and_said():
    found = train(DATASET, POPULATION[:0], TASK, PARAMS)
    assert found.bundle.trained_on["reference"] == 400
    assert any("Nobody is eligible" in each for each in found.warnings)


def test_a_column_that_knows_the_outcome_stops_the_training():
    leaking, name = DATASET.matrix.copy(), FEATURES[0].name
    leaking[:, 0] = DATASET.label
    data = replace(DATASET, matrix=leaking)
    with pytest.raises(LeakFound, match=rf"goals.conversion: {name} \(AUC 1.000\) alone tells"):
        train(data, POPULATION, TASK, PARAMS)
    found = train(data, POPULATION, replace(TASK, allow={name: "a test"}), PARAMS)
    assert found.warnings[0].startswith(f"{name} (Number of purchase events")
    assert any("too good to be likely" in each for each in found.warnings)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_cannot_be_learnt(label):
    data = replace(DATASET, label=np.full(2_000, label, np.int8))
    which = "every one has" if label else "none has"
    with pytest.raises(OneClassError, match=f"Of 2,000 rows in goals.conversion, {which}"):
        train(data, POPULATION, TASK, PARAMS)


def test_people_and_not_rows_are_counted():
    few = replace(DATASET, label=(DATASET.person < 20).astype(np.int8))
    message = "20 people with the outcome and 380 without; 50 of each are needed"
    with pytest.raises(TooFewExamples, match=message) as caught:
        train(few, POPULATION, TASK, PARAMS)
    assert caught.value.details == {"with_outcome": 20, "without": 380, "needed": 50}


def test_an_unknown_recency_column_is_named():
    task = replace(TASK, event_columns=EventColumns("days_since_purchases"))
    with pytest.raises(UnknownFeature, match="Did you mean 'days_since_purchase'"):
        train(DATASET, POPULATION, task, PARAMS)


def test_progress_is_told(trained):
    said: list[str] = []
    train(DATASET, POPULATION, TASK, replace(PARAMS, max_rounds=5), said.append)
    assert said[0] == "Fitting on 1200 rows"
    assert re.fullmatch(r"Fitting \d+ trees on all 2000 rows", said[-1])


def test_the_summary_says_what_the_figures_say(trained):
    text = " ".join(trained.summary)
    found = trained.evaluation
    assert f"{found.auc:.1%} of the time" in text
    assert f"{found.lift_at_10:.1f} times the average rate" in text
    assert "happens within 30 days" in text


def test_the_report_is_one_page_that_needs_no_network(trained):
    report = replace(trained.report, warnings=["Mind <this>."], title="A & B")
    page = report_html(report)
    assert page.index("Mind &lt;this&gt;.") < page.index(report.summary[0].replace("'", "&#x27;"))
    assert "<h1>A &amp; B</h1>" in page
    assert page.count("<script>/**") + page.count("plotly.js v") >= 1
    outside = re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page)
    assert outside == []
    assert all(f'id="chart-{name}"' in page for name in figures(report))
    assert len(figures(report)) == 8 + len(report.more)
    assert set(report.more) <= {"reasons_low", "reasons_medium", "reasons_high"}


def test_the_report_is_the_same_each_time(trained):
    assert report_html(trained.report) == report_html(trained.report)


def lift_ends(trained: Trained) -> np.ndarray:
    return np.array(trained.evaluation.intervals.lift)


def calibration_ends(trained: Trained) -> np.ndarray:
    return np.array(trained.evaluation.intervals.happened)


def test_charts_show_the_figures(trained):
    shown = figures(trained.report)
    lifts = [each.lift for each in trained.evaluation.deciles]
    assert list(shown["lift"].data[0].y) == lifts
    assert shown["gains"].data[0].y[-1] == pytest.approx(1)
    for name, ends in (("lift", lift_ends(trained)), ("calibration", calibration_ends(trained))):
        bars = shown[name].data[0].error_y
        y = np.asarray(shown[name].data[0].y)
        low, high = y - bars.arrayminus, y + bars.array
        assert low == pytest.approx(np.minimum(y, ends[:, 0])), name
        assert high == pytest.approx(np.maximum(y, ends[:, 1])), name
    served = [each.mean_predicted for each in trained.served.bins]
    assert list(shown["calibration"].data[1].x) == served
    grade = trained.grade
    told = [f"{each:,.0f}" for each in (grade.caught, grade.missed,
                                        grade.false_alarms, grade.rightly_left)]  # fmt: skip
    assert [each.split("<br>")[0] for each in np.ravel(shown["confusion"].data[0].text)] == told
    assert f"grade {grade.letter}" in shown["confusion"].layout.title.text
    assert sum(shown["scores"].data[0].y) == len(POPULATION)
    assert set(shown["importance"].data[0].y) == {each.reason_label for each in FEATURES}
    assert shown["roc"].data[0].x[0] == 0 and shown["roc"].data[0].x[-1] == 1


def test_every_chart_has_a_picture(trained):
    drawn = pngs(figures(trained.report))
    assert set(drawn) == set(figures(trained.report))
    assert {"lift", "gains", "calibration", "importance", "scores", "roc", "precision_recall",
            "confusion"} <= set(drawn)  # fmt: skip
    assert all(each.startswith(b"\x89PNG") for each in drawn.values())
