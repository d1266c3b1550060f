"""Typed events through the linking rules: Adobe's published cases as text, and what is refused.

Cases A11 and A14: the identity optimization algorithm and the example configurations of graph
simulation, as Adobe documents them.
"""

from __future__ import annotations

import pytest

from features.errors import SettingsError
from features.identity.linking import REFUSED_SIZE, REFUSED_UNIQUE
from features.identity.simulation import REFUSED_EVENT, EventsError, simulate
from features.identity.who import Link, WhoIsWho
from features.project_file import parse_identity

CRMID = "{name: CRMID, type: person, unique: true}"
LOGIN = "{name: Login, type: person}"
EMAIL = "{name: Email, type: email}"
UNIQUE_EMAIL = "{name: Email, type: email, unique: true}"
PHONE = "{name: Phone, type: phone, unique: true}"
ECID = "{name: ECID, type: cookie}"
HOUSEHOLD = "{name: household, type: household}"
SESSION = "{name: session, type: session}"


def outcome(events: str, *spaces: str, **rules: int) -> WhoIsWho:
    """Simulate lines that a slash separates."""
    listed = "".join(f"- {space}\n" for space in spaces)
    more = "".join(f"{key}: {value}\n" for key, value in rules.items())
    identity = parse_identity(f"namespaces:\n{listed}{more}", "rules.yaml")
    return simulate(events.replace(" / ", "\n"), identity, "events.txt")


SHARED = "CRMID: Tom, Login: A / Login: A, ECID: 111"
TABLET = (
    "CRMID: Kevin, ECID: tablet / ECID: tablet / CRMID: Nora, ECID: tablet / ECID: tablet"
    " / CRMID: Kevin, ECID: tablet"
)
CASES = {
    "A11: a shared browser belongs to who used it last; Tom keeps his profile": (
        "CRMID: Tom, ECID: 111 / CRMID: Summer, ECID: 111",
        (CRMID, ECID),
        "CRMID:Summer ECID:111 | CRMID:Tom",
        "CRMID:Tom ECID:111",
    ),
    "A11 A14: a bad e-mail stays with the later customer": (
        "CRMID: Jane, Email: bad, ECID: 1 / CRMID: John, Email: bad, ECID: 2",
        (CRMID, EMAIL, ECID),
        "CRMID:Jane ECID:1 | CRMID:John Email:bad ECID:2",
        "CRMID:Jane Email:bad | Email:bad ECID:1",
    ),
    "A14: Summer gets Tom's phone, and her older phone is let go": (
        "CRMID: Tom, Email: t, Phone: 111 / CRMID: Summer, Email: s, Phone: 222"
        " / CRMID: Summer, Phone: 111",
        (CRMID, EMAIL, PHONE),
        "CRMID:Summer Email:s Phone:111 | CRMID:Tom Email:t",
        "CRMID:Summer Phone:222 | CRMID:Tom Phone:111 | Email:s Phone:222 | Email:t Phone:111",
    ),
    "A14: login C takes over the browser of Tom's login A": (
        f"CRMID: Ann, Login: C / {SHARED} / Login: C, ECID: 111",
        (CRMID, LOGIN, ECID),
        "CRMID:Ann Login:C ECID:111 | CRMID:Tom Login:A",
        "Login:A ECID:111",
    ),
    "A14: a dangling login on the same browser cannot be told apart": (
        f"{SHARED} / Login: C, ECID: 111",
        (CRMID, LOGIN, ECID),
        "CRMID:Tom Login:A Login:C ECID:111",
        "",
    ),
    "A14: a guest is told apart by an e-mail on file": (
        "CRMID: Tom, Email: tom, ECID: 111 / Email: guest, ECID: 111",
        (CRMID, UNIQUE_EMAIL, ECID),
        "CRMID:Tom Email:tom | Email:guest ECID:111",
        "CRMID:Tom ECID:111 | Email:tom ECID:111",
    ),
    "A14: a guest merges where no e-mail is on file": (
        "CRMID: Tom, ECID: 111 / Email: guest, ECID: 111",
        (CRMID, UNIQUE_EMAIL, ECID),
        "CRMID:Tom Email:guest ECID:111",
        "",
    ),
    "A11: a tablet is Nora's after she logs in": (
        " / ".join(TABLET.split(" / ")[:4]),
        (CRMID, ECID),
        "CRMID:Kevin | CRMID:Nora ECID:tablet",
        "CRMID:Kevin ECID:tablet",
    ),
    "A11: a tablet moves back when Kevin logs in again": (
        TABLET,
        (CRMID, ECID),
        "CRMID:Kevin ECID:tablet | CRMID:Nora",
        "CRMID:Nora ECID:tablet",
    ),
}


def said(groups: tuple[tuple[str, ...], ...]) -> str:
    return " | ".join(" ".join(group) for group in groups)


@pytest.mark.parametrize(
    ("events", "spaces", "profiles", "refused"), CASES.values(), ids=CASES.keys()
)
def test_published_outcomes(
    events: str, spaces: tuple[str, ...], profiles: str, refused: str
) -> None:
    who = outcome(events, *spaces)
    assert said(who.profiles) == profiles
    assert said(tuple((link.a, link.b) for link in who.refused)) == refused
    assert {link.refused for link in who.refused} <= {REFUSED_UNIQUE}


def test_links_are_dated_by_line_and_every_line_counts() -> None:
    who = outcome("# Tom / CRMID: Tom, ECID: 1 /  /   # again / CRMID: Tom, ECID: 1", CRMID, ECID)
    assert who.links == (Link("CRMID:Tom", "ECID:1", 2, 5, 2),)


def test_an_identity_that_lost_its_links_and_owns_no_row_makes_no_profile() -> None:
    events = "CRMID: Tom, ECID: 1 / CRMID: Tom, Email: t"
    before = outcome(events, CRMID, EMAIL, ECID, max_identities=2)
    assert said(before.profiles) == "CRMID:Tom Email:t"
    assert before.refused == (Link("CRMID:Tom", "ECID:1", 1, 1, 1, REFUSED_SIZE),)
    assert before.identities == ("CRMID:Tom", "Email:t", "ECID:1")
    after = outcome(f"{events} / ECID: 1", CRMID, EMAIL, ECID, max_identities=2)
    assert said(after.profiles) == "CRMID:Tom Email:t | ECID:1"


def test_two_values_of_a_unique_namespace_refuse_the_whole_event() -> None:
    """A15: nothing of such an event counts, not even its other links."""
    who = outcome("CRMID: Tom, ECID: 1 / CRMID: Tom, CRMID: Ann, ECID: 2", CRMID, ECID)
    assert said(who.profiles) == "CRMID:Tom ECID:1"
    assert who.refused == (Link("CRMID:Ann", "CRMID:Tom", 2, 2, 1, REFUSED_EVENT),)


def test_events_that_are_all_refused_make_nobody() -> None:
    assert outcome("CRMID: Tom, CRMID: Ann", CRMID, ECID).profiles == ()


def test_the_same_identity_twice_on_a_line_is_no_conflict() -> None:
    assert said(outcome("CRMID: Tom, crmid: Tom", CRMID).profiles) == "CRMID:Tom"


def test_two_values_of_a_namespace_that_is_not_unique_are_linked() -> None:
    assert said(outcome("ECID: 2, ECID: 1", CRMID, ECID).profiles) == "ECID:1 ECID:2"


def test_namespaces_match_without_case_and_values_are_as_typed() -> None:
    """Nothing is trimmed off, hashed, or taken for junk; the first spelling is shown."""
    email = "{name: email, type: email, pii: true}"
    who = outcome("eMail: A@X.org, ECID: null / EMAIL: a@x.org, ecid: 1:0", email, ECID)
    assert said(who.profiles) == "eMail:A@X.org ECID:null | eMail:a@x.org ECID:1:0"


def test_fan_out_does_not_apply() -> None:
    events = " / ".join(f"Login: {n}, ECID: 1" for n in range(3))
    assert len(outcome(events, LOGIN, ECID, max_fan_out=1).profiles) == 1


def test_households_never_link_and_sessions_do_not_count() -> None:
    apart = outcome("CRMID: Tom, household: h / CRMID: Ann, household: h", CRMID, HOUSEHOLD)
    assert said(apart.profiles) == "CRMID:Ann | CRMID:Tom"
    events = "CRMID: Tom, ECID: 1, session: a / ECID: 1, session: b"
    assert len(outcome(events, CRMID, ECID, SESSION, max_identities=2).profiles) == 1


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("CRMID: Tom / Tom, ECID: 1", r"events\.txt: line 2: 'Tom' has no colon"),
        ("CRMID: Tom,", "line 1: '' has no colon"),
        ("# one / EICD: 1", "line 2: there is no namespace 'EICD'.*Did you mean 'ecid'"),
        ("CRMID: , ECID: 1", "line 1: CRMID has no value"),
        ("CRMID: / X: 1", "line 1: CRMID has no value; line 2: there is no namespace 'X'"),
        (" / # nothing", r"events\.txt holds no event"),
    ],
)
def test_wrong_lines_are_named(events: str, message: str) -> None:
    with pytest.raises(EventsError, match=message):
        outcome(events, CRMID, ECID)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a]", r"rules\.yaml: namespaces: .*names: unknown key.*Did you mean 'namespaces'"),
        ("namespaces: [{name: A, typ: person}]", r"namespaces\.0\.typ: unknown key.*'type'"),
        (f"namespaces: [{CRMID}, {CRMID.lower()}]", "'crmid' is there twice"),
        ("- CRMID", "holds no settings.*namespaces"),
        ("namespaces: [1", r"rules\.yaml, line 1: not readable as YAML"),
    ],
)
def test_wrong_rules_are_named(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_identity(text, "rules.yaml")
