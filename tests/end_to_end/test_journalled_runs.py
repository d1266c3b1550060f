"""Runs over files and the journal: each event taken by the service counts once, and as of when."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from features.errors import SettingsError
from features.project_file import parse
from features.time import MICROS_PER_DAY, format_instant, parse_instant
from pipelines.checking import check_project
from pipelines.forgetting import forget
from pipelines.runner import explain, run
from pipelines.workspace import Workspace
from serving.journal.event import read_event
from serving.journal.files import read_from
from serving.journal.journal import Journal
from tests.end_to_end.shops import table
from tests.end_to_end.traces import traces

WEB = """\
id,at,what,customer,mail,cookie,amount,city
1,2024-05-01T10:00:00Z,visit,,,c1,,Rome
2,2024-05-02T10:00:00Z,purchase,ann,ann@mail.example,c1,12.50,Rome
3,2024-05-03T10:00:00Z,visit,bob,,,,2024
"""
SHOP = """\
id,at,customer,amount
s1,2024-05-04T10:00:00Z,ann,5
"""
PROJECT = """\
project: mall
sources:
  - {name: web, kind: events, path: web.csv, event_time: at, event_type: what, event_id: id,
     identities: {customer: customer, email: mail, cookie: cookie},
     attributes: {amount: amount}, profile: {city: city}}
  - {name: till, kind: events, path: till.csv, event_time: at, event_type: "'sale'", event_id: id,
     identities: {customer: customer}, attributes: {amount: amount}, profile: {age: amount}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: cookie, type: cookie}
segments:
  - {name: visitors, where: any(visit)}
"""
MAY_5 = parse_instant("2024-05-05T10:00:00Z")


@pytest.fixture
def mall(tmp_path: Path) -> Path:
    (tmp_path / "likelier.yaml").write_text(PROJECT)
    (tmp_path / "web.csv").write_text(WEB)
    (tmp_path / "till.csv").write_text(SHOP)
    return tmp_path


def take(folder: Path, *said: dict[str, Any], now: int = MAY_5) -> None:
    """Let the service take events, by a worker process of their own."""
    project = Workspace.open(folder).project
    events = [read_event(each, project, now) for each in said]

    async def append() -> None:
        journal = Journal(folder / ".likelier" / "journal")
        await journal.append(events)
        journal.stop()

    asyncio.run(append())


def visit(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "visit", "identities": {"cookie": "c1"}} | more


def done(folder: Path, **how: Any) -> Any:
    return run(Workspace.open(folder), **how)


def events(folder: Path) -> list[tuple[str, str]]:
    """Return source and id of every event of the published run."""
    frame = table(folder, "united", "events")
    return sorted(zip(frame["source"], frame["event_id"], strict=True))


def test_without_a_journal_a_run_is_as_it_was(mall):
    figures = done(mall).manifest.figures
    assert sorted(figures["sources"]) == ["till", "web"]
    (mall / ".likelier" / "journal").mkdir()
    assert done(mall).made == {}


def test_each_event_taken_is_in_the_next_run_once_and_files_are_read_once(mall):
    done(mall)
    take(mall, visit("a"), visit("b"))
    take(mall, visit("b"), visit("c", identities={"email": "ann@mail.example", "cookie": "c2"}))
    first = done(mall)
    assert first.manifest.figures["sources"]["journal"] == {
        "rows": 4, "accepted": 3, "duplicates": 1, "quarantined": {}, "junk": {}, "unusable": {},
        "erased": 0, "expired": 0,
    }  # fmt: skip
    assert [id for source, id in events(mall) if source == "journal"] == ["a", "b", "c"]
    assert done(mall).made == {}
    take(mall, visit("d"))
    assert done(mall).made["ingest"] == 1
    assert [id for source, id in events(mall) if source == "journal"] == ["a", "b", "c", "d"]


def test_a_run_reads_to_the_last_whole_line_and_what_comes_later_is_for_the_next(mall):
    take(mall, visit("a"))
    (path,) = (mall / ".likelier" / "journal").iterdir()
    with path.open("ab") as file:
        file.write(b'{"id": "torn", "type"')
    outcome = done(mall)
    assert outcome.manifest.figures["sources"]["journal"]["quarantined"] == {}
    assert [id for source, id in events(mall) if source == "journal"] == ["a"]


def test_links_and_contacts_are_made_of_live_events_as_of_files(mall):
    said = {"email": "New@Mail.Example", "cookie": "c9", "customer": "new"}
    take(mall, {"id": "login", "type": "visit", "identities": said})
    done(mall, as_of=MAY_5 + 1)
    profiles = table(mall, "profiles", "profiles")
    held = {row["profile_id"]: len(row["identities"]) for _, row in profiles.iterrows()}
    assert held["customer:new"] == 3
    assert "New@Mail.Example" in set(table(mall, "united", "contacts")["raw"])


def test_no_sender_turns_a_number_into_a_text(mall):
    odd = {"attributes": {"amount": "a lot"}, "profile": {"age": "old", "city": "Oslo"}}
    take(mall, visit("a", **odd), visit("b", attributes={"amount": 7}, profile={"age": 31}))
    done(mall)
    frame = table(mall, "united", "events").set_index("event_id")
    assert str(frame["attr_amount"]["b"]) == "7.0000"
    assert frame["attr_amount"]["a"] is None
    stated = table(mall, "united", "observations")
    sent = stated[stated["source"] == "journal"]
    assert sorted(zip(sent["attribute"], sent["value"], strict=True)) == [
        ("age", "31"), ("city", "Oslo"),
    ]  # fmt: skip


def test_a_quiet_journal_does_not_hold_the_clock_back(mall):
    take(mall, visit("a"), now=parse_instant("2024-05-01T00:00:00Z"))
    # web is known until 3 May, till until 4 May; the least counts.
    assert done(mall).manifest.as_of == parse_instant("2024-05-03T10:00:00.000001Z")


def test_what_comes_in_live_is_known_as_far_as_the_journal(mall):
    take(mall, visit("a"), visit("b", type="purchase"), now=parse_instant("2024-05-04T10:00Z"))
    take(mall, visit("c"), now=MAY_5)
    # Of web all types come in live, too; of the till none: it holds the run back.
    told: list[str] = []
    outcome = done(mall, report=lambda stage, text: told.append(text))
    assert outcome.manifest.as_of == parse_instant("2024-05-04T10:00:00.000001Z")
    assert [text for text in told if text.startswith("live events are known until 2024-05-05")]
    take(mall, visit("d", type="sale"), now=MAY_5)
    assert done(mall).manifest.as_of == MAY_5 + 1


def test_a_few_events_sent_to_an_old_history_do_not_move_the_clock(mall):
    # The first comes a microsecond more than a day after the newest of web.
    late = parse_instant("2024-05-04T10:00:00.000001Z")
    every = [visit(each, type=each) for each in ("visit", "purchase", "sale")]
    take(mall, *every, now=late)
    assert done(mall).manifest.as_of == parse_instant("2024-05-03T10:00:00.000001Z")


def test_a_sender_whose_clock_is_ahead_does_not_bring_tomorrow(mall):
    now, types = time.time_ns() // 1_000, ("sale", "visit", "purchase")
    tomorrow = format_instant(now + MICROS_PER_DAY - 1)
    take(mall, *(visit(each, type=each) for each in types), now=parse_instant("2024-05-04"))
    take(mall, *(visit(f"2 {each}", type=each, time=tomorrow) for each in types), now=now)
    as_of = done(mall).manifest.as_of
    assert now < as_of <= time.time_ns() // 1_000 + 1


def test_a_plan_seals_nothing_and_a_check_reads_the_journal(mall):
    done(mall)
    take(mall, visit("a"))
    plan = dict((stage, (state, what)) for stage, state, what in explain(Workspace.open(mall)))
    assert plan["ingest"][0] == "due"
    assert "journal 1/1" in plan["ingest"][1]
    (path,) = (mall / ".likelier" / "journal").iterdir()
    assert path.stat().st_mode & 0o200
    found = check_project(mall, lambda stage, text: None)
    assert not found.errors
    assert not [each for each in found.findings if each.where.startswith("sources.journal")]


def test_a_namespace_that_is_taken_out_leaves_its_events_in_quarantine(mall):
    take(mall, visit("a"), visit("b", identities={"cookie": "c2", "customer": "ann"}))
    text = (mall / "likelier.yaml").read_text()
    text = text.replace(", cookie: cookie", "").replace("    - {name: cookie, type: cookie}\n", "")
    (mall / "likelier.yaml").write_text(text)
    figures = done(mall).manifest.figures["sources"]["journal"]
    assert (figures["accepted"], figures["quarantined"]) == (1, {"no_identity": 1})


def test_erasing_a_person_takes_them_out_of_the_journal(mall):
    raw = {"email": "tom.miller@mail.example", "cookie": "ck-tom-9"}
    take(mall, visit("mine", identities=raw), visit("other"))
    done(mall)
    shown: list[Any] = []
    receipt = forget(
        Workspace.open(mall), "email:tom.miller@mail.example",
        lambda found: shown.append(found.counts) or True,
    )  # fmt: skip
    assert receipt is not None
    assert (shown[0]["journal"], receipt["counts"]["journal"]) == (1, 1)
    journal = mall / ".likelier" / "journal"
    assert [event.id for event, _ in read_from(journal, {}, MAY_5)] == ["other"]
    assert not traces([mall / ".likelier"], ["tom.miller@mail.example", "ck-tom-9"])
    # What was purged is read; nothing is left for the next run to do.
    assert done(mall).made == {}
    # Sent again, it is dated before: the run drops it. What they do later counts.
    take(mall, visit("mine", identities=raw))
    assert done(mall).manifest.figures["sources"]["journal"]["erased"] == 1


def test_the_name_of_the_journal_is_taken():
    with pytest.raises(SettingsError, match="the name is that of what POST"):
        parse(PROJECT.replace("name: web", "name: journal"))


def test_json_of_a_line_is_what_the_docs_say(mall):
    take(mall, visit("a", attributes={"amount": 7}))
    (path,) = (mall / ".likelier" / "journal").iterdir()
    assert json.loads(path.read_bytes()) == {
        "id": "a",
        "type": "visit",
        "event_time": "2024-05-05T10:00:00Z",
        "received_at": "2024-05-05T10:00:00Z",
        "is": ["cookie:c1"],
        "identities": {"cookie": "c1"},
        "attributes": {"amount": "7"},
        "profile": {},
    }
