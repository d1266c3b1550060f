"""Predicted against happened: the figures of a card, and when it rings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from training.evaluation import auc
from training.reference import Reference
from training.scorecard import ALARM_Z, Card, Compared, Outcomes, wilson

PROMISED = (0.8, 0.76, 0.84)


def world(
    seed: int, people: int = 2_000, level: float = -1.5, slope: float = 1.2, moved: float = 0.0
) -> Outcomes:
    """Return people scored by the truth, whose odds of the outcome then move by `exp(moved)`."""
    rng = np.random.default_rng(seed)
    margin = level + slope * rng.normal(size=people)
    happened = (rng.random(people) < expit(margin + moved)).astype(np.int8)
    reference = Reference.of(margin, expit(margin))
    bucket = Reference.bucket(reference.score(expit(margin)))
    return Outcomes(expit(margin), margin, bucket, happened, np.arange(people))


def codes(card: Card) -> list[str]:
    return [code for code, _ in card.alarms()]


# Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson's score interval).
@pytest.mark.parametrize(
    ("outcomes", "people", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_intervals_are_wilsons(outcomes, people, low, high):
    assert wilson(outcomes, people) == pytest.approx((low, high), abs=5e-5)


def test_a_card_counts_what_it_is_told():
    outcomes = Outcomes(
        probability=np.array([0.1, 0.2, 0.3, 0.8]),
        margin=np.array([-2.0, -1.0, 0.0, 1.0]),
        bucket=np.array(["low", "low", "medium", "high"]),
        happened=np.array([0, 1, 0, 1], dtype=np.int8),
        person=np.arange(4),
    )
    card = Card.of(outcomes, 3, PROMISED)
    everyone = card.everyone
    assert (everyone.people, everyone.outcomes, card.missing) == (4, 2, 3)
    assert (everyone.predicted, everyone.happened) == (pytest.approx(0.35), 0.5)
    assert list(card.buckets) == ["low", "medium", "high"]
    low = card.buckets["low"]
    assert (low.people, low.outcomes, low.predicted) == (2, 1, pytest.approx(0.15))
    # Three of four pairs of one with and one without are in order.
    assert card.auc == 0.75
    # Tenths of four people: .1 .1 .35 .8 .8 .3 .3 .05 .2 .2, as two tenths take half of each.
    assert card.ece == pytest.approx(0.32)
    assert codes(card) == []  # Too few were found again.


def test_a_card_is_the_same_in_any_order():
    found = world(1)
    order = np.random.default_rng(2).permutation(len(found.happened))
    shuffled = Outcomes(**{name: values[order] for name, values in vars(found).items()})
    assert Card.of(shuffled, 0, PROMISED).everyone == Card.of(found, 0, PROMISED).everyone
    assert Card.of(shuffled, 0, PROMISED).buckets == Card.of(found, 0, PROMISED).buckets


def test_where_nobody_had_the_outcome_there_is_no_auc():
    found = world(1, people=50)
    none = Outcomes(**vars(found) | {"happened": np.zeros(50, dtype=np.int8)})
    card = Card.of(none, 0, PROMISED)
    assert (card.auc, card.auc_low, card.auc_high) == (None, None, None)
    assert card.everyone.happened == 0
    assert set(codes(card)) == {"miscalibrated"}


@pytest.mark.parametrize("level", [-3.5, -1.5, 0.0, 2.0])
@pytest.mark.parametrize("people", [300, 3_000])
def test_true_probabilities_hardly_ever_ring(level, people):
    worlds = 300
    rings = 0
    for seed in range(worlds):
        found = world(seed, people, level)
        parts = [found.bucket == name for name in ("low", "medium", "high")]
        parts = [np.ones(people, dtype=bool), *(part for part in parts if part.any())]
        compared = [Compared.of(found.probability[part], found.happened[part]) for part in parts]
        rings += any(each.off for each in compared)
    assert rings <= 0.01 * worlds


@pytest.mark.parametrize("moved", [0.8, -0.8])
@pytest.mark.parametrize("level", [-3.5, -1.5, 0.0, 2.0])
def test_odds_twice_as_high_or_low_as_predicted_ring(level, moved):
    for seed in range(5):
        card = Card.of(world(seed, 4_000, level, moved=moved), 0, PROMISED)
        assert "miscalibrated" in codes(card)


def test_a_slight_and_certain_difference_does_not_ring():
    """With very many people any difference is certain; it must be large enough to matter too."""
    everyone = Compared(1_000_000, 110_000, 0.1, 0.11, *wilson(110_000, 1_000_000))
    low, _ = wilson(110_000, 1_000_000, ALARM_Z)
    assert everyone.predicted < low
    assert not everyone.off


def test_a_rate_of_nothing_or_everything_can_ring():
    for probability, outcomes in ((0.2, 0), (0.8, 200)):
        happened = np.zeros(200, dtype=np.int8)
        happened[:outcomes] = 1
        assert Compared.of(np.full(200, probability), happened).off


def test_people_in_the_wrong_order_ring_and_a_little_less_does_not():
    found = world(3, 3_000)
    realised = auc(found.happened, found.margin)
    good = (realised, realised - 0.01, realised + 0.01)
    assert codes(Card.of(found, 0, good)) == []
    slightly = tuple(each + 0.025 for each in good)
    assert codes(Card.of(found, 0, slightly)) == []
    worse = tuple(each + 0.1 for each in good)
    assert codes(Card.of(found, 0, worse)) == ["ranks_worse"]
    unsure = (realised + 0.1, realised - 0.1, realised + 0.2)
    assert codes(Card.of(found, 0, unsure)) == []


def test_nothing_rings_where_many_are_missing():
    found = world(3, 2_000, moved=1.0)
    assert codes(Card.of(found, 100, PROMISED))
    assert codes(Card.of(found, 200, PROMISED)) == []


def test_the_odds_of_the_worlds_are_what_they_say():
    found = world(5, 200_000, moved=0.8)
    rate = found.happened.mean()
    assert logit(rate) - logit(found.probability.mean()) == pytest.approx(0.62, abs=0.1)
