"""A new version serves only if it is shown to be better; every change of champion is on record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import shifting
from tests.end_to_end.shops import copy_of, current, run, store_of, table
from training.registry import Registry


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / ".likelier" / "promotions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def registry(folder: Path) -> Registry:
    store = folder / ".likelier"
    return Registry(f"sqlite:///{store}/mlflow.db", str(store / "mlartifacts"), "shifting")


def champion(folder: Path) -> str:
    return registry(folder).champions(["buys"])["buys"]


def test_the_first_version_is_promoted_unopposed(first):
    folder, said = first
    (entry,) = log_of(folder)
    assert (entry["goal"], entry["before"], entry["by"]) == ("buys", None, "run")
    assert entry["after"] == said["models"]["buys"] == champion(folder)
    assert said["goals"]["buys"]["schedule"]["why"] == "there is no version yet"
    assert said["goals"]["buys"]["challenge"]["decision"] == "promoted"


def test_a_better_version_is_promoted_and_the_figures_are_kept(first, changed):
    (before, said_before), (folder, said) = first, changed
    old, new = said_before["models"]["buys"], said["models"]["buys"]
    assert old != new == champion(folder)
    entry = log_of(folder)[-1]
    assert (entry["before"], entry["after"], entry["by"]) == (old, new, "run")
    figures = entry["figures"]
    assert figures["low"] > 0 and figures["auc"] > figures["champion_auc"]
    # The evaluation is the newest snapshot whose window has closed, and everyone eligible then.
    assert figures["rows"] == figures["people"] > 200
    assert log_of(before)[0] == log_of(folder)[0]
    scores = table(folder, "scores", "scores")
    assert set(scores["model_version"]) == {new}


def test_one_that_is_no_better_is_kept_out_and_that_is_said(first, unchanged):
    (_, said_before), (folder, said) = first, unchanged
    verdict = said["goals"]["buys"]["challenge"]
    assert verdict["decision"] == "kept" and verdict["duel"]["low"] <= 0
    assert said["models"] == said_before["models"] == {"buys": champion(folder)}
    assert len(log_of(folder)) == 1
    assert said["made"]["train"] == 1
    (challenger,) = [v for v in registry(folder).versions() if "challenger" in v.aliases]
    assert challenger.version != champion(folder)
    assert challenger.tags["decision"] == verdict["words"]
    assert challenger.metrics["challenge_gain"] == verdict["duel"]["gain"]
    # It stays in the store, so that it can be promoted by hand; and its report says what it lacks.
    assert store_of(folder).current().spare_models["buys"] == sorted(
        {challenger.version, champion(folder)}
    )
    reports = [path.read_text() for path in (folder / ".likelier/tables/trained").glob("*/*.html")]
    assert sum("Not promoted" in text for text in reports) == 1


def test_people_are_scored_at_the_new_moment_by_the_old_champion(first, unchanged):
    folder, _ = unchanged
    scores = table(folder, "scores", "scores")
    assert set(scores["model_version"]) == {first[1]["models"]["buys"]}
    assert set(scores["as_of"]) == {current(folder).as_of} != {current(first[0]).as_of}


@pytest.mark.parametrize("which", ["changed", "unchanged"])
def test_a_second_run_does_nothing(which, request, tmp_path):
    folder = copy_of(request.getfixturevalue(which)[0], tmp_path / "copy")
    lines = log_of(folder)
    assert run(folder)["made"] == {}
    assert log_of(folder) == lines


def test_an_alias_moved_in_mlflow_is_followed_and_written_down(first, changed, tmp_path):
    old = first[1]["models"]["buys"]
    folder = copy_of(changed[0], tmp_path / "copy")
    registry(folder).promote("buys", old, "by hand")
    said = run(folder)
    assert said["models"]["buys"] == old
    assert not {"ingest", "train"} & set(said["made"])
    entry = log_of(folder)[-1]
    assert (entry["after"], entry["by"]) == (old, "mlflow")
    assert run(folder)["made"] == {}


@pytest.mark.slow
def test_a_champion_that_is_not_in_the_store_is_fetched(changed, tmp_path):
    folder = copy_of(changed[0], tmp_path / "copy")
    before = table(folder, "scores", "scores")
    shutil.rmtree(folder / ".likelier" / "models")
    shutil.rmtree(folder / ".likelier" / "tables" / "trained")
    (folder / ".likelier" / "CURRENT").unlink()
    said = run(folder)
    assert "train" not in said["made"]
    assert table(folder, "scores", "scores")["score"].equals(before["score"])


@pytest.mark.slow
def test_a_goal_that_asks_another_question_replaces_its_champion(first, tmp_path):
    folder = copy_of(first[0], tmp_path / "copy")
    goal = shifting.SETTINGS["goals"][0] | {"outcome": "any(compare)"}
    shifting.settings(folder, goals=[goal])
    said = run(folder)
    assert said["models"]["buys"] != first[1]["models"]["buys"]
    assert "asks another question" in log_of(folder)[-1]["why"]


@pytest.mark.slow
def test_a_champion_that_wants_what_is_measured_no_longer_is_replaced(first, tmp_path):
    folder = copy_of(first[0], tmp_path / "copy")
    shifting.settings(folder, features={"windows": ["10d"], "events": ["visit", "purchase"]})
    said = run(folder)
    assert said["models"]["buys"] != first[1]["models"]["buys"]
    assert "measured no longer: " in log_of(folder)[-1]["why"]


@pytest.mark.slow
def test_a_run_of_a_past_moment_has_a_version_of_its_own(changed, tmp_path):
    folder = copy_of(changed[0], tmp_path / "copy")
    lines, alias = log_of(folder), champion(folder)
    said = run(folder, "--as-of", "2026-04-01")
    assert said["goals"]["buys"]["challenge"]["decision"] == "apart"
    assert said["models"]["buys"].startswith("2026-04-01")
    assert (log_of(folder), champion(folder)) == (lines, alias)
    assert run(folder)["models"]["buys"] == alias


@pytest.mark.slow
def test_one_too_early_for_another_training_only_scores(first, tmp_path):
    folder = copy_of(first[0], tmp_path / "copy")
    shifting.write(folder, "2", shifting.rows(10, 12, "compare"))
    said = run(folder)
    assert "train" not in said["made"] and "score" in said["made"]
    why = said["goals"]["buys"]["schedule"]
    assert why["does"] == "score" and "every 30 days: again from 2026-05-1" in why["why"]
    goal = shifting.SETTINGS["goals"][0] | {"retrain_every": "15d"}
    shifting.settings(folder, goals=[goal])
    assert run(folder)["made"]["train"] == 1


@pytest.mark.slow
def test_other_settings_train_at_once(first, tmp_path):
    folder = copy_of(first[0], tmp_path / "copy")
    shifting.settings(folder, features={"windows": ["10d", "20d"]})
    said = run(folder)
    assert said["goals"]["buys"]["schedule"]["why"] == (
        "settings have changed since the last training"
    )
    # Kept or promoted, the next run does nothing.
    assert run(folder)["made"] == {}
