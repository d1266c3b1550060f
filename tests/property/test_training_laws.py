"""Laws of the training room, attacked with random matrices, margins and calendars."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.behavior.definitions import CategoryIs, Count, DaysSince
from features.time import MICROS_PER_DAY, Window
from training.booster import BoosterParams, Trees
from training.calibration import LEAST, MOST, Calibrator
from training.dataset import Dataset
from training.evaluation import auc, gains
from training.factors import check_additive, explain
from training.reference import Reference
from training.split import snapshots, split

FEATURES = (
    *(Count("purchase", Window.parse(text)).feature for text in ("7d", "30d", "90d")),
    DaysSince("purchase").feature,
    CategoryIs("country", "France", 1).feature,
    CategoryIs("country", None, 0).feature,
)


def grown() -> Trees:
    rng = np.random.default_rng(1)
    matrix = rng.integers(0, 9, (600, 6)).astype(np.float64)
    matrix[:, 4:] = matrix[:, 4:] > 4
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    label = (np.nan_to_num(matrix[:, 0]) + matrix[:, 1:].sum(axis=1) > 15).astype(np.int8)
    names = [feature.name for feature in FEATURES]
    return Trees.fit(matrix, label, names, BoosterParams(num_threads=1), 80)


TREES = grown()
VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-1, 10).map(float),
    st.just(float("nan")),
)
MATRICES = st.integers(1, 12).flatmap(lambda rows: arrays(np.float64, (rows, 6), elements=VALUES))
MARGINS = arrays(np.float64, st.integers(1, 60), elements=st.floats(-40, 40))
LABELS = st.lists(st.integers(0, 1), min_size=2, max_size=60).filter(lambda y: 0 < sum(y) < len(y))


@given(MATRICES, st.integers(1, 6))
def test_base_and_factors_and_rest_are_the_margin(matrix, top):
    margin, contributions = TREES.margin(matrix), TREES.contributions(matrix)
    check_additive(contributions, margin)
    factors = explain(contributions, matrix, FEATURES, top=top)
    total = factors.base + factors.contribution.sum(axis=1) + factors.rest
    assert np.allclose(total, margin, rtol=1e-9, atol=1e-9)
    assert factors.contribution.shape[1] == min(top, 3)


@given(MATRICES)
def test_one_row_gives_the_bits_of_the_batch(matrix):
    margin, contributions = TREES.margin(matrix), TREES.contributions(matrix)
    together = explain(contributions, matrix, FEATURES)
    for row in range(len(matrix)):
        alone = matrix[row : row + 1]
        assert TREES.margin(alone)[0] == margin[row]
        found = TREES.contributions(alone)
        assert (found[0] == contributions[row]).all()
        assert explain(found, alone, FEATURES).of(0) == together.of(row)


@given(MATRICES)
def test_factors_are_ordered_and_their_shares_are_at_most_the_whole(matrix):
    factors = explain(TREES.contributions(matrix), matrix, FEATURES)
    for row in range(len(matrix)):
        sizes = [abs(each["contribution"]) for each in factors.of(row)]
        assert sizes == sorted(sizes, reverse=True)
        shares = [each["importance_share"] for each in factors.of(row)]
        assert sum(shares) == pytest.approx(1 if shares else 0)


def calibrators() -> st.SearchStrategy[Calibrator]:
    levels = st.lists(st.floats(0, 1), min_size=1, max_size=8)
    points = levels.flatmap(
        lambda found: st.tuples(
            st.lists(st.floats(-20, 20), min_size=len(found), max_size=len(found), unique=True).map(
                sorted
            ),
            st.just(sorted(found)),
        )
    )
    isotonic = points.map(
        lambda pair: Calibrator("isotonic", knots=tuple(pair[0]), levels=tuple(pair[1]))
    )
    sigmoid = st.builds(
        Calibrator, st.just("sigmoid"), slope=st.floats(0, 5), intercept=st.floats(-9, 9)
    )
    return st.one_of(isotonic, sigmoid, st.just(Calibrator("identity")))


@given(calibrators(), MARGINS)
def test_a_higher_margin_never_has_a_lower_probability(calibrator, margins):
    ordered = np.sort(margins)
    probability = calibrator.probability(ordered)
    assert (np.diff(probability) >= 0).all()
    assert probability[0] >= LEAST and probability[-1] <= MOST


@given(calibrators(), MARGINS)
def test_one_margin_is_calibrated_as_in_the_batch(calibrator, margins):
    together = calibrator.probability(margins)
    assert together.tolist() == [calibrator.of_one(margin) for margin in margins.tolist()]


@given(MARGINS, MARGINS, st.floats(0.001, 0.999), st.data())
def test_one_person_is_compared_as_in_the_batch(known, margins, mean, data):
    probabilities = st.floats(0, 1) | st.sampled_from([LEAST, mean, 0.5, MOST])
    probability = np.array([data.draw(probabilities) for _ in margins])
    reference = Reference(mean, np.sort(np.concatenate([known, margins[:5]])))
    score = reference.score(probability)
    parts = score, reference.percentile(margins), Reference.bucket(score)
    together = list(zip(*(part.tolist() for part in parts), strict=True))
    pairs = zip(margins.tolist(), probability.tolist(), strict=True)
    assert together == [reference.of_one(margin, each) for margin, each in pairs]


@given(st.integers(2, 4_000), st.integers(0, 2**32 - 1))
def test_a_fitted_calibrator_is_monotone_and_inside(count, seed):
    rng = np.random.default_rng(seed)
    margin = np.round(rng.normal(0, 2, count), 1)
    label = (rng.random(count) < rng.random()).astype(np.int8)
    probability = Calibrator.of(margin, label).probability(np.sort(margin))
    assert (np.diff(probability) >= 0).all()
    assert probability[0] >= LEAST and probability[-1] <= MOST


@given(MARGINS, st.floats(0.001, 0.999), arrays(np.float64, 30, elements=st.floats(LEAST, MOST)))
def test_score_percentile_and_bucket_keep_the_order(margins, mean, probabilities):
    reference = Reference(mean, np.sort(margins))
    score = reference.score(np.sort(probabilities))
    assert (np.diff(score) >= 0).all()
    assert score[0] >= 0 and score[-1] <= 100
    places = np.searchsorted(["high", "low", "medium"], Reference.bucket(score))
    rank = np.array([2, 0, 1])[places]
    assert (np.diff(rank) >= 0).all()
    assert ((score >= 75) == (rank == 2)).all() and ((score < 25) == (rank == 0)).all()
    percentile = reference.percentile(np.linspace(-50, 50, 40))
    assert (np.diff(percentile) >= 0).all()
    assert (percentile[0], percentile[-1]) == (1, 100)


@given(st.floats(0.001, 0.999))
def test_score_is_exactly_fifty_at_the_mean(mean):
    assert Reference(mean, np.zeros(1)).score(np.array([mean]))[0] == 50.0


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=25),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_no_role_knows_an_outcome_of_a_later_role(days, window, gap, width):
    outcome_window, pause, block = (
        Window(each * MICROS_PER_DAY) if each else None for each in (window, gap, width)
    )
    as_of = np.repeat(np.array(days, dtype=np.int64), 20) * MICROS_PER_DAY
    rows = len(as_of)
    label = np.tile([0, 1], rows // 2).astype(np.int8)
    data = Dataset((FEATURES[0],), np.zeros((rows, 1)), label, as_of, np.arange(rows))
    roles = split(data, outcome_window, pause, block)
    masks = (roles.fit, roles.calibrate, roles.evaluate)
    assert sum(mask.astype(int) for mask in masks).max() <= 1
    if roles.protocol == "person_hash":
        assert sum(mask.sum() for mask in masks) == rows
        return
    closes = window + (gap or 0)
    day = as_of // MICROS_PER_DAY
    assert day[roles.fit].max() + closes <= day[roles.calibrate].min()
    assert day[roles.calibrate].max() + closes <= day[roles.evaluate].min()
    assert day[roles.evaluate].max() == day.max()


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=25).map(np.array),
    st.one_of(st.none(), st.integers(1, 60)),
)
def test_every_moment_is_in_exactly_one_snapshot(days, width):
    found = snapshots(days, Window(width) if width else None)
    holding = [[each.first <= day <= each.last for each in found] for day in days]
    assert all(sum(each) == 1 for each in holding)
    assert [each.first for each in found] == sorted(each.first for each in found)
    assert all(each.last - each.first < (width or 1) for each in found)


@given(LABELS, st.data())
def test_auc_is_the_share_of_pairs_in_order(labels, data):
    ranking = data.draw(st.lists(st.integers(0, 6), min_size=len(labels), max_size=len(labels)))
    pairs = [
        (yes > no) + (yes == no) / 2
        for yes, had in zip(ranking, labels, strict=True)
        for no, had_not in zip(ranking, labels, strict=True)
        if had and not had_not
    ]
    found = auc(np.array(labels, np.int8), np.array(ranking, np.float64))
    assert found == pytest.approx(sum(pairs) / len(pairs))


@given(LABELS, st.data())
def test_deciles_hold_every_outcome_once(labels, data):
    ranking = data.draw(st.lists(st.integers(0, 6), min_size=len(labels), max_size=len(labels)))
    found = gains(np.array(labels, np.int8), np.array(ranking, np.float64))
    assert sum(each.positives for each in found) == pytest.approx(sum(labels))
    assert sum(each.lift for each in found) == pytest.approx(10)
    assert found[-1].gain == pytest.approx(1)
