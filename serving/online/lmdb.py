"""The online store in LMDB. Only this file and `lmdb_recent` import lmdb.

Each table of rows is one of the environment, beside `meta`. A generation is written once, into an
empty folder, and then only read, so readers need no locks.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import lmdb

from features.identity.live import Component
from serving.online import Floats, OnlineStoreError, ProfileRecord
from serving.online.rows import (
    PEOPLE,
    Row,
    Rows,
    came_twice,
    floats_of,
    meta_bytes,
    meta_of,
    rows_of,
    unreadable,
    vectors_of,
)

LONGEST_KEY = 511
FIRST_MAP_BYTES = 64 * 2**20
DATA_FILE = "data.mdb"

Pair = tuple[bytes, bytes]


def key_of(text: str) -> bytes:
    """Return the key of a text; one that is too long for LMDB is its SHA-256.

    No identity starts with a zero byte, so a hashed key never meets a plain one.
    """
    plain = text.encode()
    if len(plain) <= LONGEST_KEY:
        return plain
    return b"\0" + hashlib.sha256(plain).hexdigest().encode()


def write_generation(
    folder: Path,
    meta: Mapping[str, Any],
    profiles: Iterable[ProfileRecord],
    vectors: Iterable[tuple[str, str, Floats]],
    histories: Iterable[tuple[str, bytes]] = (),
    parts: Iterable[tuple[str, bytes]] = (),
    components: Iterable[Component] = (),
    map_bytes: int = FIRST_MAP_BYTES,
) -> None:
    """Write one generation into `folder`, which exists and holds none.

    `vectors` are (goal, profile_id, features) with as many features for every person of a goal,
    `histories` (profile_id, packed), `parts` (identity, packed).
    Rows may come in any order; key order is quickest. The map starts at
    `map_bytes` and doubles when it is full. Raises `OnlineStoreError` when an identity
    or a profile comes twice, or when vectors of one goal differ in length.
    """
    goals = list(meta["goals"])
    writer = _Writer(folder, ["meta", *PEOPLE, *map(vectors_of, goals)], map_bytes)
    try:
        writer.put("meta", [("meta", meta_bytes(meta))])
        for table, rows in rows_of(goals, profiles, vectors, histories, parts, components):
            writer.put(table, rows)
    finally:
        writer.close()


class LmdbStore(Rows):
    """One generation in a folder. Satisfies `OnlineStore`.

    LMDB refuses to open a path twice in one process, so stores of one folder share an environment;
    it is closed when the last of them is closed or forgotten.
    """

    def __init__(self, folder: Path) -> None:
        path = folder.resolve()
        self._environment = _acquire(path)
        self._finish = weakref.finalize(self, _release, path)
        try:
            self.meta: Mapping[str, Any] = self._read_meta(path)
            names = [*PEOPLE, *map(vectors_of, self.meta["goals"])]
            self._tables = {name: self._table(name) for name in names}
        except (lmdb.Error, KeyError, ValueError) as error:
            self.close()
            raise unreadable(path, str(error)) from error

    def sample(self, goal: str) -> Floats | None:
        """Return any one vector of `goal`, or None when nobody was eligible."""
        with self._environment.begin() as transaction:
            cursor = transaction.cursor(self._tables[vectors_of(goal)])
            return floats_of(cursor.value()) if cursor.first() else None

    def epoch(self) -> str:
        """Return what changes when something may have been lost: here, nothing is."""
        return ""

    def close(self) -> None:
        """Let go of the generation; reading after it is an error."""
        self._finish()

    def _read_meta(self, path: Path) -> dict[str, Any]:
        with self._environment.begin(db=self._table("meta")) as transaction:
            return meta_of(transaction.get(b"meta"))

    def _table(self, name: str) -> Any:
        return self._environment.open_db(name.encode(), create=False)

    def _get(self, table: str, text: str) -> bytes | None:
        if not self._finish.alive:
            raise OnlineStoreError(
                "This generation of the online store is closed.", hint="Ask the current one."
            )
        with self._environment.begin() as transaction:
            found: bytes | None = transaction.get(key_of(text), db=self._tables[table])
        return found


class _Writer:
    """Puts sorted chunks, a commit each; appends where a chunk follows all that is there."""

    def __init__(self, folder: Path, tables: list[str], map_bytes: int) -> None:
        if (folder / DATA_FILE).exists():
            raise OnlineStoreError(
                f"There is a generation in {folder} already.", hint="Write into an empty folder."
            )
        # Synchronised once, at the end: a folder half written is thrown away, never mended.
        self._environment = lmdb.open(
            str(folder), map_size=map_bytes, max_dbs=len(tables), lock=False, sync=False
        )
        self._tables = {name: self._environment.open_db(name.encode()) for name in tables}

    def put(self, table: str, rows: list[Row]) -> None:
        """Add rows of new keys; raise `OnlineStoreError` when one is there already."""
        ordered = sorted((key_of(key), value) for key, value in rows)
        while True:
            try:
                added = self._commit(table, ordered)
                break
            except lmdb.MapFullError:
                size = self._environment.info()["map_size"]
                self._environment.set_mapsize(2 * size)
        if added < len(ordered):
            raise came_twice(table, len(ordered) - added)

    def close(self) -> None:
        """Bring everything to disk and close."""
        self._environment.sync(True)
        self._environment.close()

    def _commit(self, table: str, ordered: list[Pair]) -> int:
        if not ordered:
            return 0
        with self._environment.begin(db=self._tables[table], write=True) as transaction:
            cursor = transaction.cursor()
            follows = not cursor.last() or cursor.key() < ordered[0][0]
            # LMDB's append would take an equal key for a disorder, so repeats go the plain way.
            rising = follows and all(a[0] < b[0] for a, b in pairwise(ordered))
            added: int = cursor.putmulti(ordered, overwrite=False, append=rising)[1]
        return added


_open: dict[Path, tuple[Any, int]] = {}
# Re-entrant: a store may be forgotten, and so released, while this thread acquires another.
_opening = threading.RLock()


def _acquire(path: Path) -> Any:
    with _opening:
        environment, readers = _open.get(path, (None, 0))
        if environment is None:
            environment = _read_only(path)
        _open[path] = (environment, readers + 1)
        return environment


def _release(path: Path) -> None:
    with _opening:
        environment, readers = _open.pop(path)
        if readers > 1:
            _open[path] = (environment, readers - 1)
        else:
            environment.close()


def _read_only(path: Path) -> Any:
    if not (path / DATA_FILE).is_file():
        raise unreadable(path, f"there is no {DATA_FILE}")
    try:
        return lmdb.open(str(path), readonly=True, create=False, lock=False, max_dbs=1_000)
    except lmdb.Error as error:
        raise unreadable(path, repr(error)) from error
