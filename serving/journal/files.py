"""The files of the journal: one a worker process at a time, only appended to, until it is sealed.

A file is open while its owner may write it, and sealed once he may not; nothing is ever added to a
sealed one, so what a run has read it need not read again. Who appends, seals or rewrites holds the
file's lock, and a worker looks, under the lock, whether the file is still its own. What comes after
the last line's end was never acknowledged: readers leave it alone, and sealing cuts it off.

Files hold raw values of personal data, so nobody but the owner may read them.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import stat
import time as clock
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from features import time
from features.errors import StoreError
from features.store import flush_folder
from serving.journal.event import LiveEvent, event_of

log = logging.getLogger(__name__)

FOLDER = "journal"
"""Where the files are, in the store."""
ROLL_BYTES = 64_000_000
"""A file this long is sealed, and another begun."""
OPEN, SEALED = 0o600, 0o400
BLOCK = 1 << 16


class JournalUnavailable(StoreError):
    """A journal that cannot be written: nothing of the request was taken."""

    code = "journal_unavailable"


class Position(NamedTuple):
    """A place in the journal: a file's name, and the bytes up to the end of an event's line."""

    file: str
    offset: int


class Writer:
    """Appends to a file of its own in `folder`; another is begun when it was sealed or is long.

    One thread may call it at a time.
    """

    def __init__(self, folder: Path, roll_bytes: int = ROLL_BYTES) -> None:
        self.folder = folder
        self._roll = roll_bytes
        self._path = Path()
        self._descriptor = -1

    def append(self, lines: bytes) -> Position:
        """Write whole lines; they are on disk when this returns the place where they begin.

        Raises `OSError`; then nothing of them is in the journal.
        """
        with self._own_file() as file:
            begin = os.fstat(file).st_size
            try:
                _write(file, lines)
                os.fdatasync(file)
            except OSError:
                self._take_back(begin)
                raise
            place = Position(self._path.name, begin)
            if begin + len(lines) >= self._roll:
                os.fchmod(file, SEALED)
        return place

    def close(self) -> None:
        """Let go of the file. It is open still: the next run seals it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @contextlib.contextmanager
    def _own_file(self) -> Iterator[int]:
        """Yield an open file that is this writer's own, locked."""
        while True:
            if self._descriptor < 0:
                self._begin()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            found = os.fstat(self._descriptor)
            if found.st_nlink and found.st_mode & stat.S_IWUSR:
                break
            self.close()
        try:
            yield self._descriptor
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _begin(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            flush_folder(self.folder.parent)
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._path = self.folder / f"{clock.time_ns() // 1_000}-{os.getpid()}.jsonl"
        self._descriptor = os.open(self._path, how, OPEN)
        try:
            flush_folder(self.folder)
        except OSError:
            self._take_back(0)
            raise

    def _take_back(self, begin: int) -> None:
        """Cut off what could not be written, and leave the file: what it holds is in doubt."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, begin)
            if not begin:
                self._path.unlink()
        self.close()


def seal(folder: Path) -> list[Path]:
    """Seal every file of the journal in `folder`; return those with events, the oldest first.

    Whatever was acknowledged before is in them, and nothing is added to them.
    """
    return [path for path in sorted(folder.glob("*.jsonl")) if _seal(path)]


def files_in(folder: Path) -> list[Path]:
    """Return the files of the journal that hold something, sealed or not, the oldest first."""
    return [path for path in sorted(folder.glob("*.jsonl")) if _holds_something(path)]


def newest_ids(folder: Path, most: int) -> list[str]:
    """Return the ids of the newest events in `folder`, the newest first, at most so many.

    Of processes that write at once the file begun last counts as the newest.
    """
    found: list[str] = []
    for path in reversed(files_in(folder)):
        if len(found) >= most:
            break
        with contextlib.suppress(FileNotFoundError):
            found += [event.id for event, _ in _past(path, 0)][::-1]
    return found[:most]


def read_from(
    folder: Path, offsets: Mapping[str, int], as_of: int
) -> Iterator[tuple[LiveEvent, Position]]:
    """Yield the events that a run of `as_of` (microseconds) does not have, by file and place.

    `offsets` are the bytes of each file that the run has read: events past them are yielded, and of
    those before them the ones not known at its as_of. A line that is being written is not.
    """
    for path in sorted(folder.glob("*.jsonl")):
        # A file rewritten since, without whom was erased, goes away under the old name.
        with contextlib.suppress(FileNotFoundError):
            read = offsets.get(path.name, 0)
            if not _all_known(path, read, as_of):
                yield from _events(path, read, as_of)


def read_past(folder: Path, offsets: Mapping[str, int]) -> Iterator[tuple[LiveEvent, Position]]:
    """Yield the events past the `offsets` of each file, by file and place, and read no others."""
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(FileNotFoundError):
            yield from _past(path, offsets.get(path.name, 0))


def _past(path: Path, offset: int) -> Iterator[tuple[LiveEvent, Position]]:
    with path.open("rb") as lines:
        lines.seek(offset)
        for line in lines:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            if (event := _event_of(path, offset, line)) is not None:
                yield event, Position(path.name, offset)


def _event_of(path: Path, offset: int, line: bytes) -> LiveEvent | None:
    try:
        return event_of(line)
    except (ValueError, KeyError, TypeError):
        log.error("%s holds no event before byte %d", path.name, offset)
        return None


def _all_known(path: Path, read: int, as_of: int) -> bool:
    """Say whether a file holds nothing but what was read and is known at `as_of`.

    Nothing in it was received after it was last written, nor is dated a day after that.
    """
    found = path.stat()
    newest = found.st_mtime_ns // 1_000 + time.MICROS_PER_DAY
    return read >= found.st_size and bool(time.known_before(newest, as_of))


def _events(path: Path, read: int, as_of: int) -> Iterator[tuple[LiveEvent, Position]]:
    for event, place in _past(path, 0):
        if place.offset > read or not time.known_before(event.known_at, as_of):
            yield event, place


def _holds_something(path: Path) -> bool:
    # An empty one may be taken away by whoever seals it.
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def _write(file: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(file, left) :]


def _seal(path: Path) -> bool:
    """Seal one file; say whether anything is in it. An empty one goes."""
    try:
        found = path.stat()
        if not found.st_mode & stat.S_IWUSR:
            return bool(found.st_size)
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            length = _whole_lines(file.fileno())
            file.truncate(length)
            if not length:
                path.unlink()
                return False
            os.fchmod(file.fileno(), SEALED)
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise JournalUnavailable(
            f"The journal's file {path.name} is another user's.",
            hint="Run as the user that serves: the journal holds raw values, which nobody else may "
            "read.",
        ) from error
    return True


def _whole_lines(file: int) -> int:
    """Return how many bytes of a file are whole lines."""
    end = os.fstat(file).st_size
    while end:
        begin = max(end - BLOCK, 0)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
