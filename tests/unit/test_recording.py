"""Figures that come after a training: kept with its run, and worth no failure."""

from __future__ import annotations

from training.registry import Registry


def test_figures_of_a_model_that_mlflow_does_not_have_are_left(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "kept"), "shop")
    assert not registry.record("churn", "2026-06-29-3fa9c2d1", {"card_auc": 0.8}, 1_000_000)


def test_a_server_that_does_not_answer_stops_nothing(tmp_path, monkeypatch, free_port):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry = Registry(f"http://127.0.0.1:{free_port}", str(tmp_path / "kept"), "shop")
    assert not registry.record("churn", "2026-06-29-3fa9c2d1", {"card_auc": 0.8}, 1_000_000)
