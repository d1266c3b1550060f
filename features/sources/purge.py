"""Parts that were made before an erasure, rewritten without the person."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir
import pyarrow.parquet as pq

from features.engine import Engine
from features.erasures import Erasures
from features.settings import Project
from features.sources.erased import veiled, without_erased
from features.sources.ingest import TABLE, count_erased, write_part
from features.sources.keys import TEXT, columns_in
from features.store import Store


def lags(store: Store, key: str, erasures: Erasures) -> bool:
    """Say whether a part was made, and last purged, before the newest erasure."""
    return int(store.facts(TABLE, key)["erasures"]) < len(erasures)


def purge_part(
    engine: Engine, store: Store, project: Project, key: str, erasures: Erasures
) -> None:
    """Rewrite version `key` of a part without whom was erased since it was made.

    Killed in the middle it leaves the old part, or none, which is then read from its file again.
    """
    folder, before = store.folder(TABLE, key), store.facts(TABLE, key)
    rows = engine.read_parquet([folder / "accepted.parquet"])
    refused = veiled(pq.read_table(folder / "quarantine.parquet"), project.identity, erasures)
    with (
        store.writing(TABLE, key, replace=True) as (draft, facts),
        without_erased(engine, rows, project.identity, erasures) as (marked, touched),
    ):
        kept = marked.filter(~marked.erased).drop("erased")
        facts |= before | write_part(engine, kept, refused, draft)
        facts["erased"] = before["erased"] + count_erased(engine, marked)
        facts["erasures"] = len(erasures)
        facts["purged"] = len(erasures) if touched else before["purged"]
        contacts = engine.read_parquet([folder / "contacts.parquet"])
        spoken = _spoken(contacts, kept, project)
        engine.write(spoken, draft / "contacts.parquet")


def _spoken(contacts: ir.Table, kept: ir.Table, project: Project) -> ir.Table:
    """Return the contacts that a row which is left still speaks of."""
    columns = columns_in(kept, project.identity.namespaces, TEXT)
    said = [
        kept.filter(kept[column].notnull()).select(identity=kept[column], known_at=kept.known_at)
        for column, namespace in columns.items()
        if namespace.pii
    ]
    if not said:
        return contacts
    left = ibis.union(*said, distinct=True) if len(said) > 1 else said[0].distinct()
    return contacts.semi_join(left, ["identity", "known_at"])
