"""Laws of the population stability index, and what it says of worlds known to have moved."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.behavior.definitions import CategoryIs, Count, DaysSince, Feature
from features.time import Window
from training.drift import SCORE, Distribution, Drift, distributions, drift_of, drifts, psi

COUNT = Count("purchase", Window.parse("30d")).feature
SINCE = DaysSince("purchase").feature
COUNTRY = [CategoryIs("country", value, n).feature for n, value in enumerate(["FR", "DE"], 1)]
OTHER = CategoryIs("country", None, 0).feature
FEATURES: list[Feature] = [COUNT, SINCE, *COUNTRY, OTHER]

counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=14)
two = st.integers(2, 14).flatmap(
    lambda bins: st.tuples(
        *[st.lists(st.integers(0, 9_999), min_size=bins, max_size=bins).filter(any)] * 2
    )
)


@given(two)
def test_it_is_never_negative_and_the_same_both_ways(pair):
    before, now = (np.array(each, dtype=np.float64) for each in pair)
    assert psi(before, now) >= 0
    assert psi(before, now) == psi(now, before)
    assert np.isfinite(psi(before, now))


@given(counts.filter(any), st.integers(1, 50))
def test_it_is_nothing_where_the_shares_are_the_same(drawn, times):
    before = np.array(drawn, dtype=np.float64)
    assert psi(before, before) == 0
    assert psi(before, before * times) == pytest.approx(0, abs=1e-12)


@given(two, st.randoms())
def test_the_order_of_bins_means_nothing(pair, chance):
    order = list(range(len(pair[0])))
    chance.shuffle(order)
    before, now = (np.array(each, dtype=np.float64) for each in pair)
    assert psi(before[order], now[order]) == pytest.approx(psi(before, now))


def test_a_sum_worked_by_hand():
    """.5/.5 to .8/.2: (.3)(ln 1.6) + (-.3)(ln .4) = .3 ln 4."""
    assert psi(np.array([50.0, 50.0]), np.array([160.0, 40.0])) == pytest.approx(0.3 * np.log(4))


numbers = st.lists(
    st.one_of(st.just(np.nan), st.integers(-3, 3), st.floats(-1e9, 1e9)), min_size=1, max_size=60
)


@given(numbers, numbers)
def test_everybody_is_in_one_bin_and_it_is_the_bin_it_says(then, now):
    column = np.array(then, dtype=np.float64)[:, None]
    found = distributions([SINCE], column, column[:, 0])[1]
    later = np.array(now, dtype=np.float64)
    assert len(found.bins) == len(found.counts)
    assert sum(found.counts) == len(then)
    assert found.count(column) == found.counts
    assert found.count(later[:, None]) == tuple(slow_counts(found, later))


def slow_counts(found: Distribution, values: np.ndarray) -> list[int]:
    """Count by asking, for each person, every bin in turn."""
    counts = [0] * len(found.bins)
    edges = found.edges
    for value in values:
        if np.isnan(value):
            counts[-1] += 1
        elif not edges or value < edges[0]:
            counts[0] += 1
        elif value > edges[-1]:
            counts[-2] += 1
        else:
            counts[1 + next(n for n, edge in enumerate(edges) if value <= edge)] += 1
    return counts


def test_bins_have_names():
    column = np.array([0, 0, 0, 1, 2, 5, np.nan])[:, None]
    found = distributions([SINCE], column, column[:, 0])[1]
    assert found.bins == ("below 0", "0", "0 to 1", "1 to 2", "2 to 5", "above 5", "null")
    assert found.counts == (0, 3, 1, 1, 1, 0, 1)


def test_categories_of_one_attribute_are_one_distribution_with_null_and_others():
    matrix = np.array(
        [[0, 1, 1, 0, 0], [0, 1, 0, 1, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 1], [0, 1, 1, 0, 0]],
        dtype=np.float64,
    )
    found = {each.code: each for each in distributions(FEATURES, matrix, np.arange(5.0))}
    assert set(found) == {SCORE, COUNT.name, SINCE.name, "profile_country"}
    country = found["profile_country"]
    assert country.bins == ("Country is FR", "Country is DE", "Country is other", "null")
    assert country.counts == (2, 1, 1, 1)


def test_a_distribution_comes_back_from_json_as_it_was():
    matrix = np.random.default_rng(1).normal(size=(50, 5))
    for each in distributions(FEATURES, matrix, matrix[:, 0]):
        assert Distribution.from_json(json.loads(json.dumps(asdict(each)))) == each


# Worlds ------------------------------------------------------------------------------------------


def people(seed: int, size: int, quieter: float = 1.0, away: float = 0.1, germans: float = 0.3):
    """Draw purchases, days since the last (null = never) and countries, with a margin."""
    rng = np.random.default_rng(seed)
    count = rng.poisson(3 * quieter, size).astype(np.float64)
    since = rng.exponential(30 / quieter, size)
    since[rng.random(size) < away] = np.nan
    country = rng.choice(4, size, p=[0.9 - germans, germans, 0.05, 0.05])
    matrix = np.column_stack([count, since, *(country == place for place in range(3))])
    return matrix, np.log1p(count) - np.nan_to_num(since, nan=200.0) / 60


def moved(size: int, **now: float) -> dict[str, Drift]:
    matrix, margin = people(1, size)
    reference = distributions(FEATURES, matrix, margin)
    later, later_margin = people(2, size, **now)
    return {each.code: each for each in drifts(reference, FEATURES, later, later_margin)}


@pytest.mark.parametrize("size", [60, 200, 1_000, 20_000])
def test_the_same_world_again_is_steady(size):
    """However few the people: chance is no drift."""
    rings = 0
    for seed in range(60):
        matrix, margin = people(seed, size)
        reference = distributions(FEATURES, matrix, margin)
        found = drifts(reference, FEATURES, *people(1_000 + seed, size))
        rings += sum(each.level != "steady" or each.nulls_jumped for each in found)
    assert rings == 0


def test_what_shifted_is_named_and_what_did_not_is_not():
    found = moved(5_000, germans=0.75)
    assert found["profile_country"].level == "shifted"
    assert {code for code, each in found.items() if each.level != "steady"} == {"profile_country"}
    found = moved(5_000, quieter=0.4)
    assert found[COUNT.name].level == "shifted"
    assert found[SCORE].level != "steady"
    assert found["profile_country"].level == "steady"


def test_more_nulls_are_told_by_their_share():
    found = moved(5_000, away=0.35)
    since = found[SINCE.name]
    assert since.nulls_jumped and since.level == "shifted"
    assert (round(since.nulls_before, 2), round(since.nulls_now, 2)) == (0.1, 0.35)
    assert not found[COUNT.name].nulls_jumped
    assert not moved(5_000, away=0.15)[SINCE.name].nulls_jumped


def test_a_value_nobody_had_is_seen():
    """A feature that was the same for all, and now is not: above, below, or null."""
    column = np.full((500, 1), 5.0)
    (_, constant) = distributions([COUNT], column, column[:, 0])
    for other in (4.0, 6.0, np.nan):
        now = constant.count(np.where(np.arange(500) % 2, 5.0, other)[:, None])
        assert drift_of(constant, now).level == "shifted"
    assert drift_of(constant, constant.counts).psi == 0


def test_the_most_moved_come_first_and_nobody_is_no_drift():
    matrix, margin = people(1, 2_000)
    reference = distributions(FEATURES, matrix, margin)
    found = drifts(reference, FEATURES, *people(2, 2_000, quieter=0.5))
    assert [each.psi for each in found] == sorted((each.psi for each in found), reverse=True)
    assert drifts(reference, FEATURES, matrix[:0], margin[:0]) == []
