"""The same data, settings and seed make the same run, whatever the folder and whoever else runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.simulate import simulate
from pipelines.workspace import Workspace
from tests.end_to_end.shops import (
    COMMAND,
    FEW_FEATURES,
    MANY_FEATURES,
    assert_same,
    current,
    environment,
    everything,
    run,
)
from training.registry import Registry

PATIENCE = 300
"""Seconds after which a run that does not come through fails the test."""
SEEDS = {"simulated_shop": 7, "other_shop": 8}


def put(folder: Path, name: str, mlflow: Path | None = None) -> Path:
    """Write a shop like the fixture `shop`, whose models are kept in `mlflow` or beside it."""
    simulate(folder, people=700, days=150, seed=SEEDS[name])
    project = folder / "likelier.yaml"
    text = project.read_text().replace("project: simulated_shop", f"project: {name}")
    text = text.replace(MANY_FEATURES, FEW_FEATURES)
    if mlflow is not None:
        text = text.replace(".likelier/mlflow.db", f"{mlflow}/mlflow.db")
        text = text.replace(".likelier/mlartifacts", f"{mlflow}/artifacts")
    project.write_text(text)
    return folder


def begin(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "-p", str(folder), "run", "--json"], env=environment(), cwd="/", text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def bundles(folder: Path) -> dict[str, bytes]:
    """Return the files of every bundle in a project's store, by `goal/version/name`."""
    models = folder / ".likelier" / "models"
    files = (path for path in sorted(models.rglob("*")) if path.is_file())
    return {str(path.relative_to(models)): path.read_bytes() for path in files}


def champions(folder: Path, place: Path) -> dict[str, bytes]:
    """Return the files of the champions that MLflow holds of a project, as `bundles` does."""
    workspace = Workspace.open(folder)
    registry = Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)
    found, manifest = {}, current(folder)
    assert manifest is not None
    for goal, version in manifest.models.items():
        registry.bundle_of(goal, place / goal)
        home = next((place / goal).rglob("manifest.json")).parent
        files = sorted(home.iterdir())
        found |= {f"{goal}/{version}/{path.name}": path.read_bytes() for path in files}
    return found


@pytest.fixture(scope="module")
def alone(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both shops, each run by a process of its own with nobody about."""
    other = put(tmp_path_factory.mktemp("alone") / "shop", "other_shop")
    run(other)
    return {"simulated_shop": shop, "other_shop": other}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both shops in other folders, run at once by two processes that share MLflow's database."""
    folder = tmp_path_factory.mktemp("together")
    shops = {name: put(folder / name, name, folder / "mlflow") for name in SEEDS}
    for process in [begin(each) for each in shops.values()]:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, out + err
    return shops


@pytest.mark.slow
def test_two_runs_at_once_make_the_bundles_that_each_makes_alone(alone, together):
    for name, folder in together.items():
        made = bundles(folder)
        assert {path.split("/")[0] for path in made} == {"churn", "conversion"}
        assert made == bundles(alone[name])
    assert not set(bundles(together["other_shop"])) & set(bundles(together["simulated_shop"]))


@pytest.mark.slow
def test_two_runs_at_once_make_the_tables_that_each_makes_alone(alone, together):
    for name, folder in together.items():
        assert_same(everything(folder), everything(alone[name]))


@pytest.mark.slow
def test_each_project_finds_its_own_champions_in_the_mlflow_they_share(together, tmp_path):
    for name, folder in together.items():
        assert champions(folder, tmp_path / name) == bundles(folder)
