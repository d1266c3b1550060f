"""The `served` log: a sample of the answers given, kept to be compared with what happened.

Files of JSON lines, each of one worker process: one line a person and goal. Lines are written by a
thread of their own that looks for answers every now and then: to wake it for each would cost the
request more than its answer. Where too many wait they are dropped and counted, and no request
waits. A worker whose file was rewritten (`purge_served`) goes on in a new one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from features.erasures import Erasures
from features.store import write_whole
from features.time import format_instant
from serving.scorer import Answer

log = logging.getLogger(__name__)

MOST_WAITING = 10_000
EVERY_SECONDS, PAUSE_SECONDS = 0.1, 0.005
AT_ONCE = 20
"""Answers written before requests get their turn again: writing holds Python's one lock."""
FROM_SCORE = ("status", "model_version", "as_of", "probability", "score")


@dataclass(frozen=True, eq=False)
class _Entry:
    """One answer and when it was given (microseconds)."""

    time: int
    answer: Answer


class ServedLog:
    """Writes a share of the answers under `folder`. Call `start` once, and `stop` at the end.

    The choice is repeatable: the same share and seed take the same answers of a sequence. Lines
    hold `time`, `identity` (personal data hashed; null = junk), `profile_id`, `goal`, `status`,
    `model_version`, `as_of`, `probability`, `score` and `features` (null unless scored; a null
    within is a null feature).
    """

    def __init__(
        self, folder: Path, share: float, seed: int = 0, most_waiting: int = MOST_WAITING
    ) -> None:
        self.folder = folder
        self.share = share
        self.written = 0
        self.dropped = 0
        self._random = random.Random(seed)
        self._waiting: deque[_Entry] = deque()
        self._most_waiting = most_waiting
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="served", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def offer(self, answer: Answer) -> None:
        """Keep this answer if it falls into the sample and there is room. Never waits."""
        if self._random.random() >= self.share:
            return
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
        else:
            self._waiting.append(_Entry(time.time_ns() // 1_000, answer))

    def stop(self) -> None:
        """Write what waits, and close."""
        if self._thread.is_alive():
            self._ending.set()
            self._thread.join()

    def _write_all(self) -> None:
        file: BinaryIO | None = None
        ended = False
        while not ended:
            ended = self._ending.wait(PAUSE_SECONDS if self._waiting else EVERY_SECONDS)
            some = len(self._waiting) if ended else min(len(self._waiting), AT_ONCE)
            for _ in range(some):
                file = self._write(file, self._waiting.popleft())
        if file:
            file.close()

    def _write(self, file: BinaryIO | None, entry: _Entry) -> BinaryIO | None:
        try:
            file = self._standing(file) or self._new_file(entry.time)
            file.writelines(_lines(entry))
            file.flush()
            self.written += 1
        except OSError as error:
            if not self.dropped:
                log.error("The served log cannot be written: %s", error)
            self.dropped += 1
        return file

    def _standing(self, file: BinaryIO | None) -> BinaryIO | None:
        """Return the open file, or None when it was rewritten or taken away meanwhile."""
        if file and not os.fstat(file.fileno()).st_nlink:
            file.close()
            return None
        return file

    def _new_file(self, now: int) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        return (self.folder / f"{now}-{os.getpid()}.jsonl").open("ab")


def purge_served(folder: Path, erasures: Erasures, dry: bool = False) -> int:
    """Take the lines of erased people out of the log in `folder`; return how many there were.

    A line broken off cannot be judged and goes as well. `dry` changes nothing.
    """
    found = 0
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_bytes().splitlines(keepends=True)
        judged = [_erased(line, erasures) for line in lines]
        found += judged.count(True)
        if dry or not any(each is not False for each in judged):
            continue
        kept = [line for line, each in zip(lines, judged, strict=True) if each is False]
        write_whole(path, b"".join(kept))
    return found


def answered(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield every line of the log in `folder` that can be read, as `ServedLog` wrote it."""
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                # The last line of a worker that was killed may be broken off.
                with contextlib.suppress(orjson.JSONDecodeError):
                    yield orjson.loads(line)


def _erased(line: bytes, erasures: Erasures) -> bool | None:
    """Say whether a line is of somebody erased since; None when it cannot be read."""
    try:
        said = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return any(erasures.place(said[n]) for n in ("identity", "profile_id") if said[n])


def _lines(entry: _Entry) -> Iterator[bytes]:
    answer = entry.answer
    for goal, score in answer.body["scores"].items():
        vector = answer.vectors.get(goal)
        line: dict[str, Any] = {
            "time": format_instant(entry.time),
            "identity": answer.asked.identity,
            "profile_id": answer.body["profile_id"],
            "goal": goal,
            **{key: score[key] for key in FROM_SCORE},
            "features": None if vector is None else vector.tolist(),
        }
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
