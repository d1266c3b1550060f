"""Models in MLflow, in a real sqlite store: logged once, promoted once, served as it is."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.behavior.definitions import Count, DaysSince
from features.time import Window, parse_instant
from training.booster import BoosterParams, Trees
from training.bundle import Bundle
from training.calibration import Calibrator
from training.reference import Reference
from training.registry import RegisteredVersion, Registry

FEATURES = (Count("purchase", Window.parse("30d")).feature, DaysSince("purchase").feature)
NAMES = [feature.name for feature in FEATURES]


def made(seed: int, rows: int = 500) -> Bundle:
    rng = np.random.default_rng(seed)
    matrix = rng.poisson(3, (rows, 2)).astype(np.float64)
    label = (rng.random(rows) < 1 / (1 + matrix[:, 0])).astype(np.int8)
    trees = Trees.fit(matrix, label, NAMES, BoosterParams(num_threads=1), 30)
    margin = trees.margin(matrix)
    calibrator = Calibrator.of(margin, label)
    return Bundle(
        "churn", "churn", "calendar", parse_instant("2011-10-01"), "30d", "", trees, calibrator,
        FEATURES, ["one", "two"], None, Reference.of(margin, calibrator.probability(margin)),
        float(label.mean()), "model", {"auc": 0.7}, "f" * 64, {"rows": rows},
    )  # fmt: skip


FIRST, SECOND = made(1), made(2, rows=6_000)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def registry(store: Path) -> Registry:
    return Registry(f"sqlite:///{store}/new/mlflow.db", str(store / "artifacts"), "shop")


def log(registry: Registry, store: Path, bundle: Bundle) -> RegisteredVersion:
    folder = store / bundle.version
    bundle.save(folder)
    metrics = dict(bundle.metrics)
    return registry.log_training(
        "churn", folder, {"seed": 7}, metrics, "<p>fine</p>", {"run": "1"}, {"roc": b"a picture"}
    )


@pytest.fixture(scope="module")
def logged(registry: Registry, store: Path) -> list[RegisteredVersion]:
    return [log(registry, store, bundle) for bundle in (FIRST, SECOND)]


@pytest.fixture
def client(registry: Registry, logged: list[RegisteredVersion]):
    import mlflow

    return mlflow.MlflowClient(registry.tracking_uri, registry.tracking_uri)


def champion(client) -> str:
    return str(client.get_model_version_by_alias("shop.churn", "champion").version)


def test_each_training_is_a_version_and_the_last_is_champion(logged, client):
    assert [(each.name, each.version) for each in logged] == [
        ("shop.churn", "1"),
        ("shop.churn", "2"),
    ]
    assert champion(client) == "2"
    tags = client.get_model_version("shop.churn", "1").tags
    assert (tags["bundle"], tags["bundle_version"]) == (FIRST.fingerprint, FIRST.version)


def test_a_run_holds_parameters_metrics_report_and_manifests(registry, logged, client, tmp_path):
    run = client.get_run(logged[0].run_id)
    assert run.data.params == {"seed": "7"}
    assert run.data.metrics == {"auc": 0.7}
    assert run.data.tags["run"] == "1" and run.data.tags["serves"] == "model"
    assert run.info.status == "FINISHED"
    client.download_artifacts(logged[0].run_id, "", str(tmp_path))
    assert (tmp_path / "report.html").read_text() == "<p>fine</p>"
    assert (tmp_path / "figures" / "roc.png").read_bytes() == b"a picture"
    assert json.loads((tmp_path / "dataset.json").read_text())["fingerprint"] == "f" * 64
    described = json.loads((tmp_path / "features.json").read_text())
    assert [each["name"] for each in described["features"]] == NAMES
    assert described["definitions"] == ["one", "two"]


def test_the_same_bundle_is_not_logged_twice(registry, store, logged, client):
    runs = len(client.search_runs([client.get_experiment_by_name("shop.churn").experiment_id]))
    assert log(registry, store, SECOND) == logged[1]
    after = client.search_runs([client.get_experiment_by_name("shop.churn").experiment_id])
    assert len(after) == runs == 2


def test_nothing_is_printed(store, capfd):
    fresh = Registry(f"sqlite:///{store}/new/mlflow.db", str(store / "artifacts"), "quiet")
    log(fresh, store, FIRST)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_rollback_outlives_a_repeated_run(registry, store, logged, client):
    client.set_registered_model_alias("shop.churn", "champion", "1")
    log(registry, store, SECOND)
    assert champion(client) == "1"
    client.set_registered_model_alias("shop.churn", "champion", "2")


def test_a_run_killed_before_promotion_is_finished_by_the_next(registry, store, logged, client):
    client.delete_registered_model_alias("shop.churn", "champion")
    client.delete_model_version_tag("shop.churn", "2", "promoted")
    assert log(registry, store, SECOND) == logged[1]
    assert champion(client) == "2"


def test_the_champions_bundle_comes_back(registry, logged, client, tmp_path):
    assert registry.bundle_of("churn", tmp_path).fingerprint == SECOND.fingerprint


@pytest.mark.parametrize("place", [0, 1], ids=["sigmoid", "isotonic"])
def test_mlflow_serves_what_the_bundle_scores(place, registry, logged, client):
    import mlflow

    bundle = (FIRST, SECOND)[place]
    assert bundle.calibrator.method == ("sigmoid", "isotonic")[place]
    mlflow.set_tracking_uri(registry.tracking_uri)
    try:
        model = mlflow.pyfunc.load_model(f"models:/shop.churn/{logged[place].version}")
    finally:
        mlflow.set_tracking_uri(None)
    rows = np.array([[0.0, 3.0], [5.0, np.nan], [1.0, 9.0], [2.0, 2.0]])
    answer = model.predict(pd.DataFrame(rows, columns=NAMES)[NAMES[::-1]])
    expected = bundle.score(rows)
    for name in ("margin", "probability", "score", "percentile", "bucket"):
        assert answer[name].tolist() == getattr(expected, name).tolist()


def test_the_settings_of_the_process_are_put_back(registry, store, logged, client):
    import mlflow

    assert not mlflow.is_tracking_uri_set()
    mlflow.set_tracking_uri("sqlite:///elsewhere.db")
    try:
        log(registry, store, FIRST)
        assert mlflow.get_tracking_uri() == "sqlite:///elsewhere.db"
    finally:
        mlflow.set_tracking_uri(None)
