"""Contributions by our tables, beside LightGBM's `pred_contrib`, in the same process.

    python benchmarks/factors.py

300 trees on 80 features, a tenth of the values null; two threads each, turn by turn, medians of
five. Ours explains 200,000 rows, whole and in chunks of 20,000; `pred_contrib`, whose time is
proportional to its rows, explains 3,000 of them. Making the tables, once a model, is timed by
itself. Every run is checked to be equal within 1e-9. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from training.booster import Floats, Trees

ROWS, FEATURES, TREES, CHUNK, THEIRS = 200_000, 80, 300, 20_000, 3_000
LEAVES = {6: 31, 8: 63}
TURNS, THREADS, TOLERANCE = 5, 2, 1e-9


def main() -> None:
    """Measure both depths and print a table, then one line of JSON."""
    rng = np.random.default_rng(7)
    matrix = rng.normal(size=(ROWS, FEATURES))
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    figures: dict[str, Any] = {"benchmark": "factors", "machine": platform.machine()}
    figures["cores"] = os.cpu_count()
    print(f"{'depth':>5} {'pred_contrib':>12} {'tables':>9} {'chunks':>9}  rows per second")
    for depth in LEAVES:
        found = measure(grown(matrix[:20_000], depth), matrix)
        theirs, ours, chunks = (median(found[name]) for name in ("theirs", "ours", "chunks"))
        print(f"{depth:>5} {theirs:>12,.0f} {ours:>9,.0f} {chunks:>9,.0f}")
        figures[f"ratio_pred_contrib_d{depth}"] = round(ours / theirs, 1)
        figures[f"ratio_pred_contrib_chunks_d{depth}"] = round(chunks / theirs, 1)
        figures[f"seconds_tables_d{depth}"] = round(found["tables"][0], 2)
        figures[f"largest_difference_d{depth}"] = max(found["difference"])
    by_depth = [figures[f"ratio_pred_contrib_chunks_d{depth}"] for depth in LEAVES]
    figures["ratio_pred_contrib_chunks"] = min(by_depth)
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def grown(matrix: Floats, depth: int) -> Trees:
    """Return trees as deep as asked, which is deeper than the project itself allows."""
    import lightgbm

    rng = np.random.default_rng(8)
    known = np.nan_to_num(matrix)
    signal = known @ rng.normal(size=FEATURES) + 3 * known[:, 0] * known[:, 1]
    label = signal + rng.normal(scale=3, size=len(matrix)) > 0
    settings = {
        "objective": "binary", "max_depth": depth, "num_leaves": LEAVES[depth],
        "num_threads": THREADS, "seed": 7, "deterministic": True, "force_row_wise": True,
        "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(matrix, label, params=settings)
    return Trees(lightgbm.train(settings, data, TREES).model_to_string(), THREADS)


def measure(trees: Trees, matrix: Floats) -> dict[str, list[float]]:
    """Return rows per second by each way, turn by turn; seconds for tables; the differences."""
    import lightgbm

    booster = lightgbm.Booster(model_str=trees.text)
    Trees(trees.text).contributions(matrix[:1])  # Compiles, or reads what was compiled.
    found: dict[str, list[float]] = {"tables": [timed(lambda: trees.contributions(matrix[:1]))[0]]}
    for turn in range(TURNS):
        first = turn * THEIRS
        some = matrix[first : first + THEIRS]
        predict = partial(booster.predict, pred_contrib=True, num_threads=THREADS)
        seconds, wanted = timed(partial(predict, some))
        found.setdefault("theirs", []).append(THEIRS / seconds)
        seconds, ours = timed(lambda: trees.contributions(matrix))
        found.setdefault("ours", []).append(ROWS / seconds)
        difference = float(np.abs(ours[first : first + THEIRS] - wanted).max())
        if not difference <= TOLERANCE:
            raise SystemExit(f"The contributions differ by {difference}.")
        found.setdefault("difference", []).append(difference)
        del ours
        seconds, _ = timed(lambda: in_chunks(trees, matrix))
        found.setdefault("chunks", []).append(ROWS / seconds)
    return found


def in_chunks(trees: Trees, matrix: Floats) -> None:
    """Explain every row, a chunk at a time, keeping nothing."""
    for start in range(0, len(matrix), CHUNK):
        trees.contributions(matrix[start : start + CHUNK])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that `work` took, and what it returned."""
    start = perf_counter()
    done = work()
    return perf_counter() - start, done


if __name__ == "__main__":
    main()
