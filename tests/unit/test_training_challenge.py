"""Challenger against champion: promoted when better by more than chance, and only then."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from training.challenge import Duel, Verdict, duel, log_losses, verdict_of
from training.evaluation import auc


def world(seed: int, people: int = 400, each: int = 1):
    """Return labels, persons and the true margins of rows; a person's rows are all alike."""
    rng = np.random.default_rng(seed)
    margin = np.repeat(rng.normal(-0.5, 1.5, people), each)
    outcome = np.repeat(rng.random(people), each) < expit(margin)
    return outcome.astype(np.int8), np.repeat(np.arange(people), each), margin, rng


def version(margin: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return margin, np.clip(expit(margin), 1e-6, 1 - 1e-6)


def slow_twin(label, person, ours, theirs, seed, resamples):
    """Draw people, lay all their rows down one by one, and take the mean difference in loss."""
    rng = np.random.default_rng(seed)
    rows = {who: np.flatnonzero(person == who) for who in np.unique(person)}
    names = sorted(rows)
    means = []
    for _ in range(resamples):
        drawn = [row for place in rng.integers(0, len(names), len(names))
                 for row in rows[names[place]]]  # fmt: skip
        loss = [
            [-np.log(p[row] if label[row] else 1 - p[row]) for p in (theirs, ours)] for row in drawn
        ]
        means.append(np.mean([a - b for a, b in loss]))
    return np.quantile(means, [0.025, 0.975])


def test_the_loss_is_minus_the_log_of_what_happened():
    found = log_losses(np.array([1, 0], np.int8), np.array([0.25, 0.25]))
    assert found.tolist() == [np.log(4), -np.log(0.75)]


def test_people_are_drawn_not_rows_as_the_slow_twin_draws_them():
    label, person, margin, rng = world(3, people=60, each=2)
    person = np.where(np.arange(len(person)) % 7 == 0, 1_000, person)
    ours = version(margin + rng.normal(0, 0.5, len(margin)))
    theirs = version(margin + rng.normal(0, 0.5, len(margin)))
    found = duel(label, person, ours, theirs, seed=5, resamples=50)
    low, high = slow_twin(label, person, ours[1], theirs[1], 5, 50)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.people == len(np.unique(person)) and found.rows == len(label)
    assert found.gain == pytest.approx(found.champion_loss - found.loss)
    assert (found.auc, found.champion_auc) == (auc(label, ours[0]), auc(label, theirs[0]))


@pytest.mark.parametrize("each", [1, 20], ids=["a row a person", "twenty rows a person"])
def test_one_no_better_is_seldom_promoted(each):
    """2.5% of the time by the test's own level; rows of one person are no more evidence."""
    promoted = 0
    for seed in range(120):
        label, person, margin, rng = world(seed, each=each)
        people = person.max() + 1
        noise = [np.repeat(rng.normal(0, 0.7, people), each) for _ in range(2)]
        found = duel(
            label, person, version(margin + noise[0]), version(margin + noise[1]), resamples=200
        )
        promoted += found.better
    assert promoted <= 9  # 120 trials at 2.5%: more than 9 has a chance below 0.1%


def test_one_clearly_better_is_promoted_with_its_figures():
    label, person, margin, rng = world(11, people=2_000)
    stale = version(0.3 * margin + rng.normal(0, 1, len(margin)))
    verdict = verdict_of(duel(label, person, version(margin), stale), "old")
    assert verdict.decision == "promoted" and verdict.duel is not None
    assert verdict.duel.low > 0 and verdict.duel.auc > verdict.duel.champion_auc
    assert verdict.words.startswith("Promoted over old: on 2,000 rows of 2,000 people, ")
    assert verdict.figures()["challenge_gain"] == verdict.duel.gain
    back = verdict_of(duel(label, person, stale, version(margin)), "old")
    assert back.decision == "kept"
    assert "it is not shown to be better" in back.words


def test_a_better_level_counts_where_the_order_is_the_same():
    """What serves is a probability: AUC alone would not see that the rate has moved."""
    label, person, margin, _ = world(12, people=2_000)
    found = duel(label, person, version(margin), version(margin + 1.0))
    assert found.auc == found.champion_auc
    assert found.better


def test_too_few_outcomes_are_no_comparison():
    label = np.array([1] * 9 + [0] * 500, np.int8)
    same = version(np.zeros(len(label)))
    assert duel(label, np.arange(len(label)), same, same) is None
    verdict = verdict_of(None, "old")
    assert (verdict.decision, verdict.duel, verdict.figures()) == ("kept", None, {})
    assert "too few to compare" in verdict.words


def test_equal_versions_are_not_promoted():
    label, person, margin, _ = world(13)
    found = duel(label, person, version(margin), version(margin))
    assert (found.gain, found.low, found.high, found.better) == (0.0, 0.0, 0.0, False)


def test_a_verdict_is_told_in_words_and_in_json():
    some = Duel(10, 9, 3, 0.5, 0.6, 0.1, 0.05, 0.15, 0.8, 0.7)
    body = Verdict("promoted", "old", some.words, some).body()
    assert body["duel"]["gain"] == 0.1 and body["champion"] == "old"
    assert "+0.1000 better (95% +0.0500 to +0.1500)" in body["words"]
    assert Verdict("apart", "old", "why").words.startswith("Of a past moment")
