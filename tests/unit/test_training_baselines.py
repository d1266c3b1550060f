"""The simple rules: what they read, how they rank, and which of them is the baseline."""

from __future__ import annotations

import numpy as np
import pytest

from features.behavior.definitions import ActiveDays, Count, DaysSince, DaysSinceFirst, Gap, Sum
from features.time import MICROS_PER_DAY, Window
from training.baselines import EventColumns, Rules
from training.bgnbd import BgNbd, Ledger
from training.booster import BoosterParams
from training.dataset import Dataset
from training.errors import UnknownFeature
from training.evaluation import auc
from training.fit import TrainingTask, train

DAYS_30, DAYS_90 = Window.parse("30d"), Window.parse("90d")
DEFINITIONS = (
    Count("purchase", DAYS_90), DaysSince("purchase"), DaysSinceFirst("purchase"),
    ActiveDays("purchase", DAYS_30), ActiveDays("purchase", DAYS_90),
    Sum("purchase", "amount", DAYS_30), Sum("purchase", "amount", DAYS_90),
    Sum("purchase", "quantity", DAYS_90), Sum("visit", "length", DAYS_90),
    Gap("purchase", "mean"), Gap("visit", "mean"), DaysSince("visit"),
)  # fmt: skip


def bought(rows: int = 3_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return moments of purchase before day 300 of people who may leave, and whether one follows.

    They begin within 100 days, buy at rates of their own, and leave after a purchase by chances of
    their own: the world of BG/NBD. Rows: days since, days since the first, mean gap, days with a
    purchase, amount. The outcome: bought in the 60 days from day 300.
    """
    rng = np.random.default_rng(seed)
    matrix, label = np.empty((rows, 5)), np.zeros(rows, np.int8)
    for row in range(rows):
        rate, leaves = rng.gamma(0.8, 1 / 15), rng.beta(0.9, 2.5)
        moment = rng.uniform(0, 100)
        times = [moment]
        while rng.random() > leaves and moment < 400:
            moment += rng.exponential(1 / rate)
            times.append(moment)
        past = np.array([each for each in times if each < 300])
        label[row] = any(300 <= each < 360 for each in times)
        gap = np.diff(past).mean() if len(past) > 1 else np.nan
        recent = int((past >= 210).sum())
        matrix[row] = 300 - past[-1], 300 - past[0], gap, recent, recent * rng.uniform(5, 9)
    return matrix, label


def dataset(matrix: np.ndarray, label: np.ndarray, days: int = 300) -> Dataset:
    kept = (
        DaysSince("purchase"), DaysSinceFirst("purchase"), Gap("purchase", "mean"),
        ActiveDays("purchase", DAYS_90), Sum("purchase", "amount", DAYS_90),
    )  # fmt: skip
    features = tuple(each.feature for each in kept)
    as_of = np.full(len(label), days * MICROS_PER_DAY)
    return Dataset(features, matrix, label, as_of, np.arange(len(label)))


MATRIX, LABEL = bought()
FIRST, SECOND = slice(0, 1_500), slice(1_500, None)
FIT, LATER = dataset(MATRIX[FIRST], LABEL[FIRST]), dataset(MATRIX[SECOND], LABEL[SECOND])
SHOP = EventColumns(
    "days_since_purchase", "days_since_first_purchase", "purchase_gap_mean",
    "purchase_active_days_90d", ("purchase_amount_sum_90d",),
)  # fmt: skip


def offered(fit: Dataset, later: Dataset, columns: EventColumns = SHOP) -> Rules:
    return Rules.of(fit, later, columns, Window.parse("60d"), None)


def test_rules_read_the_features_of_the_outcomes_event_in_the_longest_window():
    assert EventColumns.of("purchase", DEFINITIONS) == EventColumns(
        "days_since_purchase", "days_since_first_purchase", "purchase_gap_mean",
        "purchase_active_days_90d", ("purchase_amount_sum_90d", "purchase_quantity_sum_90d"),
    )  # fmt: skip
    assert EventColumns.of("visit", DEFINITIONS) == EventColumns(
        "days_since_visit", None, "visit_gap_mean", None, ("visit_length_sum_90d",)
    )


def test_a_rule_is_offered_where_its_columns_are_measured():
    rules = offered(FIT, LATER)
    assert [each.rule for each in rules.offered] == ["recency", "rfm", "bg_nbd"]
    bare = offered(FIT, LATER, EventColumns("days_since_purchase"))
    assert [each.rule for each in bare.offered] == ["recency"]
    never = FIT.matrix.copy()
    never[:, 2] = np.nan
    once = offered(dataset(never, FIT.label), LATER)
    assert [each.rule for each in once.offered] == ["recency", "rfm"]


def test_bg_nbd_wins_in_its_own_world_and_never_sees_the_evaluation():
    rules = offered(FIT, LATER)
    assert rules.best.rule == "bg_nbd"
    matrix, label = bought(seed=2)
    aucs = rules.aucs(label, matrix)
    assert set(aucs) == {"baseline_recency_auc", "baseline_rfm_auc", "baseline_bg_nbd_auc"}
    assert max(aucs, key=aucs.__getitem__) == "baseline_bg_nbd_auc"
    turned = offered(FIT, dataset(LATER.matrix, 1 - LATER.label))
    for each, other in zip(rules.offered, turned.offered, strict=True):
        assert (each.rank(matrix) == other.rank(matrix)).all()
    assert turned.best.rule != "bg_nbd"


def test_rules_turn_with_the_goal():
    """Of who stays away the same rules are right, the other way round."""
    here, away = offered(FIT, LATER), offered(dataset(FIT.matrix, 1 - FIT.label), LATER)
    for buys, stays_away in zip(here.offered, away.offered, strict=True):
        assert buys.rank(MATRIX).tolist() == (-stays_away.rank(MATRIX)).tolist()


@pytest.mark.parametrize(("label", "sign"), [([0, 0, 1, 1], 1), ([1, 1, 0, 0], -1)])
def test_recency_learns_its_direction_and_never_is_longest_ago(label, sign):
    days = np.full((4, 5), 3.0)
    days[:, 0] = [1.0, 2.0, 30.0, np.nan]
    data = dataset(days, np.array(label, np.int8))
    (recency,) = offered(data, data, EventColumns("days_since_purchase")).offered
    assert recency.monotone == (sign,)
    assert recency.rank(days).tolist() == [sign * each for each in (1, 2, 30, np.inf)]


def test_rfm_adds_fifths_each_in_its_direction():
    rows = np.arange(100.0)
    matrix = np.full((100, 5), 1.0)
    matrix[:, 0], matrix[:, 3], matrix[:, 4] = rows, rows[::-1], 7.0
    data = dataset(matrix, (rows < 50).astype(np.int8))
    rfm = next(each for each in offered(data, data).offered if each.rule == "rfm")
    assert rfm.columns == (0, 3, 4)
    assert rfm.monotone[:2] == (-1, 1)
    # By hand: row 0 is in the best fifth of both (-0 + 4), row 99 in the worst (-4 + 0); the
    # amount is the same for all.
    rank = rfm.rank(matrix)
    assert rank[0] - rank[99] == 8
    assert len(np.unique(rank)) == 5
    assert np.all(np.diff(rank) <= 0)


def test_money_is_the_sum_that_ranks_best_alone():
    noise = np.random.default_rng(3).normal(size=len(MATRIX))
    matrix = np.column_stack([MATRIX, noise])
    features = (*FIT.features, Sum("purchase", "quantity", DAYS_90).feature)
    data = Dataset(features, matrix, LABEL, np.zeros(len(LABEL), np.int64), np.arange(len(LABEL)))
    names = ("purchase_quantity_sum_90d", "purchase_amount_sum_90d")
    columns = EventColumns("days_since_purchase", None, None, "purchase_active_days_90d", names)
    rules = Rules.of(data, data, columns, DAYS_30, None)
    assert rules.offered[1].columns == (0, 3, 4)


def test_a_person_without_the_event_is_expected_to_have_none():
    rules = offered(FIT, LATER)
    row = np.array([[np.nan, np.nan, np.nan, 0.0, 0.0]])
    assert rules.offered[2].rank(row).tolist() == [0.0]
    assert rules.offered[2].rank(MATRIX).min() > 0


def test_bg_nbd_expects_what_comes_after_the_gap():
    model = BgNbd.fit(
        Ledger(
            np.where(MATRIX[FIRST, 2] > 0,
                     np.round((MATRIX[FIRST, 1] - MATRIX[FIRST, 0]) / MATRIX[FIRST, 2]), 0.0),
            (MATRIX[FIRST, 1] - MATRIX[FIRST, 0]) / 7,
            MATRIX[FIRST, 1] / 7,
        )
    )  # fmt: skip
    week, month = Window.parse("7d"), Window.parse("28d")
    bg_nbd = Rules.of(FIT, LATER, SHOP, month, week).offered[2]
    one = Ledger(np.array([3.0]), np.array([20.0]), np.array([30.0]))
    row = np.array([[70.0, 210.0, 140 / 3, 1.0, 9.0]])
    expected = model.expected(one, 5.0) - model.expected(one, 1.0)
    assert bg_nbd.rank(row) == pytest.approx(expected)


def test_the_newest_row_of_a_person_counts_once():
    """Older looks at the same people teach BG/NBD nothing more."""
    older = FIT.matrix.copy()
    older[:, :2] -= 30
    kept = older[:, 0] > 0
    both = Dataset(
        FIT.features, np.concatenate([older[kept], FIT.matrix]),
        np.concatenate([FIT.label[kept], FIT.label]),
        np.concatenate([FIT.as_of[kept] - 30 * MICROS_PER_DAY, FIT.as_of]),
        np.concatenate([FIT.person[kept], FIT.person]),
    )  # fmt: skip
    once, again = (offered(each, LATER).offered[2] for each in (FIT, both))
    assert again.rank(MATRIX).tolist() == once.rank(MATRIX).tolist()


def test_without_time_the_best_column_is_the_rule():
    rules = Rules.of(FIT, LATER, None, None, None)
    assert [each.rule for each in rules.offered] == ["column"]
    place = rules.best.columns[0]
    alone = [abs(auc(FIT.label, column) - 0.5) for column in FIT.matrix.T]
    assert place == int(np.argmax(alone))


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(UnknownFeature, match="Did you mean 'days_since_purchase'"):
        offered(FIT, LATER, EventColumns("days_since_purchases"))


def test_the_best_rule_serves_where_the_model_does_not_beat_it():
    """One stump knows less than BG/NBD does; what serves then reads the rule's columns alone."""
    stump = BoosterParams(learning_rate=0.1, max_rounds=1, max_depth=1, num_leaves=2)
    day = 300 * MICROS_PER_DAY
    task = TrainingTask("repurchase", "conversion", "calendar", day, DAYS_30, None, SHOP,
                        fewest_people=50)  # fmt: skip
    found = train(dataset(MATRIX, LABEL), MATRIX, task, stump)
    assert found.rules.best.rule == "bg_nbd"
    assert found.bundle.serves == "baseline"
    assert found.bundle.names == ("days_since_purchase", "days_since_first_purchase",
                                  "purchase_gap_mean")  # fmt: skip
    assert "does not beat BG/NBD alone" in found.warnings[0]
    ranks = found.summary[1]
    assert ranks.startswith("BG/NBD alone, as trees, ranks")
    metrics = found.bundle.metrics
    assert metrics["baseline_auc"] == metrics["baseline_bg_nbd_auc"] > metrics["model_auc"]
    for name, rule in (("days since the last time", "recency"), ("RFM", "rfm")):
        assert f"{name} {metrics[f'baseline_{rule}_auc']:.1%}" in ranks


def test_an_advantage_that_may_be_chance_is_called_so():
    """Here the outcome is drawn by BG/NBD's own columns, and trees can hardly know more."""
    day = 300 * MICROS_PER_DAY
    task = TrainingTask("repurchase", "conversion", "calendar", day, DAYS_30, None, SHOP,
                        fewest_people=50)  # fmt: skip
    trees = BoosterParams(learning_rate=0.1, max_rounds=100, early_stopping_rounds=20)
    found = train(dataset(MATRIX, LABEL), MATRIX, task, trees)
    low, high = found.evaluation.intervals.headline["auc_over_baseline"]
    said = " ".join(found.warnings)
    assert low < 0 < high
    assert ("may be chance" in said) == (found.bundle.serves == "model")
    assert ("does not beat" in said) == (found.bundle.serves == "baseline")
