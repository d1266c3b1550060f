"""`likelier forget`: afterwards nothing that the project keeps holds the person."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.end_to_end.shops import (
    COMMAND,
    current,
    environment,
    exports_by_file,
    likelier,
    run,
    serving,
    table,
)
from tests.end_to_end.traces import traces

TOM = ["tom-4711", "tom.miller@mail.example", "ck-tom-9", "ck-tablet-3"]
HASHED = hashlib.sha256(b"tom.miller@mail.example").hexdigest()
HEADER = "id,at,what,customer,mail,cookie,page\n"
MAY = """\
1,2024-05-01T10:00:00Z,visit,,,ck-tom-9,home
2,2024-05-01T10:05:00Z,login,tom-4711,Tom.Miller@mail.example,ck-tom-9,home
3,2024-05-02T10:00:00Z,login,nora-1,,ck-tablet-3,shoes
4,2024-05-03T10:00:00Z,visit,,,ck-tablet-3,shoes
5,2024-05-04T10:00:00Z,login,tom-4711,,ck-tablet-3,home
6,2024-05-05T10:00:00Z,visit,,,ck-other-1,home
7,tom.miller@mail.example,visit,tom-4711,,,home
8,2024-05-06T10:00:00Z,visit,tom-4711,,,home,and,more
"""
JUNE = """\
11,2024-06-01T10:00:00Z,visit,,,ck-tablet-3,home
12,2024-06-02T10:00:00Z,visit,nora-1,,ck-nora-2,shoes
13,2024-06-03T10:00:00Z,visit,tom-4711,,ck-tom-9,shoes
"""
CRM = """\
customer,mail,updated,city,optin
tom-4711,tom.miller@mail.example,2024-04-01,Rome,yes
nora-1,nora@mail.example,2024-04-01,Bonn,yes
"""
PROJECT = """\
project: mall
sources:
  - {name: web, kind: events, path: web/*.csv, event_time: at, event_type: what, event_id: id,
     identities: {customer: customer, email: mail, cookie: cookie}, attributes: {page: page}}
  - {name: crm, kind: records, path: crm.csv, known_from: updated,
     identities: {customer: customer, email: mail}, profile: {city: city, address: mail},
     consent: {marketing: optin}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: cookie, type: cookie}
segments:
  - {name: visitors, where: any(visit in last 90d), export: [crm_file, web_file, lake]}
destinations:
  - {name: crm_file, purpose: marketing,
     columns: {customer: identity.customer, mail: profile.address}}
  - {name: web_file, format: jsonl, purpose: ads, columns: {cookie: identity.cookie}, path: ads/}
  - {name: lake, format: parquet, purpose: marketing, path: ads/,
     columns: {id: profile_id, mail: identity.email, city: profile.city}}
"""
KEPT = (".likelier", "exports", "ads")


def mall(folder: Path) -> Path:
    (folder / "web").mkdir(parents=True)
    (folder / "likelier.yaml").write_text(PROJECT)
    (folder / "crm.csv").write_text(CRM)
    (folder / "web" / "may.csv").write_text(HEADER + MAY)
    run(folder)
    (folder / "web" / "june.csv").write_text(HEADER + JUNE)
    run(folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A mall after two runs, with files of both. Read only."""
    return mall(tmp_path_factory.mktemp("malls") / "mall")


@pytest.fixture
def folder(published, tmp_path) -> Path:
    return shutil.copytree(published, tmp_path / "mall")


def left_of_tom(folder: Path) -> list[tuple[str, str]]:
    return traces([folder / kept for kept in KEPT], [*TOM, "Tom.Miller@mail.example", HASHED])


def snapshot(folder: Path) -> dict[str, bytes]:
    files = (path for kept in KEPT for path in (folder / kept).rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def receipts(folder: Path) -> list[Path]:
    return list((folder / ".likelier" / "erasures" / "receipts").glob("*.json"))


def test_after_forget_no_file_holds_the_person(folder):
    found = {Path(file).name for file, _ in left_of_tom(folder)}
    assert found >= {"accepted.parquet", "contacts.parquet", "data.mdb", "quarantine.parquet",
                     "deliveries.parquet", "facts.json"}  # fmt: skip
    assert len([name for name in found if name.startswith("visitors-")]) == 6
    before = snapshot(folder)

    planned = likelier("-p", folder, "forget", f"email:{HASHED}", "--dry-run", "--json").json
    asked = likelier("-p", folder, "forget", "email:TOM.MILLER@mail.example", "--json")
    assert asked.code == 1  # Nobody answered the question.
    assert snapshot(folder) == before

    ended = likelier("-p", folder, "forget", "email:TOM.MILLER@mail.example", "--yes", "--json")
    assert ended.code == 0, ended.err
    receipt = ended.json
    assert not any(value in ended.out for value in [*TOM, HASHED])
    assert left_of_tom(folder) == []
    assert receipt["counts"] == planned["counts"]
    assert receipt["counts"] | {
        "identities": 4, "events": 6, "contacts": 1, "profiles": 1, "consents": 1,
        "observations": 2, "export_rows": 6, "deliveries": 6, "served": 0,
    } == receipt["counts"]  # fmt: skip
    assert [json.loads(path.read_bytes()) for path in receipts(folder)] == [receipt]

    # What Nora did stays, also on the tablet; her row of then has lost it.
    events = table(folder, "united", "events").set_index("event_id")
    assert sorted(events.index) == ["12", "3", "6"]
    assert likelier("-p", folder, "profile", "customer:nora-1", "--json").json["known"]
    for facts in exports_by_file(folder).values():
        assert facts["rows"] == facts["members"] - sum(facts["left_out"].values())
    older = [f for f in exports_by_file(folder).values() if f["as_of"].startswith("2024-05")]
    assert [facts["left_out"]["erased"] for facts in older] == [1] * len(older) != []

    again = likelier("-p", folder, "forget", "customer:tom-4711", "--yes", "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "unknown_identity")
    shown = likelier("-p", folder, "profile", "cookie:ck-tom-9", "--json")
    assert shown.json["error"]["code"] == "unknown_identity"


def test_old_files_bring_nobody_back_and_acting_anew_does(folder):
    assert likelier("-p", folder, "forget", "cookie:ck-tablet-3", "--yes").code == 0
    first = run(folder)
    assert first["sources"]["web"]["erased"] == 6
    assert run(folder)["made"] == {}

    # Old files once more: a copy, and another export of them.
    shutil.copy(folder / "web" / "may.csv", folder / "web" / "copy.csv")
    (folder / "web" / "again.csv").write_text(HEADER + JUNE + MAY + JUNE.splitlines()[1] + ",\n")
    web = run(folder)["sources"]["web"]
    assert left_of_tom(folder) == []
    parts = web["accepted"] + web["duplicates"] + web["erased"] + sum(web["quarantined"].values())
    assert web["rows"] == parts
    run(folder, "--from", "ingest")
    assert left_of_tom(folder) == []

    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    (folder / "web" / "now.csv").write_text(f"{HEADER}99,{soon},visit,tom-4711,,ck-tom-9,home\n")
    run(folder)
    events = table(folder, "united", "events")
    people = table(folder, "profiles", "profiles").set_index("profile_id")
    assert sorted(people.loc["customer:tom-4711", "identities"]) == [
        "cookie:ck-tom-9", "customer:tom-4711",
    ]  # fmt: skip
    assert people["profile_city"].notna().to_dict()["customer:tom-4711"] is False
    assert "99" in set(events["event_id"]) and not set(events["event_id"]) & {"1", "2", "5", "13"}

    # And may be erased again.
    assert likelier("-p", folder, "forget", "customer:tom-4711", "--yes").code == 0
    assert left_of_tom(folder) == []
    assert len(receipts(folder)) == 2


def test_whoever_is_unknown_is_not_erased_and_nothing_is_written(folder):
    before = snapshot(folder)
    for identity, code in (
        ("customer:nobody", "unknown_identity"), ("customer:null", "unknown_identity"),
        ("passport:1", "unknown_namespace"), ("tom", "bad_identity"),
    ):  # fmt: skip
        ended = likelier("-p", folder, "forget", identity, "--yes", "--json")
        assert (ended.code, ended.json["error"]["code"]) == (1, code)
    assert snapshot(folder) == before


def kill_forget(folder: Path, stage: str, seconds: float = 0.0) -> bool:
    """Kill an erasure when it reports a stage; say whether it was recorded and not complete."""
    with subprocess.Popen(
        [*COMMAND, "-p", str(folder), "forget", "customer:tom-4711", "--yes"], cwd="/",
        env=environment(), text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(stage):
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    recorded = (folder / ".likelier" / "erasures" / "ledger.jsonl").exists()
    return recorded and not receipts(folder)


def assert_complete(folder: Path) -> None:
    assert left_of_tom(folder) == []
    assert len(receipts(folder)) == 1
    events = table(folder, "united", "events")
    assert sorted(events["event_id"]) == ["12", "3", "6"]
    assert run(folder)["made"] == {}


@pytest.mark.parametrize("stage", ["ingest: erasing", "segment: building"])
def test_a_killed_erasure_is_completed_by_the_next_command(folder, stage):
    assert kill_forget(folder, stage)
    # Until then no reader is shown the person.
    shown = likelier("-p", folder, "profile", "customer:tom-4711", "--json")
    assert shown.json["error"]["code"] == "unknown_identity"
    if stage.startswith("ingest"):
        ended = likelier("-p", folder, "forget", "customer:tom-4711", "--yes", "--json")
        assert (ended.code, ended.json["counts"]["events"]) == (0, 6)
    run(folder)
    assert_complete(folder)


@pytest.mark.slow
def test_erasures_killed_at_random_moments_are_completed(published, tmp_path):
    chance, open_ones = random.Random(7), 0
    for number in range(12):
        folder = shutil.copytree(published, tmp_path / str(number))
        open_ones += kill_forget(folder, "ingest: erasing", chance.uniform(0, 4))
        run(folder)
        assert_complete(folder)
    assert open_ones >= 4


def test_models_are_kept_and_marked_and_the_service_follows(a_copy, free_port):
    before = current(a_copy)
    members = table(a_copy, "lists", "memberships")
    who = next(each for each in members["profile_id"] if each.startswith("customer:"))
    with serving(a_copy, free_port) as client:
        assert client.post("/score", json={"identity": who}).json()["known"]
        ended = likelier("-p", a_copy, "forget", who, "--yes", "--json")
        assert ended.code == 0, ended.err
        said = client.post("/score", json={"identity": who}).json()
        assert (said["profile_id"], said["known"]) == (None, False)
        assert {each["status"] for each in said["scores"].values()} == {"no_history"}
    after = current(a_copy)
    assert (after.models, after.as_of) == (before.models, before.as_of)
    assert after.run_id != before.run_id
    assert who not in set(table(a_copy, "scores", "scores")["profile_id"])
    assert {each["goal"] for each in ended.json["models_trained_on_them"]} == set(before.models)
    for goal, version in before.models.items():
        mark = a_copy / ".likelier" / "models" / goal / f"{version}.erased.json"
        assert list(json.loads(mark.read_bytes())) == [ended.json["erasure"]]
        assert "a person who was erased since" in after.figures["goals"][goal]["warnings"][-1]
    trained = run(a_copy)
    assert trained["made"]["train"] == 2
    assert not any("erased" in w for goal in trained["goals"].values() for w in goal["warnings"])
