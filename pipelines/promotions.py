"""The promotion log: which version served from when on, and why. Lines are only ever added.

It stands in the store, so it can be read when MLflow is down; where the two differ, the alias in
MLflow leads, and the next run that notices writes down that it was moved there.
"""

from __future__ import annotations

import json
import os
import time as clock
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features import time
from features.store import Store

LOG = "promotions.jsonl"


@dataclass(frozen=True)
class Promotion:
    """One change of a goal's champion, from a bundle version (None: the first) to another.

    `by` is the command that did it; `why` is in words, `figures` those of the test that there was;
    `at` is when, in UTC.
    """

    goal: str
    before: str | None
    after: str
    by: str
    why: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""

    @property
    def body(self) -> dict[str, Any]:
        """The promotion as JSON-ready facts."""
        found = asdict(self)
        return {"at": found.pop("at"), **found}


def promotions(store: Store, goal: str | None = None) -> list[Promotion]:
    """Return the log, oldest first, of one goal or of all; a line cut off by a kill is left out."""
    found = []
    for line in _lines(store.root / LOG):
        try:
            found.append(Promotion(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return [each for each in found if goal in (None, each.goal)]


def write_down(store: Store, promotion: Promotion) -> None:
    """Add a promotion to the log, with the time of now: on disk when this returns."""
    path = store.root / LOG
    path.parent.mkdir(parents=True, exist_ok=True)
    body = promotion.body | {"at": time.format_instant(clock.time_ns() // 1_000)}
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("ab") as handle:
        handle.write((b"" if whole else b"\n") + json.dumps(body).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())


def last_champion(store: Store, goal: str) -> str | None:
    """Return the version that the log names last, or None."""
    found = promotions(store, goal)
    return found[-1].after if found else None


def before_last(store: Store, goal: str) -> str | None:
    """Return the version that served before the last change: where one step back leads."""
    found = promotions(store, goal)
    return found[-1].before if found else None


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
