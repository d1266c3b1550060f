"""Telco churn on the split of interpretml's published table, as the benchmark measures it.

Three stratified shuffles, a quarter for test, seed 1337; mean ROC AUC: logistic regression .849,
XGBoost .828, EBM .852.
"""

from __future__ import annotations

import pytest

from benchmarks.quality import line, measured

pytestmark = pytest.mark.slow


def test_no_published_figure_of_telco_is_out_of_reach(data_dir, monkeypatch):
    monkeypatch.setenv("DATA", str(data_dir))
    found, published = measured("telco")
    assert found["auc_low"] < found["auc"] < found["auc_high"]
    assert max(published.values()) == 0.852 < found["auc_high"]
    assert found["auc"] >= found["plain_auc"] - 0.003
    assert found["auc"] >= found["baseline_auc"] - 0.003
    # interpretml's logistic regression on the same rows; ours differs by how columns are encoded.
    assert found["baseline_auc"] == pytest.approx(published["logistic"], abs=0.003)
    assert found["ece"] <= found["ece_worst"] <= 0.03
    assert "ebm 0.852" in line("telco", found | {"seconds": 1.0}, published)
