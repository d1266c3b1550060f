"""Profiles at a moment as tables: who they are, what is known of them, and who they were before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Log, People, Scene
from features.engine import Engine
from features.identity.graph import NOBODY, Graph, Resolution
from features.profiles.merging import winners
from features.settings import KNOWN_TYPES, Identity

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
    listed = _identities(graph, people)
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


def _identities(graph: Graph, people: People) -> pa.Array:
    order = np.lexsort((people.member_key, people.member_row))
    row, key = people.member_row[order], people.member_key[order]
    offsets = np.searchsorted(row, np.arange(len(people) + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, graph.identities.take(key))


def _by_row(table: pa.Table, name: str, rows: int) -> pa.Array:
    values = np.full(rows, time.LATEST)
    values[table["row_id"].to_numpy()] = table[name].to_numpy()
    return pa.array(values, mask=values == time.LATEST)


def profile_changes(before: pa.Table | None, graph: Graph, now: Resolution) -> pa.Table:
    """Return old, new, kind for every profile of the previous run whose name moved or that split.

    The successor of an old profile is the profile holding its anchor now. `merged`: another old
    profile has the same successor; `split`: some of its identities are in another profile now;
    `renamed`: neither.
    """
    rows: dict[str, list[str]] = {"old": [], "new": [], "kind": []}
    if before is not None:
        identities = before["identities"].combine_chunks().flatten().unique().to_pylist()
        key_of = graph.identities.keys_of({*identities, *before["profile_id"].to_pylist()})
        successors = [_holder(key_of, now, old) for old in before["profile_id"].to_pylist()]
        held = np.bincount([s for s in successors if s != NOBODY], minlength=len(now.anchor))
        split = _split(before, key_of, now, successors)
        for place, old in enumerate(before["profile_id"].to_pylist()):
            new = successors[place]
            if new == NOBODY or (graph.identities[new] == old and not split[place]):
                continue
            kind = "split" if split[place] else "merged" if held[new] > 1 else "renamed"
            for column, value in zip(rows, (old, graph.identities[new], kind), strict=True):
                rows[column].append(value)
    return pa.table(rows, schema=pa.schema([(name, pa.string()) for name in rows]))


def _holder(key_of: dict[str, int], now: Resolution, identity: str) -> int:
    key = key_of.get(identity)
    return NOBODY if key is None else int(now.anchor[key])


def _split(
    before: pa.Table, key_of: dict[str, int], now: Resolution, successors: Sequence[int]
) -> list[bool]:
    return [
        any(_holder(key_of, now, identity) not in (new, NOBODY) for identity in identities)
        for identities, new in zip(before["identities"].to_pylist(), successors, strict=True)
    ]


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
