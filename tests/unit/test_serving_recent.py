"""An event that was acknowledged counts in the next score, whatever happens to the generation."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.time import MICROS_PER_DAY, parse_instant
from serving.api import create_app
from serving.generations import Generations
from serving.journal.event import LiveEvent, line_of
from serving.journal.files import FOLDER, Writer, read_from, read_past
from serving.journal.journal import Journal
from tests.unit.serving_shop import AS_OF, publish, shop

NOW = AS_OF + MICROS_PER_DAY


def event(id: str, who: str = "cookie:c1", at: int = NOW) -> LiveEvent:
    return LiveEvent(id, "purchase", at, at, (who,), {}, {}, {})


@contextmanager
def serving(folder):
    with TestClient(create_app(shop(folder), folder)) as client:
        yield client


def purchases(client: Any, who: str = "customer:ann") -> tuple[float, int]:
    """Return how many purchases in 30 days the answer rests on, and its as_of."""
    body = {"identity": who, "goals": ["churn"], "factors": 10}
    score = client.post("/score", json=body).json()["scores"]["churn"]
    counted = [f["value"] for f in score["factors"] if f["code"] == "purchase_count"]
    return max(counted, default=-1), parse_instant(score["as_of"])


def send(client: Any, *ids: str, **event: Any) -> None:
    events = [{"id": id, "type": "purchase", "identities": {"cookie": "c1"}, **event} for id in ids]
    assert client.post("/events", json={"events": events}).status_code == 202


def served(client: Any, who: str = "customer:ann") -> set[str]:
    """Return the ids of a person's recent events."""
    recent = client.app.state.generations.current().recent
    return {each.id for each in recent.of([who, "cookie:c1"])}


def test_an_event_sent_a_moment_ago_counts_in_the_next_score(tmp_path):
    publish(tmp_path)
    with serving(tmp_path) as client:
        before = purchases(client)
        assert before[1] == AS_OF
        send(client, "1", time="2011-10-03T00:00:00Z")
        after = purchases(client)
        # Known when it came in: now, years after all the others.
        assert after[1] > before[1]
        send(client, "1", time="2011-10-03T00:00:00Z")
        assert purchases(client) == after
        send(client, "2")
        assert purchases(client)[1] > after[1]
        assert served(client) == {"1", "2"}


def test_recent_events_are_read_from_the_journal_after_a_restart(tmp_path):
    publish(tmp_path)
    with serving(tmp_path) as client:
        send(client, "1", "2")
        before = purchases(client)
    with serving(tmp_path) as client:
        assert served(client) == {"1", "2"}
        assert purchases(client) == before


def test_an_event_before_the_first_run_counts_once_it_is_published(tmp_path):
    shop(tmp_path)
    with serving(tmp_path) as client:
        send(client, "1")
        publish(tmp_path)
        client.app.state.generations.look()
        assert served(client) == {"1"}


def test_a_new_generation_has_what_its_run_did_not_read(tmp_path):
    publish(tmp_path)
    folder = tmp_path / ".likelier" / FOLDER
    with serving(tmp_path) as client:
        send(client, "1")
        read = {path.name: path.stat().st_size for path in folder.iterdir()}
        send(client, "2")
        # A run that knows of all it read.
        now = max(each.known_at for each, _ in read_past(folder, {})) + 1
        publish(tmp_path, "run-2", now, journal=read)
        client.app.state.generations.look()
        assert served(client) == {"2"}
        # A run as of before: it read the event, and does not know of it.
        publish(tmp_path, "run-3", AS_OF, journal=read)
        client.app.state.generations.look()
        assert served(client) == {"1", "2"}


def test_only_what_is_past_the_offsets_is_read_past_them(tmp_path):
    writer = Writer(tmp_path)
    places = []
    for n in range(5):
        places.append(writer.append(line_of(event(str(n)))))
    writer.close()
    whole = [(each.id, place) for each, place in read_past(tmp_path, {})]
    assert [id for id, _ in whole] == list("01234")
    for place, (_, after) in zip(places, whole, strict=True):
        past = [each.id for each, _ in read_past(tmp_path, {place.file: place.offset})]
        assert past == [id for id, end in whole if end.offset > place.offset]
        assert after.offset > place.offset
    assert [each.id for each, _ in read_from(tmp_path, {}, NOW * 2)] == list("01234")


def test_no_event_is_lost_while_generations_follow_each_other(tmp_path):
    """Every event is counted by whoever answers when it is acknowledged, and ever after."""
    store = publish(tmp_path, "run-0")
    generations = Generations(store, every_seconds=0.001)
    generations.start()
    folder = store.root / FOLDER
    stop = threading.Event()

    def follow() -> None:
        for n in range(1, 12):
            read = {path.name: path.stat().st_size for path in folder.glob("*.jsonl")}
            # Half of the runs read the journal, and know of nothing in it.
            publish(tmp_path, f"run-{n}", AS_OF + n, journal=read if n % 2 else {})
        stop.set()

    publishing = threading.Thread(target=follow)

    async def send_all() -> int:
        journal = Journal(folder, [generations.received])
        publishing.start()
        sent = 0
        try:
            while not stop.is_set() or generations.loaded < 3:
                some = [event(f"{sent}-{n}", f"cookie:{sent % 7}") for n in range(3)]
                await journal.append(some)
                ids = {each.id for each in generations.current().recent.of([f"cookie:{sent % 7}"])}
                assert {each.id for each in some} <= ids
                sent += 1
        finally:
            stop.set()
            publishing.join()
            journal.stop()
        return sent

    sent = asyncio.run(send_all())
    expected = sorted(f"{k}-{n}" for k in range(sent) for n in range(3))
    started_anew = Generations(store)
    started_anew.look()
    for each in (generations, started_anew):
        recent = each.current().recent
        assert sorted(e.id for n in range(7) for e in recent.of([f"cookie:{n}"])) == expected
    generations.stop()
    assert sent > 20


def test_a_generation_that_cannot_catch_up_changes_nothing(tmp_path, monkeypatch):
    store = publish(tmp_path, "run-0")
    generations = Generations(store)
    generations.look()
    publish(tmp_path, "run-1")
    (store.root / FOLDER).mkdir(exist_ok=True)
    (store.root / FOLDER / "1.jsonl").mkdir()
    generations.look()
    assert (generations.current().run_id, generations.failed) == ("run-0", 1)


@pytest.mark.parametrize("identities", [("cookie:c1",), ("cookie:c1", "cookie:x"), ("cookie:x",)])
def test_recent_events_lie_under_their_primary_identity(tmp_path, identities):
    generations = Generations(publish(tmp_path))
    generations.look()
    generations.received([replace(event("1"), identities=identities)])
    found = generations.current().recent.of(["cookie:c1"])
    assert [each.id for each in found] == (["1"] if identities[0] == "cookie:c1" else [])
