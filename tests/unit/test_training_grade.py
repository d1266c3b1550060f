"""The letter grade, by hand, with a cut that names as many as have the outcome."""

from __future__ import annotations

import numpy as np
import pytest

from training.grade import Grade, cut_of, grade


def graded(caught: int, false_alarms: int, missed: int, rightly_left: int, rule: float) -> Grade:
    return Grade(0.5, caught, false_alarms, missed, rightly_left, rule)


@pytest.mark.parametrize(
    ("counts", "rule", "letter"),
    [
        # right, found and baseline: half of all are right, 60% found against 50%, 50.1%, 60%, 60.1%
        ((60, 60, 40, 40), 50, "A"),
        ((60, 60, 40, 40), 50.1, "B"),
        ((60, 60, 40, 40), 60, "B"),
        ((60, 60, 40, 40), 60.1, "C"),
        # 99 of 200 right
        ((60, 61, 40, 39), 10, "C"),
        ((100, 0, 0, 0), 50, "A"),
    ],
)
def test_letters(counts, rule, letter):
    assert graded(*counts, rule).letter == letter


def test_a_model_that_ranks_no_better_than_the_baseline_gets_a_c():
    assert Grade(0.5, 60, 10, 40, 90, 30, outdone=True).letter == "C"


def test_figures_at_the_cut():
    assert graded(30, 20, 10, 140, 20).metrics() == {
        "cut": 0.5,
        "right_at_cut": 0.85,
        "found_at_cut": 0.75,
        "baseline_found_at_cut": 0.5,
    }


def test_the_cut_names_as_many_as_had_the_outcome_on_earlier_rows():
    margin = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    label = np.array([0, 0, 1, 0, 1, 1], np.int8)
    assert cut_of(margin, label) == 3.0
    # Of one margin all are named or none: here four.
    assert cut_of(np.minimum(margin, 2.0), label) == 2.0


def test_people_are_counted_on_later_rows_and_the_baseline_names_as_many():
    margin = np.array([4.0, 3.5, 3.0, 2.0, 1.0, 0.0])
    label = np.array([1, 0, 1, 1, 0, 0], np.int8)
    found = grade(label, margin, np.array([1.0, 9, 8, 7, 2, 3]), 3.0, 0.4)
    assert found == Grade(0.4, 2, 1, 1, 2, 2.0)
    # The baseline's first three had it twice; with four tied for two places, half of each counts.
    tied = grade(label, margin, np.array([9.0, 5, 5, 5, 5, 1]), 3.0, 0.4)
    assert tied.baseline_caught == pytest.approx(1 + 2 * 2 / 4)


def test_a_cut_above_everyone_names_nobody():
    found = grade(np.array([1, 0], np.int8), np.zeros(2), np.ones(2), 1.0, 0.9)
    assert (found.found, found.right, found.letter) == (0.0, 0.5, "B")
