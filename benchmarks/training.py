"""What a training costs beside the fits of LightGBM themselves, at a million rows of 150 features.

    python benchmarks/training.py [--rows 1000000] [--features 150] [--by-person]

Five snapshots of 200,000 people as feature tables in Parquet: counts and sums, days since the last
time with nulls, and columns where one value in ten thousand is null. They go the way of a run: read
and joined to their labels, trained (leak lint, fit, calibration, evaluation, refit, reference
population, importance), reported as HTML, and saved as a bundle. `--by-person` gives all rows one
moment, so that people are split instead of dates and every role is scattered over the table.

**Inside** is the time within `lightgbm.cv` and `lightgbm.train` for the number of trees, the fitted
model, those of the served curve and the served one, making LightGBM's own datasets included.
**Outside** is all the rest, and the leak lint's refits are counted as outside, since a plain fit
has none. `outside_cpu` is in processor time, which other work on the machine disturbs less. Trees
are at most 200 a model: with more, LightGBM would take the larger share still. The peak is that of
the process, with the float64 matrix in it; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.behavior.definitions import Count, DaysSince, Definition, Feature, Sum
from features.behavior.table import matrix_of
from features.time import MICROS_PER_DAY, Window
from training import lint
from training.baselines import EventColumns
from training.booster import BoosterParams
from training.charts import report_html
from training.dataset import Dataset
from training.fit import TrainingTask, train

SNAPSHOTS, STEP, BLOCK = 5, 30, 20_000
THREADS, ROUNDS = 2, 200
TELLING = 8
RARE = 1e-4
MEGABYTE = 2**20


class Clock:
    """Adds up wall and processor seconds of calls by name; what a call holds is counted once."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self._running = False

    def timing(self, name: str) -> AbstractContextManager[None]:
        """Return a context whose time counts as `name`, unless it is within another."""
        from contextlib import contextmanager

        @contextmanager
        def measured() -> Any:
            outer, self._running = self._running, True
            wall, cpu = perf_counter(), process_time()
            try:
                yield
            finally:
                self._running = outer
                if not outer:
                    self.wall[name] = self.wall.get(name, 0.0) + perf_counter() - wall
                    self.cpu[name] = self.cpu.get(name, 0.0) + process_time() - cpu

        return measured()

    def wrap(self, owner: Any, attribute: str, name: str) -> None:
        """Time every call of a function from now on."""
        plain = getattr(owner, attribute)

        def timed(*args: Any, **named: Any) -> Any:
            with self.timing(name):
                return plain(*args, **named)

        setattr(owner, attribute, timed)


def main() -> None:
    """Make the tables, train on them, and print what was spent where."""
    asked = _asked()
    warnings.simplefilter("ignore")
    definitions = columns(asked.features)
    with tempfile.TemporaryDirectory() as folder:
        paths = make(Path(folder), definitions, asked.rows)
        clock = Clock()
        wall, cpu = perf_counter(), process_time()
        stages = learn(paths, definitions, asked, Path(folder), clock)
        wall, cpu = perf_counter() - wall, process_time() - cpu
    figures = summary(clock, wall, cpu, asked) | stages
    print(json.dumps(figures))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows in all; try 50000 first")
    parser.add_argument("--features", type=int, default=150, help="columns, at least 10")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="most trees of a model")
    parser.add_argument("--by-person", action="store_true", help="split people instead of dates")
    return parser.parse_args()


# The tables --------------------------------------------------------------------------------------


def columns(count: int) -> list[Definition]:
    """Return `count` features of as many event types as it takes, purchases first."""
    windows = [Window.parse(f"{days}d") for days in (7, 14, 30, 60, 90, 180, 365)]
    found: list[Definition] = []
    for number in range(count):
        event = "purchase" if number == 0 else f"event_{number}"
        found.append(DaysSince(event))
        found += [Count(event, window) for window in windows]
        found += [Sum(event, "amount", window) for window in windows]
        if len(found) >= count:
            break
    return found[:count]


def make(folder: Path, definitions: list[Definition], rows: int) -> list[Path]:
    """Write a Parquet file a snapshot, and one more for the population; return where."""
    people = rows // SNAPSHOTS
    return [
        _make_one(folder / f"{number}.parquet", definitions, people, number)
        for number in range(SNAPSHOTS + 1)
    ]


def _make_one(path: Path, definitions: list[Definition], people: int, number: int) -> Path:
    names = [each.feature.name for each in definitions]
    schema = pa.schema([("label", pa.int8()), *((name, pa.float64()) for name in names)])
    with pq.ParquetWriter(path, schema, compression="snappy") as file:
        for start in range(0, people, BLOCK):
            rng = np.random.default_rng([7, number, start])
            matrix, label = block(rng, definitions, min(BLOCK, people - start))
            parts = [pa.array(label), *(pa.array(c, from_pandas=True) for c in matrix.T)]
            file.write_table(pa.Table.from_arrays(parts, schema=schema))
    return path


def block(
    rng: np.random.Generator, definitions: list[Definition], rows: int
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Return features of people with tastes of their own, and who had the outcome."""
    taste = rng.gamma(0.7, 1.0, size=(rows, 1 + len(definitions) // 15))
    matrix = np.empty((rows, len(definitions)))
    for place, each in enumerate(definitions):
        rate = taste[:, place // 15]
        if isinstance(each, DaysSince):
            values = np.minimum(rng.exponential(30 / (rate + 0.05)), 720.0)
            values[rng.random(rows) < 0.1] = np.nan
        elif isinstance(each, Count):
            values = rng.poisson(rate * each.window.days / 30).astype(np.float64)
        else:
            spent = rng.gamma(2.0, 10.0, rows) * rng.poisson(rate * each.window.days / 30)
            values = np.round(spent, 2)
            values[rng.random(rows) < RARE] = np.nan
        matrix[:, place] = values
    known = np.log1p(np.nan_to_num(matrix, nan=720.0))
    weights = np.random.default_rng(8).normal(0, 0.4, TELLING)
    signal = (known - known.mean(axis=0))[:, :TELLING] @ weights + 0.4 * np.log(taste[:, 0]) - 1.7
    chance = 1 / (1 + np.exp(-signal))
    return matrix, (rng.random(rows) < chance).astype(np.int8)


# The training ------------------------------------------------------------------------------------


def learn(
    paths: list[Path],
    definitions: list[Definition],
    asked: argparse.Namespace,
    folder: Path,
    clock: Clock,
) -> dict[str, Any]:
    """Go the way of a run from the tables to the bundle; return figures of what was trained."""
    import lightgbm

    clock.wrap(lint, "drops", "leak lint: fits without a reason")
    clock.wrap(lightgbm, "cv", "fits")
    clock.wrap(lightgbm, "train", "fits")
    # Of many rows the bins are made before `train`, which would make them itself.
    clock.wrap(lightgbm.Dataset, "construct", "fits")
    _use(lint.drops)
    features = tuple(each.feature for each in definitions)
    with clock.timing("reading"):
        moments = [0 if asked.by_person else day * STEP for day in range(SNAPSHOTS)]
        parts = (read(path, features, day) for path, day in zip(paths, moments, strict=False))
        dataset = Dataset.joined(features, parts)
        population = read(paths[-1], features, 0).matrix
    task = TrainingTask(
        "conversion", "conversion", "calendar", SNAPSHOTS * STEP * MICROS_PER_DAY,
        Window.parse(f"{STEP}d"), None, EventColumns.of("purchase", definitions),
    )  # fmt: skip
    params = BoosterParams(num_threads=THREADS, max_rounds=asked.rounds)
    trained = train(dataset, population, task, params, tell())
    with clock.timing("report and bundle"):
        report_html(trained.report)
        trained.bundle.save(folder / "bundle")
    return {
        "auc": round(trained.evaluation.auc, 4),
        "trees": trained.bundle.trees.rounds,
        "protocol": trained.roles.protocol,
    }


def _use(drops: Callable[..., Any]) -> None:
    """Let the training call the lint that is timed."""
    import training.fit

    training.fit.drops = drops


def tell() -> Callable[[str], None]:
    """Return a progress that says after how many seconds, and at what peak, a step begins."""
    start = perf_counter()
    return lambda text: print(
        f"{perf_counter() - start:8.1f} s {peak() // MEGABYTE:>7,} MB  {text}", flush=True
    )


def read(path: Path, features: tuple[Feature, ...], day: int) -> Dataset:
    """Return a snapshot: the same people at every moment."""
    table = pq.read_table(path)
    label = table["label"].to_numpy().astype(np.int8)
    moment = np.full(len(label), day * MICROS_PER_DAY)
    matrix = matrix_of(table.drop_columns(["label"]))
    return Dataset(features, matrix, label, moment, np.arange(len(label)))


# The figures -------------------------------------------------------------------------------------


def peak() -> int:
    """Return the greatest memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def summary(clock: Clock, wall: float, cpu: float, asked: argparse.Namespace) -> dict[str, Any]:
    """Print a table of where the time went and return the figures."""
    inside, inside_cpu = clock.wall["fits"], clock.cpu["fits"]
    matrix = asked.rows * asked.features * 8
    print(f"{'':<40}{'seconds':>9}{'processor':>11}")
    for name, seconds in clock.wall.items():
        print(f"{name:<40}{seconds:>9.1f}{clock.cpu[name]:>11.1f}")
    rest, rest_cpu = wall - sum(clock.wall.values()), cpu - sum(clock.cpu.values())
    print(f"{'calibration, figures, the other lint':<40}{rest:>9.1f}{rest_cpu:>11.1f}")
    print(f"{'in all':<40}{wall:>9.1f}{cpu:>11.1f}")
    allowed = 2.5 * matrix + 1e9
    print(
        f"peak {peak() / 1e6:,.0f} MB, the matrix {matrix / 1e6:,.0f} MB, of {allowed / 1e6:,.0f}"
    )
    return {
        "benchmark": "training",
        "rows": asked.rows,
        "features": asked.features,
        "seconds": round(wall, 1),
        "seconds_fits": round(inside, 1),
        "ratio_outside": round((wall - inside) / inside, 3),
        "ratio_outside_cpu": round((cpu - inside_cpu) / inside_cpu, 3),
        "peak_mb": round(peak() / 1e6),
        "matrix_mb": round(matrix / 1e6),
        "ratio_peak_allowed": round(peak() / allowed, 3),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
