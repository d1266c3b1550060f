"""Whatever is written, the answer is a condition or an error that points into the text."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from benchmarks.conditions import HARDEST, LIVE, VOCABULARY, answer, fuzzed, person
from features.conditions import parse
from features.conditions.live import live

EVERY_ENDING = {
    "read", "condition_syntax", "unknown_name", "type_mismatch", "too_deep", "too_long"
}  # fmt: skip


@pytest.mark.parametrize("written", HARDEST.values(), ids=HARDEST)
def test_the_hardest_texts_are_answered(written: str) -> None:
    assert answer(written) in EVERY_ENDING


def test_fuzzed_texts_are_answered() -> None:
    endings = Counter(answer(written) for written in fuzzed(seed=3, count=4_000))
    assert set(endings) == EVERY_ENDING, endings


@pytest.mark.slow
def test_two_hundred_thousand_fuzzed_texts_are_answered() -> None:
    endings = Counter(answer(written) for written in fuzzed(seed=4, count=200_000))
    assert set(endings) == EVERY_ENDING, endings
    assert endings["read"] > 10_000


def test_the_conditions_timed_live_say_something_of_the_person_timed() -> None:
    subject = person(np.random.default_rng(7))
    answers = {live(parse(written, VOCABULARY))(subject) for written in LIVE}
    assert answers == {True, False}
