"""Redis goes away, and comes back with all or nothing of what it held: the service follows it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from features.errors import SettingsError
from features.time import format_instant
from serving.api import create_app
from tests.redis_server import RedisServer, redis_server
from tests.unit.serving_shop import AS_OF, place_in, publish, shop

BACK_SECONDS = 20


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def serving(folder: Path, server: RedisServer) -> Iterator[Any]:
    with TestClient(create_app(shop(folder, server.url), folder)) as client:
        yield client


def ask(client: Any, who: str = "cookie:c1") -> Any:
    return client.post("/score", json={"identity": who, "goals": ["churn"]})


def moment(client: Any) -> str:
    response = ask(client)
    assert response.status_code == 200, response.text
    return str(response.json()["scores"]["churn"]["as_of"])


def send(client: Any, id: str) -> None:
    event = {"id": id, "type": "purchase", "identities": {"cookie": "c1"}}
    assert client.post("/events", json=event).status_code == 202


def is_away(response: Any) -> bool:
    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"
    error = response.json()["error"]
    return bool(error["code"] == "online_store_away" and error["hint"])


def wait_until_back(client: Any) -> None:
    end = time.monotonic() + BACK_SECONDS
    while ask(client).status_code != 200:
        assert time.monotonic() < end, "It did not come back"
        time.sleep(0.05)


def served(client: Any) -> list[str]:
    """Return the ids of recent events, once the service has caught up."""
    return sorted(e.id for e in client.app.state.generations.current().recent.of(["cookie:c1"]))


def wait_for(client: Any, ids: list[str]) -> None:
    end = time.monotonic() + BACK_SECONDS
    while served(client) != ids:
        assert time.monotonic() < end, served(client)
        time.sleep(0.05)


def test_a_server_that_does_not_answer_is_a_503_until_it_does(tmp_path, server):
    publish(tmp_path, url=server.url)
    with serving(tmp_path, server) as client:
        assert moment(client) == format_instant(AS_OF)
        send(client, "1")
        before = moment(client)
        assert before > format_instant(AS_OF)
        os.kill(server.process.pid, signal.SIGSTOP)
        assert is_away(ask(client))
        assert is_away(client.get("/profiles/cookie:c1"))
        assert is_away(client.post("/score/batch", json={"identities": ["cookie:c1"]}))
        # The journal is the truth: events are taken, and count when the server is back.
        send(client, "2")
        assert client.get("/metrics").status_code == 200
        os.kill(server.process.pid, signal.SIGCONT)
        wait_until_back(client)
        wait_for(client, ["1", "2"])
        assert moment(client) > before


def test_a_server_that_lost_everything_never_says_that_nobody_is_known(tmp_path, server):
    publish(tmp_path, url=server.url)
    with serving(tmp_path, server) as client:
        send(client, "1")
        server.kill()
        assert is_away(ask(client))
        send(client, "2")
        server.start()
        response = ask(client)
        assert is_away(response)
        assert "likelier run" in response.json()["error"]["hint"]
        # What a run does that finds its generation gone.
        publish(tmp_path, url=server.url)
        wait_until_back(client)
        wait_for(client, ["1", "2"])


def test_a_service_that_starts_while_redis_is_away_waits_for_it(tmp_path, server):
    publish(tmp_path, url=server.url)
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with serving(tmp_path, server) as client:
            assert ask(client).status_code == 503
            os.kill(server.process.pid, signal.SIGCONT)
            wait_until_back(client)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def test_two_services_share_what_one_was_told(tmp_path, server):
    publish(tmp_path, url=server.url)
    with serving(tmp_path, server) as one, serving(tmp_path, server) as other:
        send(one, "1")
        assert moment(other) == moment(one) > format_instant(AS_OF)


def test_a_new_generation_loses_no_event(tmp_path, server):
    publish(tmp_path, url=server.url)
    with serving(tmp_path, server) as client:
        send(client, "1")
        publish(tmp_path, "run-2", AS_OF + 5, url=server.url)
        client.app.state.generations.look()
        assert client.app.state.generations.current().run_id == "run-2"
        send(client, "2")
        assert served(client) == ["1", "2"]
        place_in(tmp_path, server.url).keep({"run-2"})
        assert served(client) == ["1", "2"]


@pytest.mark.parametrize("url", ["redis", "http://x:1", "", "memcached://x"])
def test_what_is_no_place_is_refused(tmp_path, url):
    with pytest.raises(SettingsError, match=r"serving\.online"):
        shop(tmp_path, url)
