"""The same data, settings and seed make the same bundle, whoever else trains at the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipelines.wide import opened
from tests.unit.test_training_wide import shop
from training.registry import Registry

CHECKOUT = Path(__file__).resolve().parents[2]
MAIN = "import sys; from pipelines.cli import main; main()"
WRITTEN = 1_700_000_000
PROJECT = """project: shops
sources: [{name: s, kind: events, path: none.csv, event_time: t, event_type: e,
  identities: {customer: c}}]
identity: {namespaces: [{name: customer, type: person}]}
mlflow: {tracking_uri: "sqlite:///PLACE/mlflow.db", artifacts: "PLACE/artifacts"}
"""
PATIENCE = 300
"""Seconds after which a training that does not come through fails the test."""


@dataclass(frozen=True)
class Shop:
    """A folder with two tables to train on, at MLflow in `place`."""

    folder: Path
    place: Path

    @classmethod
    def at(cls, folder: Path, place: Path) -> Shop:
        folder.mkdir(parents=True)
        (folder / "likelier.yaml").write_text(PROJECT.replace("PLACE", str(place)))
        for number, name in enumerate(("north", "south")):
            lines = shop().splitlines()
            kept = [lines[0], *lines[1 + 100 * number : 401 + 100 * number]]
            (folder / f"{name}.csv").write_text("\n".join(kept) + "\n")
            os.utime(folder / f"{name}.csv", (WRITTEN, WRITTEN))
        return cls(folder, place)

    def begin(self, name: str) -> subprocess.Popen[str]:
        table = str(self.folder / f"{name}.csv")
        asked = ["-p", str(self.folder), "train", table, "--label", "bought", "--json"]
        asked += ["--min-people", "50"]
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, *asked], cwd=CHECKOUT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def end(self, training: subprocess.Popen[str]) -> dict[str, Any] | None:
        """Return what a training printed; None where another held the store."""
        out, err = training.communicate(timeout=PATIENCE)
        if training.returncode and "Another run is working on this store" in out + err:
            return None
        assert training.returncode == 0, out + err
        return json.loads(out)

    def train(self, name: str) -> dict[str, Any]:
        found = self.end(self.begin(name))
        assert found is not None
        return found

    def champion(self, name: str) -> dict[str, bytes]:
        """Return the files of the bundle that MLflow holds."""
        workspace = opened(self.folder)
        registry = Registry(workspace.tracking_uri, workspace.artifacts, "shops")
        place = self.folder / f"champion-{name}-{time.monotonic_ns()}"
        registry.bundle_of(name, place)
        return files(next(place.rglob("manifest.json")).parent)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of both bundles, each trained by a process of its own with nobody about."""
    folder = tmp_path_factory.mktemp("alone")
    quiet = Shop.at(folder / "shop", folder)
    return {name: files(Path(quiet.train(name)["bundle"])) for name in ("north", "south")}


@pytest.mark.slow
def test_two_at_once_in_one_store_take_turns_and_make_what_each_makes_alone(alone, tmp_path):
    busy = Shop.at(tmp_path / "shop", tmp_path)
    names, deadline = list(alone), time.monotonic() + PATIENCE
    while names and time.monotonic() < deadline:
        running = {name: busy.begin(name) for name in names}
        ended = {name: busy.end(training) for name, training in running.items()}
        for name, found in ended.items():
            if found is not None:
                assert files(Path(found["bundle"])) == alone[name]
                assert found["model"] == f"shops.{name} version 1"
        assert any(ended.values()), "one of them at least must come through"
        names = [name for name, found in ended.items() if found is None]
    assert names == []
    for name, expected in alone.items():
        assert busy.champion(name) == expected
    left = sorted(path.name for path in (busy.folder / ".likelier/models").rglob(".*"))
    assert left == []


@pytest.mark.slow
def test_two_stores_that_share_mlflow_train_at_once_and_do_not_mix(alone, tmp_path):
    shops = {name: Shop.at(tmp_path / name, tmp_path / "mlflow") for name in alone}
    running = {name: shops[name].begin(name) for name in alone}
    for name, training in running.items():
        found = shops[name].end(training)
        assert found is not None and found["model"] == f"shops.{name} version 1"
        assert files(Path(found["bundle"])) == alone[name]
    for name, expected in alone.items():
        assert shops[name].champion(name) == expected


@pytest.mark.slow
def test_the_same_model_trained_twice_at_once_is_the_same_bundle(alone, tmp_path):
    shops = [Shop.at(tmp_path / place, tmp_path / "mlflow") for place in ("one", "two")]
    running = [each.begin("north") for each in shops]
    found = [each.end(training) for each, training in zip(shops, running, strict=True)]
    assert [files(Path(each["bundle"])) for each in found if each] == [alone["north"]] * 2
    assert shops[0].champion("north") == alone["north"]
