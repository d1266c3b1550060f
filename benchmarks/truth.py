"""Probabilities beside the truth, in the simulated shop, where every true hazard is known.

    python benchmarks/truth.py [PEOPLE [SEED...]]

A shop is simulated; at its snapshot both goals are trained on what was known by then, and everyone
eligible is scored by the bundle that would serve. The truth is the probability that comes from each
person's hazards (`truth/snapshot.parquet`), which nobody can see. `ece` is the mean distance of
predicted from true probability over ten equal groups by prediction; `outcome_ece` that from what
happened, which has the chance of the outcomes in it. Profiles of people with several are left out:
the truth is of people, and what they do elsewhere belongs to no single profile of theirs. The last
line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.backtest import Backtest, backtest
from pipelines.simulate import SimulatedShop, simulate
from pipelines.workspace import Workspace
from training.evaluation import evaluate

Floats = NDArray[np.float64]

PEOPLE, SEEDS = 8_000, (7, 1, 2)
GOALS = ("churn", "conversion")
HEAD = (
    f"{'seed':<6}{'goal':<12}{'people':>8}{'ece':>8}{'outcome':>9}{'mean':>8}{'true':>8}"
    f"{'auc':>8}{'best':>8}"
)


def main() -> None:
    """Measure every seed and print a table, then one line of JSON."""
    warnings.simplefilter("ignore")
    people = int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE
    seeds = [int(each) for each in sys.argv[2:]] or SEEDS
    figures: dict[str, Any] = {"benchmark": "truth", "machine": platform.machine()}
    figures |= {"cores": os.cpu_count(), "people": people}
    print(HEAD)
    errors = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            shop = simulate(Path(folder), people=people, seed=seed)
            for goal in GOALS:
                found = measured(shop, goal)
                print(line(seed, goal, found), flush=True)
                errors.append(found["ece"])
                figures |= {f"{goal}_{seed}_{name}": value for name, value in found.items()}
    figures["ece_worst"] = max(errors)
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def line(seed: int, goal: str, found: dict[str, float]) -> str:
    """Return what was measured as a line of the table."""
    names = ("ece", "outcome_ece", "mean", "true_mean", "auc", "true_auc")
    shown = (f"{found[name]:>{9 if name == 'outcome_ece' else 8}.4f}" for name in names)
    return f"{seed:<6}{goal:<12}{found['people']:>8.0f}{''.join(shown)}"


def measured(shop: SimulatedShop, goal: str) -> dict[str, float]:
    """Train `goal` at the shop's snapshot, and compare what would be served with the truth."""
    found = backtest(Workspace.open(shop.directory), goal, shop.snapshot)
    truth = truth_of(shop.directory, goal, found)
    known = ~np.isnan(truth)
    probability, true = found.scored.probability[known], truth[known]
    judged = evaluate(found.happened[known], probability, found.scored.margin[known])
    return {
        "people": float(known.sum()),
        "left_out": float((~known).sum()),
        "ece": distance(probability, true),
        "outcome_ece": judged.ece,
        "mean": float(probability.mean()),
        "true_mean": float(true.mean()),
        "auc": judged.auc,
        "true_auc": evaluate(found.happened[known], true, true).auc,
    }


def distance(probability: Floats, truth: Floats) -> float:
    """Return the mean |predicted - true| over ten equal groups, by prediction."""
    tenths = np.array_split(np.argsort(probability, kind="stable"), 10)
    return float(np.mean([abs(probability[t].mean() - truth[t].mean()) for t in tenths]))


def truth_of(folder: Path, goal: str, found: Backtest) -> Floats:
    """Return the true probability of everyone scored; NaN for people with several profiles."""
    snapshot = pd.read_parquet(folder / "truth" / "snapshot.parquet").set_index("person")
    true = {
        "conversion": snapshot["purchase_probability_14d"],
        "churn": 1 - snapshot["purchase_probability_30d"],
    }[goal]
    person = persons(folder, found.profile_ids.to_pylist())
    alone = ~person.duplicated(keep=False)
    return true.reindex(person.where(alone)).to_numpy(dtype=np.float64)


def persons(folder: Path, names: list[str]) -> pd.Series[Any]:
    """Return the person behind each profile: the customer, or the owner of the cookie."""
    people = pd.read_parquet(folder / "truth" / "people.parquet")
    cookies = pd.read_parquet(folder / "truth" / "cookies.parquet")
    known = people.dropna(subset=["customer"])
    owners = dict(zip("customer:" + known["customer"], known["person"], strict=True))
    owners |= dict(zip("cookie:" + cookies["cookie"], cookies["owner"], strict=True))
    return pd.Series([owners[name] for name in names])


if __name__ == "__main__":
    main()
