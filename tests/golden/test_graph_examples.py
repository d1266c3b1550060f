"""Adobe's example graphs whose outcome its pages state in words, as typed events.

Source A14, "Examples of graph configurations" of the identity graph linking rules: who ends up with
what is shared, and which link is removed. Every event input is the page's.
"""

from __future__ import annotations

from typing import Any

import pytest

from features.identity.simulation import simulate
from features.identity.who import WhoIsWho
from features.settings import Identity

CRMID = {"name": "crmid", "type": "person", "unique": True}
LOGIN = {"name": "loginid", "type": "person"}
EMAIL = {"name": "email_lc_sha256", "type": "email"}
PHONE = {"name": "phone_sha256", "type": "phone"}
GAID, IDFA = ({"name": name, "type": "device"} for name in ("gaid", "idfa"))
ECID = {"name": "ecid", "type": "cookie"}
GUEST_EMAIL = {"name": "email", "type": "email", "unique": True}

DEVICES = """\
CRMID: Tom, Email_LC_SHA256: aabbcc, Phone_SHA256: 123-4567
CRMID: Tom, ECID: 111
CRMID: Tom, ECID: 222, IDFA: A-A-A
CRMID: Summer, Email_LC_SHA256: ddeeff, Phone_SHA256: 765-4321
CRMID: Summer, ECID: 333
CRMID: Summer, ECID: 444, GAID: B-B-B
"""
LOGINS = """\
CRMID: Tom, loginID: ID_A
CRMID: Tom, loginID: ID_B
loginID: ID_A, ECID: 111
CRMID: Summer, loginID: ID_C
CRMID: Summer, loginID: ID_D
loginID: ID_C, ECID: 222
"""
COMPLEX = """\
CRMID: Tom, Email_LC_SHA256: aabbcc, Phone_SHA256: 123-4567
CRMID: Tom, loginID: ID_A
CRMID: Tom, loginID: ID_B
loginID: ID_A, ECID: 111
CRMID: Summer, Email_LC_SHA256: ddeeff, Phone_SHA256: 765-4321
CRMID: Summer, loginID: ID_C
CRMID: Summer, loginID: ID_D
loginID: ID_C, ECID: 222
"""
REGISTERED = "CRMID: Tom, Email: tom@acme.com\n"


def resolved(events: str, *spaces: dict[str, Any]) -> WhoIsWho:
    return simulate(events, Identity.model_validate({"namespaces": list(spaces)}))


def holder(found: WhoIsWho, value: str) -> str:
    """Return the leading identity of the profile that holds a value, without its namespace."""
    values = [[each.split(":", 1)[1] for each in profile] for profile in found.profiles]
    return next(profile[0] for profile in values if value in profile)


def refused(found: WhoIsWho) -> set[tuple[str, str]]:
    return {(link.a.split(":", 1)[1], link.b.split(":", 1)[1]) for link in found.refused}


@pytest.mark.parametrize(
    ("newest", "moved", "removed"),
    [
        ("CRMID: Summer, ECID: 111", {"111": "Summer", "222": "Tom"}, {("Tom", "111")}),
        ("CRMID: Tom, ECID: 444, GAID: B-B-B", {"444": "Tom", "B-B-B": "Tom", "333": "Summer"},
         {("Summer", "444"), ("Summer", "B-B-B")}),
        ("CRMID: Summer, ECID: 222, IDFA: A-A-A", {"222": "Summer", "A-A-A": "Summer"},
         {("Tom", "222"), ("Tom", "A-A-A")}),
    ],
    ids=["shared computer", "shared Android", "shared Apple device, no ECID reset"],
)  # fmt: skip
def test_a_shared_device_goes_to_whom_it_was_linked_with_last(newest, moved, removed) -> None:
    found = resolved(DEVICES + newest, CRMID, EMAIL, PHONE, GAID, IDFA, ECID)
    assert {value: holder(found, value) for value in moved} == moved
    assert refused(found) == removed
    assert (holder(found, "aabbcc"), holder(found, "ddeeff")) == ("Tom", "Summer")


def test_a_unique_phone_lets_the_older_one_go() -> None:
    newest = "CRMID: Summer, Phone_SHA256: 123-4567"
    spaces = (CRMID, EMAIL, PHONE | {"unique": True}, GAID, IDFA, ECID)
    found = resolved(DEVICES + newest, *spaces)
    assert holder(found, "123-4567") == "Summer"
    assert refused(found) >= {("Summer", "765-4321"), ("ddeeff", "765-4321")}


@pytest.mark.parametrize(
    ("newest", "value", "owner", "removed"),
    [
        ("loginID: ID_C, ECID: 111", "111", "Summer", {("ID_A", "111")}),
        ("CRMID: Tom, loginID: ID_D", "ID_D", "Tom", {("Summer", "ID_D")}),
    ],
    ids=["shared device", "bad data"],
)
def test_of_logins_the_older_link_goes(newest, value, owner, removed) -> None:
    found = resolved(LOGINS + newest, CRMID, LOGIN, ECID)
    assert holder(found, value) == owner
    assert refused(found) == removed


def test_a_dangling_login_is_not_told_apart() -> None:
    events = "".join(LOGINS.splitlines(keepends=True)[:3]) + "loginID: ID_C, ECID: 111"
    found = resolved(events, CRMID, LOGIN, ECID)
    assert [len(profile) for profile in found.profiles] == [5]
    assert refused(found) == set()


@pytest.mark.parametrize(
    ("newest", "value", "owner", "removed"),
    [
        ("loginID: ID_C, ECID: 111", "111", "Summer", {("ID_A", "111")}),
        ("CRMID: Tom, loginID: ID_C", "ID_C", "Tom", {("Summer", "ID_C")}),
        ("CRMID: Summer, Email_LC_SHA256: aabbcc", "aabbcc", "Summer", {("Tom", "aabbcc")}),
        ("CRMID: Tom, Phone_SHA256: 111-1111\nCRMID: Summer, Phone_SHA256: 111-1111",
         "111-1111", "Summer", {("Tom", "111-1111")}),
    ],
    ids=["shared device 1", "bad loginID data", "non-unique email", "non-unique phone"],
)  # fmt: skip
def test_with_several_logins_and_contacts_the_older_link_goes(
    newest, value, owner, removed
) -> None:
    found = resolved(COMPLEX + newest, CRMID, EMAIL, PHONE, LOGIN, ECID)
    assert holder(found, value) == owner
    assert refused(found) >= removed
    assert (holder(found, "ID_A"), holder(found, "ID_D")) == ("Tom", "Summer")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (REGISTERED + "CRMID: Tom, ECID: 111\nEmail: summer@acme.com, ECID: 111",
         {"tom@acme.com": "Tom", "summer@acme.com": "summer@acme.com", "111": "summer@acme.com"}),
        ("CRMID: Tom, ECID: 111\nEmail: summer@acme.com, ECID: 111",
         {"summer@acme.com": "Tom", "111": "Tom"}),
        ("Email: tom@acme.com, ECID: 111\nEmail: summer@acme.com, ECID: 111",
         {"tom@acme.com": "tom@acme.com", "111": "summer@acme.com"}),
        ("Email: tom@acme.com, ECID: 111\nEmail: tom@acme.com, CRMID: Tom\nCRMID: Tom, ECID: 111",
         {"tom@acme.com": "Tom", "111": "Tom"}),
        (REGISTERED + "CRMID: Summer, Email: summer@acme.com\nCRMID: Tom, ECID: 111\n"
         "CRMID: Summer, ECID: 111",
         {"tom@acme.com": "Tom", "summer@acme.com": "Summer", "111": "Summer"}),
    ],
    ids=["registered and guest", "no e-mail on file: merged", "two guests", "a guest registers",
         "two registered users"],
)  # fmt: skip
def test_guests_and_registered_users_on_one_device(events, expected) -> None:
    found = resolved(events, CRMID, GUEST_EMAIL, ECID)
    assert {value: holder(found, value) for value in expected} == expected
