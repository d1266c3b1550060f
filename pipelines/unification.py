"""The unification report: what became of rows, identities and links, in figures.

All of it is read from the published run. Personal identities are named by their hashes, as
everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features import time
from features.errors import StoreError
from features.sources.unite import TABLE as UNITED
from pipelines.building import LISTS, PROFILES, UNIFICATION
from pipelines.erasing import hidden
from pipelines.workspace import Workspace


class NoUnificationReport(StoreError):
    """A published run that was made before there was a unification report."""

    code = "no_unification_report"


def unification(workspace: Workspace) -> dict[str, Any]:
    """Return the unification report of the published run, JSON-ready."""
    store, manifest = workspace.store, workspace.store.require_current()
    figures, united = manifest.figures, store.facts(UNITED, manifest.tables[UNITED])
    everyone = figures["profiles"]
    people = _counts(store.folder(PROFILES, manifest.tables[PROFILES]) / UNIFICATION)
    changes = pq.read_table(
        store.folder(LISTS, manifest.tables[LISTS]) / "profile_changes.parquet", columns=["kind"]
    )["kind"].to_pylist()

    def named(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        return [row for row in rows if not hidden(workspace, manifest, row[key])]

    return {
        "as_of": time.format_instant(manifest.as_of),
        "sources": figures["sources"],
        "profiles": {name: everyone[name] for name in ("profiles", "known", "anonymous")},
        **people,
        "largest": named(people["largest"], "profile_id"),
        "refused": [
            row | {"identities": named(row["identities"], "identity")} for row in people["refused"]
        ],
        "nobody": _nobody(united),
        "overrides": figures.get("overrides", {}),
        "profile_changes": {kind: changes.count(kind) for kind in sorted(set(changes))},
        "hindsight": {goal: found["hindsight"] for goal, found in figures["goals"].items()},
    }


def _counts(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise NoUnificationReport(
            "The published run has no unification report.", hint="Run `likelier run` first."
        ) from error
    return found


def _nobody(united: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the values that identify nobody, by source, namespace and why, most first."""
    found = [
        {"source": source, "namespace": namespace, "what": what, "why": why, "values": count}
        for what in ("junk", "unusable")
        for source, spaces in united.get(f"{what}_found", {}).items()
        for namespace, counts in spaces.items()
        for why, count in counts.items()
    ]
    return sorted(found, key=lambda row: -row["values"])
