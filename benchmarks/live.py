"""Scores of the visitor on the page: the running service under load, beside a bare route.

    python benchmarks/live.py [PEOPLE [SOAK_MINUTES [FOLDER]]]

A generated shop of people with 50 to 500 events each in the last 180 days and two goals, run and
served as any project is. Everyone asked about has an event received since the run, so every score
is of features computed in the request. Three services run side by side on the loopback address, one
worker each: this one, a bare Starlette route that answers a constant, through the same BentoML, and
that route without BentoML's traces, which this service does not keep either (`untraced`).

- score: `POST /score`, both goals, no factors; rounds of the services turn by turn, by 1 and by 4
  clients that keep their connection. Ratios are of ours to the bare route by percentile, and
  `_untraced` to the other.
- counted: an event is posted; from the answer 202 to the end of an answer that counts it.
- soak: three scores and one event in turn at half of the most scores a second, for SOAK_MINUTES.
  Memory is what the service's processes hold for themselves (files that are mapped not counted);
  it is given at the first look, after a minute, at the end, and at the end of every fifth minute.

A FOLDER that is named is kept, and what was generated and run there is used again. The last line is
JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from serving.launch import command

Floats = NDArray[np.float64]

CHECKOUT = Path(__file__).resolve().parent.parent
PEOPLE, SOAK_MINUTES = 100_000, 30.0
ROUNDS, REQUESTS = 5, 1_000
COUNTED = 1_000
BEGUN = time.time_ns()
"""In the ids of events: those of an earlier measurement in the same folder are other events."""
SETTLE_SECONDS = 60.0
FIVE_MINUTES = 300
DAY = 86_400_000_000
TYPES = ("view", "search", "cart", "purchase", "email_open")
SHARES = (0.64, 0.15, 0.1, 0.01, 0.1)
CATEGORIES = ("books", "garden", "shoes", "toys", "wine")


def main(people: int, minutes: float, kept: Path | None) -> None:
    """Measure everything; print a table and one line of JSON."""
    figures: dict[str, Any] = {"benchmark": "live", "machine": platform.machine()}
    figures |= {"cores": os.cpu_count(), "people": people}
    with tempfile.TemporaryDirectory() as name:
        folder = kept or Path(name)
        figures["events"] = generate(folder, people)
        print(f"{people:,} people, {figures['events']:,} events", flush=True)
        figures["run_seconds"] = round(published(folder), 1)
        print(f"run: {figures['run_seconds']} s", flush=True)
        with services(folder) as (ports, process):
            warm(ports["ours"], people)
            figures |= compared(ports, people)
            figures |= counted(ports["ours"], people)
            figures |= soaked(ports["ours"], process, people, minutes, figures["scores_a_second"])
    print(json.dumps(figures))


# The shop ----------------------------------------------------------------------------------------


def generate(folder: Path, people: int) -> int:
    """Write the log and the project file; return the number of events.

    People are active at rates of their own and buy by one of their own; some have left.
    """
    if (log := folder / "log.parquet").exists():
        return pq.read_metadata(log).num_rows
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(7)
    now = time.time_ns() // 1_000
    each = draw.integers(50, 501, people)
    left = np.where(draw.random(people) < 0.5, draw.random(people) * 150, 0)
    eager = draw.beta(1, 120, people)
    rows = pq.ParquetWriter(log, SCHEMA, compression="zstd")
    for start in range(0, people, 10_000):
        some = np.arange(start, min(start + 10_000, people))
        who = np.repeat(some, each[some])
        days = left[who] + draw.random(len(who)) * (180 - left[who])
        kind = draw.choice(len(TYPES), len(who), p=SHARES)
        kind[(draw.random(len(who)) < eager[who]) & (kind == 0)] = TYPES.index("purchase")
        rows.write_table(
            pa.table(
                {
                    "customer": pa.array(np.char.add("p", who.astype(str))),
                    "time": pa.array(
                        now - 3_600_000_000 - (days * DAY).astype(np.int64), pa.timestamp("us")
                    ),
                    "type": pa.array(np.array(TYPES)[kind]),
                    "amount": pa.array(np.round(draw.gamma(2, 20, len(who)), 2)),
                    "category": pa.array(draw.choice(CATEGORIES, len(who))),
                },
                SCHEMA,
            )
        )
    rows.close()
    (folder / "likelier.yaml").write_text(json.dumps(project(people)))
    return int(each.sum())


SCHEMA = pa.schema(
    [("customer", pa.string()), ("time", pa.timestamp("us")), ("type", pa.string()),
     ("amount", pa.float64()), ("category", pa.string())]
)  # fmt: skip


def project(people: int) -> dict[str, Any]:
    """Return the settings of the shop."""
    return {
        "project": "live",
        "engine": {"threads": 2, "memory_limit": "6GB"},
        "sources": [
            {
                "name": "shop",
                "kind": "events",
                "path": "log.parquet",
                "event_time": "time",
                "event_type": "type",
                "identities": {"customer": "customer"},
                "attributes": {"amount": "amount", "category": "category"},
            }
        ],
        "identity": {
            "namespaces": [
                {"name": "customer", "type": "person", "unique": True},
                {"name": "cookie", "type": "cookie"},
            ]
        },
        "features": {"windows": ["7d", "30d", "90d"]},
        "goals": [
            {
                "name": "churn",
                "kind": "churn",
                "outcome": "not any(purchase)",
                "outcome_window": "30d",
                "eligible": "any(cart in last 90d)",
            },
            {
                "name": "conversion",
                "kind": "conversion",
                "outcome": "any(purchase)",
                "outcome_window": "30d",
                "eligible": "any(view in last 90d)",
            },
        ],
    }


def published(folder: Path) -> float:
    """Run the project; return the seconds it took."""
    start = time.perf_counter()
    argv = [
        sys.executable,
        "-c",
        "from pipelines.cli import main; main()",
        "-p",
        str(folder),
        "run",
    ]
    subprocess.run(argv, check=True, cwd=CHECKOUT, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


# The services ------------------------------------------------------------------------------------


@contextmanager
def services(folder: Path) -> Iterator[tuple[dict[str, int], int]]:
    """Yield the ports of the services by name, and the process id of ours."""
    ports = {name: free_port() for name in ("ours", "bare", "untraced")}
    argv, environment = command(folder, ports["ours"])
    plain = [
        [sys.executable, "-m", "bentoml", "serve", f"bare_service:{name.capitalize()}",
         "--host", "127.0.0.1", "--port", str(ports[name]),
         "--working-dir", str(CHECKOUT / "benchmarks")]
        for name in ("bare", "untraced")
    ]  # fmt: skip
    started = [
        subprocess.Popen(each, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        for each in (argv, *plain)
    ]
    try:
        for port, process in zip(ports.values(), started, strict=True):
            wait_ready(port, process)
        yield ports, started[0].pid
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(30)


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_ready(port: int, process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait until a service answers `/readyz`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with Client(port) as client:
                if client.get("/readyz")[0] == 200:
                    return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit("The service did not become ready.")


class Client:
    """One connection that is kept: as little work as an HTTP client can do."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        return self._asked(f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of an answer to a JSON body."""
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        return self._asked(head.encode() + body)

    def _asked(self, request: bytes) -> tuple[int, bytes]:
        self._socket.sendall(request)
        found = b""
        while (end := found.find(b"\r\n\r\n")) < 0:
            found += self._received()
        head, body = found[:end].lower(), found[end + 4 :]
        stated = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        while len(body) < int(stated or 0):
            body += self._received()
        return int(found[9:12]), body

    def _received(self) -> bytes:
        if not (found := self._socket.recv(65_536)):
            raise ConnectionError("The service closed the connection.")
        return found


# What is measured --------------------------------------------------------------------------------


def question(person: int) -> bytes:
    """Return the body that asks for both scores of a person."""
    return json.dumps({"identity": f"customer:p{person}"}).encode()


def event(person: int, name: str, kind: str = "view") -> dict[str, Any]:
    """Return an event of now."""
    return {
        "id": f"{BEGUN}-{name}",
        "type": kind,
        "time": datetime.now(UTC).isoformat(),
        "identities": {"customer": f"p{person}"},
        "attributes": {"amount": 9.5, "category": "toys"},
    }


def warm(port: int, people: int) -> None:
    """Send everyone's first event since the run."""
    with Client(port) as client:
        for start in range(0, people, 1_000):
            some = range(start, min(start + 1_000, people))
            events = [event(person, f"warm-{person}") for person in some]
            status, answer = client.post("/events", json.dumps({"events": events}).encode())
            if status != 202:
                raise SystemExit(f"POST /events answered {status}: {answer[:500]!r}")


def asked(port: int, persons: Sequence[int]) -> Floats:
    """Ask about people one after the other; return the seconds each answer took."""
    bodies = [question(person) for person in persons]
    took = np.empty(len(bodies))
    with Client(port) as client:
        client.post("/score", bodies[0])
        for number, body in enumerate(bodies):
            start = time.perf_counter()
            status, answer = client.post("/score", body)
            took[number] = time.perf_counter() - start
            if status != 200:
                raise SystemExit(f"POST /score answered {status}: {answer[:500]!r}")
    return took


def compared(ports: dict[str, int], people: int) -> dict[str, float]:
    """Ask the services turn by turn; return percentiles of ours and their ratios to others'."""
    figures: dict[str, float] = {}
    print(f"{'clients':<9}{'service':<9}{'p50 ms':>9}{'p99 ms':>9}{'a second':>10}")
    for clients in (1, 4):
        took: dict[str, list[Floats]] = {name: [] for name in ports}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        with multiprocessing.get_context("fork").Pool(clients) as pool:
            for turn in range(ROUNDS):
                for name, port in ports.items():
                    draw = random.Random(turn)
                    some = [
                        [draw.randrange(people) for _ in range(REQUESTS // clients)]
                        for _ in range(clients)
                    ]
                    start = time.perf_counter()
                    took[name] += pool.map(partial(asked, port), some, chunksize=1)
                    rates[name].append(REQUESTS / (time.perf_counter() - start))
        suffix = "" if clients == 1 else f"_{clients}_clients"
        for percent in (50, 99):
            all_took = {name: np.concatenate(some) for name, some in took.items()}
            found = {name: float(np.percentile(some, percent)) for name, some in all_took.items()}
            figures[f"p{percent}_ms{suffix}"] = round(found["ours"] * 1e3, 3)
            for name, against in (("bare", ""), ("untraced", "_untraced")):
                ratio = round(found["ours"] / found[name], 2)
                figures[f"ratio_p{percent}{suffix}{against}"] = ratio
        for name, some in all_took.items():
            p50, p99 = np.percentile(some, [50, 99]) * 1e3
            rate = float(np.median(rates[name]))
            print(f"{clients:<9}{name:<9}{p50:>9.3f}{p99:>9.3f}{rate:>10,.0f}", flush=True)
        figures["scores_a_second"] = round(float(np.median(rates["ours"])), 1)
    return figures


def counted(port: int, people: int) -> dict[str, float]:
    """Return percentiles of the time from an event's 202 to a score that counts it."""
    took, draw = np.empty(COUNTED), random.Random(1)
    with Client(port) as client:
        for number in range(COUNTED):
            person = draw.randrange(people)
            body = json.dumps({"events": [event(person, f"counted-{number}")]}).encode()
            before = as_of(client, person)
            status, answer = client.post("/events", body)
            if status != 202:
                raise SystemExit(f"POST /events answered {status}: {answer[:500]!r}")
            start = time.perf_counter()
            while as_of(client, person) <= before:
                pass
            took[number] = time.perf_counter() - start
    p50, p99 = np.percentile(took, [50, 99]) * 1e3
    print(f"counted: p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)
    return {"counted_p50_ms": round(p50, 2), "counted_p99_ms": round(p99, 2)}


def as_of(client: Client, person: int) -> str:
    """Return the moment of a person's scores: just after the newest event that they count."""
    said: str = json.loads(client.post("/score", question(person))[1])["scores"]["churn"]["as_of"]
    return said


def soaked(port: int, process: int, people: int, minutes: float, peak: float) -> dict[str, Any]:
    """Ask and send at half of `peak`; return how memory and answers went."""
    period, draw = 2 / peak, random.Random(2)
    took: list[float] = []
    held: list[float] = []
    begin = time.monotonic()
    end = begin + minutes * 60
    number, due, look = 0, begin, begin
    with Client(port) as client:
        while (now := time.monotonic()) < end:
            if now < due:
                time.sleep(due - now)
            due += period
            person = draw.randrange(people)
            number += 1
            start = time.perf_counter()
            if number % 4:
                status, answer = client.post("/score", question(person))
            else:
                events = [event(person, f"soak-{number}")]
                status, answer = client.post("/events", json.dumps({"events": events}).encode())
            took.append(time.perf_counter() - start)
            if status not in (200, 202):
                raise SystemExit(f"The service answered {status}: {answer[:500]!r}")
            if now >= look:
                held.append(own_megabytes(process))
                look += 1
    settled = held[min(int(SETTLE_SECONDS), len(held) // 2) :]
    p50, p99, slowest = np.percentile(took, [50, 99, 100]) * 1e3
    print(
        f"soak: {number:,} requests in {minutes:g} minutes, p50 {p50:.2f} ms, p99 {p99:.2f} ms, "
        f"slowest {slowest:.1f} ms; "
        f"memory {held[0]:.0f} MB at first, then {min(settled):.0f} to {max(settled):.0f} MB",
        flush=True,
    )
    return {
        "soak_minutes": minutes,
        "soak_requests": number,
        "soak_p50_ms": round(p50, 2),
        "soak_p99_ms": round(p99, 2),
        "soak_slowest_ms": round(slowest, 1),
        "soak_mb_first": round(held[0], 1),
        "soak_mb_settled": round(settled[0], 1),
        "soak_mb_last": round(settled[-1], 1),
        "soak_mb_by_time": [round(each, 1) for each in held[FIVE_MINUTES::FIVE_MINUTES]],
    }


def own_megabytes(process: int) -> float:
    """Return what a process and its children hold for themselves, mapped files not counted."""
    whole = psutil.Process(process)
    return sum(anonymous(each.pid) for each in (whole, *whole.children(recursive=True))) / 1e3


def anonymous(pid: int) -> int:
    """Return the kilobytes of a process that no file stands behind."""
    said = Path(f"/proc/{pid}/status").read_text().partition("RssAnon:")[2].split()
    return int(said[0]) if said else 0


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE,
        float(sys.argv[2]) if len(sys.argv) > 2 else SOAK_MINUTES,
        Path(sys.argv[3]) if len(sys.argv) > 3 else None,
    )
