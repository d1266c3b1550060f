"""Why everyone scored has that score: a chunk at a time, after saying what it will cost."""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.booster import Trees
from training.bucket_factors import BucketSums
from training.bundle import Bundle, Scored
from training.factors import check_additive, gather

Floats = NDArray[np.float64]

CHUNK = 20_000
SAMPLE = 1_000
LISTED_FACTORS = 10
COLUMNS_A_FACTOR = 10
"""Numbers, and numbers of words, that one listed factor takes while a chunk is worked on."""


@dataclass(frozen=True)
class Estimate:
    """What it takes to explain `people` rows: wall-clock seconds, and megabytes beside the rows.

    Work grows as rows x trees x depth: of tables, `additions` a row. Seconds are those of a sample
    of the very rows, on the very machine, as many times over. `additions` None: LightGBM's own
    method does it, which takes the square of the depth.
    """

    people: int
    trees: int
    deepest: int | None
    additions: int | None
    seconds: float
    megabytes: float

    @property
    def words(self) -> str:
        """The estimate in a line of a run's progress."""
        depth = f" up to {self.deepest} deep" if self.deepest else ""
        return (
            f"{self.people:,} people x {self.trees:,} trees{depth}: "
            f"about {self.seconds:,.1f} s, {self.megabytes:,.0f} MB"
        )


def estimate(bundle: Bundle, matrix: Floats, top: int = LISTED_FACTORS) -> Estimate:
    """Return what explaining rows (n, features) will take, by timing some of them."""
    trees, tables = bundle.trees, bundle.trees.explained_by
    some = matrix[: min(SAMPLE, -(-len(matrix) // 10))]
    trees.contributions(some[:1])  # Compiles, or reads what was compiled.
    start = clock.perf_counter()
    gather(trees.contributions(some), some, bundle.features).top(some, top).table()
    seconds = (clock.perf_counter() - start) * len(matrix) / max(1, len(some))
    return Estimate(
        len(matrix),
        trees.rounds,
        tables.deepest if tables else None,
        tables.additions if tables else None,
        seconds,
        _bytes(trees, min(CHUNK, len(matrix)), matrix.shape[1], top) / 1e6,
    )


def _bytes(trees: Trees, rows: int, width: int, top: int) -> float:
    """Return what a chunk takes: contributions twice over, six numbers a reason, its factors."""
    tables = trees.explained_by
    a_row = 2 * (width + 1) + 6 * width + COLUMNS_A_FACTOR * top
    return 8.0 * rows * a_row + (tables.bytes if tables else 0)


def explained(
    bundle: Bundle, matrix: Floats, scored: Scored, sums: BucketSums, say: Callable[[str], None]
) -> Iterator[tuple[slice, pa.Table, Floats]]:
    """Yield, by chunk of rows: which, their factors (`Factors.table`), and (rows, 2) base and rest.

    Every row's base + contributions is checked against its margin before it is yielded, and added
    to `sums`. Says what it will cost, then how far it is.
    """
    if not len(matrix):
        return
    cost = estimate(bundle, matrix)
    say(f"reasons of {bundle.goal}: {cost.words}")
    start = clock.perf_counter()
    for first in range(0, len(matrix), CHUNK):
        rows = slice(first, first + CHUNK)
        part = matrix[rows]
        contributions = bundle.trees.contributions(part)
        check_additive(contributions, scored.margin[rows])
        gathered = gather(contributions, part, bundle.features)
        sums.add(gathered, scored.bucket[rows])
        found = gathered.top(part, LISTED_FACTORS)
        yield rows, found.table(), np.column_stack([found.base, found.rest])
        done = min(first + CHUNK, len(matrix))
        spent = clock.perf_counter() - start
        left = spent / done * (len(matrix) - done)
        say(
            f"reasons of {bundle.goal}: {done:,} of {len(matrix):,} people in {spent:,.1f} s"
            + (f", {left:,.0f} s left" if left else "")
        )
