"""Visitors idle for too long: who has expired, what is removed, and that it misleads no model."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from features.behavior.expiry import expired
from features.behavior.scene import People
from features.sources.ingest import TABLE as PARTS
from pipelines.expiring import expire, look_backs
from pipelines.learning import dataset_of, lessons, population
from pipelines.stages import Bench, default_as_of, ingest_all, plan_features, unexpired, unify
from tests.worlds import DAY, Row, bench_of, days, project, seen, world, write

MONTH = {"expire_anonymous": "30d"}
NOW = seen(days(100), customer="now")
"""Somebody known whose visit is the newest thing known."""


def idle(folder: Path, rows: list[Row], as_of: int, kept: int) -> list[str]:
    with world(folder, rows, identity=MONTH) as bench:
        people = People.everyone(bench.graph.at(as_of))
        gone = expired(bench.engine, bench.log, people, bench.workspace.project.identity, kept)
        return sorted(bench.graph.identities[key] for key in people.profile_key[gone])


def test_only_visitors_expire_whom_no_identity_makes_known(tmp_path):
    rows = [
        seen(days(1), cookie="alone"), seen(days(1), device="d", cookie="two"),
        seen(days(1), session="s"), seen(days(1), household="h"),
        seen(days(1), customer="c"), seen(days(1), email="e@x.org", cookie="mail"),
        seen(days(1), cookie="later"), seen(days(9), cookie="later", login="l"), NOW,
    ]  # fmt: skip
    found = idle(tmp_path, rows, days(50), days(20))
    assert found == ["cookie:alone", "device:d", "household:h", "session:s"]
    # When nobody knew who it was, it was a visitor like any other.
    assert "cookie:later" in idle(tmp_path / "before", rows, days(5), days(20))


def test_the_newest_event_or_the_arrival_of_a_statement_counts(tmp_path):
    rows = [
        seen(days(1), cookie="back"), seen(days(20), cookie="back"), seen(days(19), cookie="old"),
        Row({"cookie": "told"}, days(1), received_at=days(20), profile={"city": "Rome"}),
        Row({"cookie": "late"}, days(1), received_at=days(20)),
        Row({"cookie": "joined", "device": "d"}, days(1)), seen(days(21), device="d"), NOW,
    ]  # fmt: skip
    assert idle(tmp_path, rows, days(50), days(20)) == ["cookie:late", "cookie:old"]


def test_what_comes_later_changes_nothing(tmp_path):
    rows = [seen(days(1), cookie="back"), seen(days(40), cookie="back"), NOW]
    assert idle(tmp_path, rows, days(40), days(10)) == ["cookie:back"]
    assert idle(tmp_path / "later", rows, days(40) + 1, days(10)) == []


def run_on(bench: Bench) -> dict[str, list[str]]:
    """Ingest and unite, and remove what has expired; return the identities left by source."""
    parts = ingest_all(bench)
    unify(bench, parts)
    expire(bench, parts)
    return parts


def facts(bench: Bench, parts: dict[str, list[str]]) -> dict[str, int]:
    (key,) = parts["log"]
    found = bench.store.facts(PARTS, key)
    return {name: found[name] for name in ("rows", "accepted", "expired", "erased")}


def test_expired_visitors_are_removed_and_only_once(tmp_path):
    rows = [
        seen(days(1), cookie="gone"), seen(days(2), cookie="gone"), seen(days(71), cookie="here"),
        seen(days(1), customer="ann", cookie="gone2"), seen(days(70), cookie="edge"), NOW,
    ]  # fmt: skip
    with world(tmp_path, rows, identity=MONTH) as bench:
        parts = run_on(bench)
        # The watermark is a microsecond after day 100: day 70 lies just more than 30 days before.
        assert facts(bench, parts) == {"rows": 6, "accepted": 3, "expired": 3, "erased": 0}
        left = {"customer:ann", "customer:now", "cookie:gone2", "cookie:here"}
        assert set(bench.graph.identities) == left
        united, made = bench.united, dict(bench.made)
        run_on(bench)
        assert (bench.united, bench.made) == (united, made)


def test_a_look_back_removes_nobody_who_has_come_back_since(tmp_path):
    rows = [seen(days(1), cookie="back"), seen(days(99), cookie="back"), NOW]
    with world(tmp_path, rows, identity=MONTH) as bench:
        run_on(bench)
        everyone = People.everyone(bench.graph.at(days(50)))
        assert len(everyone) == 1
        assert len(unexpired(bench, everyone, days(50))) == 0


def test_events_older_than_a_source_keeps_are_removed_and_people_who_had_no_others(tmp_path):
    rows = [
        seen(days(1), customer="ann"), seen(days(80), customer="ann"),
        seen(days(2), customer="bob"), NOW,
    ]  # fmt: skip
    settings = project(rows, goals=[GOAL], segments=[
        {"name": "near", "where": "any(visit in last 30d)"},
        {"name": "far", "where": "any(visit in last 60d)"},
    ])  # fmt: skip
    settings["sources"][0]["keep"] = "50d"
    settings["features"] = {"windows": ["2d", "90d"]}
    write(tmp_path / "log.jsonl", rows, settings)
    with bench_of(tmp_path, settings) as bench:
        parts = run_on(bench)
        assert facts(bench, parts) == {"rows": 4, "accepted": 2, "expired": 2, "erased": 0}
        assert set(bench.graph.identities) == {"customer:ann", "customer:now"}
        found = look_backs(bench)
    assert [key for key, _ in found] == ["features.windows", "segments.far.where"]
    assert found[0][1] == (
        "A window looks back 90 days, and sources.log keeps 50 days: it sees no further than that."
    )


# Survivors ---------------------------------------------------------------------------------------

GOAL = {
    "name": "returns", "kind": "conversion", "outcome": "any(visit)", "outcome_window": "20d",
    "eligible": "any(visit in last 10d)", "min_people": 2,
}  # fmt: skip


def visitors(seed: int = 7) -> list[Row]:
    """Return 300 visitors and 60 customers who visit once or, half of them, a second time."""
    chance, rows = random.Random(seed), [seen(days(0), customer="first"), NOW]
    for number in range(360):
        who = {"customer": f"c{number}"} if number >= 300 else {"cookie": f"v{number}"}
        first = days(chance.uniform(1, 95))
        rows.append(seen(first, **who))
        if chance.random() < 0.5:
            again = first + round(chance.uniform(1, 20) * DAY)
            if again < days(100):
                rows.append(seen(again, **who))
    return rows


def learnt(
    folder: Path, rows: list[Row], *, remove: bool, rule: bool
) -> dict[tuple[str, int], int]:
    """Return the labelled rows of a dataset, by person and day."""
    settings = project(rows, goals=[GOAL], identity=MONTH, training={"max_snapshots": 3})
    folder.mkdir()
    write(folder / "log.jsonl", rows, settings)
    with bench_of(folder, settings) as bench:
        if remove:
            run_on(bench)
        as_of = default_as_of(bench)
        with pytest.MonkeyPatch.context() as patched:
            if not rule:
                patched.setattr("pipelines.stages.unexpired", lambda bench, people, as_of: people)
            plan = plan_features(bench, as_of)
            (lesson,) = lessons(bench, plan)
            found = dataset_of(bench, plan, lesson)
            assert population(bench, plan)
        days_of = ((as_of - found.as_of) // DAY).tolist()
        people = [
            bench.graph.identities[key]
            for table in reversed(lesson.features)
            for key in _keys(bench, table)
        ]
        return dict(zip(zip(people, days_of, strict=True), found.label.tolist(), strict=True))


def _keys(bench: Bench, table: str) -> list[int]:
    folder = bench.store.folder("features", table)
    keys: list[int] = pq.read_table(folder / "features.parquet")["profile_key"].to_pylist()
    return keys


def rate(rows: dict[tuple[str, int], int], kind: str) -> float:
    labels = [label for (who, _), label in rows.items() if who.startswith(kind)]
    return sum(labels) / len(labels)


def test_learning_from_visitors_who_are_left_is_misleading_and_the_rule_mends_it(tmp_path):
    rows = visitors()
    whole = learnt(tmp_path / "whole", rows, remove=False, rule=False)
    naive = learnt(tmp_path / "naive", rows, remove=True, rule=False)
    ruled = learnt(tmp_path / "ruled", rows, remove=True, rule=True)
    before = learnt(tmp_path / "before", rows, remove=False, rule=True)
    # Those who did not come back are gone, so all the others seem to return.
    assert rate(naive, "cookie") > rate(whole, "cookie") + 0.08
    # By the rule nothing depends on what was removed: the very rows and labels of the whole.
    assert ruled == before
    assert ruled.items() <= whole.items()
    assert rate(ruled, "cookie") == pytest.approx(rate(whole, "cookie"), abs=0.12)
    # Customers are all there in any case.
    assert {k: v for k, v in ruled.items() if k[0].startswith("customer")} == {
        k: v for k, v in whole.items() if k[0].startswith("customer")
    }
