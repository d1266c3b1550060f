"""The real service: BentoML in a process of its own, on the loopback address, over a real store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from features.errors import SettingsError
from features.time import MICROS_PER_DAY
from serving.launch import command
from tests.unit.serving_shop import ANN, ANN_EMAIL, AS_OF, bundle, publish, shop, vectors

START_SECONDS = 60
SWAP_SECONDS = 15


@contextmanager
def running(folder, port) -> Iterator[httpx.Client]:
    """Run the service until the block ends; it must then stop by itself when asked to."""
    argv, environment = command(folder, port)
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                wait_for(lambda: answers(client, process), START_SECONDS)
                yield client
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            if process.poll() is None:
                # Asked first: its workers lead sessions of their own, and only it can end them.
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(10)


def answers(client, process):
    assert process.poll() is None, "The service ended by itself"
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"It did not happen in {seconds} s"
        time.sleep(0.05)


def churn(client, identity="email:ann@mail.example"):
    response = client.post("/score", json={"identity": identity, "goals": ["churn"], "factors": 2})
    assert response.status_code == 200
    return response.json()["scores"]["churn"]


def refused(response, status, code):
    return (response.status_code, response.json()["error"]["code"]) == (status, code)


SPARED = """
import gc
from starlette.testclient import TestClient
from serving.service import app
assert not gc.get_freeze_count()
with TestClient(app):
    print(gc.get_freeze_count(), gc.get_threshold()[2])
"""


def test_what_is_there_before_the_first_answer_is_not_searched_for_garbage_again(tmp_path):
    shop(tmp_path)
    publish(tmp_path, "run-1")
    _, environment = command(tmp_path, 0)
    said = subprocess.run(
        [sys.executable, "-c", SPARED], env=environment, capture_output=True, text=True, check=True
    )
    frozen, looks_before_all = map(int, said.stdout.split())
    assert frozen > 100_000
    assert looks_before_all > 100


def test_the_service_from_its_first_run_to_the_next(tmp_path, free_port):
    folder = tmp_path / "shop"
    shop(folder)
    with running(folder, free_port) as client:
        # Before the first run: alive, not ready, and it says why.
        assert client.get("/readyz").status_code == 503
        response = client.post("/score", json={"identity": "cookie:c1"})
        assert refused(response, 503, "nothing_published")

        publish(folder, "run-1")
        wait_for(lambda: client.get("/readyz").status_code == 200, SWAP_SECONDS)
        before = churn(client)
        batch = bundle("churn").score(vectors()["churn", "customer:ann"][None])
        assert before["probability"] == batch.probability[0]
        assert before["as_of"] == "2011-10-01T00:00:00Z"
        assert client.get("/profiles/cookie%3Aa%2Fb%3Fc%20d%3Ae").json()["known"] is True
        assert client.get("/profiles/email:ann%40example.org").status_code == 400

        # The routes that BentoML has too, and those that nobody has.
        assert "/score/batch" in client.get("/docs.json").json()["paths"]
        assert refused(client.get("/nowhere/cookie:secret"), 404, "not_found")
        assert refused(client.get("/"), 404, "not_found")
        assert refused(client.get("/score"), 405, "method_not_allowed")
        assert refused(client.post("/score", content=b"{"), 415, "unsupported_media_type")

        # The next run takes over while the service runs; one that is broken does not.
        publish(folder, "run-2", AS_OF + MICROS_PER_DAY, seed=1)
        wait_for(lambda: churn(client)["as_of"] != before["as_of"], SWAP_SECONDS)
        assert churn(client)["probability"] != before["probability"]
        (folder / ".likelier" / "CURRENT").write_text("lost")
        refused_once = 'likelier_generations_total{outcome="refused"} 1.0'
        wait_for(lambda: refused_once in client.get("/metrics").text, SWAP_SECONDS)
        assert churn(client)["as_of"] == "2011-10-02T00:00:00Z"

        metrics = client.get("/metrics").text
        assert 'route="/profiles/{identity}",status="200"' in metrics

    log = (folder / "service.log").read_text()
    for private in ("ann@mail.example", "ann%40", "secret", "cookie:", ANN.profile_id, ANN_EMAIL):
        assert private not in metrics
        assert private not in log
    # Stopped in order: what was sampled is on disk.
    served = [*(folder / ".likelier" / "served").glob("*.jsonl")]
    assert len(served) == 1
    assert served[0].read_text().count('"goal":"churn"') >= 3


def test_a_wrong_project_file_is_said_before_a_process_starts(tmp_path):
    with pytest.raises(SettingsError, match=r"no likelier\.yaml"):
        command(tmp_path, 1)
