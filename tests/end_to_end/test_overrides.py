"""Merged by mistake and taken apart by hand: what a steward writes down, the next run applies.

Two customers gave one e-mail address. A row in the table `never` makes them two people again, with
their own events, features, scores and segments; without the row they are one as before.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.shops import Ended, likelier, run, serving, table

SPACES = "    - {name: customer, type: person, unique: true}\n"
LOOSE = "    - {name: customer, type: person}\n"
OVERRIDES = """\
identity:
  overrides: {always: always.csv, never: never.csv, bypass: bypass.jsonl, aliases: aliases.csv}
"""
EVERYONE = """\
segments:
  - name: buyers
    where: count(purchase in last 90d) >= 1
"""
NEVER = "a,b,known_from,note\n"


@pytest.fixture
def folder(a_copy: Path) -> Path:
    """The shop, where customers are not unique and two of them share an e-mail address."""
    project = a_copy / "likelier.yaml"
    text = project.read_text().replace(SPACES, LOOSE)
    text = text.replace("identity:\n", OVERRIDES, 1).replace("segments:\n", EVERYONE, 1)
    project.write_text(text)
    (a_copy / "always.csv").write_text("a,b\n")
    (a_copy / "never.csv").write_text(NEVER)
    (a_copy / "bypass.jsonl").write_text("")
    (a_copy / "aliases.csv").write_text("alias,identity\n")
    return a_copy


def buyers(folder: Path) -> list[str]:
    """Return the customers who are scored for churn: those who bought of late."""
    scores = table(folder, "scores", "scores").query("goal == 'churn'")
    return sorted(each for each in scores["profile_id"] if each.startswith("customer:"))


def alone(folder: Path) -> set[str]:
    """Return the customers who share no device with another."""
    names = table(folder, "united", "identity_index").set_index("identity_key")["identity"]
    links = table(folder, "united", "links")[["a", "b"]].drop_duplicates()
    people = links.groupby("b")["a"].nunique()
    crowded = set(links.loc[links["b"].map(people) > 1, "a"])
    mine = names[names.str.startswith("customer:") & ~names.index.isin(crowded)]
    return set(mine.str.removeprefix("customer:"))


def share_an_address(folder: Path) -> tuple[str, str]:
    """Let the second of two customers who buy have the address of the first."""
    crm = folder / "data" / "crm" / "customers.csv"
    lines = crm.read_text().splitlines()
    header = lines[0].split(",")
    place, mail = header.index("customer"), header.index("email")
    rows = [line.split(",") for line in lines[1:]]
    known = {row[place] for row in rows} & alone(folder)
    buying = (each.partition(":")[2] for each in buyers(folder))
    one, two = [each for each in buying if each in known][:2]
    address = next(row[mail] for row in rows if row[place] == one)
    for row in rows:
        row[mail] = address if row[place] == two else row[mail]
    crm.write_text("\n".join([lines[0], *(",".join(row) for row in rows)]) + "\n")
    return f"customer:{one}", f"customer:{two}"


def person(folder: Path, identity: str) -> dict[str, Any]:
    ended: Ended = likelier("-p", folder, "profile", identity, "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = ended.json
    return found


def facts_of(folder: Path, name: str, profile_id: str) -> list[Any]:
    """Return the rows of a person in a table of the published run, without what names a run."""
    file = {"scores": "scores", "lists": "memberships"}[name]
    frame = table(folder, name, file)
    mine = frame[frame["profile_id"] == profile_id].drop(columns="profile_key")
    return json.loads(mine.to_json(orient="records"))  # type: ignore[no-any-return]


def test_two_people_merged_by_mistake_are_two_again_and_back(folder: Path) -> None:
    one, two = share_an_address(folder)
    run(folder)
    merged = person(folder, two)
    assert {one, two} <= set(merged["identities"])
    # They are called as the one who was seen first.
    one, two = sorted((one, two), key=lambda each: each != merged["profile_id"])
    together = facts_of(folder, "scores", one), facts_of(folder, "lists", one)
    assert facts_of(folder, "scores", two) == []

    (folder / "never.csv").write_text(f"{NEVER}{one},{two},,two households\n{one},{one},,\nx,y,,\n")
    said = likelier("-p", folder, "run")
    assert said.code == 0, said.err
    assert "of the run before have changed" in said.out
    assert f"{one} split: " in said.out
    assert f"{two} now belongs to {two}" in said.out, said.out
    assert "Override never: 3 rows = 1 applied + 0 duplicates + 2 refused" in said.out
    # Of everyone only one person was touched: the one who is two now.
    recomputed = [line for line in said.err.splitlines() if "people recomputed" in line]
    assert recomputed
    assert all(int(line.split(": ")[2].split(" of ")[0]) <= 2 for line in recomputed)
    assert run(folder)["made"] == {}

    apart = [person(folder, each) for each in (one, two)]
    assert [each["profile_id"] for each in apart] == [one, two]
    for each, other in zip(apart, (two, one), strict=True):
        assert other not in each["identities"]
        assert {score["goal"] for score in each["scores"]} >= {"churn"}
        assert "buyers" in [found["segment"] for found in each["segments"]]
    events = [{(e["event_time"], e["event_type"]) for e in each["events"]} for each in apart]
    assert not events[0] & events[1]
    drawn = likelier("-p", folder, "graph", one, "--json").json
    assert {link["reason"] for link in drawn["refused"]} == {"never_link"}

    (folder / "never.csv").write_text(NEVER)
    back = run(folder)
    assert [(row["old"], row["new"], row["kind"]) for row in back["changed"]] == [
        (two, one, "merged")
    ]
    assert (facts_of(folder, "scores", one), facts_of(folder, "lists", one)) == together


def test_an_alias_finds_the_person_wherever_one_asks(folder: Path, free_port: int) -> None:
    """An alias that rows have, one that none has, and an identity known by its alias alone."""
    one, two, three, four = buyers(folder)[:4]
    (folder / "aliases.csv").write_text(
        f"alias,identity\n{two},{one}\ncustomer:ONE,{one}\n{three},customer:THREE\n"
    )
    (folder / "always.csv").write_text(f"a,b\ncustomer:ONE,{four}\ncustomer:1,x\n")
    (folder / "bypass.jsonl").write_text('{"identity": "cookie:nemo"}\n')
    said = run(folder)
    overrides = said["overrides"]
    assert overrides["always"]["refused"] == {"unknown_namespace": 1}
    assert [overrides[name]["not_seen"] for name in ("always", "aliases", "bypass")] == [0, 1, 1]
    # Of two linked by hand the one who was seen first gives the name.
    both = person(folder, one)["profile_id"]
    assert both in (one, four)
    asked = dict.fromkeys((one, two, four, "customer:ONE"), both)
    asked |= dict.fromkeys((three, "customer:THREE"), three)
    for identity, expected in asked.items():
        found = person(folder, identity)
        assert found["profile_id"] == expected
        assert two not in found["identities"]
        drawn = likelier("-p", folder, "graph", identity, "--json")
        assert expected in [name for profile in drawn.json["profiles"] for name in profile]
    assert {"identities": [one, two], "override": "alias"} in person(folder, one)["links"]
    shown = likelier("-p", folder, "graph", two).out
    assert f"{one} with {two}: linked by override (alias); never seen together" in shown
    assert "linked by override (always)" in shown
    with serving(folder, free_port) as client:
        for identity, expected in asked.items():
            answer = client.post("/score", json={"identity": identity}).json()
            assert answer["profile_id"] == expected
            assert answer["scores"]["churn"]["status"] == "scored"
            assert client.get(f"/profiles/{identity}").json()["profile_id"] == expected
    checked = likelier("-p", folder, "check", "--json").json
    codes = {each["code"] for each in checked["findings"] if "overrides" in each["where"]}
    assert codes == {"unknown_namespace", "not_seen"}
