"""From unknown to known: an anonymous visitor is a person like any other, and stays one.

A cookie alone has events, a score and segments. A login joins them to a customer with history
kept, and the old id finds the customer. On a shared tablet the anonymous events belong to whoever
logged in last, and move back when the other one does again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.end_to_end.shops import likelier, run, serving, table, write_rows

VISITORS = """\
segments:
  - name: visitors
    where: not identity(customer) exists and any(page_view in last 30d)
"""
EVENT = {"type": "page_view", "category": "books", "price": 9.5, "channel": "direct"}


def event(moment: str, cookie: str, customer: str | None = None) -> dict[str, Any]:
    """Return a page view of July, anonymous unless a customer is logged in."""
    at = f"2026-07-{moment}:00Z"
    who = {"cookie": cookie, "customer": customer}
    return {**EVENT, **who, "id": f"{moment}-{cookie}", "ts": at, "received_at": at}


def arrive(folder: Path, name: str, *events: dict[str, Any]) -> None:
    """Let one more file of events come, and run."""
    write_rows(folder / "data" / "events" / f"events-{name}.jsonl.gz", list(events))
    run(folder)


def person(folder: Path, identity: str) -> dict[str, Any]:
    ended = likelier("-p", folder, "profile", identity, "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = ended.json
    return found


@pytest.fixture
def folder(a_copy: Path) -> Path:
    project = a_copy / "likelier.yaml"
    project.write_text(project.read_text().replace("segments:\n", VISITORS, 1))
    run(a_copy)
    return a_copy


def visitor_of(folder: Path) -> str:
    """Return an anonymous visitor who is scored."""
    people = table(folder, "profiles", "profiles")
    scores = table(folder, "scores", "scores")
    scored = scores.loc[scores["goal"] == "conversion", "profile_id"]
    hopeful = people[~people["known"] & people["profile_id"].isin(scored)]
    return str(hopeful["profile_id"].min())


def changes(folder: Path) -> pd.DataFrame:
    return table(folder, "lists", "profile_changes").set_index("old").drop(columns="moved")


def test_a_login_takes_the_visitor_along_and_a_shared_tablet_goes_back(
    folder: Path, free_port: int
) -> None:
    visitor = visitor_of(folder)
    before = person(folder, visitor)
    assert (before["profile_id"], before["known"]) == (visitor, False)
    assert before["events"]
    assert [score["goal"] for score in before["scores"]] == ["conversion"]
    assert "visitors" in [each["segment"] for each in before["segments"]]

    cookie = visitor.removeprefix("cookie:")
    arrive(
        folder, "2026-07-a",
        event("01T08:00", cookie, "newcomer"),
        event("01T09:00", "tablet", "kevin"), event("01T10:00", "tablet"),
        event("01T11:00", "tablet", "nora"), event("01T12:00", "tablet"),
    )  # fmt: skip

    after = person(folder, visitor)
    assert (after["profile_id"], after["known"]) == ("customer:newcomer", True)
    assert after["first_seen"] == before["first_seen"]
    assert [each["event_time"] for each in before["events"][:19]] == [
        each["event_time"] for each in after["events"][1:20]
    ]
    assert "visitors" not in [each["segment"] for each in after["segments"]]
    assert changes(folder).loc[visitor].to_dict() == {"new": "customer:newcomer", "kind": "renamed"}

    def anonymous(customer: str) -> list[str]:
        return [each["event_time"][11:13] for each in person(folder, customer)["events"]]

    # Nora was the last to log in: every anonymous event is hers.
    assert anonymous("customer:nora") == ["12", "11", "10"]
    assert anonymous("customer:kevin") == ["09"]
    assert person(folder, "cookie:tablet")["profile_id"] == "customer:nora"

    arrive(folder, "2026-07-b", event("01T13:00", "tablet", "kevin"))
    assert anonymous("customer:kevin") == ["13", "12", "10", "09"]
    assert anonymous("customer:nora") == ["11"]
    assert changes(folder).loc["customer:nora", "kind"] == "split"

    with serving(folder, free_port) as client:
        answer = client.post("/score", json={"identity": visitor}).json()
        assert (answer["profile_id"], answer["known"]) == ("customer:newcomer", True)
        assert answer["scores"]["conversion"]["status"] == "scored"
