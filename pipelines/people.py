"""Profiles at a moment as tables: who they are, what is known of them, and who they were before."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People, Scene
from features.engine import Engine
from features.identity.graph import NOBODY, Graph, Resolution
from features.profiles.merging import winners
from features.settings import KNOWN_TYPES, Identity

MOVED = pa.struct([("identity", pa.string()), ("profile_id", pa.string())])
CHANGES = pa.schema(
    [("old", pa.string()), ("new", pa.string()), ("kind", pa.string()), ("moved", pa.list_(MOVED))]
)
Ints = NDArray[np.int64]


def profiles_table(
    engine: Engine, graph: Graph, identity: Identity, people: People, scene: Scene
) -> pa.Table:
    """Return one row a profile, in order of profile key: the table `profiles`.

    `known` says that the profile holds an identity of a person, e-mail or phone namespace; times
    are the first and last event known at as_of, null for people known from records alone.
    """
    spaces = identity.namespaces
    known_rank = np.array([space.type in KNOWN_TYPES for space in spaces])
    known = np.zeros(len(people), dtype=bool)
    known[people.member_row[known_rank[graph.rank[people.member_key]]]] = True
    listed, aliases = _identities(graph, people)
    stated = engine.arrow(scene.spine.order_by("row_id"))
    attributes = [name for name in stated.column_names if name.startswith("profile_")]
    seen = engine.arrow(
        scene.history.group_by("row_id").aggregate(
            first_seen=scene.history.event_time.min(), last_seen=scene.history.event_time.max()
        )
    )
    columns = {
        "profile_id": graph.identities.take(people.profile_key),
        "profile_key": people.profile_key,
        "as_of": people.as_of,
        "known": known,
        "identities": listed,
        "aliases": aliases,
        "first_seen": _by_row(seen, "first_seen", len(people)),
        "last_seen": _by_row(seen, "last_seen", len(people)),
    }
    return pa.table(columns | {name: stated[name] for name in attributes})


def attribute_sources(engine: Engine, log: Log, people: People, scene: Scene) -> pa.Table:
    """Return profile_key, attribute, source, row, event_time: what gave each attribute its value.

    `row` is a row of `stated_rows`; undated attributes are included.
    """
    won = winners(log.observations, scene.members, log.policies, log.attribute_kinds, undated=True)
    found = engine.arrow(won.drop("value").order_by("row_id", "attribute"))
    keys = pa.array(people.profile_key[found["row_id"].to_numpy()])
    return found.drop_columns("row_id").add_column(0, "profile_key", keys)


def _identities(graph: Graph, people: People) -> tuple[pa.Array, pa.Array]:
    """Return each person's identities, each spelt one way, and other spellings that rows had."""
    order = np.lexsort((people.member_key, people.member_row))
    row, key = people.member_row[order], people.member_key[order]
    leads = graph.spellings.leads(row, key)
    return (
        _lists(graph, row[leads], key[leads], len(people)),
        _lists(graph, row[~leads], key[~leads], len(people)),
    )


def _lists(graph: Graph, row: Ints, key: Ints, rows: int) -> pa.Array:
    offsets = np.searchsorted(row, np.arange(rows + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, graph.identities.take(key))


def _by_row(table: pa.Table, name: str, rows: int) -> pa.Array:
    values = np.full(rows, time.LATEST)
    values[table["row_id"].to_numpy()] = table[name].to_numpy()
    return pa.array(values, mask=values == time.LATEST)


def profile_changes(before: pa.Table | None, graph: Graph, now: Resolution) -> pa.Table:
    """Return a row for every profile of the previous run whose name moved or that split.

    `new` is the successor of `old`: the profile holding its anchor now. `kind` is `split` where
    some of its identities are in other profiles now (`moved` says which are where), `merged` where
    another old profile has the same successor, else `renamed`.
    """
    rows: list[dict[str, Any]] = []
    if before is not None:
        names, members = before["profile_id"].to_pylist(), members_of(before)
        key_of = graph.identities.keys_of({*names, *itertools.chain.from_iterable(members)})
        successors = [_holder(key_of, now, old) for old in names]
        held = np.bincount([s for s in successors if s != NOBODY], minlength=len(now.anchor))
        for old, new, spelt in zip(names, successors, members, strict=True):
            if new == NOBODY:
                continue
            holders = [(name, _holder(key_of, now, name)) for name in spelt]
            moved = [
                {"identity": name, "profile_id": graph.identities[holder]}
                for name, holder in holders
                if holder not in (new, NOBODY)
            ]
            if graph.identities[new] != old or moved:
                kind = "split" if moved else "merged" if held[new] > 1 else "renamed"
                named = {"old": old, "new": graph.identities[new], "kind": kind}
                rows.append(named | {"moved": moved})
    return pa.Table.from_pylist(rows, schema=CHANGES)


def members_of(profiles: pa.Table) -> list[list[str]]:
    """Return all identities of each profile, in every spelling that rows had."""
    listed: list[list[str]] = profiles["identities"].to_pylist()
    if "aliases" not in profiles.column_names:  # published before there were any
        return listed
    return [some + more for some, more in zip(listed, profiles["aliases"].to_pylist(), strict=True)]


def _holder(key_of: dict[str, int], now: Resolution, identity: str) -> int:
    key = key_of.get(identity)
    return NOBODY if key is None else int(now.anchor[key])


def consents_now(consents: pa.Table, people: People, as_of: int) -> pa.Table:
    """Return profile_key, purpose, allowed: what each profile says now.

    Each identity's latest statement known at as_of counts, and over the identities of a profile
    the most restrictive.
    """
    schema = pa.schema(
        [("profile_key", pa.int64()), ("purpose", pa.string()), ("allowed", pa.bool_())]
    )
    owner = dict(
        zip(
            people.member_key.tolist(),
            people.profile_key[people.member_row].tolist(),
            strict=True,
        )
    )
    known = consents.filter(pa.array(time.known_before(consents["known_at"].to_numpy(), as_of)))
    latest: dict[tuple[int, str], tuple[int, bool]] = {}
    for row in known.to_pylist():
        place = (row["identity_key"], row["purpose"])
        # Of two statements made at the same time the refusal counts.
        newer = (row["event_time"], not row["allowed"])
        if place not in latest or newer > latest[place]:
            latest[place] = newer
    merged: dict[tuple[int, str], bool] = {}
    for (identity, purpose), (_, refused) in latest.items():
        if identity in owner:
            who = (owner[identity], purpose)
            merged[who] = merged.get(who, True) and not refused
    rows = [
        {"profile_key": key, "purpose": purpose, "allowed": allowed}
        for (key, purpose), allowed in sorted(merged.items())
    ]
    return pa.Table.from_pylist(rows, schema=schema)
