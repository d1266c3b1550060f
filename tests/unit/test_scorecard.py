"""The history of scores and its cards: made once, of what was known when the window closed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import erasures
from features.store import Manifest
from features.time import format_instant
from pipelines.history import HISTORY, Entry, entries_of, remember
from pipelines.learning import TRAINED
from pipelines.scorecard import CARDS, cards_of, close_cards, scorecard
from pipelines.scoring import DRIFT, SCORES
from pipelines.stages import Bench, plan_features
from serving.scorer import UnknownGoal
from tests.worlds import DAY, Row, bench_of, days, project, seen, world, write

AS_OF, C = days(20), days(27)
GOAL = {"name": "buys", "kind": "conversion", "outcome": "any(purchase)", "outcome_window": "5d",
        "gap": "2d"}  # fmt: skip
METRICS = {"auc": 0.8, "auc_low": 0.7, "auc_high": 0.9}
WHO = [f"cookie:c{n}" for n in range(6)]
PREDICTED = [0.1, 0.1, 0.2, 0.4, 0.6, 0.9]
BUCKETS = ["low", "low", "medium", "medium", "medium", "high"]


def visits(until: int = 29) -> list[Row]:
    """Everyone visits at first, and one of them to the end: the data reach beyond the window."""
    rows = [seen(days(1) + n, cookie=f"c{n}") for n in range(6)]
    rows.append(seen(days(1), "purchase", customer="old"))
    return [*rows, *(seen(days(n), cookie="c0") for n in range(2, until))]


def say(bench: Bench, as_of: int = AS_OF, version: str = "v1", who: Sequence[str] = WHO) -> None:
    """Publish a run that scores people, with a history and the cards that are due."""
    with bench.store.writing(SCORES, f"{as_of}{version}") as (folder, facts):
        columns: dict[str, Any] = {
            "goal": ["buys"] * len(who), "profile_id": list(who),
            "probability": PREDICTED[: len(who)], "margin": PREDICTED[: len(who)],
            "bucket": BUCKETS[: len(who)],
        }  # fmt: skip
        pq.write_table(pa.table(columns), folder / "scores.parquet")
        facts["goals"] = {"buys": {"people": len(who)}}
        (folder / DRIFT).write_text('{"buys": []}')
    with bench.store.writing(TRAINED, version) as (_, facts):
        facts |= {"version": version, "metrics": METRICS}
    plan = plan_features(bench, as_of)
    entries = remember(bench, plan, f"{as_of}{version}", {"buys": version})
    cards = close_cards(bench, entries, as_of)
    tables = {HISTORY: "+".join(e.key for e in entries), "united": bench.united}
    tables[SCORES] = f"{as_of}{version}"
    tables |= {CARDS: "+".join(cards.keys)} if cards.keys else {}
    figures = {"not_judged": list(cards.warnings)}
    bench.store.publish(Manifest(f"{as_of}{version}", as_of, tables, {}, figures=figures))


def history(bench: Bench) -> list[Entry]:
    return entries_of(bench.store, bench.store.current())


def cards(bench: Bench) -> list[dict[str, Any]]:
    return [facts for _, facts in cards_of(bench.store, bench.store.current())]


def rates(card: Mapping[str, Any]) -> tuple[int, int, float]:
    everyone = card["batch"]["everyone"]
    return everyone["people"], everyone["outcomes"], round(everyone["predicted"], 6)


def test_a_card_is_made_when_the_window_has_closed_and_not_before(tmp_path):
    bought = [seen(days(23), "purchase", cookie="c5"), seen(days(26), "purchase", cookie="c3"),
              seen(days(21), "purchase", cookie="c1")]  # fmt: skip
    with world(tmp_path, [*visits(), *bought], goals=[GOAL]) as bench:
        say(bench)
        assert (len(history(bench)), cards(bench)) == (1, [])
        say(bench, C - 1, "v2")
        assert (len(history(bench)), cards(bench)) == (2, [])
        say(bench, C, "v3")
        (card,) = cards(bench)
        assert (card["goal"], card["version"], card["as_of"]) == ("buys", "v1", AS_OF)
        # c1 bought in the gap: no outcome.
        assert rates(card) == (6, 2, round(sum(PREDICTED) / 6, 6))
        assert card["batch"]["buckets"]["medium"]["outcomes"] == 1
        assert card["batch"]["promised"] == [0.8, 0.7, 0.9]
        assert card["batch"]["auc"] == (4 + 3) / 8
        assert (card["batch"]["missing"], card["served"]) == (0, None)
        report = scorecard(bench.workspace, "buys")
        assert [each["version"] for each in report["waiting"]] == ["v2", "v3"]
        assert report["cards"][0]["closes_at"] == format_instant(C)
        # A run of before there was drift is shown too.
        (bench.store.folder(SCORES, f"{C}v3") / DRIFT).unlink()
        assert scorecard(bench.workspace) == report | {"drift": {}}
        with pytest.raises(UnknownGoal, match="no goal 'bye'"):
            scorecard(bench.workspace, "bye")


def test_data_that_end_before_the_window_close_no_card(tmp_path):
    with world(tmp_path, visits(until=26), goals=[GOAL]) as bench:
        say(bench)
        say(bench, days(40), "v2")
        assert cards(bench) == []


def test_what_was_said_first_stands(tmp_path):
    with world(tmp_path, visits(), goals=[GOAL]) as bench:
        say(bench)
        say(bench, who=WHO[:3])
        (entry,) = history(bench)
        assert entry.people == 6
        say(bench, days(21))
        say(bench, version="v2")
        assert [(e.as_of, e.version) for e in history(bench)] == [
            (AS_OF, "v1"), (days(21), "v1"), (AS_OF, "v2"),
        ]  # fmt: skip


def test_the_history_outlives_the_runs_that_stay_readable(tmp_path):
    with world(tmp_path, visits(), goals=[GOAL]) as bench:
        for number in range(6):
            say(bench, days(15 + number))
            bench.store.collect()
        assert len(list((bench.store.root / "runs").glob("*.json"))) == 3
        assert [e.people for e in history(bench)] == [6] * 6
        say(bench, C)
        bench.store.collect()
        assert len(cards(bench)) == 6


def test_a_closed_card_stays_as_it_was_made(tmp_path):
    settings = project(visits(), path="log*.jsonl", goals=[GOAL])
    write(tmp_path / "log.jsonl", visits(), settings)
    with bench_of(tmp_path, settings) as bench:
        say(bench)
        say(bench, C, "v2")
        (before,) = cards(bench)
    # A file that comes late, and cannot say when it was received.
    write(tmp_path / "log_late.jsonl", [seen(days(23), "purchase", cookie="c5")], settings)
    with bench_of(tmp_path, settings) as bench:
        say(bench, days(28), "v2")
        assert cards(bench)[0] == before
        bench.again = ("score", "anew")
        say(bench, days(28), "v3")
        assert rates(cards(bench)[0])[1] == 1


def late(rng: random.Random) -> list[Row]:
    """Draw rows received at or after c, of any time: purchases, logins, other people's."""
    drawn = []
    for _ in range(40):
        who = {"cookie": f"c{rng.randrange(8)}"}
        if rng.random() < 0.5:
            who["customer"] = f"p{rng.randrange(3)}"
        moment = rng.randrange(days(0), C + 20 * DAY)
        event = rng.choice(["purchase", "visit"])
        drawn.append(Row(who, moment, event, max(moment, rng.randrange(C, C + 30 * DAY))))
    return drawn


@pytest.mark.parametrize("seed", range(4))
def test_rows_received_after_the_window_closed_change_nothing(tmp_path, seed):
    rng = random.Random(seed)
    known = visits()
    known += [seen(rng.randrange(days(18), C), "purchase", cookie=f"c{n}") for n in (1, 4, 5)]
    known.append(seen(days(24), cookie="c2", customer="p0"))
    found = []
    for name, rows in (("clean", known), ("poisoned", [*known, *late(rng)])):
        with world(tmp_path / name, rows, goals=[GOAL]) as bench:
            say(bench)
            say(bench, C, "v2")
            found.append(cards(bench))
    assert len(found[0]) == 1
    assert found[0] == found[1]


def test_the_poison_would_be_seen_if_it_came_earlier(tmp_path):
    early = [Row(row.who, row.event_time, row.event_type) for row in late(random.Random(0))]
    found = []
    for name, rows in (("clean", visits()), ("spoilt", [*visits(), *early])):
        with world(tmp_path / name, rows, goals=[GOAL]) as bench:
            say(bench)
            say(bench, C, "v2")
            found.append(cards(bench))
    assert found[0] != found[1]


def test_answers_of_the_service_have_a_card_of_their_own(tmp_path):
    bought = [seen(days(24), "purchase", cookie="c5")]
    moment = format_instant(AS_OF)
    told = {"goal": "buys", "model_version": "v1", "as_of": moment, "status": "scored",
            "time": "2024-01-21T00:00:00Z"}  # fmt: skip
    lines = [
        told | {"profile_id": "cookie:c5", "probability": 0.5, "score": 50.0},
        told | {"profile_id": "cookie:c5", "probability": 0.7, "score": 80.0,
                "time": "2024-01-22T00:00:00Z"},
        told | {"profile_id": "cookie:c1", "probability": 0.1, "score": 9.0},
        told | {"profile_id": None, "probability": 0.3, "score": None, "status": "no_history"},
        told | {"profile_id": "cookie:c2", "probability": 0.3, "score": 30.0, "as_of": "other"},
        told | {"profile_id": "cookie:c3", "probability": 0.3, "score": 30.0,
                "model_version": "v0"},
    ]  # fmt: skip
    with world(tmp_path, [*visits(), *bought], goals=[GOAL]) as bench:
        folder = bench.store.root / "served"
        folder.mkdir(parents=True)
        (folder / "1-1.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)) + b'\n{"time')
        say(bench)
        say(bench, C, "v2")
        (card,) = cards(bench)
        served = card["served"]
        assert (served["everyone"]["people"], served["everyone"]["outcomes"]) == (2, 1)
        assert served["everyone"]["predicted"] == pytest.approx(0.4)  # The last answer counts.
        assert list(served["buckets"]) == ["high", "low"]
        assert rates(card)[0] == 6


def test_an_outcome_that_means_something_else_now_is_not_judged(tmp_path):
    measure = {"name": "bought", "value": "count(purchase)"}
    goal = GOAL | {"outcome": "bought >= 1"}
    with world(tmp_path, visits(), goals=[goal], measures=[measure]) as bench:
        say(bench)
    settings = project(visits(), goals=[goal], measures=[measure | {"value": "count(visit)"}])
    with bench_of(tmp_path, settings) as bench:
        say(bench, C, "v2")
        assert cards(bench) == []
        (warning,) = bench.store.current().figures["not_judged"]
        assert warning.startswith("not_judged: buys as of 2024-01-21")


def test_whoever_is_erased_leaves_the_history(tmp_path):
    with world(tmp_path, visits(), goals=[GOAL]) as bench:
        say(bench)
        say(bench, days(21))
        erasures.record(bench.store.root, days(29), {"cookie:c2"}, {}, ())
    with bench_of(tmp_path, project(visits(), goals=[GOAL])) as bench:
        say(bench, days(22))
        bench.store.collect(kept_runs=1)
        assert [(e.people, e.missing) for e in history(bench)[:2]] == [(5, 1), (5, 1)]
        folders = (bench.store.root / "tables" / HISTORY).iterdir()
        files = [pq.read_table(folder / "scores.parquet") for folder in folders]
        named = {name for table in files for name in table["profile_id"].to_pylist()}
        assert named == set(WHO)  # Said anew by this test's last run alone.
        assert [e.id for e in history(bench)[:2]] != [e.key for e in history(bench)[:2]]
        say(bench, C)
        assert rates(cards(bench)[0])[0] == 5


def test_visitors_who_expire_leave_the_history_and_are_counted(tmp_path):
    idle = {"identity": {"expire_anonymous": "10d"}}
    with world(tmp_path, visits(until=15), goals=[GOAL]) as bench:
        say(bench, days(10))
    settings = project(visits(), goals=[GOAL], **idle)
    write(tmp_path / "log.jsonl", visits(), settings)
    from pipelines.expiring import expire
    from pipelines.stages import ingest_all

    with bench_of(tmp_path, settings) as bench:
        expire(bench, ingest_all(bench))
        say(bench, days(28), who=WHO[:1])
        first = history(bench)[0]
        assert (first.people, first.missing) == (1, 5)
        (card,) = cards(bench)
        assert (rates(card)[0], card["batch"]["missing"], card["batch"]["alarms"]) == (1, 5, [])
