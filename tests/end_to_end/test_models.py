"""`likelier models`: who serves by hand, one step back, and all of it without MLflow."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.store import write_whole
from pipelines import models, runner
from pipelines.models import AlreadyServes, CannotServe, NoWayBack
from pipelines.promotions import promotions
from pipelines.workspace import Workspace
from serving.generations import Generations
from tests.end_to_end import shifting
from tests.end_to_end.shops import copy_of, current, likelier, table
from training.errors import MlflowUnreachable, UnknownVersion


def quiet(stage: str, text: str) -> None:
    """Tell nobody."""


def served(folder: Path) -> str:
    """Return the version by which a service answers that looks at the store now."""
    following = Generations(Workspace.open(folder).store)
    following.look()
    return following.current().goals["buys"].model_version


def log_of(folder: Path) -> list[tuple[str | None, str, str]]:
    found = promotions(Workspace.open(folder).store)
    return [(each.before, each.after, each.by) for each in found]


@pytest.fixture
def folder(changed, tmp_path) -> Path:
    """A world in which a second version was promoted; a copy."""
    return copy_of(changed[0], tmp_path / "copy")


@pytest.fixture
def old(first) -> str:
    return first[1]["models"]["buys"]


@pytest.fixture
def new(changed) -> str:
    return changed[1]["models"]["buys"]


def test_one_step_back_and_forth_is_served_by_a_run_published_whole(folder, old, new):
    following = Generations(Workspace.open(folder).store)
    following.look()
    before = following.current()
    people = table(folder, "profiles", "profiles")["profile_id"].tolist()
    asked = before.score(people[0])["scores"]["buys"]

    changed = models.rollback(Workspace.open(folder), "buys", "scores fell", quiet)

    assert (changed.promotion.before, changed.promotion.after) == (new, old)
    assert before.score(people[0])["scores"]["buys"] == asked  # requests under way go on
    following.look()
    after = following.current()
    assert after.run_id == changed.manifest.run_id != before.run_id
    scores = table(folder, "scores", "scores").set_index("profile_id")
    assert set(scores["model_version"]) == {old}
    for who in people[:20]:
        found = after.score(who)["scores"]["buys"]
        assert (found["model_version"], found["as_of"]) == (old, asked["as_of"])
        assert found["score"] == scores.loc[who, "score"]
    assert log_of(folder)[-1] == (new, old, "models rollback")

    models.rollback(Workspace.open(folder), "buys", "it was the data", quiet)
    assert served(folder) == new
    assert log_of(folder)[1:] == [
        (old, new, "run"), (new, old, "models rollback"), (old, new, "models rollback"),
    ]  # fmt: skip
    assert runner.run(Workspace.open(folder)).made == {}


def test_any_version_can_be_promoted_by_hand_with_a_reason(unchanged, tmp_path):
    folder = copy_of(unchanged[0], tmp_path / "copy")
    listed = models.versions_of(Workspace.open(folder), "buys")["versions"]
    assert [each["aliases"] for each in listed] == [["challenger"], ["champion"]]
    assert [each["published"] for each in listed] == [False, True]
    assert "Not promoted" in listed[0]["decision"]
    challenger, champion = (each["version"] for each in listed)
    ended = likelier("-p", folder, "models", "promote", challenger, "--reason", "newer", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["after"] == challenger and ended.json["why"] == "newer"
    assert served(folder) == challenger
    shown = models.version_shown(Workspace.open(folder), challenger)
    assert shown["aliases"] == ["champion"] and shown["metrics"]["challenge_low"] <= 0
    assert [(e["before"], e["after"], e["why"]) for e in shown["log"]] == [
        (champion, challenger, "newer")
    ]


def test_what_cannot_be_done_is_refused_and_changes_nothing(folder, old, new):
    workspace = Workspace.open(folder)
    before = current(folder)
    with pytest.raises(UnknownVersion, match=f"'{old}x'") as caught:
        models.promote(workspace, f"{old}x", "why", quiet)
    assert old in caught.value.hint
    with pytest.raises(UnknownVersion, match="'likes' has no versions"):
        models.versions_of(workspace, "likes")
    with pytest.raises(AlreadyServes, match="is the champion already"):
        models.promote(workspace, new, "why", quiet)
    with pytest.raises(NoWayBack, match="Nothing is known of 'likes'"):
        models.rollback(workspace, "likes", "why", quiet)
    write_whole(workspace.mark_of("buys", old), json.dumps({"e1": "2026-05-01"}).encode())
    with pytest.raises(CannotServe, match="from people who were erased since"):
        models.rollback(workspace, "buys", "why", quiet)
    listed = models.versions_of(workspace)["versions"]
    assert [each["learnt_from_erased"] for each in listed] == [False, True]
    workspace.mark_of("buys", old).unlink()
    goal = shifting.SETTINGS["goals"][0] | {"outcome_window": "8d"}
    shifting.settings(folder, goals=[goal])
    with pytest.raises(CannotServe, match="the goal asks another question"):
        models.rollback(Workspace.open(folder), "buys", "why", quiet)
    assert current(folder) == before and len(log_of(folder)) == 2


def test_a_first_champion_has_no_way_back(first):
    with pytest.raises(NoWayBack, match="no champion before"):
        models.rollback(Workspace.open(first[0]), "buys", "why", quiet)


# Without MLflow ----------------------------------------------------------------------------------


def without_mlflow(folder: Path, **changes: Any) -> Path:
    """Let the tracking store be a file below a file, which nobody can open."""
    (folder / "nothing").write_text("")
    shifting.settings(folder, mlflow={"tracking_uri": "sqlite:///nothing/mlflow.db"}, **changes)
    return folder


def test_without_mlflow_the_last_local_copy_scores_and_serves(first, old, tmp_path):
    folder = without_mlflow(copy_of(first[0], tmp_path / "copy"))
    shifting.go_on(folder, "compare")
    outcome = runner.run(Workspace.open(folder))
    assert any(each.startswith("mlflow_unreachable: ") for each in outcome.warnings)
    assert outcome.manifest.models == {"buys": old}
    assert outcome.manifest.as_of > current(first[0]).as_of
    assert "train" not in outcome.made and "score" in outcome.made
    why = outcome.manifest.figures["goals"]["buys"]["schedule"]["why"]
    assert why.startswith("training waits until MLflow can be reached (last trained as of")
    assert served(folder) == old
    # What there is can be looked at; what serves cannot be changed.
    found = models.versions_of(Workspace.open(folder))
    assert [(v["version"], v["aliases"]) for v in found["versions"]] == [(old, ["champion"])]
    assert found["warnings"][0].startswith("mlflow_unreachable: ")
    assert len(models.promotion_log(Workspace.open(folder))) == 1
    with pytest.raises(MlflowUnreachable, match="cannot be reached"):
        models.promote(Workspace.open(folder), old, "why", quiet)
    # Training that is asked for is refused.
    with pytest.raises(MlflowUnreachable, match="buys must be trained: asked for by --from"):
        runner.run(Workspace.open(folder), start="train")
    assert current(folder) == outcome.manifest
    # Back again, it trains what was put off.
    shifting.settings(folder)
    assert runner.run(Workspace.open(folder)).made["train"] == 1


def test_a_first_run_without_mlflow_publishes_nothing(tmp_path):
    folder = without_mlflow(shifting.begin(tmp_path / "new"))
    ended = likelier("-p", folder, "run", "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "mlflow_unreachable"
    assert "Start the server" in ended.json["error"]["hint"]
    assert current(folder) is None
    assert not (folder / ".likelier" / "promotions.jsonl").exists()


@pytest.mark.slow
def test_a_tracking_server_that_stops_stops_neither_scores_nor_service(tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    folder = shifting.begin(
        tmp_path / "served", mlflow={"tracking_uri": f"http://127.0.0.1:{port}"}
    )
    server = _server(tmp_path / "server", port)
    try:
        outcome = runner.run(Workspace.open(folder))
        assert outcome.warnings == ()
        champion = outcome.manifest.models["buys"]
    finally:
        server.terminate()
        server.wait(30)
    shifting.go_on(folder, "compare")
    outcome = runner.run(Workspace.open(folder))
    assert outcome.warnings[0].startswith("mlflow_unreachable: ")
    assert outcome.manifest.models == {"buys": champion} and served(folder) == champion
    server = _server(tmp_path / "server", port)
    try:
        # What is not in the store is fetched from the server.
        shutil.rmtree(folder / ".likelier" / "models")
        outcome = runner.run(Workspace.open(folder), only="train")
        assert (outcome.warnings, outcome.made["train"]) == ((), 1)
    finally:
        server.terminate()
        server.wait(30)


def _server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    argv = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"), "--workers", "1",
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(
            argv, stdout=log, stderr=log, env=os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
        )
    for _ in range(240):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                return server
        except httpx.HTTPError:
            time.sleep(0.5)
    server.kill()
    raise AssertionError((folder / "log").read_text())
