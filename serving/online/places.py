"""Where the generations of a project are: in the store's folder (LMDB), or in Redis.

A version of the table `online` is a folder of the store either way: with the generation in it, or
with nothing but the facts of one that is in Redis.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from features.behavior.arriving import Arrived
from features.errors import SettingsError
from features.identity.live import Component
from features.settings import LMDB, Project
from features.store import Store
from serving.journal.event import LiveEvent
from serving.online import Floats, OnlineStore, ProfileRecord, Recent
from serving.online.lmdb import LmdbStore
from serving.online.lmdb import write_generation as write_lmdb
from serving.online.lmdb_recent import LmdbRecent

TABLE = "online"


@dataclass(frozen=True)
class Place:
    """The online store of a project. `url`: `lmdb`, or that of a Redis server."""

    store: Store
    url: str = LMDB
    project: str = ""

    @classmethod
    def of(cls, project: Project, store: Store) -> Place:
        """Return the place that the project file names."""
        return cls(store, project.serving.online, project.project)

    @property
    def remote(self) -> bool:
        """Whether an answer takes a way over the network."""
        return self.url != LMDB

    @property
    def name(self) -> str:
        """The place in names of versions: the address without any password."""
        if not self.remote:
            return ""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}{parts.path}"

    def write(
        self,
        folder: Path,
        version: str,
        meta: Mapping[str, Any],
        profiles: Iterable[ProfileRecord],
        vectors: Iterable[tuple[str, str, Floats]],
        histories: Iterable[tuple[str, bytes]],
        parts: Iterable[tuple[str, bytes]] = (),
        components: Iterable[Component] = (),
    ) -> OnlineStore:
        """Write a generation whose folder is being written; return it, open."""
        if not self.remote:
            write_lmdb(folder, meta, profiles, vectors, histories, parts, components)
            return LmdbStore(folder)
        _redis().write_generation(
            self.url, self.project, version, meta,
            profiles, vectors, histories, parts, components,
        )  # fmt: skip
        return self.open(version)

    def open(self, version: str) -> OnlineStore:
        """Return a generation; raise `OnlineStoreError` or `OnlineStoreAway`."""
        if not self.remote:
            return LmdbStore(self.store.folder(TABLE, version))
        found: OnlineStore = _redis().RedisStore(self.url, self.project, version)
        return found

    def recent(self, version: str, read: Callable[[LiveEvent], Arrived]) -> Recent:
        """Return the recent events of a generation."""
        if not self.remote:
            return LmdbRecent(self.store.root / "recent", read)
        found: Recent = _redis().RedisRecent(self.url, self.project, version, read)
        return found

    def has(self, version: str) -> bool:
        """Say whether a generation is there, whole."""
        there = self.store.has(TABLE, version)
        return there and (not self.remote or bool(_redis().holds(self.url, self.project, version)))

    def keep(self, versions: Collection[str]) -> None:
        """Delete generations that no run names any more, where the store's folder is not all."""
        if self.remote:
            _redis().keep(self.url, self.project, versions)


def _redis() -> ModuleType:
    try:
        from serving.online import redis
    except ModuleNotFoundError as error:
        raise SettingsError(
            "serving.online names a Redis server, and the library for it is missing.",
            hint="Install it: pip install 'likelier[redis]'.",
        ) from error
    return redis
