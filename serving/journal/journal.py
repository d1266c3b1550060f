"""Taking events: each once, on disk before it is acknowledged, many by one flush.

Whatever is queued while a flush is under way goes into the next one. There is no timer: alone, an
event is flushed at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.journal.event import LiveEvent, line_of
from serving.journal.files import JournalUnavailable, Writer, newest_ids

log = logging.getLogger(__name__)

REMEMBERED = 100_000
"""Ids of this process's newest events, by which one that is sent again is known at once."""
MOST_WAITING = 64_000_000
"""Bytes that may wait for a flush."""

Listener = Callable[[Sequence[LiveEvent]], None]
Waiting = tuple[list[LiveEvent], bytes, asyncio.Future[None]]
"""Events of one request, their lines, and who waits for them."""


class NewestIds:
    """The ids that came last, at most `most`, each once.

    A dictionary would do with less code, but looks for its oldest key behind every place that has
    become free: among 100,000 ids that took up to .2 ms an event.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._there: set[str] = set()
        self._in_turn: deque[str] = deque()

    def __contains__(self, one: str) -> bool:
        return one in self._there

    def add(self, ids: Iterable[str]) -> None:
        """Know these; one that is known stays in its place."""
        for one in ids:
            if one not in self._there:
                self._there.add(one)
                self._in_turn.append(one)
        while len(self._in_turn) > self._most:
            self._there.remove(self._in_turn.popleft())


class Journal:
    """The journal in `folder`, for one worker process. Call `start` once, and `stop` at the end.

    `listeners` are told, in order, of events that are on disk, before those are acknowledged; by a
    thread of the journal's, so they may wait for another machine.
    """

    def __init__(
        self, folder: Path, listeners: Sequence[Listener] = (), writer: Writer | None = None
    ) -> None:
        self.folder = folder
        self.listeners = list(listeners)
        self._writer = writer or Writer(folder)
        self._known = NewestIds(REMEMBERED)
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._queue: list[Waiting] = []
        self._bytes = 0
        self._flushing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "journal")

    def start(self) -> None:
        """Know the ids that were taken last, by whichever process: senders try again after a kill.

        Call it before the first `append`.
        """
        self._known.add(reversed(newest_ids(self.folder, REMEMBERED)))

    async def append(self, events: Sequence[LiveEvent]) -> int:
        """Return how many of these events are new, once all are on disk.

        Raises `JournalUnavailable` where some could not be written; then all are to be sent again.
        """
        fresh: dict[str, LiveEvent] = {}
        awaited: set[asyncio.Future[None]] = set()
        for event in events:
            if waiting := self._under_way.get(event.id):
                awaited.add(waiting)
            elif event.id not in self._known:
                fresh.setdefault(event.id, event)
        if fresh:
            awaited.add(self._enqueue(list(fresh.values())))
        for future in awaited:
            # Another request may wait for it, too, when this one is broken off.
            await asyncio.shield(future)
        return len(fresh)

    def stop(self) -> None:
        """Let go of the file, when no request is waiting any more."""
        self._thread.shutdown()
        self._writer.close()

    def _enqueue(self, events: list[LiveEvent]) -> asyncio.Future[None]:
        lines = b"".join(map(line_of, events))
        if self._bytes + len(lines) > MOST_WAITING:
            raise _unavailable("Too many events wait to be written")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Nobody may be left to wait for it.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._queue.append((events, lines, future))
        self._bytes += len(lines)
        self._under_way.update((event.id, future) for event in events)
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return future

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._queue:
            batch, self._queue, self._bytes = self._queue, [], 0
            try:
                await loop.run_in_executor(self._thread, self._take, batch)
            # Whatever is wrong, who waits must be told.
            except Exception as error:
                log.exception("%d requests could not be written", len(batch))
                why = error.strerror if isinstance(error, OSError) else type(error).__name__
                for events, _, future in batch:
                    self._forget(events)
                    future.set_exception(_unavailable(f"The journal cannot be written ({why})"))
                continue
            for events, _, future in batch:
                self._forget(events)
                self._known.add(event.id for event in events)
                future.set_result(None)
        self._flushing = None

    def _take(self, batch: Sequence[Waiting]) -> None:
        """Write what waits, and tell the listeners."""
        self._writer.append(b"".join(lines for _, lines, _ in batch))
        taken = [event for events, _, _ in batch for event in events]
        for listener in self.listeners:
            # They make views of it: what they lack, they get from the journal again.
            try:
                listener(taken)
            except Exception:
                log.exception("Events were taken that a view of the journal lacks")

    def _forget(self, events: list[LiveEvent]) -> None:
        for event in events:
            del self._under_way[event.id]


def _unavailable(why: str) -> JournalUnavailable:
    return JournalUnavailable(
        f"{why}: the events are not acknowledged.",
        hint="Send them again; by its id each counts once.",
    )
