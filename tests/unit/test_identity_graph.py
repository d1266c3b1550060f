"""Who is who: how profiles are named, what exists when, and which links are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.identity.graph import NOBODY
from features.identity.linking import REFUSED_FAN_OUT, REFUSED_SIZE, REFUSED_UNIQUE
from tests.graphs import CRMID, ECID, EMAIL, LATER, LOGIN, SESSION, happened, people
from tests.worlds import Row, days, seen, world


def test_a_late_login_counts_once_it_is_known(tmp_path: Path) -> None:
    rows = [
        Row({"crmid": "Nora", "ecid": "tablet"}, days(0)),
        Row({"crmid": "Kevin", "ecid": "tablet"}, days(1), received_at=days(5)),
    ]
    spaces = (CRMID, ECID)
    noras = {"Nora": {"Nora", "tablet"}}
    assert people(tmp_path, rows, *spaces, as_of=days(5)) == noras
    assert people(tmp_path, rows, *spaces, as_of=days(5) + 1) == {
        "Kevin": {"Kevin", "tablet"},
        "Nora": {"Nora"},
    }


def test_the_anchor_is_of_the_first_namespace_and_the_earliest_seen_there(tmp_path: Path) -> None:
    rows = happened("ECID: 1", "Login: b, ECID: 1", "Login: a, ECID: 1", "Login: c, ECID: 1")
    assert set(people(tmp_path, rows, LOGIN, ECID)) == {"b"}
    assert set(people(tmp_path, rows, LOGIN, ECID, as_of=days(1))) == {"1"}
    tie = [seen(days(0), login="b", ecid="1"), seen(days(0), login="a", ecid="1")]
    assert set(people(tmp_path / "tie", tie, LOGIN, ECID)) == {"a"}


def test_a_profile_exists_once_a_row_belongs_to_it(tmp_path: Path) -> None:
    """The cookie of a refused link owns no row; its first anonymous visit makes it a profile."""
    rows = happened("CRMID: Tom, Email: t@x.org", "CRMID: Ann, Email: a@x.org, ECID: 1")
    rows += happened("CRMID: Tom, Email: a@x.org, ECID: 1")
    later = [seen(days(9), ecid="1")]
    two = {"max_identities": 2}
    before = people(tmp_path, rows, CRMID, EMAIL, ECID, **two)
    after = people(tmp_path, rows + later, CRMID, EMAIL, ECID, **two)
    assert set(before) == {"Tom", "Ann"}
    assert after == before | {"1": {"1"}}


def test_a_cookie_never_holds_twenty_one_people_together(tmp_path: Path) -> None:
    """It makes no links, and still owns its anonymous visits."""
    rows = [seen(days(day), crmid=f"p{day}", ecid="1") for day in range(21)]
    loose = LOGIN | {"name": "crmid"}
    before = people(tmp_path, rows, loose, ECID, as_of=days(20))
    assert list(before) == ["p0"]
    assert before["p0"] == {"1", *(f"p{day}" for day in range(20))}
    after = people(tmp_path, [*rows, seen(days(30), ecid="1")], loose, ECID)
    assert after == {f"p{day}": {f"p{day}"} for day in range(21)} | {"1": {"1"}}


def test_a_thousand_people_on_one_cookie_stay_a_thousand(tmp_path: Path) -> None:
    rows = [seen(days(0) + n, crmid=f"p{n}", ecid="junk") for n in range(1_000)]
    with world(tmp_path, rows, identity={"namespaces": [CRMID, ECID]}) as bench:
        resolution = bench.graph.at(LATER)
        keys = np.arange(len(bench.graph.identities))
        alone = bench.graph.at_rows(keys, np.full(len(keys), LATER))
    assert len(resolution.profiles()) == 1_000
    assert resolution.anchor[:1_000].tolist() == list(range(1_000))
    assert resolution.anchor[1_000] == NOBODY
    assert np.array_equal(alone.anchor, resolution.anchor)
    assert resolution.refused.counts() == {REFUSED_FAN_OUT: 1_000}


def test_sessions_do_not_count_towards_the_size_of_a_person(tmp_path: Path) -> None:
    cookies = [seen(days(day), ecid=f"e{day}", session="s") for day in range(3)]
    sessions = [seen(days(day), ecid="e", session=f"s{day}") for day in range(9)]
    assert len(people(tmp_path, sessions, ECID, SESSION, max_identities=2)) == 1
    split = people(tmp_path / "cookies", cookies, ECID, SESSION, max_identities=2)
    assert sorted(map(len, split.values())) == [1, 3]


@pytest.mark.parametrize(
    ("last", "most", "reason"), [("Ann, ECID: 3", 3, REFUSED_SIZE), ("Ann", 50, REFUSED_UNIQUE)]
)
def test_refused_links_are_on_record_with_their_reason(
    tmp_path: Path, last: str, most: int, reason: str
) -> None:
    """The newest event's links hold; what then breaks a rule is refused, and named."""
    rows = happened("CRMID: Tom, ECID: 1", "CRMID: Ann, ECID: 1", "CRMID: Ann, ECID: 2",
                    f"CRMID: {last}")  # fmt: skip
    identity = {"namespaces": [CRMID, ECID], "max_identities": most}
    with world(tmp_path, rows, identity=identity) as bench:
        names = bench.graph.identities
        refused = bench.graph.at(LATER).refused.reasons()
        early = bench.graph.at(days(1)).refused
    loser = "crmid:Ann" if reason == REFUSED_SIZE else "crmid:Tom"
    assert {(names[a], names[b]): why for (a, b), why in refused.items()} == {
        (loser, "ecid:1"): reason
    }
    assert not len(early)


def test_a_moment_before_everything_has_nobody(tmp_path: Path) -> None:
    with world(tmp_path, [seen(days(0), customer="tom", cookie="c")]) as bench:
        assert not len(bench.graph.at(days(0)).profiles())
        none = np.empty(0, dtype=np.int64)
        assert not len(bench.graph.at_rows(none, none).anchor)
        assert bench.graph.at_rows(np.array([0]), np.array([days(0)])).anchor.tolist() == [NOBODY]
