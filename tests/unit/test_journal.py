"""The journal: what is acknowledged is on disk, once, whatever is cut off, sealed or rewritten."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.erasures import Erasures, record
from features.time import parse_instant
from serving.journal import files
from serving.journal import journal as journals
from serving.journal.erasing import purge_journal
from serving.journal.event import LiveEvent, event_of, line_of
from serving.journal.files import JournalUnavailable, Writer, newest_ids, read_from, seal
from serving.journal.journal import Journal, NewestIds

NOW = parse_instant("2026-03-01T12:00:00Z")
EVER = 2 * NOW


def event(name: object, who: str = "cookie:c1", at: int = NOW, **more: str) -> LiveEvent:
    told = {"cookie": who.partition(":")[2]}
    return LiveEvent(str(name), "visit", at, at, (who, *more.values()), {}, {}, told)


def ids(folder: Path) -> list[str]:
    """Return the ids of all whole lines of the journal, in order."""
    return [found.id for found, _ in read_from(folder, {}, EVER)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class Slow(Writer):
    """A writer on a disk that is slow, or full."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.flushes: list[int] = []
        self.failing = False

    def append(self, lines: bytes) -> files.Position:
        self.entered.set()
        assert self.gate.wait(10)
        if self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.flushes.append(lines.count(b"\n"))
        return super().append(lines)


def test_what_is_acknowledged_is_in_the_file_and_only_the_owner_may_read_it(tmp_path):
    async def taken() -> None:
        journal = Journal(tmp_path)
        assert await journal.append([event(1), event(2)]) == 2
        (path,) = tmp_path.glob("*.jsonl")
        assert (ids(tmp_path), mode(path)) == (["1", "2"], 0o600)
        journal.stop()

    asyncio.run(taken())


def test_an_id_counts_once_in_a_request_and_after_it(tmp_path):
    async def taken() -> list[int]:
        journal = Journal(tmp_path)
        found = [await journal.append([event(1), event(1), event(2)])]
        found += [await journal.append([event(2), event(3)]), await journal.append([])]
        journal.stop()
        return found

    assert (asyncio.run(taken()), ids(tmp_path)) == ([2, 1, 0], ["1", "2", "3"])


def test_a_new_process_knows_what_was_taken_last(tmp_path):
    async def taken() -> list[int]:
        found = []
        for _ in range(2):
            journal = Journal(tmp_path)
            journal.start()
            found.append(await journal.append([event(1), event(2)]))
            journal.stop()
        return found

    assert (asyncio.run(taken()), ids(tmp_path)) == ([2, 0], ["1", "2"])


def test_the_newest_ids_are_looked_for_in_the_newest_files_first(tmp_path):
    for number in range(3):
        lines = line_of(event(f"{number}a")) + line_of(event(f"{number}b"))
        (tmp_path / f"{number}-1.jsonl").write_bytes(lines)
    assert newest_ids(tmp_path, 1) == ["2b"]
    assert newest_ids(tmp_path, 3) == ["2b", "2a", "1b"]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=12), st.integers(1, 6))
def test_the_newest_ids_are_the_last_of_all_in_the_order_they_came(batches, most):
    newest, twin = NewestIds(most), []
    for batch in batches:
        newest.add(batch)
        for one in batch:
            twin += [] if one in twin else [one]
        twin = twin[-most:]
        assert [one for one in "abcdefgh" if one in newest] == sorted(twin)


def test_an_id_is_forgotten_after_so_many_others(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "REMEMBERED", 3)

    async def taken() -> list[int]:
        journal = Journal(tmp_path)
        found = [await journal.append([event(number)]) for number in (1, 2, 3, 1, 4, 2, 1)]
        journal.stop()
        return found

    assert asyncio.run(taken()) == [1, 1, 1, 0, 1, 0, 1]


def test_whatever_queues_during_a_flush_goes_into_the_next(tmp_path):
    async def taken() -> list[int]:
        writer = Slow(tmp_path)
        journal = Journal(tmp_path, writer=writer)
        first = asyncio.create_task(journal.append([event(0)]))
        await asyncio.to_thread(writer.entered.wait)
        others = [asyncio.create_task(journal.append([event(n)])) for n in range(1, 31)]
        await asyncio.sleep(0)
        writer.gate.set()
        await asyncio.gather(first, *others)
        journal.stop()
        return writer.flushes

    assert asyncio.run(taken()) == [1, 30]
    assert ids(tmp_path) == [str(n) for n in range(31)]


def test_a_listener_that_waits_holds_up_its_own_events_and_nothing_else(tmp_path):
    async def taken() -> tuple[bool, list[str]]:
        gate, told = threading.Event(), []

        def listener(events: Sequence[LiveEvent]) -> None:
            assert gate.wait(10)
            told.extend(each.id for each in events)

        journal = Journal(tmp_path, [listener])
        waiting = asyncio.create_task(journal.append([event(1), event(2)]))
        await asyncio.sleep(0.05)
        early = waiting.done()
        gate.set()
        assert await waiting == 2
        journal.stop()
        return early, told

    assert asyncio.run(taken()) == (False, ["1", "2"])


def test_an_id_under_way_is_acknowledged_only_with_the_first_of_its_kind(tmp_path):
    async def taken() -> tuple[bool, list[int]]:
        writer = Slow(tmp_path)
        journal = Journal(tmp_path, writer=writer)
        first = asyncio.create_task(journal.append([event(1)]))
        await asyncio.to_thread(writer.entered.wait)
        second = asyncio.create_task(journal.append([event(1)]))
        await asyncio.sleep(0.01)
        early = second.done()
        writer.gate.set()
        found = [await first, await second]
        journal.stop()
        return early, found

    assert asyncio.run(taken()) == (False, [1, 0])
    assert ids(tmp_path) == ["1"]


def test_a_request_broken_off_takes_no_other_along(tmp_path):
    async def taken() -> None:
        writer = Slow(tmp_path)
        journal = Journal(tmp_path, writer=writer)
        first = asyncio.create_task(journal.append([event(1)]))
        second = asyncio.create_task(journal.append([event(1), event(2)]))
        await asyncio.to_thread(writer.entered.wait)
        first.cancel()
        writer.gate.set()
        assert await second == 1
        journal.stop()

    asyncio.run(taken())
    assert ids(tmp_path) == ["1", "2"]


def test_a_full_disk_refuses_and_the_next_try_is_taken_whole(tmp_path):
    async def taken() -> None:
        writer = Slow(tmp_path)
        writer.gate.set()
        journal = Journal(tmp_path, writer=writer)
        writer.failing = True
        with pytest.raises(JournalUnavailable, match="No space left") as refused:
            await journal.append([event(1), event(2)])
        assert refused.value.status == 503
        writer.failing = False
        assert await journal.append([event(1), event(2)]) == 2
        journal.stop()

    asyncio.run(taken())
    assert ids(tmp_path) == ["1", "2"]


@contextmanager
def longest_file(length: int) -> Iterator[None]:
    """Let no file of this process grow beyond `length` bytes: a disk that is full, for it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 20])
def test_what_could_be_written_only_in_part_is_cut_off(tmp_path, room):
    writer, first = Writer(tmp_path), line_of(event(1))
    writer.append(first)
    with longest_file(len(first) + room), pytest.raises(OSError, match="too large"):
        writer.append(line_of(event(2)))
    (path,) = tmp_path.glob("*.jsonl")
    assert path.read_bytes() == first
    writer.append(line_of(event(3)))
    assert ids(tmp_path) == ["1", "3"]


def test_a_flush_that_fails_acknowledges_nothing_and_leaves_the_file(tmp_path, monkeypatch):
    writer = Writer(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "bad")))
        with pytest.raises(OSError, match="bad"):
            writer.append(line_of(event(1)))
    assert list(tmp_path.iterdir()) == []
    writer.append(line_of(event(1)))
    assert ids(tmp_path) == ["1"]


def test_a_sealed_file_stays_as_it_is_and_its_owner_begins_another(tmp_path):
    writer = Writer(tmp_path)
    writer.append(line_of(event(1)))
    (sealed,) = seal(tmp_path)
    content = sealed.read_bytes()
    writer.append(line_of(event(2)))
    assert (sealed.read_bytes(), mode(sealed)) == (content, 0o400)
    assert (len(list(tmp_path.iterdir())), ids(tmp_path)) == (2, ["1", "2"])
    assert seal(tmp_path)[0].name == sealed.name


def test_a_long_file_is_sealed_and_another_begun(tmp_path):
    writer = Writer(tmp_path, roll_bytes=300)
    for number in range(6):
        writer.append(line_of(event(number)))
    modes = [mode(path) for path in sorted(tmp_path.iterdir())]
    assert len(modes) > 1
    assert modes[:-1] == [0o400] * (len(modes) - 1)
    assert ids(tmp_path) == list("012345")


def test_sealing_mends_what_a_killed_writer_left_and_takes_empty_files_away(tmp_path):
    whole = line_of(event(1)) + line_of(event(2))
    (tmp_path / "1-1.jsonl").write_bytes(whole + line_of(event(3))[:-5])
    (tmp_path / "2-1.jsonl").write_bytes(line_of(event(4))[:9])
    (tmp_path / "3-1.jsonl").touch()
    assert [path.name for path in seal(tmp_path)] == ["1-1.jsonl"]
    assert (tmp_path / "1-1.jsonl").read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["1-1.jsonl"]


def test_any_cut_loses_only_the_events_behind_it(tmp_path):
    lines = [line_of(event(number, at=NOW + number)) for number in range(3)]
    whole = b"".join(lines)
    ends = [len(b"".join(lines[: n + 1])) for n in range(3)]
    path = tmp_path / "1-1.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = [str(n) for n in range(3) if ends[n] <= cut]
        assert ids(tmp_path) == kept
        seal(tmp_path)
        assert (path.read_bytes() if kept else b"") == b"".join(lines[: len(kept)])
        path.unlink(missing_ok=True)


def test_a_replay_yields_what_the_run_has_not_read_or_did_not_know_yet(tmp_path):
    writer = Writer(tmp_path)
    for number, at in enumerate([NOW, NOW + 10, NOW + 5]):
        writer.append(line_of(event(number, at=at)))
    read = {path.name: path.stat().st_size for path in seal(tmp_path)}
    writer.append(line_of(event("late", at=NOW - 7)))
    found = list(read_from(tmp_path, read, as_of=NOW + 5))
    assert [each.id for each, _ in found] == ["1", "2", "late"]
    for each, place in found:
        before = (tmp_path / place.file).read_bytes()[: place.offset]
        assert event_of(before.splitlines()[-1]) == each


def test_a_file_wholly_known_is_not_even_opened(tmp_path, monkeypatch):
    Writer(tmp_path).append(line_of(event(1)))
    (path,) = seal(tmp_path)
    long_ago = (NOW // 1_000_000, NOW // 1_000_000)
    os.utime(path, long_ago)
    monkeypatch.setattr(files, "_events", lambda *_: pytest.fail("It was read"))
    day = 86_400_000_000
    assert list(read_from(tmp_path, {path.name: path.stat().st_size}, NOW + day + 1)) == []


def erased(folder: Path, *identities: str, at: int = NOW + 1) -> Erasures:
    record(folder, at, identities, {}, [])
    return Erasures.read(folder)


def test_erased_people_go_and_lend_no_identity_to_others(tmp_path):
    folder = tmp_path / "journal"
    writer = Writer(folder)
    shared = LiveEvent(
        "shared", "visit", NOW, NOW, ("customer:ann", "cookie:c1"), {}, {},
        {"customer": "ann", "cookie": "c1"},
    )  # fmt: skip
    for each in (event(1), event(2, "cookie:c2"), event("later", at=NOW + 1), shared):
        writer.append(line_of(each))
    ledger = erased(tmp_path, "cookie:c1")
    assert purge_journal(folder, ledger, dry=True) == 2
    assert len(ids(folder)) == 4
    assert purge_journal(folder, ledger) == 2
    found = {each.id: each for each, _ in read_from(folder, {}, EVER)}
    assert sorted(found) == ["2", "later", "shared"]
    assert (found["shared"].identities, found["shared"].raw) == (
        ("customer:ann",), {"customer": "ann"},
    )  # fmt: skip
    writer.append(line_of(event(3, "cookie:c3")))
    assert sorted(ids(folder)) == ["2", "3", "later", "shared"]
    assert purge_journal(folder, ledger) == 0
    assert {mode(path) for path in folder.iterdir()} == {0o400, 0o600}


def test_nothing_is_lost_while_a_service_writes_and_files_are_sealed_and_rewritten(tmp_path):
    folder = tmp_path / "journal"
    ledger = erased(tmp_path, "cookie:gone", at=EVER)
    ending = threading.Event()

    def meddle() -> None:
        while not ending.is_set():
            seal(folder)
            purge_journal(folder, ledger)

    thread = threading.Thread(target=meddle)
    thread.start()
    writer = Writer(folder)
    try:
        for number in range(300):
            who = "cookie:gone" if number % 3 == 0 else "cookie:c1"
            writer.append(line_of(event(number, who)))
    finally:
        ending.set()
        thread.join()
    purge_journal(folder, ledger)
    assert sorted(ids(folder), key=int) == [str(n) for n in range(300) if n % 3]
