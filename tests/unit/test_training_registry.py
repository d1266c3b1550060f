"""Models in MLflow, in a real sqlite store: logged once, promoted when told, served as they are."""

import json
import socket
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.behavior.definitions import Count, DaysSince
from features.time import Window, parse_instant
from training.booster import BoosterParams, Trees
from training.bundle import Bundle
from training.calibration import Calibrator
from training.errors import MlflowUnreachable, UnknownVersion
from training.reference import Reference
from training.registry import FACTS_FILE, JUDGED_FOLDER, RegisteredVersion, Registry

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
    record = store / f"{bundle.version}-record"
    bundle.save(record / JUDGED_FOLDER)
    (record / FACTS_FILE).write_text(json.dumps({"version": bundle.version}))
    tags = {"run": "1"}
    pictures = {"roc": b"a picture"}
    return registry.log_training(
        folder, {"seed": 7}, metrics, "<p>fine</p>", tags, pictures, record=record
    )


@pytest.fixture(scope="module")
def logged(registry: Registry, store: Path) -> list[RegisteredVersion]:
    found = []
    for bundle in (FIRST, SECOND):
        found.append(log(registry, store, bundle))
        registry.promote("churn", bundle.version, "it is new")
    return found


@pytest.fixture
def client(registry: Registry, logged: list[RegisteredVersion]):
    import mlflow

    return mlflow.MlflowClient(registry.tracking_uri, registry.tracking_uri)


def champion(client) -> str:
    return str(client.get_model_version_by_alias("shop.churn", "champion").version)


def test_each_training_is_a_version_and_the_last_promoted_is_champion(registry, logged, client):
    assert [(each.name, each.version) for each in logged] == [
        ("shop.churn", "1"),
        ("shop.churn", "2"),
    ]
    assert champion(client) == "2"
    assert registry.champions(["churn", "other"]) == {"churn": SECOND.version}
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
    registry.promote("churn", FIRST.version, "the second was no good")
    log(registry, store, SECOND)
    assert champion(client) == "1"
    assert "no good" in client.get_model_version("shop.churn", "1").tags["decision"]
    registry.promote("churn", SECOND.version, "it was")


def test_a_new_version_is_challenger_until_it_is_promoted(store):
    fresh = Registry(f"sqlite:///{store}/new/mlflow.db", str(store / "artifacts"), "fresh")
    log(fresh, store, FIRST)
    assert [each.aliases for each in fresh.versions()] == [("challenger",)]
    fresh.promote("churn", FIRST.version, "first")
    log(fresh, store, SECOND)
    listed = fresh.versions()
    assert [(v.goal, v.version, v.number, v.aliases) for v in listed] == [
        ("churn", SECOND.version, "2", ("challenger",)),
        ("churn", FIRST.version, "1", ("champion",)),
    ]
    assert listed[0].metrics == {"auc": 0.7} and listed[0].tags["run"] == "1"
    fresh.promote("churn", SECOND.version, "better")
    assert [each.aliases for each in fresh.versions()] == [("champion",), ()]


def test_names_of_projects_do_not_mix(registry, store, logged):
    other = Registry(registry.tracking_uri, registry.artifacts, "shop_b")
    assert other.versions() == [] and other.champions(["churn"]) == {}
    assert {each.goal for each in registry.versions()} == {"churn"}


def test_an_unknown_version_is_refused(registry, logged, tmp_path):
    with pytest.raises(UnknownVersion, match="churn has no version '2011-10-01-00000000'"):
        registry.promote("churn", "2011-10-01-00000000", "why not")
    with pytest.raises(UnknownVersion, match="models list"):
        registry.fetch("churn", "2011-10-01-00000000", tmp_path / "a", tmp_path / "b")


def test_a_version_is_fetched_with_all_a_champion_needs(registry, logged, tmp_path):
    (tmp_path / "record").mkdir()
    registry.fetch("churn", FIRST.version, tmp_path / "bundle", tmp_path / "record")
    assert Bundle.load(tmp_path / "bundle").fingerprint == FIRST.fingerprint
    assert Bundle.load(tmp_path / "record" / JUDGED_FOLDER).fingerprint == FIRST.fingerprint
    facts = json.loads((tmp_path / "record" / FACTS_FILE).read_bytes())
    assert facts == {"version": FIRST.version}


def test_a_version_that_was_kept_without_its_record_is_refused(registry, store, tmp_path):
    old = Registry(registry.tracking_uri, registry.artifacts, "old")
    FIRST.save(store / FIRST.version)
    old.log_training(store / FIRST.version, {}, {}, "", {})
    with pytest.raises(UnknownVersion, match="by an older Likelier"):
        old.fetch("churn", FIRST.version, tmp_path / "bundle", tmp_path / "record")
    assert not (tmp_path / "bundle").exists()


def test_the_state_of_a_sqlite_store_changes_with_it(registry, logged, tmp_path):
    before = registry.state()
    registry.champions(["churn"])
    assert registry.state() == before != ""
    registry.mark("churn", FIRST.version, "seen", "yes")
    assert registry.state() != before
    assert Registry("http://127.0.0.1:9", "a", "shop").state() == ""
    assert Registry(f"sqlite:///{tmp_path}/none.db", "a", "shop").state() == ""


# Away --------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("kind", ["server", "sqlite below a file", "no sqlite file"])
def test_nobody_there_is_said_at_once_and_without_passwords(kind, tmp_path):
    (tmp_path / "file").write_text("this is no database, and longer than its header" * 10)
    uri = {
        "server": f"http://ann:secret@127.0.0.1:{free_port()}",
        "sqlite below a file": f"sqlite:///{tmp_path}/file/mlflow.db",
        "no sqlite file": f"sqlite:///{tmp_path}/file",
    }[kind]
    away = Registry(uri, str(tmp_path / "artifacts"), "shop")
    with pytest.raises(MlflowUnreachable, match="MLflow cannot be reached at") as caught:
        away.champions(["churn"])
    assert "secret" not in f"{caught.value.message} {caught.value.details}"
    assert "goes on serving" in (caught.value.hint or "")


def test_a_server_that_answers_nonsense_is_unreachable(tmp_path):
    """A port where another program listens, and closes every connection at once."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        closing = threading.Thread(target=_hang_up, args=(listening, 8), daemon=True)
        closing.start()
        away = Registry(f"http://127.0.0.1:{listening.getsockname()[1]}", "a", "shop")
        with pytest.raises(MlflowUnreachable, match="MLflow cannot be reached"):
            away.champions(["churn"])


def _hang_up(listening: socket.socket, times: int) -> None:
    for _ in range(times):
        try:
            listening.accept()[0].close()
        except OSError:
            return


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
