"""`likelier forget`: one person, taken out of everything the project keeps.

First the ledger says so, durably. Then every part is purged, everything derived is built again by
the ordinary stages with the models there are, and published; then whatever is older goes. A killed
command leaves an open erasure, which the next `forget` or `run` completes.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from features import erasures as ledger
from features import time
from features.erasures import spellings
from features.errors import LikelierError
from features.identity.normalising import normalise
from features.sources.ingest import TABLE as PARTS
from pipelines.erasing import (
    Models,
    Person,
    clear_temporary,
    counts_of,
    find,
    finish,
    models_of,
    shown,
)
from pipelines.runner import Reporter, rebuild
from pipelines.stages import Bench, ingest_all, unify
from pipelines.workspace import Workspace
from serving.api.errors import UnknownIdentity
from serving.api.identities import in_body
from serving.exports.erasing import purge_exports
from serving.journal.erasing import purge_journal
from serving.served import purge_served


class ErasureUnfinished(LikelierError):
    """An erasure that is recorded, and could not be carried out to the end."""

    code = "erasure_unfinished"
    status = 503


@dataclass(frozen=True)
class Found:
    """What there is of a person: rows by table, and the models that learnt from them."""

    counts: dict[str, int]
    files: dict[str, int]
    models: Models

    def body(self) -> dict[str, Any]:
        """Return it JSON-ready; it names nobody."""
        models = [{"goal": goal, "version": version} for goal, version in self.models]
        return {"counts": self.counts, "files": self.files, "models_trained_on_them": models}


Confirm = Callable[[Found], bool]


def forget(
    workspace: Workspace,
    asked: str,
    confirm: Confirm,
    report: Reporter = lambda stage, text: None,
) -> dict[str, Any] | None:
    """Erase the person who holds the identity `asked`; return the receipt.

    `confirm` is shown what would go, and returns whether it shall; None is returned when not, and
    nothing is changed. Raises `UnknownIdentity` when nothing has the identity, and
    `ErasureUnfinished` when it is recorded but something stands in the way of the rest.
    """
    identity = in_body(asked, workspace.project.identity, "identity").identity
    if identity is None:
        raise _unknown(asked)
    with workspace.store.lock():
        workspace.store.require_current()
        clear_temporary(workspace)
        completed = _complete(workspace, report)
        with workspace.engine() as engine:
            bench = Bench(workspace, engine)
            person, found = _look(bench, identity, report)
            if person is None:
                # The very person whose erasure was killed: it is complete now.
                place = bench.erasures.place(identity)
                mine = bench.erasures.records[place - 1].id if place else ""
                if receipt := completed.get(mine):
                    return receipt
                raise _unknown(asked)
            if not confirm(found):
                return None
            recorded = _record(bench, person, found)
        # By an engine of its own: what the first one read is of before.
        return _complete(workspace, report)[recorded]


def _unknown(asked: str) -> UnknownIdentity:
    return UnknownIdentity(
        f"Nobody is known as {asked.partition(':')[0]}:… with that value.",
        hint="Nothing was erased. Any identity of the person will do, raw or hashed.",
    )


def _look(bench: Bench, identity: str, report: Reporter) -> tuple[Person | None, Found]:
    """Return who has an identity and what there is of them."""
    bench.say = lambda text: report("ingest", text)
    unify(bench, ingest_all(bench))
    manifest = bench.store.require_current()
    person = find(bench, manifest, identity)
    if person is None:
        return None, Found({}, {}, ())
    counts = counts_of(bench, manifest, person)
    pretended = _pretended(bench, person)
    workspace = bench.workspace
    counts["journal"] = purge_journal(workspace.journal, pretended, dry=True)
    counts["served"] = purge_served(bench.store.root / "served", pretended, dry=True)
    rows = purge_exports(workspace.folder, workspace.project, pretended, None)
    counts["export_rows"] = sum(rows.values())
    files = {shown(workspace, file): count for file, count in rows.items()}
    return person, Found(counts, files, models_of(bench, manifest, person))


def _pretended(bench: Bench, person: Person) -> ledger.Erasures:
    """Return what the ledger would be after the erasure."""
    keyed = ledger.Erasures(bench.erasures.key or b"\0")
    hashes = tuple(keyed.hash(identity) for identity in person.identities)
    return ledger.Erasures(keyed.key, (ledger.Erasure("", _moment(bench), hashes),))


def _moment(bench: Bench) -> int:
    """Return the moment of an erasure now: after all that was read, also where clocks run ahead."""
    newest = [
        bench.store.facts(PARTS, folder.name)["newest"]["event_time"] or 0
        for folder in (bench.store.root / "tables" / PARTS).glob("[!.]*")
    ]
    now = clock.time_ns() // 1_000
    return max([now, *(int(time.just_after(each)) for each in newest)])


def _record(bench: Bench, person: Person, found: Found) -> str:
    """Write the erasure down; from here on it will be completed, whatever happens."""
    settings = bench.workspace.project.identity
    written: dict[str, set[str]] = {}
    for identity, raw in person.contacts:
        namespace = settings.namespace(identity.partition(":")[0])
        if text := normalise(namespace, raw):
            written.setdefault(identity, set()).add(text)
    spelt = {text for each in person.identities for text in spellings(each, written.get(each, ()))}
    root = bench.store.root
    return ledger.record(root, _moment(bench), spelt, found.counts, found.models).id


def _complete(workspace: Workspace, report: Reporter) -> dict[str, dict[str, Any]]:
    """Carry out every open erasure; return the receipts by erasure."""
    root = workspace.store.root
    if not len(ledger.open_erasures(root, erasures := ledger.Erasures.read(root))):
        return {}
    try:
        # Before it is read, so that what is read now need not be read again.
        purge_journal(workspace.journal, ledger.open_erasures(root, erasures))
        with workspace.engine() as engine:
            bench = Bench(workspace, engine)
            manifest = rebuild(bench, report)
        receipts = finish(workspace, erasures, manifest)
    except LikelierError as error:
        raise ErasureUnfinished(
            f"The erasure is recorded, and the person is shown to nobody, but the files are not "
            f"all rewritten: {error.message}",
            hint=f"{error.hint} Then `likelier run` completes the erasure.".strip(),
            cause=error.code,
        ) from error
    return {receipt["erasure"]: receipt for receipt in receipts}
