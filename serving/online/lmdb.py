"""The online store in LMDB: the only importer of lmdb.

Tables of one environment: `meta`, `identities` (identity -> profile_id), `profiles` (profile_id ->
JSON), `histories` (profile_id -> packed), `parts` (identity that is not all of its person ->
packed), `components` (its first identity -> JSON), `reached` (identity -> the first of its
component) and `vectors:GOAL` (profile_id -> float64, little endian). A generation is written once,
into an empty folder, and then only read, so readers need no locks.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, astuple, fields
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import numpy as np
import orjson

from features.behavior.history import History
from features.behavior.packed import unpack
from features.errors import did_you_mean
from features.identity.live import Component
from serving.online import Floats, OnlineStoreError, ProfileRecord

FORMAT = 4
LONGEST_KEY = 511
FIRST_MAP_BYTES = 64 * 2**20
ROWS_A_COMMIT = 20_000
DATA_FILE = "data.mdb"
PEOPLE = ("identities", "profiles", "histories", "parts", "components", "reached")

Pair = tuple[bytes, bytes]
Row = TypeVar("Row")


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
    writer = _Writer(folder, ["meta", *PEOPLE, *map(_vectors_of, goals)], map_bytes)
    try:
        writer.put("meta", [(b"meta", orjson.dumps({"format": FORMAT, **meta}))])
        for chunk in _chunks(profiles):
            writer.put("profiles", [_profile_pair(record) for record in chunk])
            writer.put("identities", [pair for record in chunk for pair in _pointers(record)])
        for table, packed in (("histories", histories), ("parts", parts)):
            for some in _chunks(packed):
                writer.put(table, [(key_of(who), raw) for who, raw in some])
        for reached in _chunks(components):
            writer.put("components", [_component_pair(each) for each in reached])
            writer.put("reached", [pair for each in reached for pair in _reached(each)])
        widths: dict[str, int] = {}
        for rows in _chunks(vectors):
            for goal, pairs in _by_goal(rows, goals, widths).items():
                writer.put(_vectors_of(goal), pairs)
    finally:
        writer.close()


class LmdbStore:
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
            names = [*PEOPLE, *map(_vectors_of, self.meta["goals"])]
            self._tables = {name: self._table(name) for name in names}
        except (lmdb.Error, KeyError, ValueError) as error:
            self.close()
            raise _unreadable(path, repr(error)) from error

    def profile_id_of(self, identity: str) -> str | None:
        """Return the profile that holds an identity (`namespace:value`), or None."""
        found = self._get("identities", identity)
        return found.decode() if found is not None else None

    def profile(self, profile_id: str) -> ProfileRecord | None:
        """Return a profile, or None when there is none of that id."""
        found = self._get("profiles", profile_id)
        if found is None:
            return None
        raw = orjson.loads(found)
        raw |= {key: tuple(raw[key]) for key in ("identities", "aliases", "segments")}
        return ProfileRecord(**raw)

    def vector(self, profile_id: str, goal: str) -> Floats | None:
        """Return the features (n,) of a person eligible for `goal`, NaN = null; None otherwise."""
        found = self._get(_vectors_of(goal), profile_id)
        return _floats(found) if found is not None else None

    def history(self, profile_id: str) -> History | None:
        """Return what live features of a person are made of; None where it is not kept."""
        found = self._get("histories", profile_id)
        return unpack(found) if found is not None else None

    def part(self, identity: str) -> History | None:
        """Return what a history has of one identity; None where it is all of its person."""
        found = self._get("parts", identity)
        return unpack(found) if found is not None else None

    def component(self, identity: str) -> Component | None:
        """Return whom links reach from an identity; None where they reach nobody."""
        first = self._get("reached", identity)
        if first is None:
            return None
        with self._environment.begin() as transaction:
            found = transaction.get(first, db=self._tables["components"])
        return _component(orjson.loads(found))

    def sample(self, goal: str) -> Floats | None:
        """Return any one vector of `goal`, or None when nobody was eligible."""
        with self._environment.begin() as transaction:
            cursor = transaction.cursor(self._tables[_vectors_of(goal)])
            return _floats(cursor.value()) if cursor.first() else None

    def close(self) -> None:
        """Let go of the generation; reading after it is an error."""
        self._finish()

    def _read_meta(self, path: Path) -> dict[str, Any]:
        with self._environment.begin(db=self._table("meta")) as transaction:
            meta: dict[str, Any] = orjson.loads(transaction.get(b"meta") or b"{}")
        if meta.pop("format", None) != FORMAT:
            raise _unreadable(path, f"it is not of format {FORMAT}")
        return meta

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

    def put(self, table: str, pairs: list[Pair]) -> None:
        """Add pairs of new keys; raise `OnlineStoreError` when one is there already."""
        ordered = sorted(pairs)
        while True:
            try:
                added = self._commit(table, ordered)
                break
            except lmdb.MapFullError:
                size = self._environment.info()["map_size"]
                self._environment.set_mapsize(2 * size)
        if added < len(ordered):
            raise OnlineStoreError(
                f"{len(ordered) - added} keys come twice in {table} of the online store.",
                hint="Each identity belongs to one profile, and each profile is there once.",
                table=table,
            )

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
        raise _unreadable(path, f"there is no {DATA_FILE}")
    try:
        return lmdb.open(str(path), readonly=True, create=False, lock=False, max_dbs=1_000)
    except lmdb.Error as error:
        raise _unreadable(path, repr(error)) from error


def _unreadable(path: Path, why: str) -> OnlineStoreError:
    return OnlineStoreError(
        f"The online store in {path} cannot be read: {why}.",
        hint="Publish a new one with `likelier run`.",
    )


def _vectors_of(goal: str) -> str:
    return f"vectors:{goal}"


def _profile_pair(record: ProfileRecord) -> Pair:
    return key_of(record.profile_id), orjson.dumps(asdict(record))


def _pointers(record: ProfileRecord) -> Iterator[Pair]:
    value = record.profile_id.encode()
    return ((key_of(identity), value) for identity in (*record.identities, *record.aliases))


def _component(raw: list[Any]) -> Component:
    """Return a component as it was written: JSON knows no tuples."""
    names = [each.name for each in fields(Component)]
    return Component(**{n: _as_tuple(value) for n, value in zip(names, raw, strict=True)})


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _component_pair(component: Component) -> Pair:
    return key_of(component.identities[0]), orjson.dumps(astuple(component))


def _reached(component: Component) -> Iterator[Pair]:
    first = key_of(component.identities[0])
    aliases = (text for text, _ in component.aliases)
    return ((key_of(identity), first) for identity in (*component.identities, *aliases))


def _by_goal(
    rows: list[tuple[str, str, Floats]], goals: list[str], widths: dict[str, int]
) -> dict[str, list[Pair]]:
    """Sort vectors by goal; `widths` remembers how long each goal's vectors are."""
    found: dict[str, list[Pair]] = {}
    for goal, profile_id, values in rows:
        if goal not in goals:
            raise OnlineStoreError(
                f"There are vectors of {goal!r}, which meta.goals lacks.",
                hint=did_you_mean(goal, goals),
            )
        if values.shape != (widths.setdefault(goal, values.size),):
            raise OnlineStoreError(
                f"A vector of {goal} has the shape {values.shape}, expected ({widths[goal]},).",
                hint="Give every person of a goal the columns of its bundle.",
            )
        found.setdefault(goal, []).append(
            (key_of(profile_id), np.ascontiguousarray(values, "<f8").tobytes())
        )
    return found


def _floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, "<f8").astype(np.float64)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    source = iter(rows)
    while chunk := list(islice(source, ROWS_A_COMMIT)):
        yield chunk
