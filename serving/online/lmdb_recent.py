"""Recent events in LMDB: beside each generation, a writable environment of its own.

It is a view of the journal, so nothing is synchronised and nothing outlasts the process: its files
lose their names as soon as they are open.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb

from features.behavior.arriving import Arrived, from_bytes, to_bytes
from serving.journal.event import LiveEvent

MAP_BYTES = 64 * 2**30
"""Of addresses, not of memory or disk: as far as the events may grow."""
HALF = 16


class LmdbRecent:
    """Recent events of one process. Satisfies `Recent`.

    Keys are digests of an identity and of the id, so that the events of an identity lie
    side by side, each once.
    """

    def __init__(self, folder: Path, read: Callable[[LiveEvent], Arrived]) -> None:
        """Begin without any event; `folder` is where the files grow, `read` reads an event."""
        self._read = read
        folder.mkdir(parents=True, exist_ok=True)
        draft = tempfile.mkdtemp(prefix="recent-", dir=folder)
        try:
            self._environment = lmdb.open(
                draft, map_size=MAP_BYTES, sync=False, metasync=False, max_readers=1_000
            )
        finally:
            shutil.rmtree(draft)

    def add(self, events: Sequence[LiveEvent]) -> None:
        """Take in events, each under all its identities; one of a known id changes nothing."""
        read = [(event, to_bytes(self._read(event))) for event in events]
        pairs = [
            (_digest(identity) + _digest(event.id), raw)
            for event, raw in read
            for identity in event.identities
        ]
        with self._environment.begin(write=True) as transaction:
            transaction.cursor().putmulti(pairs, overwrite=False)

    def of(self, identities: Sequence[str]) -> list[Arrived]:
        """Return the events under these identities, each once."""
        found: list[bytes] = []
        with self._environment.begin() as transaction:
            cursor = transaction.cursor()
            for identity in dict.fromkeys(identities):
                prefix = _digest(identity)
                there = cursor.set_range(prefix)
                while there and cursor.key().startswith(prefix):
                    found.append(cursor.value())
                    there = cursor.next()
        return from_bytes(found) if found else []


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=HALF).digest()
