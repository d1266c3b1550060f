"""Whether the causes planted in a simulated shop are the reasons that people are told.

    python benchmarks/causes.py

A shop in which carts make people buy and support tickets make them leave is run whole, and so is
the usual shop of the same seed, as a control. Of the people in the high bucket: for how many is
the strongest reason a planted cause, raising; and for how many of those whose reason is silence
have they truly left. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd

from pipelines.runner import run
from pipelines.scoring import SCORES
from pipelines.simulate import simulate
from pipelines.simulate.planted import PLANTED, cause_shown
from pipelines.simulate.world import Causes
from pipelines.workspace import Workspace

PEOPLE, DAYS, SEED = 4_000, 150, 31
GOALS = ("conversion", "churn")


def main() -> None:
    """Run both shops and print a table, then one line of JSON."""
    figures: dict[str, Any] = {"benchmark": "causes", "people": PEOPLE, "seed": SEED}
    figures["machine"], figures["cores"] = platform.machine(), os.cpu_count()
    print(f"{'shop':<8} {'goal':<10} {'high':>6} {'planted':>8}  strongest reasons")
    with tempfile.TemporaryDirectory() as folder:
        for name, causes in (("planted", PLANTED), ("usual", Causes())):
            shop = Path(folder) / name
            simulate(shop, people=PEOPLE, days=DAYS, seed=SEED, causes=causes)
            run(Workspace.open(shop))
            for goal in GOALS:
                figures |= judged(shop, name, goal)
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def judged(shop: Path, name: str, goal: str) -> dict[str, Any]:
    """Print one goal of one shop; return its figures."""
    strongest = strongest_reasons(shop, goal)
    hit = strongest["cause"].notna() & (strongest["direction"] == "raises")
    codes = strongest["code"].value_counts(normalize=True)[:3]
    shown = ", ".join(f"{code} {share:.0%}" for code, share in codes.items())
    print(f"{name:<8} {goal:<10} {len(strongest):>6,} {hit.mean():>8.1%}  {shown}")
    found = {f"{name}_{goal}": round(hit.mean(), 3), f"{name}_{goal}_high": len(strongest)}
    for cause, share in strongest["cause"].value_counts(normalize=True).items():
        found[f"{name}_{goal}_{cause}"] = round(share * strongest["cause"].notna().mean(), 3)
    silent = strongest[strongest["cause"] == "leaving"]
    if len(silent):
        found[f"{name}_{goal}_silent_have_left"] = round(silent["left"].mean(), 3)
    return found


def strongest_reasons(shop: Path, goal: str) -> pd.DataFrame:
    """Return a row a person in the high bucket: code, direction, cause, and whether they left."""
    store = Workspace.open(shop).store
    folder = store.folder(SCORES, store.require_current().tables[SCORES])
    scores = pd.read_parquet(folder / "scores.parquet").query("goal == @goal and bucket == 'high'")
    factors = pd.read_parquet(folder / "factors.parquet").query("goal == @goal and rank == 1")
    found = scores[["profile_id", "as_of"]].merge(factors, on="profile_id")
    found["cause"] = [cause_shown(goal, code) for code in found["code"]]
    died = found["profile_id"].map(death_times(shop))
    found["left"] = died < pd.to_datetime(found["as_of"], unit="us", utc=True)
    return found


def death_times(shop: Path) -> dict[str, Any]:
    """Return when people truly left, by each identity they can be known by; NaT = never."""
    people = pd.read_parquet(shop / "truth" / "people.parquet").set_index("person")
    cookies = pd.read_parquet(shop / "truth" / "cookies.parquet")
    named = people.dropna(subset="customer")
    by_customer = dict(zip("customer:" + named["customer"], named["death_time"], strict=True))
    owners = people["death_time"].reindex(cookies["owner"])
    return by_customer | dict(zip("cookie:" + cookies["cookie"], owners, strict=True))


if __name__ == "__main__":
    main()
