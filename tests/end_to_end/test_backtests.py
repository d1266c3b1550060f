"""Backtests on real data: what is printed, and that it is no worse than a plain LightGBM."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from lightgbm import LGBMClassifier
from sklearn.metrics import roc_auc_score

from features.time import parse_instant
from pipelines.backtest import backtest
from pipelines.workspace import Workspace
from tests.end_to_end.shops import CHECKOUT, current, likelier

pytestmark = pytest.mark.slow
FIGURES = {
    "goal", "as_of", "population", "positives", "auc", "average_precision", "log_loss", "brier",
    "lift_at_10", "ece", "baseline_auc", "features", "seconds",
}  # fmt: skip
TOLERANCE = 0.003
KNOWN_AUC = 0.663
"""Online Retail, churn: what ranking by days since the last purchase alone comes near to."""


def printed(folder, goal, as_of, data_dir):
    ended = likelier(
        "-p", folder, "backtest", "--goal", goal, "--as-of", as_of, "--json", DATA=str(data_dir)
    )
    assert ended.code == 0, ended.err
    (figures,) = ended.json
    assert set(figures) >= FIGURES
    assert figures["goal"] == goal
    assert parse_instant(figures["as_of"]) == parse_instant(as_of, time_zone(folder))
    assert 0 < figures["positives"] < figures["population"]
    assert figures["auc"] > figures["baseline_auc"]
    return figures


def time_zone(folder) -> str:
    return Workspace.open(folder).project.time_zone


def plain_auc(folder, goal, as_of):
    """Return the AUC of LightGBM as it comes, on the same rows, and ours, recomputed."""
    workspace = Workspace.open(folder)
    found = backtest(workspace, goal, parse_instant(as_of, workspace.project.time_zone))
    plain = LGBMClassifier(verbose=-1, n_jobs=2, random_state=0)
    plain.fit(np.asarray(found.dataset.matrix), found.dataset.label)
    theirs = plain.booster_.predict(found.people.matrix)
    return float(roc_auc_score(found.happened, theirs)), found.figures()


@pytest.fixture
def example(request, tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("DATA", str(data_dir))
    ignored = shutil.ignore_patterns(".likelier", "exports")
    return shutil.copytree(CHECKOUT / "examples" / request.param, tmp_path / "it", ignore=ignored)


@pytest.mark.parametrize(
    ("example", "goal", "as_of", "population"),
    [
        ("online_retail", "churn", "2011-10-01", None),
        # 23,570: Fader and Hardie, "Notes on the CDNOW master data set", every customer there is.
        ("cdnow", "repurchase", "1998-01-01", 23_570),
    ],
    indirect=["example"],
    ids=["online_retail", "cdnow"],
)
def test_a_backtest_is_no_worse_than_plain_lightgbm(example, goal, as_of, population, data_dir):
    figures = printed(example, goal, as_of, data_dir)
    theirs, again = plain_auc(example, goal, as_of)
    assert {k: v for k, v in again.items() if k != "seconds"} == {
        k: v for k, v in figures.items() if k != "seconds"
    }
    assert figures["auc"] >= theirs - TOLERANCE
    assert figures["population"] == (population or figures["population"])
    if goal == "churn":
        assert figures["auc"] > KNOWN_AUC
    # A backtest publishes nothing.
    assert current(example) is None
