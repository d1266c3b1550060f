"""How good the models are, by public data and published protocols, with one set of defaults.

    DATA=../shared/data python benchmarks/quality.py [SET...]

Per set, on the same rows, features and folds: our AUC with its 95% interval, a plain LightGBM (all
defaults), the simple baseline (the best of recency, RFM and BG/NBD; logistic regression where rows
have no time) and the published figures. `ece` is over all evaluated rows, `worst` that of the worst
fold.

Every fold is trained, its number of trees chosen and its probabilities calibrated inside its
training part alone. Nothing is fitted to these sets. The last line is JSON.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.backtest import CHECKOUT, judge
from features.engine import Engine
from training.dataset import Dataset
from training.evaluation import auc, evaluate
from training.intervals import interval_of, resampled
from training.tables import read_table
from training.wide import Question, Wide, learn, logistic, train_wide

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
Folds = Iterator[tuple[Places, Places]]

RESAMPLES, SEED = 500, 7
PROMISED_ECE = 0.03
FIGURES = ("auc", "auc_low", "auc_high", "plain_auc", "baseline_auc", "ece")
HEAD = (
    f"{'set':<24}{'ours':>6} {'95% interval':<15}{'plain':>6}{'simple':>8}"
    f"{'ece':>7}{'worst':>7}{'seconds':>9}  published"
)
BACKTESTS = {
    "online_retail": ("churn", "2011-10-01", {"plain": 0.728, "vendor": 0.663}),
    "cdnow": ("repurchase", "1998-01-01", {"plain": 0.806, "frequency": 0.793}),
}
"""Example to goal, moment and published figures."""


@dataclass(frozen=True)
class Protocol:
    """A wide table, what is asked of it, and how its rows are split into training and test."""

    file: str
    delimiter: str
    question: Question
    folds: Callable[[Dataset], Folds]
    published: dict[str, float]


def telco_folds(data: Dataset) -> Folds:
    """Three stratified shuffles with a quarter for test."""
    from sklearn.model_selection import StratifiedShuffleSplit

    parts = StratifiedShuffleSplit(n_splits=3, test_size=0.25, random_state=1337)
    return iter(parts.split(data.matrix, data.label))


def stratified(number: int) -> Callable[[Dataset], Folds]:
    """Return `number` stratified folds, shuffled with seed 42."""
    from sklearn.model_selection import StratifiedKFold

    parts = StratifiedKFold(number, shuffle=True, random_state=42)
    return lambda data: iter(parts.split(data.matrix, data.label))


def last_fifth(data: Dataset) -> Folds:
    """One split: the rows stand in the order of time, and the last fifth is the test."""
    place, first = np.arange(len(data.label)), len(data.label) * 4 // 5
    return iter([(place[:first], place[first:])])


SHOPPERS = "online_shoppers/online_shoppers_intention.csv.gz"
BANK = "bank_marketing/bank-additional.zip"
NOT_BEFORE = ("duration",)
TABLES = {
    "telco": Protocol(
        "telco_churn/Telco-Customer-Churn.csv.gz", ",",
        Question("Churn", person="customerID"), telco_folds,
        {"logistic": 0.849, "xgboost": 0.828, "ebm": 0.852},
    ),
    "online_shoppers": Protocol(
        SHOPPERS, ";", Question("Revenue"), stratified(10), {"plain": 0.934}
    ),
    "online_shoppers_without": Protocol(
        SHOPPERS, ";", Question("Revenue", without=("PageValues",)), stratified(10),
        {"plain": 0.789},
    ),
    "bank": Protocol(
        BANK, ";", Question("y", without=NOT_BEFORE), stratified(5), {"plain": 0.803}
    ),
    "bank_later": Protocol(
        BANK, ";", Question("y", without=NOT_BEFORE), last_fifth, {"plain": 0.663}
    ),
}  # fmt: skip
"""`without` names what is known only after the outcome, or made from it."""


def main() -> None:
    """Measure the sets named on the command line, or all, and print a table and a line of JSON."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("DATA", str(CHECKOUT.parent / "shared" / "data"))
    os.environ["DATA"] = str(Path(os.environ["DATA"]).resolve())
    figures: dict[str, Any] = {"benchmark": "quality", "machine": platform.machine()}
    figures["cores"] = os.cpu_count()
    missed: list[str] = []
    print(HEAD)
    for name in sys.argv[1:] or [*BACKTESTS, *TABLES]:
        started = perf_counter()
        found, published = measured(name)
        found["seconds"] = round(perf_counter() - started, 1)
        print(line(name, found, published), flush=True)
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
        if found["ece_worst"] > PROMISED_ECE:
            missed.append(name)
    print(f"ECE above {PROMISED_ECE} in the worst fold: {', '.join(missed) or 'none'}")
    figures["ece_missed"] = missed
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def line(name: str, found: dict[str, float], published: dict[str, float]) -> str:
    """Return a set as a line of the table."""
    interval = f"{found['auc_low']:.3f} to {found['auc_high']:.3f}"
    said = ", ".join(f"{who} {figure:.3f}" for who, figure in published.items())
    return (
        f"{name:<24}{found['auc']:>6.4f} {interval:<15}{found['plain_auc']:>6.4f}"
        f"{found['baseline_auc']:>8.4f}{found['ece']:>7.4f}{found['ece_worst']:>7.4f}"
        f"{found['seconds']:>9.1f}  {said}"
    )


def measured(name: str) -> tuple[dict[str, float], dict[str, float]]:
    """Return the figures of a set, and the published ones."""
    if name in BACKTESTS:
        goal, moment, published = BACKTESTS[name]
        found = judge(name, goal, moment)
        kept = {figure: found[figure] for figure in FIGURES}
        return kept | {"ece_worst": found["ece"]}, published
    protocol = TABLES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = unpacked(Path(os.environ["DATA"]) / protocol.file, Path(folder))
        with Engine(temporary=Path(folder) / "engine") as engine:
            wide = learn(engine, read_table(engine, path, protocol.delimiter), protocol.question)
    return cross_validated(wide, protocol), protocol.published


def unpacked(path: Path, folder: Path) -> Path:
    """Write a packed table as plain CSV and return where."""
    to = folder / "table.csv"
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            to.write_bytes(packed.read("bank-additional/bank-additional-full.csv"))
    else:
        with gzip.open(path) as packed, to.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return to


@dataclass(frozen=True, eq=False)
class Fold:
    """What was said of the test rows of one fold: margins to rank by, and probabilities."""

    rows: Places
    margin: Floats
    probability: Floats
    plain: Floats
    simple: Floats


def cross_validated(wide: Wide, protocol: Protocol) -> dict[str, float]:
    """Return figures as means over folds; `ece` is over all test rows together."""
    label = wide.dataset.label
    folds = [fold_of(wide, *each) for each in protocol.folds(wide.dataset)]
    found = [evaluate(label[f.rows], f.probability, f.margin, f.simple) for f in folds]
    rows = np.concatenate([fold.rows for fold in folds])
    chance, margin = (
        np.concatenate([getattr(fold, part) for fold in folds])
        for part in ("probability", "margin")
    )
    low, high = interval(label, folds)
    return {
        "auc": mean([each.auc for each in found]),
        "auc_low": low,
        "auc_high": high,
        "average_precision": mean([each.average_precision for each in found]),
        "plain_auc": mean([auc(label[fold.rows], fold.plain) for fold in folds]),
        "baseline_auc": mean([each.baseline_auc or 0.5 for each in found]),
        "ece": evaluate(label[rows], chance, margin).ece,
        "ece_worst": max(each.ece for each in found),
    }


def mean(values: list[float]) -> float:
    """Return the mean of a figure over folds."""
    return float(np.mean(values))


def fold_of(wide: Wide, fit: Places, test: Places) -> Fold:
    """Train all three on the training rows and let them speak of the test rows."""
    import lightgbm  # The alternative is the library as it comes, outside our walls.

    chosen = np.zeros(len(wide.dataset.label), dtype=bool)
    chosen[fit] = True
    data = wide.dataset.rows(chosen)
    matrix = wide.dataset.matrix[test]
    bundle = train_wide(replace(wide, dataset=data), "quality").bundle
    names = wide.dataset.names
    scored = bundle.score(
        np.ascontiguousarray(matrix[:, [names.index(name) for name in bundle.names]])
    )
    plain = lightgbm.LGBMClassifier(verbose=-1, n_jobs=2)
    plain.fit(data.matrix, data.label)
    chance = np.asarray(plain.predict_proba(matrix))[:, 1]
    simple = logistic(data.matrix, data.label, matrix)
    return Fold(test, scored.margin, scored.probability, chance, simple)


def interval(label: NDArray[np.int8], folds: list[Fold]) -> tuple[float, float]:
    """Return the 95% bootstrap interval of the mean AUC: rows drawn once for all folds."""
    blocks = resampled(np.arange(len(label)), RESAMPLES, SEED)
    times = (each for block in blocks for each in block)
    drawn = [mean([auc(label[f.rows], f.margin, each[f.rows]) for f in folds]) for each in times]
    return interval_of(np.array(drawn))


if __name__ == "__main__":
    main()
