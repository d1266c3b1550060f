"""The online store in Redis or Valkey, for several machines that serve: the only importer of redis.

Keys of a generation begin with `likelier:PROJECT:VERSION:`. Each table of rows is one hash; the
recent events of an identity are one hash, by id. `meta` is written last and looked for at every
question: a server that has lost the generation never answers that nobody is known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.behavior.arriving import Arrived, from_bytes, to_bytes
from features.identity.live import Component
from serving.journal.event import LiveEvent
from serving.online import Floats, OnlineStoreAway, OnlineStoreError, ProfileRecord
from serving.online.rows import (
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

SECONDS = 0.5
"""How long an answer may take, and a connection to be made."""
WRITING_SECONDS = 30.0
ROWS_AT_ONCE = 1_000


@cache
def _client(url: str, seconds: float) -> Any:
    """Return a client of the server; it makes connections by itself, and anew when they break."""
    return redis.Redis.from_url(
        url,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 1),
        health_check_interval=30,
    )


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except redis.exceptions.ResponseError as error:
        raise OnlineStoreError(
            f"Redis refuses a command: {error}.", hint="Look at its memory, and at its log."
        ) from error
    except redis.exceptions.RedisError as error:
        raise OnlineStoreAway(
            f"The online store does not answer ({type(error).__name__}).",
            hint="Look whether Redis runs at serving.online; the service goes on by itself.",
        ) from error


def _keys(project: str, version: str) -> str:
    return f"likelier:{project}:{version}:"


def write_generation(
    url: str,
    project: str,
    version: str,
    meta: Mapping[str, Any],
    profiles: Iterable[ProfileRecord],
    vectors: Iterable[tuple[str, str, Floats]],
    histories: Iterable[tuple[str, bytes]] = (),
    parts: Iterable[tuple[str, bytes]] = (),
    components: Iterable[Component] = (),
) -> None:
    """Write one generation; what is there of that version, whole or not, goes first.

    Arguments and errors are those of LMDB's; `OnlineStoreAway` where Redis does not answer.
    """
    forget(url, project, version)
    client, keys = _client(url, WRITING_SECONDS), _keys(project, version)
    for table, rows in rows_of(meta["goals"], profiles, vectors, histories, parts, components):
        _put(client, keys + table, table, rows)
    with _reaching():
        client.set(keys + "meta", meta_bytes(meta))


def _put(client: Any, key: str, table: str, rows: Sequence[Row]) -> None:
    added = 0
    for first in range(0, len(rows), ROWS_AT_ONCE):
        some = dict(rows[first : first + ROWS_AT_ONCE])
        with _reaching():
            added += client.hset(key, mapping=some)
    if added < len(rows):
        raise came_twice(table, len(rows) - added)


def holds(url: str, project: str, version: str) -> bool:
    """Say whether a generation is there, whole."""
    with _reaching():
        return bool(_client(url, SECONDS).exists(_keys(project, version) + "meta"))


def forget(url: str, project: str, version: str) -> None:
    """Delete a generation and its recent events."""
    client, keys = _client(url, WRITING_SECONDS), _keys(project, version)
    with _reaching():
        client.delete(keys + "meta")
        _delete(client, list(client.scan_iter(match=f"{keys}*", count=ROWS_AT_ONCE)))


def keep(url: str, project: str, versions: Collection[str]) -> None:
    """Delete every generation of a project but those of `versions`."""
    client = _client(url, WRITING_SECONDS)
    with _reaching():
        found = client.scan_iter(match=f"likelier:{project}:*", count=ROWS_AT_ONCE)
        _delete(client, [key for key in found if key.decode().split(":")[2] not in versions])


def _delete(client: Any, keys: Sequence[bytes]) -> None:
    for first in range(0, len(keys), ROWS_AT_ONCE):
        client.unlink(*keys[first : first + ROWS_AT_ONCE])


class RedisStore(Rows):
    """One generation. Satisfies `OnlineStore`."""

    def __init__(self, url: str, project: str, version: str) -> None:
        self._client, self._keys = _client(url, SECONDS), _keys(project, version)
        self._closed = False
        with _reaching():
            raw = self._client.get(self._keys + "meta")
        try:
            self.meta: Mapping[str, Any] = meta_of(raw)
        except ValueError as error:
            raise unreadable(f"Redis, {self._keys}", str(error)) from error

    def sample(self, goal: str) -> Floats | None:
        """Return any one vector of `goal`, or None when nobody was eligible."""
        with _reaching():
            found = self._client.hrandfield(self._keys + vectors_of(goal), 1, withvalues=True)
        return floats_of(found[1]) if found else None

    def epoch(self) -> str:
        """Return what changes when the server was started anew, or has lost this generation."""
        with _reaching():
            info = cast("dict[str, Any]", self._client.info("server"))
            there = self._client.exists(self._keys + "meta")
        return f"{info['run_id']}{'' if there else ' without it'}"

    def close(self) -> None:
        """Let go of the generation; reading after it is an error."""
        self._closed = True

    def _get(self, table: str, field: str) -> bytes | None:
        if self._closed:
            raise OnlineStoreError(
                "This generation of the online store is closed.", hint="Ask the current one."
            )
        with _reaching():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hget(self._keys + table, field)
            if table in ("identities", "profiles"):
                pipeline.exists(self._keys + "meta")
            found, *there = pipeline.execute()
        if there == [0]:
            raise OnlineStoreAway(
                "Redis has lost what the run published.",
                hint="`likelier run` publishes it again; give Redis memory, and persistence.",
            )
        return cast("bytes | None", found)


class RedisRecent:
    """Recent events of one generation, told by any machine that serves. Satisfies `Recent`."""

    def __init__(
        self, url: str, project: str, version: str, read: Callable[[LiveEvent], Arrived]
    ) -> None:
        self._client, self._keys = _client(url, SECONDS), _keys(project, version) + "recent:"
        self._read = read

    def add(self, events: Sequence[LiveEvent]) -> None:
        """Take in events, each under all its identities; one of a known id changes nothing."""
        with _reaching():
            pipeline = self._client.pipeline(transaction=False)
            for event in events:
                raw = to_bytes(self._read(event))
                for identity in event.identities:
                    pipeline.hsetnx(self._keys + identity, event.id, raw)
            pipeline.execute()

    def of(self, identities: Sequence[str]) -> list[Arrived]:
        """Return the events under these identities, each once."""
        asked = dict.fromkeys(identities)
        if not asked:
            return []
        with _reaching():
            pipeline = self._client.pipeline(transaction=False)
            for identity in asked:
                pipeline.hvals(self._keys + identity)
            found = [raw for raws in pipeline.execute() for raw in raws]
        return from_bytes(found) if found else []
