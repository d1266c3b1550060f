"""Who is to be erased, what there is of them, and the last steps of an erasure.

The last steps need only the ledger, so whichever command comes next can do them after a kill.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import erasures as ledger
from features import time
from features.erasures import Erasure, Erasures
from features.identity.graph import NOBODY
from features.sources.unite import TABLE as UNITED
from features.store import Manifest, write_whole
from pipelines.building import LISTS, PROFILES
from pipelines.champions import Champion
from pipelines.history import entries_of
from pipelines.learning import TRAINED
from pipelines.people import members_of
from pipelines.scoring import SCORES
from pipelines.stages import FEATURES, Bench
from pipelines.workspace import Workspace
from serving.exports.erasing import purge_exports
from serving.journal.erasing import purge_journal
from serving.online.places import TABLE as ONLINE
from serving.online.places import Place
from serving.served import purge_served
from training.registry import Registry

TAG = "trained_on_erased"
Models = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Person:
    """All identities of one person, `profile_ids` among them, and raw values of hashed ones."""

    identities: frozenset[str]
    contacts: tuple[tuple[str, str], ...] = ()


def find(bench: Bench, manifest: Manifest, identity: str) -> Person | None:
    """Return who holds an identity: in the published run and by all that is known by now.

    One that owns no row, or is only in the log of deliveries, is a person of its own. None where
    nothing has it.
    """
    found = set[str]()
    for spelling in bench.overrides.spellings(identity):
        found |= _now(bench, spelling) | _published(bench, manifest, spelling)
    if not found:
        return None
    found |= set(bench.overrides.other_spellings(found))
    contacts = []
    for united in {bench.united, manifest.tables[UNITED]}:
        raw = _united(bench, united, "contacts")
        keys = _keys(bench, united, found)
        mine = raw.filter(pc.is_in(raw["identity_key"], pa.array(list(keys), pa.int64())))
        contacts += [(keys[row["identity_key"]], row["raw"]) for row in mine.to_pylist()]
    return Person(frozenset(found), tuple(sorted(set(contacts))))


def _now(bench: Bench, identity: str) -> set[str]:
    graph = bench.graph
    if identity not in graph.identities:
        return set()
    anchor = graph.at(time.LATEST).anchor
    mine = anchor[graph.identities.index(identity)]
    if mine == NOBODY:
        return {identity}
    return set(graph.identities.take(np.flatnonzero(anchor == mine)).to_pylist())


def _published(bench: Bench, manifest: Manifest, identity: str) -> set[str]:
    profiles = _table(bench, manifest, PROFILES, "profiles")
    for held in members_of(profiles):
        if identity in held:
            return set(held)
    index = _table(bench, manifest, UNITED, "identity_index")["identity"]
    sent = _table(bench, manifest, LISTS, "deliveries")["profile_id"]
    wanted = pa.scalar(identity)
    known = pc.index(index, wanted).as_py() >= 0 or pc.index(sent, wanted).as_py() >= 0
    return {identity} if known else set()


def counts_of(bench: Bench, manifest: Manifest, person: Person) -> dict[str, int]:
    """Return how many rows there are of a person, by table; served lines and files not counted."""
    united = bench.united
    if not _keys(bench, united, person.identities):
        united = manifest.tables[UNITED]
    found = {"identities": len(person.identities)}
    keys = list(_keys(bench, united, person.identities))
    for name in ("events", "observations", "consents", "contacts"):
        found[name] = _count(_united(bench, united, name), "identity_key", keys)
    links = _united(bench, united, "links")
    mine = pa.array(keys, pa.int64())
    found["links"] = pc.sum(pc.or_(pc.is_in(links["a"], mine), pc.is_in(links["b"], mine))).as_py()
    found["links"] = found["links"] or 0
    return found | _derived(bench, manifest, person)


def _derived(bench: Bench, manifest: Manifest, person: Person) -> dict[str, int]:
    ids = list(person.identities)
    keys = list(_keys(bench, manifest.tables[UNITED], person.identities))
    described = [
        pq.read_table(file, columns=["profile_key"])
        for key in manifest.tables[FEATURES].split("+") if key
        for file in bench.store.files(FEATURES, key)
    ]  # fmt: skip
    everyone = pq.read_table(
        bench.store.folder(PROFILES, manifest.tables[PROFILES]) / "profiles.parquet",
        columns=["profile_id", "identities"],
    )
    mine = everyone.filter(pc.is_in(everyone["profile_id"], pa.array(ids)))
    scores = _table(bench, manifest, SCORES, "scores")
    return {
        "profiles": mine.num_rows,
        "features": sum(_count(table, "profile_key", keys) for table in described),
        "scores": _count(scores, "profile_id", ids),
        "factors": _count(_table(bench, manifest, SCORES, "factors"), "profile_id", ids),
        "history": sum(
            _count(entry.scores(bench.store), "profile_id", ids)
            for entry in entries_of(bench.store, manifest)
        ),
        "memberships": _count(_table(bench, manifest, LISTS, "memberships"), "profile_id", ids),
        "deliveries": _count(_table(bench, manifest, LISTS, "deliveries"), "profile_id", ids),
        # One record a profile, a pointer an identity of it, a vector a goal.
        "online": mine.num_rows
        + sum(len(row) for row in mine["identities"].to_pylist())
        + _count(scores, "profile_id", ids),
    }


def models_of(bench: Bench, manifest: Manifest, person: Person) -> Models:
    """Return the models (goal, version) that were trained when something was known of a person.

    Of those in the store: the ones that score, and the ones kept beside them.
    """
    keys = np.array(list(_keys(bench, bench.united, person.identities)), dtype=np.int64)
    known = bench.graph.seen_known[np.isin(bench.graph.seen_key, keys)]
    # Of whom the files no longer speak cannot be said since when they were known.
    first = int(known.min()) if len(known) else time.EARLIEST
    serve = {version: goal for goal, version in manifest.models.items()}
    found = set()
    for key in filter(None, manifest.tables[TRAINED].split("+")):
        facts = bench.store.facts(TRAINED, key)
        if time.known_before(first, facts.get("as_of", manifest.as_of)):
            found.add((facts.get("goal") or serve[facts["version"]], facts["version"]))
    return tuple(sorted(found))


def _keys(bench: Bench, united: str, identities: frozenset[str] | set[str]) -> dict[int, str]:
    index = _united(bench, united, "identity_index")
    mine = index.filter(pc.is_in(index["identity"], pa.array(sorted(identities), pa.string())))
    pairs = zip(mine["identity_key"].to_pylist(), mine["identity"].to_pylist(), strict=True)
    return dict(pairs)


def _united(bench: Bench, united: str, name: str) -> pa.Table:
    return pq.read_table(bench.store.folder(UNITED, united) / f"{name}.parquet")


def _table(bench: Bench, manifest: Manifest, table: str, name: str) -> pa.Table:
    return pq.read_table(bench.store.folder(table, manifest.tables[table]) / f"{name}.parquet")


def _count(table: pa.Table, column: str, values: Sequence[Any]) -> int:
    wanted = pa.array(values, table[column].type)
    return int(pc.sum(pc.is_in(table[column], wanted)).as_py() or 0)


def hidden(workspace: Workspace, manifest: Manifest, identity: str | None) -> bool:
    """Say whether the published run, made before their erasure, still has a person."""
    if identity is None:
        return False
    made_after = workspace.store.facts(UNITED, manifest.tables[UNITED])["erasures"]
    return Erasures.read(workspace.store.root).place(identity) > int(made_after)


# The last steps ----------------------------------------------------------------------------------


def clear_temporary(workspace: Workspace) -> None:
    """Delete what killed engines had spilled; call it before an engine is opened."""
    shutil.rmtree(workspace.temporary, ignore_errors=True)


def _collect_online(workspace: Workspace) -> None:
    """Delete generations on another machine that no run names any more."""
    named = {run.tables[ONLINE] for run in workspace.store.runs() if ONLINE in run.tables}
    Place.of(workspace.project, workspace.store).keep(named)


def finish(workspace: Workspace, erasures: Erasures, manifest: Manifest) -> list[dict[str, Any]]:
    """Do what is left of open erasures once a run without them is published; return receipts.

    Deletes every other run with its tables, takes the people out of delivered files, of the journal
    and of the served log, and marks the models that learnt from them.
    """
    store = workspace.store
    leaving = ledger.open_erasures(store.root, erasures)
    if not len(leaving):
        store.collect()
        _collect_online(workspace)
        return []
    store.collect(kept_runs=1)
    _collect_online(workspace)
    for draft in store.root.glob("**/.*.draft"):
        draft.unlink()
    staging = store.root / "erasures" / "exports"
    files = purge_exports(workspace.folder, workspace.project, leaving, staging)
    # Again: a service may have taken some before it heard of the erasure.
    purge_journal(workspace.journal, leaving)
    lines = purge_served(store.root / "served", leaving)
    written = {"files": sorted(shown(workspace, file) for file in files), "served_lines": lines}
    return [_close(workspace, each, manifest, written) for each in leaving.records]


def shown(workspace: Workspace, file: Path) -> str:
    """Return a file's path as people are told it: from the project folder, if it is in there."""
    return (
        str(file.relative_to(workspace.folder)) if workspace.folder in file.parents else str(file)
    )


def _close(
    workspace: Workspace, erasure: Erasure, manifest: Manifest, written: dict[str, Any]
) -> dict[str, Any]:
    models = [{"goal": goal, "version": version} for goal, version in erasure.models]
    for model in models:
        _mark(workspace, model["goal"], model["version"], erasure)
    receipt = {
        "erasure": erasure.id,
        "erased_at": time.format_instant(erasure.at),
        "counts": dict(erasure.counts),
        "files_rewritten": written["files"],
        "models_trained_on_them": models,
        "published": manifest.run_id,
    }
    ledger.close(workspace.store.root, erasure.id, receipt)
    return receipt


def _mark(workspace: Workspace, goal: str, version: str, erasure: Erasure) -> None:
    moment = time.format_instant(erasure.at)
    if workspace.bundle_folder(goal, version).is_dir():
        said = erased_from(workspace, goal, version)
        said[erasure.id] = moment
        write_whole(workspace.mark_of(goal, version), json.dumps(said, sort_keys=True).encode())
    registry = Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)
    registry.mark(goal, version, TAG, moment)


def learnt_from_erased(bench: Bench, champion: Champion) -> bool:
    """Say whether a version learnt, or may have learnt, from people who were erased since.

    Erasures are looked up in the models of the store. What was fetched from MLflow was not among
    them: it is taken to have known everyone who was erased after it was trained.
    """
    if erased_from(bench.workspace, champion.goal, champion.version):
        return True
    later = (each.at for each in bench.erasures.records)
    return bool(champion.facts.get("fetched")) and any(
        time.known_before(champion.as_of, at) for at in later
    )


def erased_from(workspace: Workspace, goal: str, version: str) -> dict[str, str]:
    """Return the erasures of people a bundle had learnt from, by id, and when they were."""
    try:
        found: dict[str, str] = json.loads(workspace.mark_of(goal, version).read_bytes())
    except FileNotFoundError:
        return {}
    return found
