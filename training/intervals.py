"""How sure a figure is: bootstrap intervals, drawing people and not rows.

Rows of one person are drawn together (Efron and Tibshirani 1993, chapter 8: resample what is
independent), so looking at the same people again and again makes nothing surer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.weighted import Judged, Weighed, weigh

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES, SEED, LEVEL = 200, 7, 0.95
BLOCK = 1_000_000
"""Weights held at once: draws times rows."""
RAISED_BY_CHANCE = ("ece",)


class Interval(NamedTuple):
    """Where a figure lies with 95% confidence."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of the headline figures by name, of deciles likeliest first, of bins lowest first.

    `happened` is of the outcome rate in each tenth of the probabilities.
    """

    headline: Mapping[str, Interval]
    lift: tuple[Interval, ...]
    gain: tuple[Interval, ...]
    happened: tuple[Interval, ...]


def intervals(
    judged: Judged, person: Ints, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Intervals:
    """Return percentile intervals of every figure of `judged`; `person` (n,) groups the rows.

    Draws in which everyone has the same label say nothing of ranks and are left out there. The
    calibration error can only be raised by chance, and drawing adds chance anew: its interval is
    moved down by what the drawing adds on average, not below 0.
    """
    ordered, place = judged.sorted()
    drawn = [weigh(ordered, weight) for weight in resampled(person[place], resamples, seed)]
    headline = _joined(drawn)
    stated = weigh(judged, np.ones((1, len(judged.label)))).headline
    for name in RAISED_BY_CHANCE:
        headline[name] = headline[name] - (np.mean(headline[name]) - stated[name][0])
    found = {name: interval_of(values) for name, values in headline.items()}
    for name in RAISED_BY_CHANCE:
        found[name] = Interval(max(0.0, found[name].low), found[name].high)
    return Intervals(
        found,
        _by_tenth([each.lift for each in drawn]),
        _by_tenth([each.gain for each in drawn]),
        _by_tenth([each.happened for each in drawn]),
    )


def resampled(person: Ints, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[Floats]:
    """Yield blocks of weights (draws, rows): how often each row's person was drawn.

    As many people are drawn, with replacement, as there are. The same seed gives the same draws in
    whatever blocks.
    """
    _, group = np.unique(person, return_inverse=True)
    people, rng = int(group.max()) + 1, np.random.default_rng(seed)
    block = max(1, BLOCK // len(group))
    for first in range(0, resamples, block):
        draws = min(block, resamples - first)
        weight = np.empty((draws, len(group)))
        for row in weight:
            row[:] = np.bincount(rng.integers(0, people, people), minlength=people)[group]
        yield weight


def interval_of(drawn: Floats) -> Interval:
    """Return the interval of a figure from its draws; NaN draws are left out."""
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _joined(drawn: list[Weighed]) -> dict[str, Floats]:
    names = drawn[0].headline
    return {name: np.concatenate([each.headline[name] for each in drawn]) for name in names}


def _by_tenth(blocks: list[Floats]) -> tuple[Interval, ...]:
    return tuple(interval_of(column) for column in np.concatenate(blocks).T)
