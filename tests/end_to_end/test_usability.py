"""Usability reports are made of every goal, and one refused goal stops no other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.test_bad_data import Said, likelier, shop
from tests.end_to_end.test_bad_input import says

__all__ = ["likelier"]

TWO = """\
  - name: many
    kind: conversion
    outcome: count(purchase) >= 9
    outcome_window: 30d
    eligible: any(purchase in last 90d)
    min_people: 5
segments:
  - {name: eager, where: many.score > 50}
  - {name: both, where: in_segment(eager) and churn.score > 50}
  - {name: active, where: any(purchase in last 90d), export: [file]}
"""


def report(folder: Path, goal: str) -> dict[str, Any]:
    """Return a goal's report; its page opens by itself and has pictures."""
    path = folder / ".likelier" / "reports" / f"usability-{goal}.json"
    page = path.with_suffix(".html").read_text()
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="', page)
    assert page.index('id="chart-history"') > page.index("<h1>")
    found: dict[str, Any] = json.loads(path.read_text())
    assert ('id="chart-people"' in page) == (found["people"] is not None)
    if found["refusal"]:
        assert page.index("Refused: ") > page.index('id="chart-history"'), "pictures come first"
    return found


def test_one_refused_goal_stops_no_other(tmp_path: Path, likelier: Said) -> None:
    folder = shop(tmp_path / "mini")
    says("segments:\n", TWO)(folder)
    ended, said = likelier("-p", folder, "run")
    # What could be made is published; the exit code says that not all was.
    assert ended == 1
    assert sorted(said["goals"]) == ["churn"]
    assert said["refused"]["many"]["code"] == "one_class"
    assert said["refused"]["many"]["hint"]
    assert said["unbuilt"] == {"eager": "many", "both": "many"}
    assert sorted(said["segments"]) == ["active", "leaving"]
    assert (folder / ".likelier" / "CURRENT").exists()

    # Both goals have their report, and the run says where.
    assert sorted(said["usability"]) == ["churn", "many"]
    churn, many = report(folder, "churn"), report(folder, "many")
    assert (churn["state"], many["state"]) == ("trained", "refused")
    assert churn["people"]["with_outcome"] >= churn["needed"] == 5
    assert sum(each["rows"] for each in churn["snapshots"]) == churn["people"]["rows"]
    assert many["refusal"] == said["refused"]["many"]
    assert many["refusal"]["details"]["report"] == said["usability"]["many"]
    assert many["people"]["with_outcome"] == 0

    # The same input makes no work, is as incomplete, and says so again.
    again, told = likelier("-p", folder, "run")
    assert (again, told["made"]) == (1, {})
    assert told["refused"] == said["refused"]

    # With the goal mended the run is whole.
    says("count(purchase) >= 9", "any(purchase)")(folder)
    mended, whole = likelier("-p", folder, "run")
    assert (mended, whole["refused"], whole["unbuilt"]) == (0, {}, {})
    assert sorted(whole["segments"]) == ["active", "both", "eager", "leaving"]
    assert report(folder, "many")["state"] == "trained"


@pytest.mark.parametrize(
    ("old", "new", "code", "people"),
    [
        ("min_people: 5", "min_people: 5000", "too_few_examples", True),
        ("outcome_window: 30d", "outcome_window: 300d", "not_enough_history", False),
    ],
)
def test_a_report_is_made_when_nothing_can_be_trained(
    old: str, new: str, code: str, people: bool, tmp_path: Path, likelier: Said
) -> None:
    folder = shop(tmp_path / "mini")
    says(old, new)(folder)
    for command in ("check", "run"):
        ended, said = likelier("-p", folder, command)
        assert ended == 1
        found = report(folder, "churn")
        assert found["state"] == "refused"
        assert found["refusal"]["code"] == code
        assert (found["people"] is not None) == people
        assert found["history"]["days"] > 0
        if command == "check":
            assert [each["state"] for each in said["goals"]] == ["refused"]
            assert said["goals"][0]["says"].startswith("churn is refused: ")
        else:
            assert said["error"]["code"] == code
            assert said["error"]["details"]["report"].endswith("usability-churn.html")
        (folder / ".likelier" / "reports" / "usability-churn.json").unlink()
    # Asked again, the noted refusal is told: nothing is tried anew.
    ended, again = likelier("-p", folder, "run")
    assert (ended, again["error"]) == (1, said["error"])
    assert not (folder / ".likelier" / "CURRENT").exists()


def test_check_counts_the_people_that_training_would(tmp_path: Path, likelier: Said) -> None:
    folder = shop(tmp_path / "mini")
    ended, _ = likelier("-p", folder, "check")
    counted = report(folder, "churn")
    assert (ended, counted["state"]) == (0, "ready")
    likelier("-p", folder, "run", "--only", "train")
    trained = report(folder, "churn")
    assert trained["state"] == "trained"
    for key in ("people", "snapshots", "history", "as_of", "needed"):
        assert counted[key] == trained[key], key
    assert set(counted["warnings"]) <= set(trained["warnings"])


SUBSCRIPTION = """\
  - name: loss
    kind: churn
    subscription: {end: ends, renewed_within: 7d}
    outcome_window: 30d
    exclude: any(purchase where amount > 80)
    min_people: 5
segments:"""


def test_a_subscription_goal_is_trained_beside_another(tmp_path: Path, likelier: Said) -> None:
    """People state an end of ten to sixty days later with every purchase."""
    folder = shop(tmp_path / "mini")
    says("segments:", SUBSCRIPTION)(folder)
    end = "cast(try_cast(at as timestamptz) + to_days(10 + cast(amount as int) % 50) as date)"
    says("    attributes:", f"    profile: {{ends: {end}}}\n    attributes:")(folder)
    ended, said = likelier("-p", folder, "run")
    assert (ended, said.get("refused")) == (0, {}), said
    assert sorted(said["goals"]) == ["churn", "loss"]
    loss = report(folder, "loss")
    assert loss["state"] == "trained"
    assert min(loss["people"]["with_outcome"], loss["people"]["without"]) >= 5
    assert said["goals"]["loss"]["metrics"]["auc"] > 0.5
    assert said["goals"]["loss"]["scored"]["people"] > 0
