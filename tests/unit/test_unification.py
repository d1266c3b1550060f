"""The unification report: everyone in figures, and a page that opens anywhere."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from features.behavior.scene import People, scene_of
from pipelines.crowd import IDLE_DAYS, SIZES, counted, events_of
from pipelines.people import profiles_table
from pipelines.stages import Bench
from pipelines.unification_page import PageNotWritten, page, sections, write_page
from tests.oracles.identity import people as who_is_who
from tests.worlds import DAY, Row, days, seen, world

SPACES = {
    "namespaces": [
        {"name": "customer", "type": "person", "unique": True},
        {"name": "device", "type": "device"},
        {"name": "cookie", "type": "cookie"},
    ],
    "max_fan_out": 2,
}
ROWS = [
    seen(days(0), customer="ann", cookie="1"),
    seen(days(1), cookie="1"),
    seen(days(1), cookie="2"),
    seen(days(20), device="d", cookie="3"),
    seen(days(21), device="d"),
    *(seen(days(30), customer=name, cookie="tablet") for name in ("ann", "bob", "eve")),
    Row({"cookie": "4"}, days(38), received_at=days(50)),
]
AS_OF = days(40)


def figures(bench: Bench, as_of: int) -> dict[str, Any]:
    resolution = bench.graph.at(as_of)
    people = People.everyone(resolution)
    identity = bench.workspace.project.identity
    scene = scene_of(bench.engine, bench.log, people, undated=True)
    table = profiles_table(bench.engine, bench.graph, identity, people, scene)
    events = events_of(scene, len(people))
    scene.close()
    return counted(bench.graph, identity, resolution, people, table, events)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with world(tmp_path_factory.mktemp("world"), ROWS, identity=SPACES) as bench:
        return figures(bench, AS_OF)


def test_identities_and_profiles_are_counted_by_namespace(found: dict[str, Any]) -> None:
    """The tablet is seen, and links nobody; what is received later is not there yet."""
    shown = {row.pop("namespace"): tuple(row.values()) for row in map(dict, found["namespaces"])}
    assert shown == {
        "customer": ("person", 3, 3, 3, 0),
        "device": ("device", 1, 1, 0, 1),
        "cookie": ("cookie", 4, 3, 1, 2),
    }


def test_overlaps_are_of_exactly_these_namespaces(found: dict[str, Any]) -> None:
    shown = {tuple(row["namespaces"]): row["profiles"] for row in found["overlaps"]}
    assert shown == {("customer",): 2, ("customer", "cookie"): 1, ("device", "cookie"): 1,
                     ("cookie",): 1}  # fmt: skip


def test_idle_visitors_are_counted_with_their_events(found: dict[str, Any]) -> None:
    """Cookie 2 was last seen 39 days ago, the device 19 days ago."""
    keys = ("days", "namespace", "profiles", "alone", "events")
    shown = {tuple(row[key] for key in keys) for row in found["idle"]}
    device = {(7, "device", 1, 0, 2)} | {(n, "device", 0, 0, 0) for n in (30, 60, 90, 120)}
    cookie = {(n, "cookie", 1, 1, 1) for n in (7, 30)}
    assert shown == device | cookie | {(n, "cookie", 0, 0, 0) for n in (60, 90, 120)}


def test_who_is_large_and_what_was_refused_is_told_by_name(found: dict[str, Any]) -> None:
    assert [row["profiles"] for row in found["sizes"]] == [3, 2, *[0] * 7]
    first = found["largest"][0]
    assert first == {"profile_id": "customer:ann", "identities": 2, "events": 3,
                     "namespaces": {"customer": 1, "cookie": 1}}  # fmt: skip
    (refused,) = found["refused"]
    assert (refused["reason"], refused["links"]) == ("fan_out", 3)
    assert refused["identities"][0] == {"identity": "cookie:tablet", "links": 3}


@pytest.mark.parametrize("seed", range(4))
def test_random_worlds_are_counted_as_one_by_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = []
    for _ in range(60):
        who = {"cookie": f"c{rng.randrange(15)}"}
        who |= {"customer": f"p{rng.randrange(8)}"} if rng.random() < 0.2 else {}
        who |= {"device": f"d{rng.randrange(8)}"} if rng.random() < 0.3 else {}
        moment = days(rng.randrange(150))
        rows.append(Row(who, moment, received_at=moment + rng.choice([0, 0, 9 * DAY])))
    as_of = days(140)
    with world(tmp_path, rows, identity=SPACES) as bench:
        found = figures(bench, as_of)
        identity = bench.workspace.project.identity
    members: dict[str, list[tuple[int, str]]] = {}
    for (rank, text), anchor in who_is_who(rows, identity, as_of)[0].items():
        members.setdefault(str(anchor), []).append((rank, text))
    names = [space.name for space in identity.namespaces]
    held = Counter(tuple(names[rank] for rank in sorted({r for r, _ in some}))
                   for some in members.values())  # fmt: skip
    assert {tuple(r["namespaces"]): r["profiles"] for r in found["overlaps"]} == dict(held)
    owners = {text: anchor for anchor, some in members.items() for _, text in some}
    mine: dict[str, list[int]] = {anchor: [] for anchor in members}
    for row in (row for row in rows if row.known_at < as_of):
        space = next(name for name in names if name in row.who)
        mine[owners[f"{space}:{row.who[space]}"]].append(row.event_time)
    for some in found["idle"]:
        idle = [
            anchor for anchor, moments in mine.items()
            if min(members[anchor])[0] > 0 and max(moments) < as_of - some["days"] * DAY
            and names[min(members[anchor])[0]] == some["namespace"]
        ]  # fmt: skip
        assert some["profiles"] == len(idle)
        assert some["events"] == sum(len(mine[anchor]) for anchor in idle)
        assert some["alone"] == sum(len(members[anchor]) == 1 for anchor in idle)
    sizes = [sum(size <= bound for size in map(len, members.values())) for bound in SIZES]
    total = [sum(row["profiles"] for row in found["sizes"][:n]) for n in range(1, len(SIZES) + 1)]
    assert total == sizes
    assert {row["days"] for row in found["idle"]} == set(IDLE_DAYS)


# The report for people ---------------------------------------------------------------------------


def report(found: dict[str, Any]) -> dict[str, Any]:
    source = {"rows": 9, "accepted": 7, "duplicates": 1, "quarantined": {"no_identity": 1}}
    return {
        "as_of": "2024-02-10T00:00:00Z",
        "sources": {"log": source},
        "profiles": {"profiles": 5, "known": 3, "anonymous": 2},
        **found,
        "nobody": [{"source": "log", "namespace": "cookie", "what": "junk", "why": "<null>",
                    "values": 4}],
        "overrides": {"never": {"rows": 2, "applied": 1, "duplicates": 0,
                                "refused": {"self_pair": 1}}},
        "profile_changes": {"merged": 1, "renamed": 2},
        "hindsight": {"churn": {"rows": 60_312, "changed": 1_204, "people": 800}},
    }  # fmt: skip


def test_every_part_is_a_table(found: dict[str, Any]) -> None:
    listed = {section.title: section for section in sections(report(found))}
    assert listed["Rows by source"].rows == [("log", 9, 7, 1, 1, 0, "no_identity 1")]
    assert listed["The leak avoided"].rows == [("churn", 60_312, 1_204, "2.0%", 800)]
    assert listed["Size of profiles"].rows == [("1", 3), ("2", 2)]
    assert len(listed) == 11
    for section in listed.values():
        assert {len(row) for row in section.rows} == {len(section.columns)}, section.title


def test_what_there_is_none_of_is_left_out(found: dict[str, Any]) -> None:
    bare = report(found) | {"nobody": [], "overrides": {}, "profile_changes": {}, "hindsight": {},
                            "refused": [], "idle": []}  # fmt: skip
    titles = [section.title for section in sections(bare)]
    assert len(titles) == 5
    assert "Overrides" not in titles
    assert "chart-refused" not in page(bare)


def test_the_page_needs_no_network_and_runs_no_text_of_the_data(found: dict[str, Any]) -> None:
    html = page(report(found))
    assert "<script src" not in html
    assert "<link" not in html
    assert "<td>&lt;null&gt;</td>" in html
    assert html.count("<table>") == 11


def test_a_page_that_cannot_be_written_is_an_error(found: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PageNotWritten, match="cannot be written"):
        write_page(report(found), tmp_path / "file" / "report.html")
