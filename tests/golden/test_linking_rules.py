"""The published outcomes of Adobe's linking rules, through the whole path from rows to people.

Sources A11 (identity optimization algorithm: shared browser, bad e-mail, shared tablet) and A14
(example configurations of graph simulation: phone, logins, guests), as Adobe documents them.
`tests/unit/test_identity_simulation.py` has the same outcomes as typed events.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.sources.unite import TABLE as UNITED
from tests.graphs import (
    CRMID,
    ECID,
    EMAIL,
    LOGIN,
    PHONE,
    UNIQUE_EMAIL,
    People,
    happened,
    people,
)
from tests.worlds import days, world


def test_a_shared_browser_belongs_to_who_used_it_last(tmp_path: Path) -> None:
    """A11: the browser is Summer's; Tom has no graph left, and keeps his profile."""
    rows = happened("CRMID: Tom, ECID: 111", "CRMID: Summer, ECID: 111")
    assert people(tmp_path, rows, CRMID, ECID) == {"Summer": {"Summer", "111"}, "Tom": {"Tom"}}


def test_a_bad_email_stays_with_the_later_customer(tmp_path: Path) -> None:
    """A11 A14: bad e-mail shared by two CRMIDs."""
    rows = happened(
        "CRMID: Jane, Email: bad@x.org, ECID: 1", "CRMID: John, Email: bad@x.org, ECID: 2"
    )
    assert people(tmp_path, rows, CRMID, EMAIL, ECID) == {
        "Jane": {"Jane", "1"},
        "John": {"John", "bad@x.org", "2"},
    }


def test_a_phone_moves_and_the_older_phone_is_let_go(tmp_path: Path) -> None:
    """A14: Summer gets Tom's phone, and Phone is unique."""
    rows = happened(
        "CRMID: Tom, Email: tom@x.org, Phone: +1 650 253 2221",
        "CRMID: Summer, Email: summer@x.org, Phone: +1 650 253 2222",
        "CRMID: Summer, Phone: +1 650 253 2221",
    )
    assert people(tmp_path, rows, CRMID, EMAIL, PHONE) == {
        "Tom": {"Tom", "tom@x.org"},
        "Summer": {"Summer", "summer@x.org", "+16502532221"},
    }


SHARED = ("CRMID: Tom, Login: A", "Login: A, ECID: 111")


def test_a_login_takes_over_anothers_browser(tmp_path: Path) -> None:
    """A14: login C uses the browser of Tom's login A."""
    rows = happened("CRMID: Ann, Login: C", *SHARED, "Login: C, ECID: 111")
    assert people(tmp_path, rows, CRMID, LOGIN, ECID) == {
        "Tom": {"Tom", "A"},
        "Ann": {"Ann", "C", "111"},
    }


def test_a_dangling_login_cannot_be_told_apart(tmp_path: Path) -> None:
    """A14: no customer is known for login C, so nothing forbids that both logins are Tom's."""
    rows = happened(*SHARED, "Login: C, ECID: 111")
    assert people(tmp_path, rows, CRMID, LOGIN, ECID) == {"Tom": {"Tom", "A", "C", "111"}}


GUEST = "Email: guest@x.org, ECID: 111"


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        (
            "CRMID: Tom, Email: tom@x.org, ECID: 111",
            {"Tom": {"Tom", "tom@x.org"}, "guest@x.org": {"guest@x.org", "111"}},
        ),
        ("CRMID: Tom, ECID: 111", {"Tom": {"Tom", "guest@x.org", "111"}}),
    ],
)
def test_a_guest_is_told_apart_by_an_email_on_file(
    tmp_path: Path, registered: str, expected: People
) -> None:
    """A14: guest checkout in a registered user's browser."""
    assert people(tmp_path, happened(registered, GUEST), CRMID, UNIQUE_EMAIL, ECID) == expected


TABLET = (
    "CRMID: Kevin, ECID: tablet",
    "ECID: tablet",
    "CRMID: Nora, ECID: tablet",
    "ECID: tablet",
    "CRMID: Kevin, ECID: tablet",
)


def test_a_tablet_moves_back_and_forth_with_who_logs_in(tmp_path: Path) -> None:
    """A11: a device is of the last authenticated user."""
    rows, kevins = happened(*TABLET), {"Kevin": {"Kevin", "tablet"}}
    history = [people(tmp_path, rows, CRMID, ECID, as_of=days(day) + 1) for day in range(5)]
    assert history[:2] == [kevins, kevins]
    assert history[2:4] == [{"Kevin": {"Kevin"}, "Nora": {"Nora", "tablet"}}] * 2
    assert history[4] == kevins | {"Nora": {"Nora"}}


def test_anonymous_events_follow_the_last_authenticated_person_and_move_back(
    tmp_path: Path,
) -> None:
    """A11: all of them do; a visit while logged in stays with who made it."""
    with world(tmp_path, happened(*TABLET), identity={"namespaces": [CRMID, ECID]}) as bench:
        folder, names = bench.store.folder(UNITED, bench.united), bench.graph.identities
        events = pq.read_table(folder / "events.parquet")
        counts = []
        for day in range(5):
            anchor = bench.graph.at(days(day) + 1).anchor
            known = events["known_at"].to_numpy() <= days(day)
            of = [names[key] for key in anchor[events["identity_key"].to_numpy()[known]]]
            counts.append({name.split(":")[1]: of.count(name) for name in set(of)})
    assert counts == [
        {"Kevin": 1},
        {"Kevin": 2},
        {"Kevin": 1, "Nora": 2},
        {"Kevin": 1, "Nora": 3},
        {"Kevin": 4, "Nora": 1},
    ]
