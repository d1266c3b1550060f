"""Parts that hold what is kept no more, rewritten: people who were erased, and what has expired."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from features import time
from features.engine import Engine
from features.erasures import Erasures
from features.settings import Project
from features.sources.erased import veiled, without_erased
from features.sources.ingest import TABLE, count_erased, write_part
from features.sources.keys import TEXT, columns_in
from features.store import Store, key_of


def lags(store: Store, key: str, erasures: Erasures) -> bool:
    """Say whether a part was made, and last purged, before the newest erasure."""
    return int(store.facts(TABLE, key)["erasures"]) < len(erasures)


def purge_part(
    engine: Engine, store: Store, project: Project, key: str, erasures: Erasures
) -> None:
    """Rewrite version `key` of a part without whom was erased since it was made.

    Killed in the middle it leaves the old part, or none, which is then read from its file again.
    """
    rows, facts = _read(engine, store, key)
    quarantine = store.folder(TABLE, key) / "quarantine.parquet"
    refused = veiled(pq.read_table(quarantine), project.identity, erasures)
    with without_erased(engine, rows, project.identity, erasures) as (marked, touched):
        kept = marked.filter(~marked.erased).drop("erased")
        facts["erased"] += count_erased(engine, marked)
        facts["erasures"] = len(erasures)
        facts["purged"] = len(erasures) if touched else facts["purged"]
        _rewrite(engine, store, project, key, kept, refused, facts)


def expire_part(
    engine: Engine, store: Store, project: Project, key: str, gone: Gone, dry: bool = False
) -> bool:
    """Rewrite a part without what has expired; say whether anything in it has.

    `dry` changes nothing.
    """
    rows, facts = _read(engine, store, key)
    marked = gone.mark(engine, rows, list(columns_in(rows, project.identity.namespaces, TEXT)))
    if not (count := int(engine.arrow(marked.gone.sum().as_table())[0][0].as_py() or 0)):
        return False
    if dry:
        return True
    quarantine = pq.read_table(store.folder(TABLE, key) / "quarantine.parquet")
    facts["expired"] += count
    facts["expired_before"] = max(facts["expired_before"], gone.idle_before)
    # What is left is a function of what was there and of what it was asked to be without.
    facts["left_by"] = key_of(facts["left_by"], gone.idle_before, gone.older_than, count)
    kept = marked.filter(~marked.gone).drop("gone")
    _rewrite(engine, store, project, key, kept, quarantine, facts)
    return True


@dataclass(frozen=True)
class Gone:
    """What has expired of a source: events before `older_than`, and all rows of `visitors`.

    `visitors` are identities of people idle since before `idle_before`; times in microseconds.
    """

    visitors: pa.Array
    idle_before: int
    older_than: int

    def mark(self, engine: Engine, rows: ir.Table, identities: list[str]) -> ir.Table:
        """Return rows with `gone`, which says that they have expired.

        `identities` are their columns, the highest first.
        """
        own = ibis.coalesce(*(rows[column] for column in identities))
        visitors = engine.table(pa.table({"visitor": self.visitors}))
        found = rows.left_join(visitors, own == visitors.visitor)
        old = found.event_type.notnull() & time.has_expired(found.event_time, self.older_than)
        return found.mutate(gone=found.visitor.notnull() | old).drop("visitor")


def _read(engine: Engine, store: Store, key: str) -> tuple[ir.Table, dict[str, Any]]:
    accepted = store.folder(TABLE, key) / "accepted.parquet"
    return engine.read_parquet([accepted]), store.facts(TABLE, key)


def _rewrite(
    engine: Engine,
    store: Store,
    project: Project,
    key: str,
    kept: ir.Table,
    refused: pa.Table,
    facts: dict[str, Any],
) -> None:
    contacts = engine.read_parquet([store.folder(TABLE, key) / "contacts.parquet"])
    with store.writing(TABLE, key, replace=True) as (draft, written):
        written |= facts | write_part(engine, kept, refused, draft)
        engine.write(_spoken(contacts, kept, project), draft / "contacts.parquet")


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
