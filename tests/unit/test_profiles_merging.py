"""How a person's attributes are merged, and which source and row each came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.behavior.scene import People, scene_of
from features.conditions import parse
from features.conditions.table import matches
from features.profiles.merging import Policy, policies
from features.settings import Project
from pipelines.people import attribute_sources
from pipelines.stages import Bench, everything_known, people_settings
from tests.worlds import Row, bench_of, days, project, write

SPACES = {"namespaces": [{"name": "email", "type": "email"}, {"name": "cookie", "type": "cookie"}]}
WEB = [
    Row({"email": "ann@m.org", "cookie": "1"}, days(1), profile={"city": "Rome", "tier": "2"}),
    Row({"cookie": "1"}, days(5), profile={"street": "Via Appia", "born": "1990-01-02"}),
    Row({"cookie": "1"}, days(6), received_at=days(20), profile={"city": "Oslo", "tier": "9"}),
]
CRM = "mail,since,street,city,postcode,tier,born\n" + "".join(
    f"{line}\n"
    for line in (
        "ann@m.org,2024-01-03,High St,Paris,F-75001,10,1990-01-01",
        "ann@m.org,2024-01-04,,Lyon,,3,",
    )
)
ADDRESS = ["street", "city", "postcode"]
SOURCE = {
    "name": "crm", "kind": "records", "path": "crm.csv", "known_from": "since",
    "identities": {"email": "mail"},
    "profile": {name: name for name in (*ADDRESS, "tier", "born")},
}  # fmt: skip


def settings_of(profiles: Mapping[str, Any]) -> dict[str, Any]:
    return project(WEB, more=[SOURCE], identity=SPACES, profiles=profiles)


def seen(folder: Path, profiles: Mapping[str, Any], moment: int = days(10)) -> list[dict[str, Any]]:
    """Return what is known of ann at `moment`: attribute, source, row and time of each."""
    with opened(folder, profiles) as bench:
        people = People.everyone(bench.graph.at(moment))
        scene = scene_of(bench.engine, bench.log, people)
        values = bench.engine.arrow(scene.spine).to_pylist()
        origins = attribute_sources(bench.engine, bench.log, people, scene).to_pylist()
        scene.close()
    assert len(values) == 1
    return [row | {"value": values[0][f"profile_{row['attribute']}"]} for row in origins]


def opened(folder: Path, profiles: Mapping[str, Any]) -> Any:
    folder.mkdir(exist_ok=True)
    settings = settings_of(profiles)
    write(folder / "log.jsonl", WEB, settings)
    (folder / "crm.csv").write_text(CRM)
    return bench_of(folder, settings)


def shown(found: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {row["attribute"]: (str(row["value"]), row["source"]) for row in found}


BORN = {"1990-01-01": str(7305 * 86_400_000_000), "1990-01-02": str(7306 * 86_400_000_000)}


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ({}, {
            "street": ("Via Appia", "log"), "city": ("Lyon", "crm"), "postcode": ("F-75001", "crm"),
            "tier": ("3.0000", "crm"), "born": (BORN["1990-01-02"], "log")}),
        ({"merge": "source_order", "source_order": ["log"]}, {
            "street": ("Via Appia", "log"), "city": ("Rome", "log"), "postcode": ("F-75001", "crm"),
            "tier": ("2.0000", "log"), "born": (BORN["1990-01-02"], "log")}),
        ({"merge": "source_order", "source_order": ["crm"]}, {
            "street": ("High St", "crm"), "city": ("Lyon", "crm"), "postcode": ("F-75001", "crm"),
            "tier": ("3.0000", "crm"), "born": (BORN["1990-01-01"], "crm")}),
        ({"merge": "most_filled"}, {
            "street": ("High St", "crm"), "city": ("Paris", "crm"), "postcode": ("F-75001", "crm"),
            "tier": ("10.0000", "crm"), "born": (BORN["1990-01-01"], "crm")}),
        ({"attributes": {"tier": {"merge": "max"}, "born": {"merge": "min"},
                         "city": {"merge": "min"}}}, {
            "street": ("Via Appia", "log"), "city": ("Lyon", "crm"), "postcode": ("F-75001", "crm"),
            "tier": ("10.0000", "crm"), "born": (BORN["1990-01-01"], "crm")}),
        ({"groups": [{"name": "address", "attributes": ADDRESS}]}, {
            "street": ("Via Appia", "log"),
            "tier": ("3.0000", "crm"), "born": (BORN["1990-01-02"], "log")}),
        ({"groups": [{"name": "address", "attributes": ADDRESS, "merge": "most_filled"}]}, {
            "street": ("High St", "crm"), "city": ("Paris", "crm"), "postcode": ("F-75001", "crm"),
            "tier": ("3.0000", "crm"), "born": (BORN["1990-01-02"], "log")}),
    ],
    ids=["most recent", "the web first", "the crm first", "most filled", "min and max",
         "a group of the newest row", "a group of the fullest row"],
)  # fmt: skip
def test_where_sources_disagree_the_policy_says_who_wins(
    tmp_path: Path, profiles: Mapping[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert shown(seen(tmp_path, profiles)) == expected


def test_what_is_received_later_wins_later(tmp_path: Path) -> None:
    """Rome and Oslo are said by the log; Oslo happened on day 6 and was received on day 20."""
    first = {"merge": "source_order", "source_order": ["log"]}
    found = {at: shown(seen(tmp_path / str(at), first, days(at)))["city"][0] for at in (20, 21)}
    assert found == {20: "Rome", 21: "Oslo"}


def test_the_row_that_won_is_found_by_its_number(tmp_path: Path) -> None:
    with opened(tmp_path, {}) as bench:
        folder = bench.store.folder("united", bench.united)
        rows = bench.engine.arrow(bench.engine.read_parquet([folder / "stated_rows.parquet"]))
        events = bench.engine.arrow(bench.engine.read_parquet([folder / "events.parquet"]))
    named = {(row["source"], row["row"]): row["event_id"] for row in rows.to_pylist()}
    (street,) = [row for row in seen(tmp_path, {}) if row["attribute"] == "street"]
    (event,) = [row for row in events.to_pylist() if row["event_time"] == days(5)]
    assert named[street["source"], street["row"]] == event["event_id"]
    assert street["event_time"] == days(5)
    assert len(named) == len(WEB) + 2


def test_a_condition_sees_the_merged_value(tmp_path: Path) -> None:
    def lives_in_lyon(folder: Path, profiles: Mapping[str, Any]) -> bool:
        with opened(folder, profiles) as bench:
            people = People.everyone(bench.graph.at(days(10)))
            scene = scene_of(bench.engine, bench.log, people)
            condition = parse('city = "Lyon"', everything_known(bench))
            found = bench.engine.arrow(matches(condition, scene.spine, scene.history))
            return bool(found["matches"][0].as_py())

    assert lives_in_lyon(tmp_path / "a", {})
    assert not lives_in_lyon(tmp_path / "b", {"merge": "most_filled"})


def test_the_names_of_versions_follow_the_policy(tmp_path: Path) -> None:
    def settings(profiles: Mapping[str, Any]) -> list[Any]:
        with opened(tmp_path, profiles) as bench:
            assert isinstance(bench, Bench)
            return people_settings(bench)

    plain, same = settings({}), settings({"merge": "most_recent", "source_order": ["crm"]})
    assert plain == same
    ordered = {"merge": "source_order"}
    assert settings(ordered) == settings(ordered | {"source_order": ["log"]})
    assert len({json.dumps(settings(p)) for p in ({}, ordered, {"merge": "min"})}) == 3


def test_every_attribute_is_in_one_policy_and_sources_not_named_come_after() -> None:
    profiles = {
        "merge": "max",
        "attributes": {"tier": {"merge": "source_order", "source_order": ["crm"]}},
        "groups": [{"name": "address", "attributes": ADDRESS, "merge": "most_recent"}],
    }
    assert set(policies(Project.model_validate(settings_of(profiles)))) == {
        Policy(tuple(ADDRESS), "most_recent"),
        Policy(("tier",), "source_order", ("crm", "log")),
        Policy(("born",), "max"),
    }
    assert policies(Project.model_validate(project([Row({"cookie": "1"}, days(0))]))) == ()


def test_where_nobody_says_anything_there_is_no_origin(tmp_path: Path) -> None:
    with bench_of_silence(tmp_path) as bench:
        people = People.everyone(bench.graph.at(days(1)))
        scene = scene_of(bench.engine, bench.log, people)
        found = attribute_sources(bench.engine, bench.log, people, scene)
        scene.close()
    assert isinstance(found, pa.Table)
    assert found.num_rows == 0


def bench_of_silence(folder: Path) -> Any:
    rows = [Row({"cookie": "1"}, days(0))]
    settings = project(rows, identity=SPACES)
    write(folder / "log.jsonl", rows, settings)
    return bench_of(folder, settings)
