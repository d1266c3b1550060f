"""Whether the causes planted in a simulated shop are the reasons that people are told.

    python benchmarks/causes.py

A shop in which carts make people buy and support tickets make them leave is run whole at its
snapshot, and so is the usual shop of the same seed, as a control. Of the people in the high bucket:

`planted`: for how many is the strongest reason told a planted cause, raising (`cause_shown`).
`own`: for how many is it the strongest **true** reason of that very person. The true ones come of
the formulas of the shop and the person's own state (`simulate.reasons`), and nothing of the data.
Silence is told rightly of people who have left for good alone, tickets also of those who left for
them. `in three`: for how many is it among the three strongest told. `silence too`: as `own`, and
silence is also right of living people whose strongest true reason is that they seldom come.

The table below it has what people were told (lines) against what was truly strongest (columns).
The last line is JSON.
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

import numpy as np
import pandas as pd

from benchmarks.truth import persons
from pipelines.runner import run
from pipelines.scoring import SCORES
from pipelines.simulate import simulate, world_of
from pipelines.simulate.planted import PLANTED, cause_shown, part_told
from pipelines.simulate.reasons import left_for_tickets, true_reasons
from pipelines.simulate.truth import World
from pipelines.simulate.world import Causes, rows
from pipelines.workspace import Workspace

PEOPLE, DAYS, SEED = 4_000, 210, 31
HORIZONS = {"conversion": 14, "churn": 30}
TOLD = 3


def main() -> None:
    """Run both shops and print a table, then one line of JSON."""
    figures: dict[str, Any] = {"benchmark": "causes", "people": PEOPLE, "seed": SEED}
    figures["machine"], figures["cores"] = platform.machine(), os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        for name, causes in (("planted", PLANTED), ("usual", Causes())):
            shop = Path(folder) / name
            made = simulate(shop, people=PEOPLE, days=DAYS, seed=SEED, causes=causes)
            run(Workspace.open(shop), as_of=made.snapshot)
            world = world_of(people=PEOPLE, days=DAYS, seed=SEED, causes=causes)
            for goal in HORIZONS:
                figures |= judged(shop, world, name, goal)
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def judged(shop: Path, world: World, name: str, goal: str) -> dict[str, Any]:
    """Print one goal of one shop; return its figures."""
    told = reasons_told(shop, goal)
    told = told.join(true_reason(world, told, goal), on="person")
    left_so = told["for_tickets"] & (told["true"] == "gone") & (told["part"] == "tickets")
    told["raises"] = told["direction"] == "raises"
    told["own"] = told["raises"] & ((told["part"] == told["true"]) | left_so)
    first = told[told["rank"] == 1]
    seldom = first["raises"] & (first["part"] == "gone") & (first["true"] == "visits")
    shares = {
        "": (first["cause"].notna() & first["raises"]).mean(),
        "_own": first["own"].mean(),
        "_in_three": told.groupby("person")["own"].any().mean(),
        "_silence_too": (first["own"] | seldom).mean(),
    }
    planted, own, in_three, silence_too = (f"{each:.1%}" for each in shares.values())
    print(
        f"{name} shop, {goal}: {len(first):,} people in the high bucket; planted {planted}; "
        f"own {own}, in three {in_three}, silence too {silence_too}"
    )
    print(pd.crosstab(first["part"], first["true"]).to_string(), flush=True)
    found: dict[str, Any] = {f"{name}_{goal}_high": len(first)}
    found |= {f"{name}_{goal}{what}": round(float(each), 3) for what, each in shares.items()}
    for cause, count in first["cause"].value_counts().items():
        found[f"{name}_{goal}_{cause}"] = round(count / len(first), 3)
    return found


def reasons_told(shop: Path, goal: str) -> pd.DataFrame:
    """Return a row a person in the high bucket, with one profile, and reason among the strongest.

    Columns: `person`, `rank`, `code`, `direction`; `cause`, the planted cause it shows; `part`, of
    what it is the trace. The people scored are in `attrs` as `everyone`.
    """
    store = Workspace.open(shop).store
    folder = store.folder(SCORES, store.require_current().tables[SCORES])
    scores = pd.read_parquet(folder / "scores.parquet").query("goal == @goal").reset_index()
    scores["person"] = persons(shop, scores["profile_id"].tolist())
    alone = scores[~scores["person"].duplicated(keep=False)]
    factors = pd.read_parquet(folder / "factors.parquet").query("goal == @goal and rank <= @TOLD")
    high = alone.loc[alone["bucket"] == "high", ["profile_id", "person"]]
    found = high.merge(factors, on="profile_id")
    found["cause"] = [cause_shown(goal, code) for code in found["code"]]
    found["part"] = [part_told(code) or "other" for code in found["code"]]
    found.attrs["everyone"] = np.unique(scores["person"])
    return found


def true_reason(world: World, told: pd.DataFrame, goal: str) -> pd.DataFrame:
    """Return, by person, the truly strongest part (`true`) and whether they left for tickets."""
    everyone, day = told.attrs["everyone"], world.snapshot_day
    traits, state = rows(world.traits, everyone), rows(world.lives.snapshot, everyone)
    asked = np.unique(told["person"])
    places, rng = np.searchsorted(everyone, asked), np.random.default_rng(SEED)
    found = true_reasons(world.causes, traits, state, places, day, HORIZONS[goal], rng)
    values = pd.DataFrame(found, index=asked)
    raising = values if goal == "conversion" else -values
    for_tickets = left_for_tickets(world.causes, state, day)[places]
    return pd.DataFrame({"true": raising.idxmax(axis=1), "for_tickets": for_tickets})


if __name__ == "__main__":
    main()
