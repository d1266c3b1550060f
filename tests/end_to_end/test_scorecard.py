"""The scorecard of whole runs: what an earlier run said, once its outcome is known."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pyarrow.parquet as pq
import pytest

from features.time import parse_instant
from pipelines.drifting import drift_alarms, drift_figures
from pipelines.stages import (
    Bench,
    described,
    feature_table,
    ingest_all,
    plan_as_before,
    unify,
)
from pipelines.workspace import Workspace
from tests.end_to_end.shops import copy_of, current, likelier, run, store_of, table
from training.bundle import Bundle
from training.drift import drifts

EARLIER = "2026-06-10"


@pytest.fixture(scope="module")
def judged(shop, tmp_path_factory):
    """A shop that scored on 10 June and again at the end of June. Read only."""
    folder = copy_of(shop, tmp_path_factory.mktemp("scorecards") / "shop")
    run(folder, "--as-of", EARLIER)
    return folder, run(folder)


def test_a_run_compares_what_an_earlier_one_said_with_what_happened(judged):
    folder, said = judged
    card = said["scorecard"]["conversion"]
    assert (card["as_of"], card["served"]) == ("2026-06-10T00:00:00Z", None)
    assert "churn" not in said["scorecard"]  # Its window is 30 days.
    everyone = card["batch"]
    assert everyone["people"] > 400
    assert 0 < everyone["low"] < everyone["happened"] < everyone["high"] < 1
    # The shop is stationary: the model's mean is not far from what came.
    assert abs(everyone["predicted"] - everyone["happened"]) < 0.05
    assert said["not_judged"] == []
    assert "score" not in run(folder)["made"]  # Nothing is said or judged a second time.


def test_the_command_shows_cards_and_what_waits(judged, tmp_path):
    folder, said = judged
    page = tmp_path / "card.html"
    ended = likelier("-p", folder, "scorecard", "--json", "--html", page)
    assert ended.code == 0, ended.err
    (card,) = ended.json["cards"]
    assert card["batch"]["everyone"] == said["scorecard"]["conversion"]["batch"]
    counts = [found["people"] for found in card["batch"]["buckets"].values()]
    assert sum(counts) == card["batch"]["everyone"]["people"]
    waits = {(each["goal"], each["as_of"][:10]) for each in ended.json["waiting"]}
    assert waits == {("churn", EARLIER), ("churn", "2026-06-29"), ("conversion", "2026-06-29")}
    html = page.read_text()
    assert "chart-conversion-rates" in html and "chart-conversion-auc" in html
    assert "src=" not in html.partition("<body>")[2]
    shown = likelier("-p", folder, "scorecard", "churn")
    assert "No outcome window of earlier scores has closed yet." in shown.out
    unknown = likelier("-p", folder, "scorecard", "chrun")
    assert (unknown.code, "unknown_goal" in unknown.err) == (1, True)
    refused = likelier("-p", folder, "scorecard", "--html", tmp_path)
    assert (refused.code, "page_not_written" in refused.err) == (1, True)


def test_people_of_another_time_have_drifted_from_the_model(judged):
    folder, said = judged
    assert {goal: found["score"] for goal, found in said["drift"].items()} == {
        "churn": 0.0, "conversion": 0.0,  # Trained by this very run.
    }  # fmt: skip
    workspace, manifest = Workspace.open(folder), current(folder)
    bundle = Bundle.load(workspace.bundle_folder("conversion", manifest.models["conversion"]))
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine)
        unify(bench, ingest_all(bench))
        earlier = parse_instant("2026-03-01")
        plan = plan_as_before(bench, earlier, ["conversion"], bundle.definitions)
        key = feature_table(bench, plan, earlier, plan.goals)
        matrix = described(workspace.store, key, plan, "conversion").matrix
    margin = bundle.score(matrix).margin
    found = drifts(bundle.distributions, bundle.features, matrix, margin)
    moved = {"conversion": [each.body() for each in found]}
    figures = drift_figures(moved)["conversion"]
    assert "tenure_days" in figures["shifted"]  # Two months into the shop nobody is old.
    alarms = drift_alarms(moved, manifest.models, "2026-03-01")
    (tenure,) = [each for each in alarms if each["of"] == "tenure_days"]
    assert (tenure["code"], len(tenure["bins"])) == ("drifted", len(tenure["now"]))
    assert sum(tenure["before"]) == said["goals"]["conversion"]["scored"]["people"]


def test_the_figures_stand_in_mlflow_with_the_run_that_trained_the_model(judged):
    folder, said = judged
    with closing(sqlite3.connect(folder / ".likelier" / "mlflow.db")) as database:
        rows = database.execute("select key, value, timestamp from metrics").fetchall()
    kept = [(key, value, moment) for key, value, moment in rows if key.startswith("card_")]
    everyone = said["scorecard"]["conversion"]["batch"]
    closed = parse_instant("2026-06-24") // 1_000
    assert ("card_happened", everyone["happened"], closed) in kept
    assert {key for key, _, _ in kept} == {
        "card_happened", "card_predicted", "card_ece", "card_auc",
    }  # fmt: skip
    drift = {key: value for key, value, _ in rows if key.startswith("drift_")}
    assert drift == {"drift_score": 0, "drift_most": 0, "drift_moved": 0, "drift_shifted": 0}


def test_an_alarm_ends_a_command_with_three_only_when_asked(judged, tmp_path):
    folder = copy_of(judged[0], tmp_path / "shop")
    store = store_of(folder)
    (key,) = current(folder).tables["cards"].split("+")
    facts = store.facts("cards", key)
    alarm = {"code": "miscalibrated", "what": "9% were predicted and 90% happened"}
    facts["batch"]["alarms"] = [alarm]
    with store.writing("cards", key, replace=True) as (_, noted):
        noted |= facts
    rung = likelier("-p", folder, "scorecard")
    assert (rung.code, "miscalibrated" in rung.out) == (0, True)
    assert likelier("-p", folder, "scorecard", "--fail-on-alarm").code == 3
    assert likelier("-p", folder, "scorecard", "churn", "--fail-on-alarm").code == 0


def test_whoever_is_forgotten_leaves_the_history(judged, tmp_path):
    folder = copy_of(judged[0], tmp_path / "shop")
    everyone = table(folder, "scores", "scores")
    who = next(each for each in everyone["profile_id"] if each.startswith("customer:"))
    ended = likelier("-p", folder, "forget", who, "--yes", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["counts"]["history"] >= 2
    files = list((store_of(folder).root / "tables" / "history").rglob("*.parquet"))
    assert len(files) == 4
    for file in files:
        assert who not in pq.read_table(file)["profile_id"].to_pylist()
    assert likelier("-p", folder, "scorecard", "--json").json["cards"]
