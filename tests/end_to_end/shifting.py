"""A small world whose people change their ways, or do not: for models that are trained again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from features.time import MICROS_PER_DAY, format_instant, parse_instant

START = parse_instant("2026-01-01T00:00:00Z")
PEOPLE = 240
WEEK = 10
"""Days of a period of this world, and of the outcome window."""

SETTINGS: dict[str, Any] = {
    "project": "shifting",
    "engine": {"threads": 2, "memory_limit": "500MB"},
    "sources": [
        {
            "name": "log", "kind": "events", "path": "log-*.jsonl", "event_time": "at",
            "event_type": "what", "identities": {"customer": "who"},
        }
    ],
    "identity": {"namespaces": [{"name": "customer", "type": "person", "unique": True}]},
    "features": {"windows": ["10d"]},
    "goals": [
        {
            "name": "buys", "kind": "conversion", "outcome": "any(purchase)",
            "outcome_window": "10d", "eligible": "any(visit in last 20d)", "min_people": 20,
        }
    ],
    "segments": [{"name": "likely", "where": "buys.score >= 50"}],
}  # fmt: skip


def day(number: float) -> str:
    return format_instant(START + round(number * MICROS_PER_DAY))


def rows(first: int, last: int, sign: str) -> Iterator[dict[str, Any]]:
    """Yield what everyone did in periods `[first, last)`: who did `sign` mostly buys in the next.

    Half of the people do `search` in a period, half `compare`, each by a coin of their own.
    """
    rng = np.random.default_rng(1_000 + first)
    ready = dict.fromkeys(range(PEOPLE), False)
    for period in range(first, last):
        for who in range(PEOPLE):
            begins = period * WEEK
            yield event(who, begins + rng.uniform(1, 9), "visit")
            if rng.random() < (0.8 if ready[who] else 0.1):
                yield event(who, begins + rng.uniform(0.5, 9.5), "purchase")
            ready[who] = False
            for what in ("search", "compare"):
                if rng.random() < 0.5:
                    yield event(who, begins + rng.uniform(1, 9), what)
                    ready[who] |= what == sign


def event(who: int, at: float, what: str) -> dict[str, Any]:
    return {"who": f"p{who:03}", "at": day(at), "what": what}


def write(folder: Path, name: str, found: Iterator[dict[str, Any]]) -> None:
    lines = sorted(found, key=lambda row: row["at"])
    (folder / f"log-{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))


def begin(folder: Path, **changes: Any) -> Path:
    """Write a project, and 100 days in which those who search buy."""
    folder.mkdir(parents=True, exist_ok=True)
    settings(folder, **changes)
    write(folder, "1", rows(0, 10, "search"))
    return folder


def go_on(folder: Path, sign: str) -> Path:
    """Add fifty days in which those who do `sign` buy."""
    write(folder, "2", rows(10, 15, sign))
    return folder


def settings(folder: Path, **changes: Any) -> None:
    (folder / "likelier.yaml").write_text(yaml.safe_dump(SETTINGS | changes))
