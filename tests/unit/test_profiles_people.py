"""Profiles as tables: who they are at a moment, who they were before, and what they allow."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.behavior.scene import People, scene_of
from features.sources.unite import TABLE as UNITED
from pipelines.people import consents_now, profile_changes, profiles_table
from pipelines.stages import Bench
from tests.worlds import Row, days, seen, world

CRMID = {"name": "crmid", "type": "person", "unique": True}
ECID = {"name": "ecid", "type": "cookie"}
SPACES = {"namespaces": [CRMID, ECID]}
SCHEMA = pa.schema([("profile_id", pa.string()), ("identities", pa.list_(pa.string()))])


def profiles(bench: Bench, as_of: int) -> pa.Table:
    people = People.everyone(bench.graph.at(as_of))
    scene = scene_of(bench.engine, bench.log, people, undated=True)
    identity = bench.workspace.project.identity
    return profiles_table(bench.engine, bench.graph, identity, people, scene)


def test_a_profile_says_who_it_is_and_what_is_known_of_it(tmp_path: Path) -> None:
    rows = [
        Row({"ecid": "2"}, days(1), profile={"country": "FR", "age": "40.5", "vip": "True"}),
        Row({"crmid": "ann", "ecid": "1"}, days(3), profile={"country": "DE"}),
        Row({"ecid": "1"}, days(0), profile={"born": "1970-01-02", "country": "NL"}),
        Row({"ecid": "1"}, days(2), received_at=days(9), profile={"country": "XX"}),
    ]
    with world(tmp_path, rows, identity=SPACES) as bench:
        found = profiles(bench, days(5)).to_pylist()
    common: dict[str, Any] = {"as_of": days(5), "aliases": []}
    ann = {"profile_id": "crmid:ann", "known": True, "identities": ["crmid:ann", "ecid:1"],
           "first_seen": days(0), "last_seen": days(3), "profile_age": None,
           "profile_born": 86_400_000_000, "profile_country": "DE",
           "profile_vip": None}  # fmt: skip
    visitor = {"profile_id": "ecid:2", "known": False, "identities": ["ecid:2"],
               "first_seen": days(1), "last_seen": days(1), "profile_age": Decimal("40.5"),
               "profile_born": None, "profile_country": "FR", "profile_vip": True}  # fmt: skip
    assert [row.pop("profile_key") for row in found] == [0, 2]
    assert found == [ann | common, visitor | common]


def changes(folder: Path, rows: list[Row], before: int, after: int) -> list[tuple[str, ...]]:
    """Return (old, new, kind) between two moments."""
    with world(folder, rows, identity=SPACES) as bench:
        found = profile_changes(profiles(bench, before), bench.graph, bench.graph.at(after))
    return sorted((row["old"], row["new"], row["kind"]) for row in found.to_pylist())


def test_a_visitor_who_logs_in_is_renamed(tmp_path: Path) -> None:
    rows = [seen(days(0), ecid="1"), seen(days(2), crmid="ann", ecid="1")]
    assert changes(tmp_path, rows, days(1), days(3)) == [("ecid:1", "crmid:ann", "renamed")]
    assert changes(tmp_path / "still", rows, days(1), days(2)) == []


def test_visitors_who_turn_out_to_be_one_are_merged(tmp_path: Path) -> None:
    rows = [seen(days(0), ecid="1"), seen(days(0), ecid="2"), seen(days(0), crmid="ann")]
    rows += [seen(days(2), crmid="ann", ecid=name) for name in "12"]
    assert changes(tmp_path, rows, days(1), days(3)) == [
        ("ecid:1", "crmid:ann", "merged"),
        ("ecid:2", "crmid:ann", "merged"),
    ]


def test_a_person_whose_browser_moves_on_is_split(tmp_path: Path) -> None:
    """Kevin keeps his name and loses the tablet; Nora gains it, and is as she was."""
    rows = [seen(days(0), crmid="kevin", ecid="1"), seen(days(0), crmid="nora", ecid="2")]
    rows += [seen(days(2), crmid="nora", ecid="1")]
    assert changes(tmp_path, rows, days(1), days(3)) == [("crmid:kevin", "crmid:kevin", "split")]


def test_before_the_first_run_there_is_nothing_to_change(tmp_path: Path) -> None:
    with world(tmp_path, [seen(days(0), crmid="ann", ecid="1")], identity=SPACES) as bench:
        now = bench.graph.at(days(1))
        none = profile_changes(None, bench.graph, now)
        forgotten = pa.table({"profile_id": ["crmid:gone"], "identities": [["crmid:gone"]]}, SCHEMA)
        assert none.column_names == ["old", "new", "kind", "moved"]
        assert len(none) == len(profile_changes(forgotten, bench.graph, now)) == 0
        assert len(profile_changes(SCHEMA.empty_table(), bench.graph, now)) == 0


def allowed(who: dict[str, str], moment: float, says: bool, received: float | None = None) -> Row:
    known = None if received is None else days(received)
    return Row(who, days(moment), received_at=known, consent={"ads": says})


ANN: dict[str, str] = {"crmid": "ann"}
BROWSER: dict[str, str] = {"ecid": "1"}


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ([allowed(ANN, 1, True)], True),
        ([allowed(ANN, 1, False), allowed(ANN, 2, True)], True),
        ([allowed(ANN, 1, True), allowed(ANN, 2, False)], False),
        ([allowed(ANN, 1, True), allowed(ANN, 1, False)], False),
        ([allowed(ANN, 1, True), allowed(BROWSER, 0, False)], False),
        ([allowed(ANN, 1, False), allowed(BROWSER, 2, True)], False),
        ([allowed(ANN, 1, True), allowed(ANN, 2, False, received=10)], True),
        ([allowed(ANN, 1, True), allowed({"ecid": "2"}, 2, False)], True),
        ([allowed({"ecid": "2"}, 2, False)], None),
    ],
)
def test_the_most_restrictive_of_the_latest_statements_counts(
    tmp_path: Path, stated: list[Row], expected: bool | None
) -> None:
    """Each identity's latest statement known at day 10; over the identities, a refusal wins."""
    rows = [seen(days(0), crmid="ann", ecid="1"), seen(days(0), ecid="2"), *stated]
    with world(tmp_path, rows, identity=SPACES) as bench:
        people = People.everyone(bench.graph.at(days(10)))
        table = pq.read_table(bench.store.folder(UNITED, bench.united) / "consents.parquet")
        found: list[dict[str, Any]] = consents_now(table, people, days(10)).to_pylist()
        said = {bench.graph.identities[row["profile_key"]]: row["allowed"] for row in found}
    assert said.get("crmid:ann") == expected
    assert {row["purpose"] for row in found} == {"ads"}
