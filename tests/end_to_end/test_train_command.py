"""`likelier train`: from a table in an empty folder to a registered model and scored rows."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.wide import opened, train_table
from tests.unit.test_training_wide import shop
from training.bundle import Bundle
from training.errors import LeakFound
from training.registry import Registry
from training.wide import BadTable, Question


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    (folder / "shop.csv").write_text(shop())
    return folder


def test_a_table_becomes_a_champion_and_scores(folder):
    table, to = str(folder / "shop.csv"), folder / "scores.csv"
    how = ["-p", str(folder), "train", table, "--label", "bought", "--json", "--min-people", "50"]
    result = CliRunner().invoke(app, [*how, "--score", table, "--to", str(to)])
    assert result.exit_code == 0, result.output
    body = json.loads(result.stdout)
    assert body["model"] == "tables.shop version 1"
    assert body["scored"] == 600
    bundle = Bundle.load(Path(body["bundle"]))
    assert bundle.version == body["version"]
    workspace = opened(folder)
    registry = Registry(workspace.tracking_uri, workspace.artifacts, "tables")
    champion = registry.bundle_of("shop", folder / "champion")
    assert champion.fingerprint == bundle.fingerprint
    with to.open() as lines:
        rows = list(csv.DictReader(lines))
    assert [*rows[0]] == [
        "row", "probability", "score", "percentile", "bucket", "reason_1", "reason_2", "reason_3",
    ]  # fmt: skip
    assert [row["row"] for row in rows] == [str(number) for number in range(1, 601)]
    assert rows[0]["reason_1"].endswith(("(raises)", "(lowers)"))


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"score": Path("shop.csv")}, "go together"),
        ({"name": "churn"}, "a goal called 'churn'"),
        ({"name": "../churn"}, "cannot be called '../churn'"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_written(tmp_path, asked, error):
    (tmp_path / "shop.csv").write_text(shop())
    (tmp_path / "likelier.yaml").write_text(
        "project: shop\nsources: [{name: s, kind: events, path: s.csv, event_time: t, "
        "event_type: e, identities: {customer: c}}]\n"
        "identity: {namespaces: [{name: customer, type: person}]}\n"
        "goals: [{name: churn, kind: churn, outcome: any(purchase), outcome_window: 30d}]\n"
    )
    with pytest.raises(BadTable, match=error):
        train_table(opened(tmp_path), tmp_path / "shop.csv", Question("bought"), **asked)
    assert not (tmp_path / ".likelier").exists()


def test_a_column_that_knows_the_outcome_is_refused_unless_the_project_allows_it(tmp_path):
    lines = shop().splitlines()
    label = [line.split(",") for line in lines]
    at = label[0].index("bought")
    paid = ["paid", *("12.5" if row[at] == label[1][at] else "" for row in label[1:])]
    text = "\n".join(f"{line},{cell}" for line, cell in zip(lines, paid, strict=True))
    (tmp_path / "shop.csv").write_text(text)
    with pytest.raises(LeakFound, match=r"profile_paid \(AUC 1.000\) alone tells"):
        train_table(opened(tmp_path), tmp_path / "shop.csv", Question("bought"), fewest_people=50)
    allow = '[{feature: profile_paid, reason: "a test"}, {feature: of_a_goal, reason: "another"}]'
    (tmp_path / "likelier.yaml").write_text(
        "project: shop\nsources: [{name: s, kind: events, path: s.csv, event_time: t, "
        "event_type: e, identities: {customer: c}}]\n"
        "identity: {namespaces: [{name: customer, type: person}]}\n"
        f"training: {{allow: {allow}}}\n"
    )
    allowed = train_table(
        opened(tmp_path), tmp_path / "shop.csv", Question("bought"), fewest_people=50
    )
    assert allowed.trained.warnings[0].startswith("profile_paid (Paid) alone tells")
    assert allowed.trained.warnings[0].endswith("Allowed by training.allow: a test")


def test_the_trials_of_a_tuning_are_kept_with_the_run(tmp_path):
    (tmp_path / "shop.csv").write_text(shop())
    (tmp_path / "likelier.yaml").write_text(
        "project: shop\nsources: [{name: s, kind: events, path: s.csv, event_time: t, "
        "event_type: e, identities: {customer: c}}]\n"
        "identity: {namespaces: [{name: customer, type: person}]}\n"
        "training: {tuning: {trials: 2}}\n"
    )
    how = ["-p", str(tmp_path), "train", str(tmp_path / "shop.csv"), "--label", "bought"]
    result = CliRunner().invoke(app, [*how, "--min-people", "50", "--json"])
    assert result.exit_code == 0, result.output
    assert any("2 of 2 trials" in each for each in json.loads(result.stdout)["summary"])
    (table,) = (tmp_path / ".likelier" / "mlartifacts").rglob("tuning.csv")
    assert len(table.read_text().splitlines()) == 3
    assert (table.parent / "tuning.html").is_file()
