"""Small graphs as graph simulation writes them: `CRMID: Tom, ECID: 111`, one event a day."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.worlds import Row, days, seen, world

CRMID = {"name": "crmid", "type": "person", "unique": True}
LOGIN = {"name": "login", "type": "person"}
EMAIL = {"name": "email", "type": "email"}
UNIQUE_EMAIL = EMAIL | {"unique": True}
PHONE = {"name": "phone", "type": "phone", "unique": True}
ECID = {"name": "ecid", "type": "cookie"}
SESSION = {"name": "session", "type": "session"}
LATER = days(1_000)

People = dict[str, set[str]]
"""Profile id to its identities, both without `namespace:`."""


def happened(*lines: str) -> list[Row]:
    """Read events as graph simulation writes them: one a day, oldest first."""
    pairs = ([pair.split(":") for pair in line.split(",")] for line in lines)
    return [
        seen(days(day), **{space.strip().lower(): value.strip() for space, value in pair})
        for day, pair in enumerate(pairs)
    ]


def people(
    folder: Path, rows: list[Row], *spaces: dict[str, Any], as_of: int = LATER, **rules: int
) -> People:
    with world(folder, rows, identity={"namespaces": list(spaces)} | rules) as bench:
        graph = bench.graph
        members = graph.at(as_of).members()
    found: People = {}
    for row in members.to_pylist():
        name, anchor = (graph.identities[key].split(":")[1] for key in row.values())
        found.setdefault(anchor, set()).add(name)
    return found
