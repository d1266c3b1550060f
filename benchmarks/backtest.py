"""Backtests on real data, beside named alternatives on the same rows and features.

    DATA=../shared/data python benchmarks/backtest.py

For each example: our AUC, a plain LightGBM (all defaults) fitted on the same training rows and
columns, the best of our simple rules (recency, RFM, BG/NBD), and the published figures. Nothing is
fitted to these dates: the moments are those of the published protocols. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

CASES = (
    # A vendor guide's boosted trees on a random tenth of the users; a plain untuned LightGBM on
    # recency, frequency and money windows.
    ("online_retail", "churn", "2011-10-01", {"vendor": 0.663, "plain_published": 0.728}),
    # A plain LightGBM, and the number of purchases alone, on all 23,570 customers.
    ("cdnow", "repurchase", "1998-01-01", {"plain_published": 0.806, "frequency": 0.793}),
)


def main() -> None:
    """Run every case and print a table, then one line of JSON."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("DATA", str(CHECKOUT.parent / "shared" / "data"))
    os.environ["DATA"] = str(Path(os.environ["DATA"]).resolve())
    figures: dict[str, Any] = {"benchmark": "backtest", "machine": platform.machine()}
    figures["cores"] = os.cpu_count()
    print(f"{'example':<14} {'ours':>6} {'plain':>6} {'simple':>8}  published")
    for example, goal, moment, published in CASES:
        found = judge(example, goal, moment)
        print(
            f"{example:<14} {found['auc']:.4f} {found['plain_auc']:.4f} "
            f"{found['baseline_auc']:>8.4f}  {published}"
        )
        figures |= {f"{example}_{name}": value for name, value in found.items()}
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(figures))


def judge(example: str, goal: str, moment: str) -> dict[str, float]:
    """Return the figures of one backtest with their 95% intervals, and a plain LightGBM's AUC."""
    # The alternative is the library as it comes, outside our walls.
    import lightgbm
    from sklearn.metrics import roc_auc_score

    from features.time import parse_instant
    from pipelines.backtest import backtest
    from pipelines.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(CHECKOUT / "examples" / example / "likelier.yaml", folder)
        workspace = Workspace.open(Path(folder))
        as_of = parse_instant(moment, workspace.project.time_zone)
        found = backtest(workspace, goal, as_of)
    plain = lightgbm.LGBMClassifier(verbose=-1, n_jobs=2)
    plain.fit(found.dataset.matrix, found.dataset.label)
    chance = plain.predict_proba(found.people.matrix)[:, 1]
    figures = {
        name: value for name, value in found.figures().items() if isinstance(value, int | float)
    }
    return figures | {"plain_auc": float(roc_auc_score(found.happened, chance))}


if __name__ == "__main__":
    main()
