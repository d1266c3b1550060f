"""Who is who under overrides: demanded and forbidden links, identities that make none, aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.identity.graph import NOBODY, Graph
from features.identity.linking import REFUSED_BYPASSED, REFUSED_NEVER
from features.identity.overrides import Overrides
from features.time import EARLIEST
from tests.worlds import Row, days, seen, world

LOGIN = {"name": "login", "type": "person"}
CRMID = {"name": "crmid", "type": "person", "unique": True}
EMAIL = {"name": "email", "type": "email"}
ECID = {"name": "ecid", "type": "cookie"}
SPACES = [CRMID, LOGIN, EMAIL, ECID]
LATER = days(1_000)

People = dict[str, set[str]]
"""Profile id to its identities."""
SHARED = [seen(days(0), crmid="ann", email="x@m.org"), seen(days(1), login="bob", email="x@m.org")]
"""Two people who gave one e-mail address."""


def graph_of(folder: Path, rows: list[Row], **overrides: dict[Any, Any]) -> Graph:
    with world(folder, rows, identity={"namespaces": SPACES}) as bench:
        identity = bench.workspace.project.identity
        return Graph(bench.store, bench.united, identity, Overrides(**overrides))


def people(graph: Graph, as_of: int = LATER) -> People:
    found: People = {}
    for key, anchor in enumerate(graph.at(as_of).anchor.tolist()):
        if anchor != NOBODY:
            found.setdefault(graph.identities[anchor], set()).add(graph.identities[key])
    return found


def refused(graph: Graph, as_of: int = LATER) -> dict[tuple[str, str], str]:
    names = graph.identities
    reasons = graph.at(as_of).refused.reasons()
    return {(names[a], names[b]): why for (a, b), why in reasons.items()}


def pairs(*said: str, known_from: int = EARLIEST) -> dict[tuple[str, ...], int]:
    return {tuple(sorted(each.split(" "))): known_from for each in said}


def test_two_people_wrongly_merged_are_two_again(tmp_path: Path) -> None:
    """The e-mail goes with who used it last."""
    assert people(graph_of(tmp_path, SHARED)) == {"crmid:ann": {"crmid:ann", "login:bob",
                                                                "email:x@m.org"}}  # fmt: skip
    apart = graph_of(tmp_path, SHARED, never=pairs("crmid:ann login:bob"))
    assert people(apart) == {
        "crmid:ann": {"crmid:ann"},
        "login:bob": {"login:bob", "email:x@m.org"},
    }
    assert refused(apart) == {("crmid:ann", "email:x@m.org"): REFUSED_NEVER}


def test_a_correction_holds_at_all_times_and_a_finding_from_when_it_was_made(
    tmp_path: Path,
) -> None:
    never = pairs("crmid:ann login:bob", known_from=days(5))
    found = graph_of(tmp_path, SHARED, never=never)
    assert len(people(found, days(5))) == 1
    assert len(people(found, days(5) + 1)) == 2
    always = graph_of(tmp_path, SHARED, never=pairs("crmid:ann login:bob"))
    assert len(people(always, days(1) + 1)) == 2


def test_a_demanded_link_makes_one_person_once_both_are_seen(tmp_path: Path) -> None:
    rows = [seen(days(0), login="a"), seen(days(9), login="b"), seen(days(3), login="c")]
    demanded = pairs("login:a login:b", "login:b login:c", known_from=days(2))
    found = graph_of(tmp_path, rows, always=demanded)
    three = {"login:a", "login:b", "login:c"}
    assert people(found, days(9)) == {"login:a": {"login:a"}, "login:c": {"login:c"}}
    assert people(found, days(9) + 1) == {"login:a": three}
    assert people(found, days(2)) == {"login:a": {"login:a"}}


def test_a_bypassed_identity_makes_no_links_and_owns_its_rows(tmp_path: Path) -> None:
    rows = [seen(days(0), crmid="ann", ecid="kiosk"), seen(days(1), ecid="kiosk")]
    found = graph_of(tmp_path, rows, bypass={"ecid:kiosk": days(4)})
    assert people(found, days(4)) == {"crmid:ann": {"crmid:ann", "ecid:kiosk"}}
    assert people(found) == {"crmid:ann": {"crmid:ann"}, "ecid:kiosk": {"ecid:kiosk"}}
    assert refused(found) == {("crmid:ann", "ecid:kiosk"): REFUSED_BYPASSED}


TWO_SPELLINGS = [seen(days(0), crmid="a1", ecid="1"), seen(days(3), crmid="A-1", ecid="1")]


def test_an_alias_is_no_second_value_of_a_unique_namespace(tmp_path: Path) -> None:
    """Unspelt, the browser would move from one customer to the other."""
    assert len(people(graph_of(tmp_path, TWO_SPELLINGS))) == 2
    found = graph_of(tmp_path, TWO_SPELLINGS, aliases={"crmid:A-1": "crmid:a1"})
    assert people(found) == {"crmid:a1": {"crmid:A-1", "crmid:a1", "ecid:1"}}
    assert refused(found) == {}


def test_a_person_is_called_as_was_known_to_be_right_by_then(tmp_path: Path) -> None:
    """Before the identity is seen its first alias leads; nobody has it who was not seen."""
    found = graph_of(tmp_path, TWO_SPELLINGS, aliases={"crmid:a1": "crmid:A-1"})
    assert people(found, days(1)) == {"crmid:a1": {"crmid:a1", "ecid:1"}}
    assert people(found) == {"crmid:A-1": {"crmid:A-1", "crmid:a1", "ecid:1"}}
    keys = np.array([found.identities.index(name) for name in ("crmid:A-1", "crmid:a1")] * 2)
    as_of = np.array([days(1), days(1), LATER, LATER])
    rows = found.at_rows(keys, as_of)
    assert rows.anchor.tolist() == [NOBODY, keys[1], keys[0], keys[0]]
    assert sorted(rows.identity_key[rows.row == 1]) == [keys[1], found.identities.index("ecid:1")]
    assert NOBODY not in rows.row
    assert 0 not in rows.row


@pytest.mark.parametrize(("identity", "leads"), [("login:z", "login:b"), ("login:a", "login:c")])
def test_aliases_of_an_identity_that_no_row_has_are_one(
    tmp_path: Path, identity: str, leads: str
) -> None:
    """Among equals its own text decides, so nothing changes on the day a row has it."""
    rows = [seen(days(0), login=name, ecid="1") for name in ("b", "c", "d")]
    aliases = {"login:c": identity, "login:d": identity}
    found = graph_of(tmp_path, rows, aliases=aliases)
    assert set(people(found)) == {leads}
    apart = [seen(days(0), login="c"), seen(days(2), login="d")]
    one = graph_of(tmp_path / "apart", apart, aliases=aliases)
    assert people(one) == {"login:c": {"login:c", "login:d"}}


def test_what_is_said_of_a_spelling_is_said_of_the_identity(tmp_path: Path) -> None:
    """Whichever spelling a row of overrides, or of data, has."""
    rows = [seen(days(0), login="a2", ecid="1"), seen(days(1), crmid="x", ecid="1"),
            seen(days(2), login="z", ecid="2")]  # fmt: skip
    aliases = {"login:a2": "login:a"}
    apart = graph_of(tmp_path, rows, aliases=aliases, never=pairs("crmid:x login:a"))
    assert people(apart)["login:a2"] == {"login:a2"}
    joined = graph_of(tmp_path, rows, aliases=aliases, always=pairs("login:a login:z"))
    assert len(people(joined)) == 1
    alone = graph_of(tmp_path, rows, aliases=aliases, bypass={"login:a": EARLIEST})
    assert people(alone)["login:a2"] == {"login:a2"}


def test_overrides_of_identities_that_no_row_has_wait(tmp_path: Path) -> None:
    found = graph_of(
        tmp_path, SHARED, always=pairs("login:q crmid:ann"), never=pairs("login:q login:r"),
        bypass={"login:q": EARLIEST}, aliases={"login:q": "login:r"},
    )  # fmt: skip
    assert people(found) == people(graph_of(tmp_path, SHARED))
