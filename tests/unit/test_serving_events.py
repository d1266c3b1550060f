"""`POST /events`: what is taken, what is refused and why, in our own shape and in Segment's."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.erasures import record
from features.project_file import parse
from features.time import MICROS_PER_DAY, format_instant, parse_instant
from serving.api import create_app
from serving.api.events import MOST_TYPES
from serving.journal.event import Allowed, LiveEvent, read_event
from serving.journal.files import read_from
from serving.journal.segment import from_segment
from tests.unit.serving_shop import shop

EVENT = {"id": "1", "type": "purchase", "identities": {"cookie": "c1"}}
EVER = parse_instant("2199-01-01")
JSON = {"content-type": "application/json"}
NOW = parse_instant("2026-03-01T12:00:00Z")
PROJECT = parse("""
project: shop
sources:
  - {name: web, kind: events, path: web.csv, event_time: t, event_type: e, identities: {user: u},
     attributes: {order_id: o, revenue: r, name: n}, profile: {first_name: f, plan: p}}
identity:
  namespaces:
    - {name: user, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: anonymous, type: cookie}
    - {name: tablet, type: device}
""")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shop(tmp_path)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app(shop(folder), folder)) as client:
        yield client


def journal(folder: Path) -> list[LiveEvent]:
    return [event for event, _ in read_from(folder / ".likelier" / "journal", {}, EVER)]


def send(client: TestClient, *events: Any) -> dict[str, Any]:
    response = client.post("/events", json={"events": list(events)})
    assert response.status_code == 202
    found: dict[str, Any] = response.json()
    return found


def test_events_are_taken_before_the_first_run_and_each_once(client, folder):
    assert send(client, EVENT, EVENT | {"id": "2"}, EVENT) == {
        "accepted": 2, "duplicates": 1, "rejected": [], "ignored": {},
    }  # fmt: skip
    assert send(client, EVENT)["duplicates"] == 1
    assert [event.id for event in journal(folder)] == ["1", "2"]


def test_one_event_alone_is_a_body_too(client, folder):
    response = client.post("/events", json=EVENT | {"attributes": {"colour": "red"}})
    assert (response.status_code, response.json()["ignored"]) == (202, {"attributes.colour": 1})
    assert journal(folder)[0].identities == ("cookie:c1",)


def test_a_wrong_event_keeps_back_no_other(client, folder):
    wrong = [
        EVENT | {"id": None},
        EVENT | {"id": "x" * 300},
        EVENT | {"id": "3", "time": format_instant(parse_instant("2198-01-01"))},
        EVENT | {"id": "4", "identities": {"cookie": "nobody"}},
        "purchase",
    ]
    answer = send(client, EVENT, *wrong, EVENT | {"id": "2"})
    assert (answer["accepted"], answer["duplicates"]) == (2, 0)
    assert [(each["index"], each["id"], each["code"]) for each in answer["rejected"]] == [
        (1, None, "no_event_id"),
        (2, "x" * 200, "invalid_event"),
        (3, "3", "future_time"),
        (4, "4", "no_identity"),
        (5, None, "invalid_event"),
    ]
    assert all(each["message"] and each["hint"] for each in answer["rejected"])
    assert answer["ignored"] == {}
    assert [event.id for event in journal(folder)] == ["1", "2"]


def test_a_type_that_differs_each_time_is_refused_before_it_stops_a_run(client):
    for batch in range(MOST_TYPES // 50):
        names = [f"{batch * 50 + n}" for n in range(50)]
        answer = send(client, *(EVENT | {"id": n, "type": f"viewed {n}"} for n in names))
        assert answer["accepted"] == 50
    answer = send(client, EVENT | {"id": "known", "type": "Viewed 7"}, EVENT)
    assert answer["accepted"] == 1
    assert [each["code"] for each in answer["rejected"]] == ["too_many_types"]


def test_every_outcome_is_counted(client):
    send(client, EVENT, EVENT, EVENT | {"id": ""})
    text = client.get("/metrics").text
    for outcome in ("accepted", "duplicate", "no_event_id"):
        assert f'likelier_events_total{{outcome="{outcome}"}} 1.0' in text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[]", 422, "invalid_value"),
        (b'{"events": []}', 422, "invalid_value"),
        (b'{"events": {"id": "1"}}', 422, "invalid_value"),
        (b'{"events": 7}', 422, "invalid_value"),
        (b'{"events": [], "more": 1}', 422, "unknown_key"),
        (json.dumps({"events": [0] * 1_001}).encode(), 413, "batch_too_large"),
        (json.dumps({"batch": [0] * 1_001}).encode(), 413, "batch_too_large"),
        (json.dumps({"events": ["x" * 6_000]}).encode(), 413, "body_too_large"),
    ],
)
def test_a_body_that_is_wrong_as_a_whole_is_refused(client, body, status, code):
    response = client.post("/events", content=body, headers=JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_an_empty_object_is_an_event_without_an_id(client):
    response = client.post("/events", content=b"{}", headers=JSON)
    assert response.status_code == 202
    assert response.json()["rejected"][0]["code"] == "no_event_id"


def test_a_journal_that_cannot_be_written_says_when_to_try_again(client, folder):
    (folder / ".likelier").mkdir(exist_ok=True)
    (folder / ".likelier" / "journal").write_text("no folder")
    response = client.post("/events", json=EVENT)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json()["error"]["code"] == "journal_unavailable"
    (folder / ".likelier" / "journal").unlink()
    assert send(client, EVENT)["accepted"] == 1


def test_what_an_erased_person_did_before_is_not_taken(folder):
    at = parse_instant("2026-01-01")
    record(folder / ".likelier", at, ["cookie:c1"], {}, [])
    told = EVENT | {"identities": {"cookie": "c1", "customer": "ann"}, "time": "2025-12-31"}
    with TestClient(create_app(shop(folder), folder)) as client:
        answer = send(
            client,
            EVENT | {"time": "2025-12-31"},
            EVENT | {"id": "2", "time": "2026-01-01"},
            told | {"id": "3"},
        )
    assert [each["code"] for each in answer["rejected"]] == ["erased_person"]
    found = {event.id: event.identities for event in journal(folder)}
    assert found == {"2": ("cookie:c1",), "3": ("customer:ann",)}


# Segment's shape ---------------------------------------------------------------------------------


def segment(sent_at: str | None = None, **call: Any) -> LiveEvent:
    allowed = Allowed.by(PROJECT)
    message = {"messageId": "m-1", "anonymousId": "a-1"} | call
    return read_event(from_segment(message, sent_at, allowed, NOW), allowed, NOW)


def test_a_track_call_is_what_happened():
    found = segment(
        type="track",
        event="Order Completed",
        userId=97980,
        properties={"orderId": "50314", "revenue": 25.5, "products": [{"sku": "45790"}]},
        context={"device": {"id": "B5372DB0"}, "traits": {"email": "Ann@Mail.Example"}},
    )
    assert (found.id, found.event_type, found.event_time) == ("m-1", "order_completed", NOW)
    assert found.raw == {
        "user": "97980", "email": "Ann@Mail.Example", "anonymous": "a-1", "tablet": "B5372DB0",
    }  # fmt: skip
    assert found.attributes == {"order_id": "50314", "revenue": "25.5"}


def test_an_identify_call_states_traits_of_a_person():
    found = segment(
        type="identify", userId="u1",
        traits={"email": "ann@mail.example", "firstName": "Ann", "plan": "pro"},
    )  # fmt: skip
    assert (found.event_type, found.profile) == ("identify", {"first_name": "Ann", "plan": "pro"})
    assert [each.partition(":")[0] for each in found.identities] == ["user", "email", "anonymous"]


@pytest.mark.parametrize("kind", ["page", "screen"])
def test_a_page_and_a_screen_have_their_names_as_attributes(kind):
    found = segment(type=kind, name="Home", properties={"url": "https://shop.example"})
    assert (found.event_type, found.attributes) == (kind, {"name": "Home"})


def test_an_alias_links_the_previous_id_to_the_user():
    found = segment(type="alias", previousId="a-0", userId="u1")
    assert (found.event_type, found.identities) == ("alias", ("user:u1", "anonymous:a-0"))


@pytest.mark.parametrize(
    ("times", "corrected"),
    [
        # timestamp = receivedAt - (sentAt - originalTimestamp): the device's clock is 5 h slow.
        ({"originalTimestamp": "2026-03-01T06:59:30Z", "sentAt": "2026-03-01T07:00:00Z"}, -30),
        ({"timestamp": "2026-03-01T06:59:30Z", "sentAt": "2026-03-01T07:00:00Z"}, -30),
        # Corrected by Segment before it got here.
        ({"originalTimestamp": "2026-03-01T06:59:30Z", "sentAt": "2026-03-01T07:00:00Z",
          "timestamp": "2026-03-01T11:58:00Z"}, -120),
        ({"timestamp": "2026-03-01T11:00:00Z"}, -3_600),
        ({"sentAt": "2026-03-01T07:00:00Z"}, 0),
        ({}, 0),
    ],
)  # fmt: skip
def test_a_devices_clock_is_corrected(times, corrected):
    found = segment(type="track", event="visit", **times)
    assert (found.event_time - NOW) // 1_000_000 == corrected


def test_a_batch_is_corrected_by_when_it_was_sent():
    early = "2026-03-01T06:59:30Z"
    found = segment("2026-03-01T07:00:00Z", type="page", originalTimestamp=early)
    assert found.event_time == NOW - 30_000_000


def test_segments_calls_are_told_from_our_own_by_their_names(client, folder):
    calls = [
        {"type": "track", "event": "visit", "messageId": "1", "anonymousId": "c1"},
        {"type": "identify", "messageId": "2", "userId": "ann", "traits": {"email": "a@b.example"}},
        {"type": "group", "messageId": "3", "userId": "ann", "groupId": "g"},
        {"type": "track", "messageId": "4", "userId": "ann"},
        {"type": "page", "userId": "ann"},
        {"type": "page", "messageId": "5", "userId": "ann", "properties": "none"},
    ]
    answer = client.post("/events", json={"batch": calls, "sentAt": "2026-03-01", "writeKey": "k"})
    assert answer.json()["accepted"] == 2
    assert [(each["index"], each["id"], each["code"]) for each in answer.json()["rejected"]] == [
        (2, "3", "unsupported_call"),
        (3, "4", "no_event_type"),
        (4, None, "no_event_id"),
        (5, "5", "invalid_event"),
    ]
    assert client.post("/events", json=calls[0]).json()["duplicates"] == 1
    assert send(client, calls[1], EVENT | {"id": "9"})["duplicates"] == 1
    assert [event.event_type for event in journal(folder)] == ["visit", "identify", "purchase"]


def test_what_the_project_has_no_namespace_for_is_counted(client):
    call = {"type": "page", "messageId": "1", "anonymousId": "c1", "context": {"device": {"id": 7}}}
    assert send(client, call)["ignored"] == {"identities.context.device.id": 1}


def test_a_day_ahead_is_refused_and_the_last_moment_before_is_not(client):
    day_ahead, minute = time.time_ns() // 1_000 + MICROS_PER_DAY, 60_000_000
    soon = EVENT | {"time": format_instant(day_ahead - minute)}
    late = EVENT | {"id": "2", "time": format_instant(day_ahead + minute)}
    answer = send(client, soon, late)
    assert (answer["accepted"], answer["rejected"][0]["code"]) == (1, "future_time")
