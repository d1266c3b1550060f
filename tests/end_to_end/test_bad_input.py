"""What is wrong with the input is said: code, place, value and a hint, and nothing is published."""

from __future__ import annotations

import fcntl
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.shops import copy_of, likelier, run

PROJECT = """\
project: mini
sources:
  - name: web
    kind: events
    path: data/web.csv
    event_time: at
    event_type: what
    identities: {customer: who}
    attributes: {amount: try_cast(amount as double)}
identity: {namespaces: [{name: customer, type: person, unique: true}]}
features: {windows: [30d]}
training: {max_snapshots: 2}
goals:
  - name: churn
    kind: churn
    outcome: not any(purchase)
    outcome_window: 30d
    eligible: any(purchase in last 90d)
    min_people: 5
segments:
  - {name: leaving, where: churn.score > 50, export: [file]}
destinations:
  - {name: file, kind: file, purpose: marketing, columns: {who: identity.customer}}
"""
HEADER = "at,what,who,amount\n"


def lines() -> list[str]:
    """Return the purchases of 80 people over 200 days; half of them stop half way."""
    chance, start = random.Random(1), datetime(2025, 1, 1, tzinfo=UTC)
    found = []
    for person in range(80):
        days = 200 if person % 2 else 130
        for _ in range(12):
            moment = start + timedelta(days=chance.uniform(0, days))
            found.append(f"{moment.isoformat()},purchase,p{person},{chance.randint(1, 90)}\n")
    return found


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "mini"
    (folder / "data").mkdir(parents=True)
    (folder / "likelier.yaml").write_text(PROJECT)
    (folder / "data" / "web.csv").write_text(HEADER + "".join(lines()))
    run(folder)
    return folder


def says(old: str, new: str) -> Callable[[Path], None]:
    """Change the project file."""

    def change(folder: Path) -> None:
        path = folder / "likelier.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def holds(content: str) -> Callable[[Path], None]:
    """Put something else into the data file."""
    return lambda folder: (folder / "data" / "web.csv").write_text(content)


def lacks(folder: Path) -> None:
    (folder / "data" / "web.csv").unlink()


def nothing(folder: Path) -> None:
    pass


RUN, BACKTEST = ["run"], ["backtest", "--goal", "churn", "--as-of", "2025-05-01"]
CASES = {
    "unknown key": (says("kind: churn", "knid: churn"), RUN, "bad_settings",
                    ["likelier.yaml", "goals", "knid", "kind"]),
    "not YAML": (says("features: {", "features: ["), RUN, "bad_settings", ["line 11"]),
    "unset variable": (says("data/web.csv", "${NOT_SET_ANYWHERE}/web.csv"), RUN, "bad_settings",
                       ["line 5", "NOT_SET_ANYWHERE"]),
    "bad window": (says("outcome_window: 30d", "outcome_window: 30 moons"), RUN, "bad_settings",
                   ["outcome_window", "30 moons"]),
    "missing file": (lacks, RUN, "no_files", ["sources.web", "data/web.csv"]),
    "missing column": (says("event_time: at", "event_time: att"), RUN, "missing_column",
                       ["sources.web.event_time", "att", "web.csv"]),
    "wrong SQL": (says("try_cast(amount as double)", '"amount +* 2"'), RUN, "bad_mapping",
                  ["sources.web.attributes.amount", "amount +* 2"]),
    "unknown SQL function": (says("try_cast(amount as double)", "doubled(amount)"), RUN,
                             "bad_mapping", ["sources.web.attributes.amount", "doubled"]),
    "unparsable dates": (holds(HEADER + "soon,purchase,p1,1\nlater,purchase,p2,2\n"), RUN,
                         "no_rows", ["web", "soon"]),
    "empty file": (holds(""), RUN, "bad_source", ["web.csv", "empty"]),
    "header only": (holds(HEADER), RUN, "no_rows", ["web"]),
    "all rows bad": (holds(HEADER + "2025-01-01,purchase,,1\n,purchase,p2,2\n"), RUN, "no_rows",
                     ["web", "no_event_time", "row 2"]),
    "one class": (says("outcome: not any(purchase)", "outcome: count(purchase) >= 1000"), RUN,
                  "one_class", ["churn"]),
    "a window that is too short": (says("outcome_window: 30d", "outcome_window: 8h"), RUN,
                                   "too_few_examples", ["goals.churn", "outcome_window: "]),
    "too little history": (says("outcome_window: 30d", "outcome_window: 150d"), RUN,
                           "not_enough_history", ["goals.churn", "150 days"]),
    "wrong condition": (says("outcome: not any(purchase)", "outcome: not any(purchas)"), RUN, "",
                        ["purchas", "purchase"]),
    "wrong segment": (says("churn.score > 50", "churn.skore > 50"), RUN, "", ["skore", "score"]),
    "wrong export": (says("who: identity.customer", "who: identity.customr"), RUN,
                     "unknown_field", ["file", "identity.customr"]),
    "bad as-of": (nothing, ["run", "--as-of", "the day before"], "bad_time", ["the day before"]),
    "as-of before all": (nothing, ["run", "--as-of", "1999-01-01"], "nothing_known",
                         ["1999-01-01", "2025-01-0"]),
    "unknown stage": (nothing, ["run", "--only", "trains"], "unknown_stage", ["trains", "train"]),
    "unknown stage to start": (nothing, ["run", "--from", "scoer"], "unknown_stage", ["scoer"]),
    "unknown goal": (nothing, ["backtest", "--goal", "chrun", "--as-of", "2025-05-01"],
                     "unknown_goal", ["chrun", "churn"]),
    "open outcome": (nothing, ["backtest", "--goal", "churn", "--as-of", "2025-07-10"],
                     "outcome_open", ["churn", "2025-07-10", "2025-06-"]),
    "bad backtest as-of": (nothing, [*BACKTEST[:-1], "soon"], "bad_time", ["soon"]),
    "unknown person": (nothing, ["profile", "customer:nobody"], "unknown_identity", ["customer:"]),
    "unknown namespace": (nothing, ["profile", "cutsomer:p1"], "unknown_namespace",
                          ["cutsomer", "customer"]),
    "no namespace": (nothing, ["profile", "p1"], "bad_identity", ["namespace"]),
}  # fmt: skip
"""Name to: what is changed, the command, the error's code, and what it must name."""


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_named_and_changes_nothing(name, mini, tmp_path):
    change, command, code, named = CASES[name]
    folder = copy_of(mini, tmp_path / "mini")
    change(folder)
    before = published(folder)

    # One shape for machines, on standard output.
    ended = likelier("-p", folder, *command, "--json")
    assert ended.code == 1
    assert "Traceback" not in ended.err + ended.out
    error = ended.json["error"]
    assert sorted(ended.json) == ["error"]
    assert sorted(error) == ["code", "details", "hint", "message"]
    if code:
        assert error["code"] == code
    for word in named:
        assert word in error["message"] + error["hint"], word
    assert error["hint"]

    # What was published stays; nothing half written is left where anybody looks.
    assert published(folder) == before
    assert not [*folder.glob("exports/.*")]
    assert not [path for path in (folder / ".likelier").glob("tables/*/.*") if path.is_dir()]


def test_a_goal_that_can_train_no_more_keeps_its_champion(mini, tmp_path):
    folder = copy_of(mini, tmp_path / "mini")
    says("min_people: 5", "min_people: 5000")(folder)
    ended = likelier("-p", folder, *RUN, "--json")
    assert ended.code == 1
    error = ended.json["refused"]["churn"]
    assert error["code"] == "too_few_examples"
    assert "5,000 of each" in error["message"]
    assert (set(ended.json["models"]), ended.json["unbuilt"]) == ({"churn"}, {})
    assert [*(folder / "exports").glob("leaving-*.csv")]


def published(folder: Path) -> dict[str, bytes]:
    files = [folder / ".likelier" / "CURRENT", *(folder / ".likelier" / "runs").iterdir()]
    return {str(p): p.read_bytes() for p in [*files, *(folder / "exports").iterdir()]}


def test_people_read_the_error_with_its_code_and_hint(mini, tmp_path):
    folder = copy_of(mini, tmp_path / "mini")
    lacks(folder)
    ended = likelier("-p", folder, "run")
    assert (ended.code, ended.out) == (1, "")
    assert "no_files" in ended.err
    assert "sources.web" in ended.err
    assert "Hint: " in ended.err
    assert "Traceback" not in ended.err


def test_check_finds_every_problem_and_not_only_the_first(mini, tmp_path):
    folder = copy_of(mini, tmp_path / "mini")
    says("event_time: at", "event_time: att")(folder)
    says("who: identity.customer", "who: identity.customr")(folder)
    ended = likelier("-p", folder, "check", "--json")
    assert ended.code == 1
    errors = [f["code"] for f in ended.json["findings"] if f["state"] == "error"]
    assert errors == ["missing_column", "unknown_field"]
    assert ended.json["errors"] == 2


def test_a_second_run_at_the_same_time_is_refused(mini, tmp_path):
    folder = copy_of(mini, tmp_path / "mini")
    with (folder / ".likelier" / "lock").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        ended = likelier("-p", folder, "run", "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["error"]["code"] == "store_unavailable"
