"""Tiny worlds: a handful of rows on disk, read and united as any project is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from features.time import MICROS_PER_DAY, format_instant, parse_instant
from pipelines.stages import Bench, ingest_all, unify
from pipelines.workspace import Workspace

START = parse_instant("2024-01-01T00:00:00Z")
DAY = MICROS_PER_DAY
Settings = Mapping[str, Any]

NAMESPACES: tuple[Settings, ...] = (
    {"name": "customer", "type": "person", "unique": True},
    {"name": "login", "type": "person"},
    {"name": "email", "type": "email", "unique": True},
    {"name": "device", "type": "device"},
    {"name": "cookie", "type": "cookie"},
    {"name": "session", "type": "session"},
    {"name": "household", "type": "household"},
)
"""In order of priority."""
PARTS = ("attributes", "profile", "consent")


@dataclass(frozen=True)
class Row:
    """One row of a world: who (namespace to value), what, when, and when it became known.

    `attributes` of the event, `profile` of the person. `received_at` None: known when it happened.
    """

    who: Mapping[str, str]
    event_time: int
    event_type: str = "visit"
    received_at: int | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)
    consent: Mapping[str, Any] = field(default_factory=dict)

    @property
    def known_at(self) -> int:
        """The moment at which the row became known."""
        received = self.event_time if self.received_at is None else self.received_at
        return max(self.event_time, received)

    def line(self, keys: Sequence[str]) -> str:
        """The row as a JSON line with all of `keys`: null where the row says nothing."""
        line: dict[str, Any] = dict.fromkeys(keys) | {
            "event_type": self.event_type,
            "event_time": format_instant(self.event_time),
            "received_at": self.received_at and format_instant(self.received_at),
        }
        for values in (self.who, self.attributes, self.profile, self.consent):
            line |= values
        return json.dumps(line)


def days(number: float) -> int:
    """Return the moment `number` days after the world began."""
    return START + round(number * DAY)


def seen(moment: int, /, event_type: str = "visit", **who: str) -> Row:
    """Return a row that happened at `moment` and was known at once."""
    return Row(who, moment, event_type)


def said(rows: Sequence[Row], part: str) -> list[str]:
    """Return the names that rows use in `part`: attributes, profile or consent."""
    return sorted({name for row in rows for name in getattr(row, part)})


def project(
    rows: Sequence[Row], path: str = "log.jsonl", more: Sequence[Settings] = (), **changes: Any
) -> dict[str, Any]:
    """Return settings that read `rows` and `more` sources, with `changes` to the project file."""
    identity = {"namespaces": list(NAMESPACES)} | changes.pop("identity", {})
    source: dict[str, Any] = {
        "name": "log",
        "kind": "events",
        "path": path,
        "event_time": "event_time",
        "received_at": "received_at",
        "event_type": "event_type",
        "identities": {space["name"]: space["name"] for space in identity["namespaces"]},
    }
    for part in PARTS:
        source[part] = {name: name for name in said(rows, part)}
    settings: dict[str, Any] = {
        "project": "world",
        "engine": {"threads": 1, "memory_limit": "500MB"},
        "sources": [source, *more],
        "identity": identity,
        "features": {"windows": ["2d", "10d"]},
    }
    return settings | changes


@contextmanager
def world(folder: Path, rows: Sequence[Row], **changes: Any) -> Iterator[Bench]:
    """Write `rows` and a project file into `folder`; yield a bench with its united tables."""
    folder.mkdir(exist_ok=True, parents=True)
    settings = project(rows, **changes)
    write(folder / "log.jsonl", rows, settings)
    with bench_of(folder, settings) as bench:
        yield bench


def write(path: Path, rows: Sequence[Row], settings: Settings) -> None:
    """Write rows as JSON lines with every key that the first source of `settings` reads."""
    source = settings["sources"][0]
    keys = [k for part in ("identities", *PARTS) for k in source[part]]
    path.write_text("".join(f"{row.line(keys)}\n" for row in rows))


@contextmanager
def bench_of(folder: Path, settings: Settings) -> Iterator[Bench]:
    """Write a project file beside its sources; yield a bench with its united tables."""
    (folder / "likelier.yaml").write_text(json.dumps(settings))
    workspace = Workspace.open(folder)
    with workspace.engine() as engine:
        bench = Bench(workspace, engine)
        unify(bench, ingest_all(bench))
        yield bench
