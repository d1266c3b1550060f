"""Which row of which file gave a person each attribute: for `likelier profile`."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from features import time
from features.sources.ingest import TABLE as PARTS
from features.sources.unite import TABLE as UNITED
from features.store import Manifest
from pipelines.building import PROFILES
from pipelines.workspace import Workspace


def origins_of(workspace: Workspace, manifest: Manifest, profile_key: int) -> dict[str, Any]:
    """Return, by attribute, the source, file, row and time of the statement that won.

    `row` is the row's event id; `file` the name of its file when it was first read, null where
    several hold the row; `at` is null where nobody dated it.
    """
    folder = workspace.store.folder(PROFILES, manifest.tables[PROFILES])
    won = pq.read_table(
        folder / "attribute_sources.parquet", filters=[("profile_key", "==", profile_key)]
    ).to_pylist()
    if not won:
        return {}
    rows = _event_ids(workspace, manifest, {(each["source"], each["row"]) for each in won})
    files = _files(workspace, manifest, set(rows.values()))
    found = {}
    for each in won:
        moment = each["event_time"]
        place = (each["source"], rows[each["source"], each["row"]])
        found[each["attribute"]] = {
            "source": each["source"],
            "file": files.get(place),
            "row": place[1],
            "at": None if moment == time.EARLIEST else time.format_instant(moment),
        }
    return found


def _event_ids(
    workspace: Workspace, manifest: Manifest, rows: set[tuple[str, int]]
) -> dict[tuple[str, int], str]:
    folder = workspace.store.folder(UNITED, manifest.tables[UNITED])
    listed = pq.read_table(
        folder / "stated_rows.parquet", filters=[("row", "in", {row for _, row in rows})]
    ).to_pylist()
    named = {(each["source"], each["row"]): each["event_id"] for each in listed}
    return {place: named[place] for place in rows}


def _files(
    workspace: Workspace, manifest: Manifest, event_ids: set[str]
) -> dict[tuple[str, str], str | None]:
    found: dict[tuple[str, str], str | None] = {}
    for key in manifest.tables[PARTS].split("+"):
        facts = workspace.store.facts(PARTS, key)
        accepted = workspace.store.folder(PARTS, key) / "accepted.parquet"
        held = pq.read_table(
            accepted, columns=["event_id"], filters=[("event_id", "in", event_ids)]
        )
        for event_id in set(held["event_id"].to_pylist()):
            place = (facts["source"], event_id)
            found[place] = None if place in found else facts["file"]
    return found
