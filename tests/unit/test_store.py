"""A version appears whole or not at all; readers follow one pointer; one run writes at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.errors import StoreError
from features.store import KEPT_RUNS, Manifest, Store, key_of, write_whole

HOLDER = """
import sys, time
from pathlib import Path
from features.store import Store
store = Store(Path(sys.argv[1]))
with store.lock(), store.writing("events", "killed") as (folder, _):
    (folder / "half.parquet").write_bytes(b"half")
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def write(store: Store, name: str, key: str, content: bytes = b"rows") -> None:
    with store.writing(name, key) as (folder, facts):
        (folder / "a.parquet").write_bytes(content)
        facts["rows"] = 1


def contents(store: Store) -> list[str]:
    return sorted(str(p.relative_to(store.root)) for p in store.root.rglob("*") if p.is_file())


# Versions ----------------------------------------------------------------------------------------


def test_a_version_appears_when_its_writing_ends(store):
    with store.writing("events", "v1") as (folder, facts):
        (folder / "sub").mkdir()
        (folder / "sub" / "b.parquet").write_bytes(b"b")
        (folder / "a.parquet").write_bytes(b"a")
        facts["rows"] = 2
        assert not store.has("events", "v1")
    assert store.has("events", "v1")
    assert store.facts("events", "v1") == {"rows": 2}
    assert [path.name for path in store.files("events", "v1")] == ["a.parquet"]


def test_a_writing_that_fails_leaves_nothing(store):
    with (
        pytest.raises(RuntimeError, match="the disk is full"),
        store.writing("events", "v1") as (folder, _),
    ):
        (folder / "a.parquet").write_bytes(b"half")
        raise RuntimeError("the disk is full")
    assert not store.has("events", "v1")
    assert contents(store) == []


def test_a_version_that_is_there_is_never_written_over(store):
    write(store, "events", "v1", b"first")
    write(store, "events", "v1", b"second")
    assert store.files("events", "v1")[0].read_bytes() == b"first"
    assert contents(store) == ["tables/events/v1/a.parquet", "tables/events/v1/facts.json"]


def test_a_version_is_named_by_all_it_is_made_from():
    parts = ("united", 1, {"b": 2, "a": [1, None]})
    assert key_of(*parts) == key_of("united", 1, {"a": [1, None], "b": 2})
    assert (
        len({key_of(*parts), key_of("united", 1), key_of("united", "1"), key_of(*parts, "")}) == 4
    )
    assert len(key_of(*parts)) == 20


# The published run -------------------------------------------------------------------------------


def publish(store: Store, number: int, *, at: float | None = None, **tables: str) -> None:
    named = tables or {"events": f"v{number}"}
    for name, keys in named.items():
        for key in keys.split("+"):
            write(store, name, key)
    models = {"churn": f"m{number}"}
    (store.root / "models" / "churn" / f"m{number}").mkdir(parents=True, exist_ok=True)
    store.publish(Manifest(f"run{number}", number, named, models))
    if at is not None:
        os.utime(store.root / "runs" / f"run{number}.json", (at, at))


def test_readers_see_the_run_that_was_published_last(store):
    assert store.current() is None
    with pytest.raises(StoreError, match=r"Nothing has been published yet.*likelier run"):
        store.require_current()
    publish(store, 1)
    pinned = store.require_current()
    publish(store, 2)
    assert store.require_current().tables == {"events": "v2"}
    assert pinned == store.manifest("run1")
    assert pinned.tables == {"events": "v1"}


def test_a_run_that_is_not_kept_is_named(store):
    with pytest.raises(StoreError, match=r"Run 'run9' is not in the store.*last runs are kept"):
        store.manifest("run9")


def test_the_last_runs_stay_readable_and_all_else_goes(store):
    for number in range(1, 6):
        publish(store, number, at=1_000 + number)
    write(store, "events", "unpublished")
    store.collect()
    assert sorted(path.stem for path in (store.root / "runs").iterdir()) == ["run3", "run4", "run5"]
    assert sorted(path.name for path in (store.root / "tables/events").iterdir()) == [
        "v3", "v4", "v5"
    ]  # fmt: skip
    assert sorted(path.name for path in (store.root / "models/churn").iterdir()) == [
        "m3", "m4", "m5"
    ]  # fmt: skip
    assert KEPT_RUNS == 3


def test_the_published_run_is_kept_however_old(store):
    for number in range(1, 5):
        publish(store, number, at=2_000 - number)
    store.publish(store.manifest("run4"))
    os.utime(store.root / "runs" / "run4.json", (1, 1))
    store.collect()
    assert sorted(path.stem for path in (store.root / "runs").iterdir()) == ["run1", "run2", "run4"]
    assert store.has("events", "v4")


def test_a_table_of_several_versions_keeps_each(store):
    publish(store, 1, parts="p1+p2", events="v1")
    write(store, "parts", "p3")
    store.collect()
    assert sorted(path.name for path in (store.root / "tables/parts").iterdir()) == ["p1", "p2"]


# One writer --------------------------------------------------------------------------------------


def held_elsewhere(store: Store) -> subprocess.Popen[str]:
    """Start a process that holds the store in the middle of writing a version."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_run_is_refused_and_a_killed_one_leaves_neither_lock_nor_version(store):
    publish(store, 1)
    with held_elsewhere(store) as holder:
        with pytest.raises(StoreError, match=r"Another run is working on this store"), store.lock():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with store.lock():
        drafts = [path.name for path in (store.root / "tables/events").glob(".*")]
        assert drafts == [f".killed.{holder.pid}"]
        assert not store.has("events", "killed")
        store.collect()
    assert [path.name for path in (store.root / "tables/events").iterdir()] == ["v1"]


def test_the_lock_is_free_after_use_and_after_an_error(store):
    with pytest.raises(RuntimeError, match="stop"), store.lock():
        with pytest.raises(StoreError, match="Another run"), Store(store.root).lock():
            pass
        raise RuntimeError("stop")
    with store.lock():
        pass


# Files -------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "CURRENT"
    write_whole(path, b"run1")
    write_whole(path, b"run2")
    assert path.read_bytes() == b"run2"
    assert [p.name for p in path.parent.iterdir()] == ["CURRENT"]


def test_a_file_that_cannot_be_written_is_left_as_it_was(tmp_path):
    path = tmp_path / "CURRENT"
    write_whole(path, b"run1")
    with pytest.raises(TypeError, match="bytes-like"):
        write_whole(path, "run2")  # type: ignore[arg-type]
    assert path.read_bytes() == b"run1"
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "CURRENT"
    runs = [str(number) * 200_000 for number in range(5)]
    write_whole(path, json.dumps(runs[0]).encode())
    code = (
        "import json, sys; from pathlib import Path; from features.store import write_whole\n"
        "runs = [json.dumps(str(n) * 200_000).encode() for n in range(5)]\n"
        "while True:\n"
        "    for run in runs: write_whole(Path(sys.argv[1]), run)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
        try:
            seen, end = set(), time.monotonic() + 5
            while len(seen) < 3 and time.monotonic() < end:
                seen.add(json.loads(path.read_bytes()))
        finally:
            writer.kill()
    assert seen <= set(runs)
    assert len(seen) >= 3
