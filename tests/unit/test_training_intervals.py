"""Bootstrap intervals: whole people are drawn, and the fast sums are those of the drawn rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.oracles.evaluation import headline, tenths
from training.evaluation import evaluate
from training.intervals import SEED, intervals, resampled
from training.weighted import Judged, weigh

RNG = np.random.default_rng(6)
MARGIN = np.round(RNG.normal(size=600), 1)
PROBABILITY = 1 / (1 + np.exp(1 - MARGIN))
LABEL = (RNG.random(600) < PROBABILITY).astype(np.int8)
BASELINE = MARGIN + RNG.normal(size=600)
JUDGED = Judged(LABEL, PROBABILITY, MARGIN, BASELINE)
PERSON = np.arange(600) // 3


@given(times=hnp.arrays(np.int64, 40, elements=st.integers(0, 3)), data=st.data())
def test_a_draw_weighs_as_its_rows_written_down_again_and_again(times, data):
    margin = np.array(data.draw(st.lists(st.integers(-3, 3), min_size=40, max_size=40)), float)
    label = np.arange(40, dtype=np.int8) % 3 == 0
    if not 0 < (times * label).sum() < times.sum():
        return
    probability, baseline = 1 / (1 + np.exp(-margin / 2)), np.arange(40.0)
    judged = Judged(label.astype(np.int8), probability, margin, baseline)
    found = weigh(judged, times[None].astype(float))
    expected = headline(judged.label, probability, margin, times, baseline)
    assert {name: each[0] for name, each in found.headline.items()} == pytest.approx(expected)
    lift, gain = tenths(np.repeat(judged.label, times), np.repeat(margin, times))
    assert found.lift[0] == pytest.approx(lift)
    assert found.gain[0] == pytest.approx(gain)


def test_intervals_are_quantiles_of_people_drawn_with_replacement():
    found = intervals(JUDGED, PERSON, resamples=60).headline
    rng, drawn = np.random.default_rng(SEED), []
    for _ in range(60):
        people = rng.integers(0, 200, 200)
        times = np.array([(people == person).sum() for person in PERSON])
        drawn.append(headline(LABEL, PROBABILITY, MARGIN, times, BASELINE))
    for name in set(found) - {"ece"}:
        expected = np.quantile([each[name] for each in drawn], [0.025, 0.975])
        assert found[name] == pytest.approx(tuple(expected)), name
    errors = np.array([each["ece"] for each in drawn])
    once = headline(LABEL, PROBABILITY, MARGIN, np.ones(600, int), BASELINE)["ece"]
    moved = np.quantile(errors - errors.mean() + once, [0.025, 0.975])
    assert found["ece"] == pytest.approx((max(0, moved[0]), moved[1]))


def test_blocks_do_not_change_the_draws(monkeypatch):
    whole = np.concatenate(list(resampled(PERSON, 20)))
    monkeypatch.setattr("training.intervals.BLOCK", 4_000)
    blocks = list(resampled(PERSON, 20))
    assert len(blocks) > 1
    assert (np.concatenate(blocks) == whole).all()
    assert (whole.sum(axis=1) == 600).all()


def test_the_interval_holds_the_figure_and_narrows_with_more_people():
    found = evaluate(LABEL, PROBABILITY, MARGIN, BASELINE)
    few = evaluate(LABEL[:120], PROBABILITY[:120], MARGIN[:120], BASELINE[:120])
    assert set(found.intervals.headline) == {
        "auc", "average_precision", "log_loss", "brier", "lift_at_10", "ece",
        "predicted_minus_rate", "auc_over_baseline",
    }  # fmt: skip
    for name, (low, high) in found.intervals.headline.items():
        assert low <= getattr(found, name) <= high, name
        narrow, wide = high - low, few.intervals.headline[name]
        assert narrow < wide.high - wide.low, name
    for each, (low, high) in zip(found.deciles, found.intervals.lift, strict=True):
        assert low <= each.lift <= high
    for each, (low, high) in zip(found.bins, found.intervals.happened, strict=True):
        assert low <= each.positive_rate <= high


def test_an_interval_covers_the_truth_nineteen_times_in_twenty():
    """Two hundred samples of 300 people from one world whose AUC is .7602, Phi(1 / sqrt 2)."""
    covered = 0
    for _ in range(200):
        label = np.repeat(np.array([0, 1], np.int8), 150)
        margin = RNG.normal(size=300) + label
        low, high = intervals(Judged(label, np.full(300, 0.5), margin), np.arange(300)).headline[
            "auc"
        ]
        covered += low <= 0.7602 <= high
    # Binomial(200, .95): 178 has one chance in a thousand to be undercut.
    assert covered >= 178


def test_rows_of_one_person_are_drawn_together():
    # The same rows eight times over are no more evidence than once.
    judged = Judged(LABEL[:300], PROBABILITY[:300], MARGIN[:300])
    once = intervals(judged, np.arange(300)).headline
    copies = (np.repeat(each, 8) for each in (LABEL[:300], PROBABILITY[:300], MARGIN[:300]))
    again = intervals(Judged(*copies), np.repeat(np.arange(300), 8)).headline
    assert {n: tuple(i) for n, i in again.items()} == {
        n: pytest.approx(tuple(i)) for n, i in once.items()
    }


def test_the_same_seed_gives_the_same_intervals_and_another_gives_others():
    assert intervals(JUDGED, PERSON) == intervals(JUDGED, PERSON)
    assert intervals(JUDGED, PERSON, seed=8) != intervals(JUDGED, PERSON)
