"""`kill -9` of a worker or of the whole service at any moment loses no event that it acknowledged.

Three services share one store and are killed fifty times while clients send to them: one is BentoML
whole, of which now the worker and now everything is killed; two are its worker alone, the same
module in the same server, which start in half the time. Runs read the journal meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from features.sources.unite import TABLE as UNITED
from pipelines.stages import Bench, ingest_all, unify
from pipelines.workspace import Workspace
from serving.launch import CHECKOUT, command

KILLS = {"whole": 10, "worker 1": 20, "worker 2": 20}
START_SECONDS = 120
SENDERS = 3
MOST_AT_ONCE = 40
PROJECT = """\
project: mall
sources:
  - {name: web, kind: events, path: web.csv, event_time: at, event_type: what,
     identities: {customer: customer, cookie: cookie}, attributes: {amount: amount}}
identity:
  namespaces:
    - {name: customer, type: person, unique: true}
    - {name: cookie, type: cookie}
"""
WEB = "at,what,customer,cookie,amount\n2024-05-01,purchase,ann,c1,1\n"


@dataclass
class Sender:
    """A client that sends events, and sends some of those again that nobody acknowledged."""

    name: str
    port: int
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    ending: threading.Event = field(default_factory=threading.Event)

    def go(self) -> None:
        """Send until told to end."""
        draw = random.Random(self.name)
        again: list[str] = []
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30) as client:
            while not self.ending.is_set():
                first = len(self.sent)
                new = [f"{self.name}-{first + n}" for n in range(draw.randint(1, MOST_AT_ONCE))]
                ids = new + again[:MOST_AT_ONCE]
                try:
                    response = client.post("/events", json={"events": [event(id) for id in ids]})
                except httpx.ConnectError:
                    time.sleep(0.05)
                    continue
                except httpx.TransportError:
                    self.sent.update(new)
                    self.answers["broken off"] += 1
                    # Half of them come again, once the service is back.
                    again = [id for id in ids if draw.random() < 0.5]
                    time.sleep(0.05)
                    continue
                assert response.status_code == 202, response.text
                self.sent.update(new)
                found = response.json()
                self.answers["taken before"] += found["duplicates"]
                assert found["accepted"] + found["duplicates"] == len(ids), found
                self.answers["acknowledged"] += 1
                self.acknowledged.update(ids)
                again = []


def event(name: str) -> dict[str, object]:
    return {
        "id": name,
        "type": "visit",
        "identities": {"cookie": f"cookie-of-{name}"},
        "attributes": {"amount": len(name)},
    }


class Service:
    """A service that can be killed: BentoML as `likelier serve` starts it, or its worker alone."""

    def __init__(self, folder: Path, port: int, whole: bool) -> None:
        self.folder, self.port, self.whole = folder, port, whole
        argv, self.environment = command(folder, port)
        alone = ["-m", "uvicorn", "serving.service:app", "--port", str(port)]
        self.argv = argv if whole else [sys.executable, *alone, "--log-level", "error"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / f"service-{self.port}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, env=self.environment, cwd=CHECKOUT, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/docs.json").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("The service did not come up")

    def kill(self, only_worker: bool = False) -> None:
        """Kill the worker; then, or at once, whatever else there is of the service."""
        assert self.process is not None
        workers = children(self.process.pid) if self.whole else []
        if only_worker:
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
            time.sleep(0.2)
        self.process.kill()
        self.process.wait()
        for worker in {*workers, *children(self.process.pid)}:
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the processes that one has started."""
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], check=False, capture_output=True, text=True
    )
    return [int(each) for each in found.stdout.split()]


def besiege(service: Service, kills: int, seed: str) -> None:
    """Start a service and kill it at random moments, so many times."""
    draw = random.Random(seed)
    for number in range(kills):
        service.start()
        time.sleep(draw.uniform(0, 0.4))
        service.kill(only_worker=number % 2 == 0)


def taken(folder: Path) -> Counter[str]:
    """Read all that a run of now reads; return how often each event of the journal is there."""
    workspace = Workspace.open(folder)
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine)
        united = unify(bench, ingest_all(bench))
        events = pq.read_table(workspace.store.folder(UNITED, united) / "events.parquet")
    rows = events.select(["source", "event_id"]).to_pylist()
    return Counter(row["event_id"] for row in rows if row["source"] == "journal")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "likelier.yaml").write_text(PROJECT)
    (tmp_path / "web.csv").write_text(WEB)
    return tmp_path


@pytest.fixture
def services(folder: Path) -> Iterator[dict[str, Service]]:
    with contextlib.ExitStack() as held:
        # All at once, so that no port is given twice.
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in KILLS]
        ports = [each.getsockname()[1] for each in sockets]
    found = {
        name: Service(folder, port, whole=name == "whole")
        for name, port in zip(KILLS, ports, strict=True)
    }
    yield found
    for service in found.values():
        if service.process is not None and service.process.poll() is None:
            service.kill()


@pytest.mark.slow
def test_every_acknowledged_event_is_in_the_next_run_exactly_once(folder, services):
    senders = [
        Sender(f"{name}/{number}", service.port)
        for name, service in services.items()
        for number in range(SENDERS)
    ]
    failures: list[BaseException] = []

    def guarded(work, *arguments) -> None:
        try:
            work(*arguments)
        except BaseException as error:
            failures.append(error)

    sending = [threading.Thread(target=guarded, args=(each.go,)) for each in senders]
    killing = [
        threading.Thread(target=guarded, args=(besiege, services[name], kills, name))
        for name, kills in KILLS.items()
    ]
    for thread in (*sending, *killing):
        thread.start()
    runs = 0
    while any(thread.is_alive() for thread in killing):
        if (folder / ".likelier" / "journal").is_dir():
            taken(folder)
            runs += 1
        time.sleep(3)
    for each in senders:
        each.ending.set()
    for thread in (*sending, *killing):
        thread.join()
    assert not failures, failures
    acknowledged = set().union(*(each.acknowledged for each in senders))
    sent = set().union(*(each.sent for each in senders))
    found = taken(folder)
    told = sum((each.answers for each in senders), Counter[str]())
    print(f"{sum(KILLS.values())} kills, {runs} runs, {len(acknowledged):,} events acknowledged "
          f"of {len(sent):,} sent, {len(found):,} found; {dict(told)}")  # fmt: skip
    assert len(acknowledged) > 1_000
    assert told["broken off"] >= sum(KILLS.values()) / 2, "Most kills hit no request"
    assert sorted(acknowledged - found.keys()) == []
    assert sorted(found.keys() - sent) == []
    assert {id: count for id, count in found.items() if count != 1} == {}
