"""The rule at the row: what an erased identity is in it, and what is left of the row.

An erased identity is nobody in rows dated (event_time, known_from) before its erasure; an undated
record is taken as old. A row whose primary identity is erased is dropped. Another person's row that
merely carries an erased identity, such as a shared device, stays and loses that identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from features import time
from features.engine import Engine, keyed_sha256
from features.erasures import Erasures
from features.identity.namespaces import identity_of
from features.settings import Identity
from features.sources.keys import TEXT, columns_in


@contextmanager
def without_erased(
    engine: Engine, rows: ir.Table, identity: Identity, erasures: Erasures
) -> Iterator[tuple[ir.Table, int]]:
    """Yield rows without what was erased from them; `erased` says that a row is to be dropped.

    Rows have `event_time`, and the columns that reading a source makes of identities. The number
    counts rows that lost something; where it is 0, `erased` is false everywhere.
    """
    found = _erased_in(engine, rows, identity, erasures) if len(erasures) else None
    if found is None:
        yield rows.mutate(erased=False), 0
        return
    present = set(engine.arrow(found.select("namespace").distinct())["namespace"].to_pylist())
    spaces = columns_in(rows, identity.namespaces, TEXT)
    marked = _blanked(
        rows, found, list(spaces), [c for c, n in spaces.items() if n.name in present]
    )
    touched = engine.arrow(marked["__lost"].sum().as_table())[0][0].as_py()
    yield marked.drop("__lost"), int(touched or 0)
    engine.drop(found)


def _blanked(rows: ir.Table, found: ir.Table, columns: list[str], present: list[str]) -> ir.Table:
    """Return rows without the identities erased from them, with `erased` and `__lost`.

    `present` are those of the identity columns that may hold an erased one.
    """
    for column in present:
        rows = _marked(rows, found, column)
    gone = {c: rows[f"__gone_{c}"] if c in present else ibis.literal(False) for c in columns}
    own = [rows[c].notnull().ifelse(gone[c], ibis.null("boolean")) for c in columns]
    left = {
        column: gone[name].ifelse(ibis.null(rows[column].type()), rows[column])
        for name in present
        for column in (name, name.replace(TEXT, "raw_", 1))
        if column in rows.columns
    }
    lost = ibis.or_(*(gone[name] for name in present))
    marked = rows.mutate(erased=ibis.coalesce(*own, ibis.literal(False)), __lost=lost, **left)
    return marked.drop(*(f"__gone_{name}" for name in present))


def _erased_in(
    engine: Engine, rows: ir.Table, identity: Identity, erasures: Erasures
) -> ir.Table | None:
    """Return those identities of `rows` that were ever erased: identity, namespace, erased_at."""
    listed = [
        rows.filter(rows[column].notnull()).select(
            identity=rows[column], namespace=ibis.literal(namespace.name)
        )
        for column, namespace in columns_in(rows, identity.namespaces, TEXT).items()
    ]
    texts = ibis.union(*listed, distinct=True) if len(listed) > 1 else listed[0].distinct()
    hashed = engine.select(
        texts,
        {"identity": "identity", "namespace": "namespace",
         "hash": keyed_sha256("identity", erasures.key)},
    )  # fmt: skip
    found = engine.hold(hashed.inner_join(engine.table(erasures.table), "hash").drop("hash"))
    if engine.arrow(found.count().as_table())[0][0].as_py():
        return found
    engine.drop(found)
    return None


def _marked(rows: ir.Table, found: ir.Table, column: str) -> ir.Table:
    """Add whether the identity in a column was erased after the row."""
    mine = found.select(__identity=found.identity, __erased_at=found.erased_at)
    joined = rows.left_join(mine, rows[column] == mine["__identity"])
    gone = time.before_erasure(joined.event_time, joined["__erased_at"]).fill_null(False)
    return joined.mutate(**{f"__gone_{column}": gone}).drop("__identity", "__erased_at")


def veiled(quarantined: pa.Table, identity: Identity, erasures: Erasures) -> pa.Table:
    """Return refused rows without values that may be an erased person's.

    What is broken cannot be told apart into values, so once anybody was erased it is not shown.
    """
    if not len(erasures):
        return quarantined
    values = [
        None if code == "malformed_row" or (value and _names(value, identity, erasures)) else value
        for code, value in zip(
            quarantined["code"].to_pylist(), quarantined["value"].to_pylist(), strict=True
        )
    ]
    place = quarantined.schema.get_field_index("value")
    return quarantined.set_column(place, "value", pa.array(values, pa.string()))


def _names(text: str, identity: Identity, erasures: Erasures) -> bool:
    return any(
        erasures.place(spelt)
        for part in {text, *text.split()}
        for spelt in identities_in(part, identity)
    )


def identities_in(text: str, identity: Identity) -> Iterator[str]:
    """Yield every identity that a text may be: a whole one, or a value of any namespace."""
    yield text
    for namespace in identity.namespaces:
        yield f"{namespace.name}:{text}"
        if spelt := identity_of(identity, namespace, text):
            yield spelt
