"""BG/NBD against its story told slowly: integrals over all customers, and customers acted out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from training.bgnbd import BgNbd, Ledger

MODEL = BgNbd(0.8, 6.0, 0.9, 2.5)


def one(repeats: float, recency: float, age: float) -> Ledger:
    return Ledger(*(np.array([value]) for value in (repeats, recency, age)))


def chances(rate, leaves, x: int, recency: float, age: float):
    """Return the density of this history of someone still active, and of someone who has left."""
    came = rate**x * (1 - leaves) ** x * np.exp(-rate * age)
    left = rate**x * (1 - leaves) ** (x - 1) * leaves * np.exp(-rate * recency) if x else 0.0
    return came, left


def over_everyone(history) -> np.ndarray:
    """Return the means of `chances` over the customers there are: active, and gone."""
    rates, leaving = stats.gamma(MODEL.r, scale=1 / MODEL.alpha), stats.beta(MODEL.a, MODEL.b)
    # Gauss-Legendre by quantiles, so that the densities' poles do no harm.
    at, weight = np.polynomial.legendre.leggauss(400)
    shares = (at + 1) / 2
    rate, leaves = np.meshgrid(rates.ppf(shares), leaving.ppf(shares))
    found = chances(rate, leaves, *history)
    return np.array([(np.outer(weight, weight) / 4 * each).sum() for each in found])


@pytest.mark.parametrize("history", [(0, 0.0, 9.0), (1, 4.0, 9.0), (5, 8.0, 9.0)])
def test_likelihood_and_activity_are_integrals_over_everyone(history):
    found = one(*map(float, history))
    active, gone = over_everyone(history)
    assert MODEL.log_likelihoods(found)[0] == pytest.approx(np.log(active + gone), abs=1e-4)
    assert MODEL.active(found)[0] == pytest.approx(active / (active + gone), abs=1e-4)


def act(rng: np.random.Generator, rows: int, until: float) -> list[np.ndarray]:
    """Return the moments of purchase after the first of `rows` customers, up to `until`."""
    found = []
    for rate, leaves in zip(
        rng.gamma(MODEL.r, 1 / MODEL.alpha, rows), rng.beta(MODEL.a, MODEL.b, rows), strict=True
    ):
        repeats = rng.geometric(max(leaves, 1e-6)) - 1
        # The chance to leave comes after each repeat: whoever leaves after the first has one.
        times = np.cumsum(rng.exponential(1 / rate, min(repeats + 1, 2_000)))
        found.append(times[times < until])
    return found


def ledger(times: list[np.ndarray], age: float) -> Ledger:
    past = [each[each < age] for each in times]
    recency = [each[-1] if len(each) else 0.0 for each in past]
    return Ledger(
        np.array([len(each) for each in past], float), np.array(recency), np.full(len(past), age)
    )


@pytest.fixture(scope="module")
def acted() -> list[np.ndarray]:
    return act(np.random.default_rng(4), 12_000, 60.0)


def test_the_parameters_of_an_acted_world_are_found_again(acted):
    found = BgNbd.fit(ledger(acted, 40.0))
    # Four of their standard errors at 12,000 customers, from repeated worlds.
    assert (found.r, found.alpha) == pytest.approx((MODEL.r, MODEL.alpha), rel=0.15)
    assert found.a / (found.a + found.b) == pytest.approx(0.9 / 3.4, rel=0.12)


def test_as_many_purchases_are_expected_as_come(acted):
    known = ledger(acted, 40.0)
    came = np.array([(each >= 40.0).sum() for each in acted], float)
    expected = MODEL.expected(known, 20.0)
    assert expected.sum() == pytest.approx(came.sum(), rel=0.05)
    often = known.repeats >= 5
    assert expected[often].sum() == pytest.approx(came[often].sum(), rel=0.06)


def test_the_unit_of_time_does_not_matter(acted):
    weeks = ledger(acted[:3_000], 40.0)
    days = Ledger(weeks.repeats, 7 * weeks.recency, 7 * weeks.age)
    first, second = BgNbd.fit(weeks), BgNbd.fit(days)
    assert second.alpha == pytest.approx(7 * first.alpha, rel=1e-3)
    assert second.expected(days, 70.0) == pytest.approx(first.expected(weeks, 10.0), rel=1e-3)


@pytest.mark.parametrize("a", [0.4, 1.0, 1.0 + 1e-9, 3.0])
def test_expectations_are_finite_and_grow_with_time(a):
    model = BgNbd(0.3, 4.0, a, 2.4)
    wide = Ledger(
        np.array([0.0, 1, 50, 5_000, 5_000]), np.array([0.0, 3, 50, 99.99, 10]), np.full(5, 100.0)
    )
    ahead = np.array([model.expected(wide, each) for each in (1.0, 10.0, 100.0)])
    assert np.isfinite(ahead).all()
    assert (np.diff(ahead, axis=0) >= 0).all()
    assert ahead[:, 3].min() > 10
    near = BgNbd(0.3, 4.0, a + 1e-5, 2.4)
    assert near.expected(wide, 10.0) == pytest.approx(ahead[1], rel=1e-3)


def test_nobody_who_comes_again_teaches_nothing():
    assert BgNbd.fit(Ledger(np.zeros(9), np.zeros(9), np.arange(9.0))) is None
    assert BgNbd.fit(Ledger(np.ones(2), np.zeros(2), np.zeros(2))) is None
