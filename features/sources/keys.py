"""Identities of rows as integers: their index, and the tables of pairs and appearances.

Every identity gets a key, numbered by (namespace priority, text), so that comparing keys compares
priority first and text second. Text is looked at twice, once to find the identities and once to
put keys in their place; everything after works on integers.

Rows come with `id_<namespace>`, and `id_<namespace>.2` and so on where a row may hold several
values; keyed rows have `key_` columns instead, and `identity_key`, that of the highest priority.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import ibis
import ibis.expr.types as ir

from features.engine import Engine
from features.settings import NEVER_LINK, Namespace

TEXT, KEY = "id_", "key_"
LINKS = ("a", "b", "event_time", "known_at")


class Keys:
    """The keys of all identities on some rows: tables held by the engine until `close`."""

    def __init__(
        self, engine: Engine, namespaces: Sequence[Namespace], rows: Sequence[ir.Table]
    ) -> None:
        self.engine = engine
        self.namespaces = namespaces
        self._tables = {
            namespace.name: engine.hold(_numbered(namespace, texts))
            for namespace in namespaces
            if (texts := _texts(namespace, rows))
        }
        sizes = [
            table.aggregate(name=ibis.literal(name), count=table.count())
            for name, table in self._tables.items()
        ]
        found = {row["name"]: row["count"] for row in engine.arrow(_union(sizes)).to_pylist()}
        starts = itertools.accumulate((found[name] for name in self._tables), initial=0)
        self._start = dict(zip(self._tables, starts, strict=False))

    def index(self) -> ir.Table:
        """Return identity_key, identity, namespace."""
        listed = [
            table.select(
                identity_key=table.number + self._start[name],
                identity=table.identity,
                namespace=ibis.literal(name),
            )
            for name, table in self._tables.items()
        ]
        return _union(listed)

    def write(self, path: Path) -> None:
        """Write the index as a Parquet file, in order of keys."""
        self.engine.write(self.index().order_by("identity_key"), path)

    def keyed(self, rows: ir.Table) -> ir.Table:
        """Return rows with keys in the place of identities."""
        there = columns_in(rows, self.namespaces, TEXT)
        keys = {}
        for column, namespace in there.items():
            name = f"{KEY}{column.removeprefix(TEXT)}"
            index = self._tables.get(namespace.name)
            if index is None:
                keys[name] = ibis.null("int64")
                continue
            number = index.number + self._start[namespace.name]
            texts = index.select(**{name: number, "__text": index.identity})
            rows = rows.left_join(texts, rows[column] == texts["__text"]).drop("__text")
            keys[name] = rows[name]
        others = [name for name in rows.columns if name not in there and name not in keys]
        found = rows.select(*others, **keys)
        return found.mutate(identity_key=ibis.coalesce(*(found[name] for name in keys)))

    def named(self, rows: ir.Table, column: str) -> ir.Table:
        """Return rows with `identity_key` in the place of an identity in `column`."""
        index = self.index().select("identity_key", __text="identity")
        return rows.inner_join(index, rows[column] == index["__text"]).drop("__text", column)

    def close(self) -> None:
        """Let the engine forget the tables."""
        self.engine.drop(*self._tables.values())


def links(rows: Sequence[ir.Table], namespaces: Sequence[Namespace]) -> ir.Table:
    """Return a, b (keys, a < b), event_time, known_at: every sighting of a pair on keyed rows."""
    pairs = []
    for some in rows:
        columns = columns_in(some, namespaces, KEY)
        linking = [name for name, space in columns.items() if space.type not in NEVER_LINK]
        for first, second in itertools.combinations(linking, 2):
            a, b = some[first], some[second]
            both = some.filter(a.notnull(), b.notnull(), a != b)
            pairs.append(
                both.select(
                    a=ibis.least(both[first], both[second]),
                    b=ibis.greatest(both[first], both[second]),
                    event_time=both.event_time, known_at=both.known_at,
                )
            )  # fmt: skip
    if not pairs:
        return ibis.memtable([], schema=ibis.schema(dict.fromkeys(LINKS, "int64")))
    return _union(pairs).distinct().order_by("a", "b", "known_at", "event_time")


def appearances(
    engine: Engine, rows: Sequence[ir.Table], namespaces: Sequence[Namespace], path: Path
) -> None:
    """Write identity_key, owner (is the row's primary), known_at, event_time (earliest known then).

    Only the moments that make it earlier are kept. Mostly the first row known is the earliest, and
    there is one such moment: only the others are looked at in order.
    """
    seen = []
    for some in rows:
        for column in columns_in(some, namespaces, KEY):
            found = some.filter(some[column].notnull())
            seen.append(
                found.select(
                    "known_at", "event_time",
                    identity_key=found[column], owner=found[column] == found.identity_key,
                )
            )  # fmt: skip
    everything = _union(seen)
    # Where several rows are known first, any of them may be `__first`: one that is not the
    # earliest sends its identity the long way round, to the same end.
    least = engine.hold(
        everything.group_by("identity_key", "owner").aggregate(
            known_at=everything.known_at.min(),
            event_time=everything.event_time.min(),
            __first=everything.event_time.argmin(everything.known_at),
        )
    )
    settled = least["__first"] == least.event_time
    by = ["identity_key", "owner"]
    rest = everything.semi_join(least.filter(~settled), by)
    once = least.filter(settled).drop("__first")
    kept = _union([once, _earlier(rest).select(*once.columns)])
    engine.write(kept.order_by(*by, "known_at").select(*by, "known_at", "event_time"), path)
    engine.drop(least)


def _earlier(seen: ir.Table) -> ir.Table:
    """Keep, by identity and owner, the moments that make the earliest event time known earlier."""
    by = ["identity_key", "owner"]
    found = seen.group_by(*by, "known_at").aggregate(event_time=seen.event_time.min())
    order = {"group_by": by, "order_by": ["known_at"]}
    earlier = found.mutate(__before=found.event_time.lag().over(**order))
    least = earlier["__before"].min().over(ibis.cumulative_window(**order))
    running = earlier.mutate(__least=least)
    return running.filter(running["__least"].isnull() | (running.event_time < running["__least"]))


def columns_in(
    rows: ir.Table, namespaces: Sequence[Namespace], prefix: str
) -> dict[str, Namespace]:
    """Return the identity columns of rows, in order of priority, and the namespace of each."""
    return {
        column: namespace
        for namespace in namespaces
        for column in rows.columns
        if column.startswith(prefix)
        and column.removeprefix(prefix).partition(".")[0] == namespace.name
    }


def _texts(namespace: Namespace, rows: Sequence[ir.Table]) -> list[ir.Table]:
    listed = []
    for some in rows:
        for column in columns_in(some, [namespace], TEXT):
            listed.append(some.filter(some[column].notnull()).select(identity=some[column]))
    return listed


def _numbered(namespace: Namespace, texts: list[ir.Table]) -> ir.Table:
    found = _union(texts).distinct()
    # In order of text, without the part that is the same in all: that sorts twice as fast.
    value = found.identity.substr(len(namespace.name) + 1)
    return found.select(number=ibis.row_number().over(order_by=[value]), identity=found.identity)


def _union(tables: Sequence[ir.Table]) -> ir.Table:
    return ibis.union(*tables) if len(tables) > 1 else tables[0]
