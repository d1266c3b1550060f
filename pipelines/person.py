"""One person as the published run knows them: for `likelier profile`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import time
from features.identity.overrides import Overrides, applied
from features.sources.unite import TABLE as UNITED
from features.store import Manifest
from pipelines.building import LISTS, PROFILES, measures_of, plain
from pipelines.erasing import hidden
from pipelines.origins import origins_of
from pipelines.scoring import SCORES
from pipelines.workspace import Workspace
from serving.api.errors import UnknownIdentity
from serving.api.identities import in_body

SHOWN_EVENTS = 20


def describe(workspace: Workspace, asked: str) -> dict[str, Any]:
    """Return everything the published run says of one person, JSON-ready."""
    manifest = workspace.store.require_current()
    identity = in_body(asked, workspace.project.identity, "identity").identity
    profiles = _read(workspace, manifest, PROFILES, "profiles")
    index = _read(workspace, manifest, UNITED, "identity_index")
    overrides = applied(workspace.store, manifest)
    row = profile_of(profiles, overrides.spellings(identity) if identity else ())
    if row is None or hidden(workspace, manifest, identity):
        raise UnknownIdentity(
            f"Nobody is known as {asked.partition(':')[0]}:… with that value.",
            hint="An identity is known from the first published run that read a row with it.",
        )
    spelt = [*row["identities"], *row["aliases"]]
    keys = index.filter(pc.is_in(index["identity"], pa.array(spelt)))
    names = dict(zip(keys["identity_key"].to_pylist(), keys["identity"].to_pylist(), strict=True))
    types = workspace.store.facts(UNITED, manifest.tables[UNITED])["types"]
    return {
        "profile_id": row["profile_id"],
        "known": row["known"],
        "as_of": time.format_instant(manifest.as_of),
        "first_seen": _instant(row["first_seen"]),
        "last_seen": _instant(row["last_seen"]),
        "attributes": {
            name.removeprefix("profile_"): plain(value, types.get(name, "text"))
            for name, value in row.items()
            if name.startswith("profile_") and name not in ("profile_id", "profile_key")
        },
        "attribute_sources": origins_of(workspace, manifest, row["profile_key"]),
        "measures": _measures(workspace, row),
        "identities": row["identities"],
        "aliases": overrides.other_spellings(row["identities"]),
        "links": [
            *_links(_read(workspace, manifest, UNITED, "links"), names, manifest.as_of),
            *_overridden(overrides, row["identities"], manifest.as_of),
        ],
        "scores": _scores(workspace, manifest, row["profile_id"]),
        "segments": _segments(workspace, manifest, row["profile_id"]),
        "events": _events(workspace, manifest, list(names)),
    }


def _read(workspace: Workspace, manifest: Manifest, table: str, file: str) -> pa.Table:
    folder: Path = workspace.store.folder(table, manifest.tables[table])
    return pq.read_table(folder / f"{file}.parquet")


def profile_of(profiles: pa.Table, spellings: Sequence[str]) -> dict[str, Any] | None:
    """Return the row of the `profiles` table that holds any of an identity's spellings."""
    listed = profiles["identities"].combine_chunks()
    flat = pc.list_flatten(listed)
    place = max((pc.index(flat, each).as_py() for each in spellings), default=-1)
    if place < 0:
        return None
    owner = pc.list_parent_indices(listed)[place].as_py()
    row: dict[str, Any] = profiles.slice(owner, 1).to_pylist()[0]
    return row


def _measures(workspace: Workspace, row: dict[str, Any]) -> list[dict[str, Any]]:
    labels = {measure.name: measure.title for measure in workspace.project.measures}
    return [
        {"name": name, "label": labels.get(name, name), "value": value}
        for name, value in measures_of(row).items()
    ]


def _links(links: pa.Table, names: dict[int, str], as_of: int) -> list[dict[str, Any]]:
    """Return why the identities are one person: pairs seen on one row, and when."""
    keys = pa.array(list(names), pa.int64())
    mine = pc.and_(pc.is_in(links["a"], keys), pc.is_in(links["b"], keys))
    known = links.filter(pc.and_(mine, pc.less(links["known_at"], as_of)))
    times = [("event_time", "min"), ("event_time", "max"), ("event_time", "count")]
    found = known.group_by(["a", "b"]).aggregate(times).sort_by([("a", "ascending")])
    return [
        {
            "identities": [names[row["a"]], names[row["b"]]],
            "first_seen": _instant(row["event_time_min"]),
            "last_seen": _instant(row["event_time_max"]),
            "sightings": row["event_time_count"],
        }
        for row in found.to_pylist()
    ]


def _overridden(
    overrides: Overrides, identities: Sequence[str], as_of: int
) -> list[dict[str, Any]]:
    """Return the pairs that are one person because somebody said so."""
    spelt = {text: each for each in identities for text in overrides.spellings(each)}
    always = [
        {"identities": [spelt[a], spelt[b]], "override": "always"}
        for (a, b), known_from in overrides.always.items()
        if a in spelt and b in spelt and time.known_before(known_from, as_of)
    ]
    others = [(each, text) for text, each in spelt.items() if text != each]
    return always + [{"identities": [*pair], "override": "alias"} for pair in others]


def _scores(workspace: Workspace, manifest: Manifest, profile_id: str) -> list[dict[str, Any]]:
    scores = _read(workspace, manifest, SCORES, "scores")
    factors = _read(workspace, manifest, SCORES, "factors")
    found = scores.filter(pc.equal(scores["profile_id"], profile_id)).to_pylist()
    reasons = factors.filter(pc.equal(factors["profile_id"], profile_id)).to_pylist()
    dropped = ("profile_id", "profile_key")
    return [
        {
            **{name: value for name, value in score.items() if name not in dropped},
            "as_of": _instant(score["as_of"]),
            "expires_at": _instant(score["expires_at"]),
            "factors": [
                {n: v for n, v in reason.items() if n not in (*dropped, "goal")}
                for reason in reasons
                if reason["goal"] == score["goal"]
            ],
        }
        for score in found
    ]


def _segments(workspace: Workspace, manifest: Manifest, profile_id: str) -> list[dict[str, Any]]:
    memberships = _read(workspace, manifest, LISTS, "memberships")
    mine = memberships.filter(pc.equal(memberships["profile_id"], profile_id))
    return [
        {"segment": row["segment"], "since": _instant(row["since"])} for row in mine.to_pylist()
    ]


def _events(workspace: Workspace, manifest: Manifest, keys: list[int]) -> list[dict[str, Any]]:
    folder = workspace.store.folder(UNITED, manifest.tables[UNITED])
    mine = pq.read_table(
        folder / "events.parquet",
        filters=[("identity_key", "in", keys), ("known_at", "<", manifest.as_of)],
    )
    newest = mine.sort_by([("event_time", "descending"), ("event_id", "ascending")])
    return [
        {
            "event_time": _instant(row["event_time"]),
            "event_type": row["event_type"],
            "source": row["source"],
            **{
                name.removeprefix("attr_"): plain(value, "text")
                for name, value in row.items()
                if name.startswith("attr_") and value is not None
            },
        }
        for row in newest.slice(0, SHOWN_EVENTS).to_pylist()
    ]


def _instant(micros: int | None) -> str | None:
    return None if micros is None else time.format_instant(micros)
