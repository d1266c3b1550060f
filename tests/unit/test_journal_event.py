"""What one live event may be, what it is read as, and how each wrong one is refused."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from features.project_file import parse
from features.time import MICROS_PER_DAY, parse_instant
from serving.journal.errors import RefusedEvent
from serving.journal.event import LiveEvent, event_of, line_of, read_event, short_form

PROJECT = parse("""
project: shop
time_zone: Europe/London
sources:
  - {name: clicks, kind: events, path: clicks.csv, event_time: t, event_type: e,
     identities: {customer: c}, attributes: {amount: a, product: p}, profile: {country: l}}
  - {name: crm, kind: records, path: crm.csv, identities: {customer: c}, profile: {vip: v}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: email, type: email, pii: true}
    - {name: cookie, type: cookie}
""")
NOW = parse_instant("2026-03-01T12:00:00.000001Z")
EVENT = {
    "id": "e-1",
    "type": "Order Completed",
    "time": "2026-03-01T11:59:00Z",
    "identities": {"cookie": " c1 ", "email": "Ann@Mail.Example", "customer": 17850.0},
    "attributes": {"amount": 12.5, "product": " tea "},
    "profile": {"country": "France", "vip": True},
}


def changed(**changes: object) -> dict[str, object]:
    return {key: value for key, value in (EVENT | changes).items() if value != "gone"}


def test_an_event_is_read_as_a_row_of_a_file_would_be() -> None:
    found = read_event(EVENT, PROJECT, NOW)
    digest = hashlib.sha256(b"ann@mail.example").hexdigest()
    assert found == LiveEvent(
        id="e-1",
        event_type="order_completed",
        event_time=NOW - 60_000_001,
        received_at=NOW,
        identities=("customer:17850", f"email:{digest}", "cookie:c1"),
        attributes={"amount": "12.5", "product": "tea"},
        profile={"country": "France", "vip": "true"},
        raw={"customer": "17850.0", "email": "Ann@Mail.Example", "cookie": " c1 "},
    )
    assert found.known_at == NOW


def test_without_a_time_it_happened_when_it_arrived() -> None:
    assert read_event(changed(time="gone"), PROJECT, NOW).event_time == NOW


def test_a_naive_time_is_of_the_projects_zone() -> None:
    summer = read_event(changed(time="2025-07-01T12:00:00"), PROJECT, NOW)
    assert summer.event_time == parse_instant("2025-07-01T11:00:00Z")


def test_an_event_from_a_clock_slightly_ahead_is_known_once_it_has_happened() -> None:
    ahead = read_event(changed(time="2026-03-02T12:00:00Z"), PROJECT, NOW)
    assert ahead.known_at == ahead.event_time == NOW + MICROS_PER_DAY - 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"), (-0.5, "-0.5"), (1e-7, "0.0000001"), (1e22, "10000000000000000000000"),
        (12.50, "12.5"), (True, "true"), (False, "false"), ("\u3000x\t ", "x\t"),
    ],
)  # fmt: skip
def test_a_value_is_kept_as_text(value: object, text: str) -> None:
    assert read_event(changed(attributes={"amount": value}), PROJECT, NOW).attributes == {
        "amount": text
    }


@pytest.mark.parametrize("value", [None, "", " \u00a0"])
def test_a_value_that_says_nothing_is_none(value: object) -> None:
    assert read_event(changed(attributes={"amount": value}), PROJECT, NOW).attributes == {}


def test_what_nobody_declared_is_left_out_and_counted() -> None:
    ignored = Counter[str]()
    said = changed(
        identities={"customer": "1", "braze": "x", "cookie": "undefined", "email": "no address"},
        attributes={"amount": 1, "colour": {"any": ["thing"]}},
        profile={"shoe_size": 44},
    )
    found = read_event(said, PROJECT, NOW, ignored)
    assert (found.identities, found.raw) == (("customer:1",), {"customer": "1"})
    assert (found.attributes, found.profile) == ({"amount": "1"}, {})
    assert ignored == dict.fromkeys(
        ["identities.braze", "identities.cookie", "identities.email", "attributes.colour",
         "profile.shoe_size"], 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "code", "place"),
    [
        ([], "invalid_event", ""),
        (None, "invalid_event", ""),
        (changed(attribute={}), "invalid_event", "attribute"),
        (changed(id="gone"), "no_event_id", "id"),
        (changed(id=" "), "no_event_id", "id"),
        (changed(id=True), "invalid_event", "id"),
        (changed(id="x" * 201), "invalid_event", "id"),
        (changed(type=None), "no_event_type", "type"),
        (changed(type="¡¿!"), "no_event_type", "type"),
        (changed(type=["purchase"]), "invalid_event", "type"),
        (changed(type="x" * 201), "invalid_event", "type"),
        (changed(time="yesterday"), "bad_event_time", "time"),
        (changed(time=""), "bad_event_time", "time"),
        (changed(time=1_772_366_400), "invalid_event", "time"),
        (changed(time="1969-12-31T23:59:59Z"), "time_out_of_range", "time"),
        (changed(time="2200-01-01T00:00:00Z"), "time_out_of_range", "time"),
        (changed(time="2026-03-02T12:00:00.000001Z"), "future_time", "time"),
        (changed(identities="gone"), "no_identity", "identities"),
        (changed(identities={"cookie": "null", "customer": ""}), "no_identity", "identities"),
        (changed(identities={"cookie": True}), "invalid_event", "identities.cookie"),
        (changed(identities={"cookie": ["a"]}), "invalid_event", "identities.cookie"),
        (changed(identities="cookie:c1"), "invalid_event", "identities"),
        (changed(attributes={"amount": [1]}), "invalid_event", "attributes.amount"),
        (changed(attributes={"product": "x" * 4_001}), "invalid_event", "attributes.product"),
        (changed(attributes=dict.fromkeys(map(str, range(501)))), "invalid_event", "attributes"),
        (changed(attributes={"amount": float("nan")}), "invalid_event", "attributes.amount"),
        (changed(profile={"country": {}}), "invalid_event", "profile.country"),
    ],
)  # fmt: skip
def test_a_wrong_event_is_refused_with_its_place_and_what_to_do(
    said: object, code: str, place: str
) -> None:
    with pytest.raises(RefusedEvent, match=r"\w") as refused:
        read_event(said, PROJECT, NOW)
    assert (refused.value.code, refused.value.details["place"]) == (code, place)
    assert refused.value.hint
    assert refused.value.status == 422


def test_no_message_repeats_what_may_be_personal() -> None:
    for said in (changed(time="ann@mail.example"), changed(identities={"email": "ann at mail"})):
        with pytest.raises(RefusedEvent, match=r"\w") as refused:
            read_event(said, PROJECT, NOW)
        assert "ann" not in str(refused.value.body())


@pytest.mark.parametrize(
    ("said", "short"),
    [("Order Completed", "order_completed"), ("2nd visit", "e_2nd_visit"), ("__", ""),
     ("\u0130nfo", "info"), ("pageView", "pageview"), ("Größe", "gr_e")],
)  # fmt: skip
def test_a_type_has_one_short_form(said: str, short: str) -> None:
    assert short_form(said) == short


def test_a_line_of_the_journal_is_the_event() -> None:
    event = read_event(EVENT, PROJECT, NOW)
    line = line_of(event)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert event_of(line) == event
