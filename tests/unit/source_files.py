"""A project folder of small files and the tables made of it, for the tests of sources."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.engine import Engine
from features.settings import Project
from features.sources.files import discover
from features.sources.ingest import TABLE as PARTS
from features.sources.ingest import ingest_file, part_key
from features.sources.unite import TABLE as UNITED
from features.sources.unite import gather, unite, united_key
from features.store import Store

Rows = list[dict[str, Any]]
CUSTOMER = {"name": "customer", "type": "person", "unique": True}
EMAIL = {"name": "email", "type": "email", "pii": True}
DAY = "2024-05-01"


def source(**changes: Any) -> dict[str, Any]:
    """Return settings of a source of events in `log.csv`: who, at, what."""
    return {
        "name": "log",
        "kind": "events",
        "path": "log.csv",
        "event_time": "at",
        "event_type": "what",
        "identities": {"customer": "who"},
    } | changes


def records(**changes: Any) -> dict[str, Any]:
    """Return settings of a source of records in `crm.csv`: who, since."""
    return {
        "name": "crm",
        "kind": "records",
        "path": "crm.csv",
        "known_from": "since",
        "identities": {"customer": "who"},
    } | changes


@dataclass
class Folder:
    """A project folder; `read` makes its tables anew in a store beside it."""

    path: Path
    engine: Engine
    sources: list[dict[str, Any]] = field(default_factory=lambda: [source()])
    namespaces: list[dict[str, Any]] = field(default_factory=lambda: [CUSTOMER])
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.path / ".likelier")

    @property
    def project(self) -> Project:
        identity = {"namespaces": self.namespaces} | self.settings.get("identity", {})
        return Project.model_validate(
            {"project": "test", "sources": self.sources} | self.settings | {"identity": identity}
        )

    def put(self, files: Mapping[str, str | bytes]) -> Folder:
        for name, content in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def ingest(self) -> dict[str, list[str]]:
        keys: dict[str, list[str]] = {}
        for each in self.project.sources:
            for file in discover(each, self.path):
                key = part_key(self.project, file)
                if not self.store.has(PARTS, key):
                    ingest_file(self.engine, self.store, self.project, file, key)
                keys.setdefault(each.name, []).append(key)
        return keys

    def part(self, name: str = "accepted") -> Rows:
        """Ingest one file and return a table of its part; accepted rows by what they are about."""
        ((key,),) = self.ingest().values()
        rows: Rows = pq.read_table(self.store.folder(PARTS, key) / f"{name}.parquet").to_pylist()
        about = [key for key in (rows[0] if rows else {}) if key.startswith("id_")]
        return sorted(rows, key=lambda row: [str(row[key]) for key in about])

    def part_facts(self) -> dict[str, Any]:
        ((key,),) = self.ingest().values()
        return self.store.facts(PARTS, key)

    def unite(self) -> United:
        keys = self.ingest()
        gathered = gather(self.store, self.project, keys)
        key = united_key(self.project, gathered)
        if not self.store.has(UNITED, key):
            unite(self.engine, self.store, self.project, gathered, key)
        return United(self.store.folder(UNITED, key), self.store.facts(UNITED, key))


@dataclass(frozen=True)
class United:
    """The united tables of a folder."""

    path: Path
    facts: dict[str, Any]

    def rows(self, name: str, *columns: str) -> Rows:
        rows: Rows = pq.read_table(self.path / f"{name}.parquet").to_pylist()
        return [{c: row[c] for c in columns} for row in rows] if columns else rows

    def values(self, name: str, column: str) -> list[Any]:
        return [row[column] for row in self.rows(name)]


def refused(folder: Folder) -> list[tuple[int, str, str | None]]:
    """Return the row, code and value of every refused row."""
    return [(row["row"], row["code"], row["value"]) for row in folder.part("quarantine")]


def as_jsonl(rows: list[dict[str, object]]) -> bytes:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
