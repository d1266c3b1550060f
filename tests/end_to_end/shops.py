"""Projects to run whole, the command line as a process of its own, and what a run published."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import psutil
import pyarrow.parquet as pq

from features.store import Manifest, Store
from pipelines.simulate import simulate
from serving.launch import PROJECT_VARIABLE
from serving.online.lmdb import LmdbStore
from training.bundle import Bundle

CHECKOUT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from pipelines.cli import main; main()"]
MANY_FEATURES = "features: {windows: [7d, 14d, 30d, 60d, 90d]}"
FEW_FEATURES = """\
features: {windows: [30d, 90d], events: [purchase, page_view]}
training: {max_snapshots: 2, retrain_every: 1d}"""
START_SECONDS = 90


@dataclass(frozen=True)
class Ended:
    """A command that has ended. `seconds` and `peak_mb` are those of its process."""

    code: int
    out: str
    err: str
    seconds: float
    peak_mb: float

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), **variables}


def likelier(*arguments: object, **variables: str) -> Ended:
    """Run the command line from a folder that has nothing to do with the project."""
    started = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=environment(**variables), cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = process.communicate()
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Ended(process.returncode, out, err, time.monotonic() - started, peak)


def run(folder: Path, *arguments: object, **variables: str) -> dict[str, Any]:
    """Run a project; return what `--json` says of it."""
    ended = likelier("-p", folder, "run", "--json", *arguments, **variables)
    assert ended.code == 0, ended.err + ended.out
    found: dict[str, Any] = ended.json
    return found


def small_shop(folder: Path, people: int) -> Path:
    """Simulate a shop that runs in seconds: five months, few features, few snapshots."""
    simulate(folder, people=people, days=150)
    project = folder / "likelier.yaml"
    text = project.read_text()
    assert MANY_FEATURES in text
    project.write_text(text.replace(MANY_FEATURES, FEW_FEATURES))
    return folder


def copy_of(folder: Path, target: Path) -> Path:
    return shutil.copytree(folder, target)


def rows_of(file: Path) -> list[dict[str, Any]]:
    with gzip.open(file, "rt") as lines:
        return [json.loads(line) for line in lines]


def write_rows(file: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines; the same rows make the same bytes."""
    content = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_bytes(gzip.compress(content.encode(), mtime=0))


def add_july(folder: Path) -> None:
    """Let the last days of June happen again in July, to the same people: one more input file."""
    june = folder / "data" / "events" / "events-2026-06.jsonl.gz"
    late = [row for row in rows_of(june) if row["ts"] >= "2026-06-26"]
    assert late
    for row in late:
        row["id"] = f"july-{row['id']}"
        for moment in ("ts", "received_at"):
            row[moment] = row[moment].replace("2026-06-2", "2026-07-0").replace("06-30", "07-10")
    write_rows(june.with_name("events-2026-07.jsonl.gz"), late)


# What a run published ----------------------------------------------------------------------------


def store_of(folder: Path) -> Store:
    return Store(folder / ".likelier")


def table(folder: Path, name: str, file: str) -> pd.DataFrame:
    """Return a table of the published run."""
    store = store_of(folder)
    key = store.require_current().tables[name]
    return pq.read_table(store.folder(name, key) / f"{file}.parquet").to_pandas()


def feature_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the published feature tables by version, with names for keys, by moment."""
    store = store_of(folder)
    index = table(folder, "united", "identity_index").set_index("identity_key")["identity"]
    found = {}
    for key in store.require_current().tables["features"].split("+"):
        frame = pq.read_table(store.folder("features", key) / "features.parquet").to_pandas()
        frame["profile_id"] = frame.pop("profile_key").map(index)
        found[key] = frame
    return found


def everything(folder: Path) -> dict[str, pd.DataFrame]:
    """Read every table of the published run, its models, its online store and its files.

    Fails when anything is missing or damaged. Rows are sorted by all they hold.
    """
    store = store_of(folder)
    manifest = store.require_current()
    found = {}
    for name, keys in manifest.tables.items():
        for key in keys.split("+"):
            assert store.facts(name, key) is not None
            for file in store.files(name, key):
                found[f"{name}/{key}/{file.name}"] = ordered(pq.read_table(file).to_pandas())
    for goal, version in manifest.models.items():
        assert Bundle.load(store.root / "models" / goal / version).version == version
    online = LmdbStore(store.folder("online", manifest.tables["online"]))
    assert online.meta["as_of"] == manifest.as_of
    return found


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows sorted by all columns; lists and decimals are compared as text."""
    for name in frame.select_dtypes(include="object", exclude="str"):
        frame[name] = frame[name].map(as_text)
    return frame.sort_values(list(frame.columns), ignore_index=True)


def as_text(value: Any) -> str | None:
    return None if value is None else str(value.tolist() if hasattr(value, "tolist") else value)


def assert_same(left: Mapping[str, pd.DataFrame], right: Mapping[str, pd.DataFrame]) -> None:
    assert sorted(left) == sorted(right)
    for name, frame in left.items():
        try:
            pd.testing.assert_frame_equal(frame, right[name], check_exact=True)
        except AssertionError as difference:
            raise AssertionError(f"{name}: {difference}") from None


def exported(folder: Path) -> dict[str, bytes]:
    """Return the delivered files; every one must be what its manifest, if it is there, says."""
    files = {}
    for path in sorted((folder / "exports").glob("[!.]*")):
        content = path.read_bytes()
        manifest = path.with_name(f"{path.name}.manifest.json")
        if path.name.endswith(".manifest.json"):
            assert json.loads(content)["file"]
        elif manifest.exists():
            facts = json.loads(manifest.read_bytes())
            assert hashlib.sha256(content).hexdigest() == facts["sha256"]
        files[path.name] = content
    return files


def exports_by_file(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the delivered files' manifests by file name."""
    found = (json.loads(p.read_bytes()) for p in (folder / "exports").glob("*.manifest.json"))
    return {facts["file"]: facts for facts in found}


def current(folder: Path) -> Manifest | None:
    return store_of(folder).current()


# The service -------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, port: int, **variables: str) -> Iterator[httpx.Client]:
    """Run `likelier serve` until the block ends; it must then stop by itself when asked to."""
    argv = [*COMMAND, "-p", str(folder), "serve", "--port", str(port)]
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            argv, env=environment(**variables), cwd="/", stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                wait_until_ready(client, process)
                yield client
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            stop_hard(process)


def stop_hard(process: subprocess.Popen[bytes]) -> None:
    """Stop a service whose test failed; its workers, in sessions of their own, stop with it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


def wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "The service ended by itself"
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"The service was not ready in {START_SECONDS} s")


def own_megabytes(folder: Path) -> float:
    """Return what the service's processes hold for themselves; mapped files are not counted."""
    held = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError, IndexError):
            if process.environ().get(PROJECT_VARIABLE) == str(folder.resolve()):
                status = Path(f"/proc/{process.pid}/status").read_text()
                held += int(status.partition("RssAnon:")[2].split()[0]) / 1e3
    return held
