"""Identities of rows as integers: their index, and the tables of pairs and appearances.

Every identity gets a key, numbered by (namespace priority, text), so that comparing keys compares
priority first and text second. Text is looked at twice, once to find the identities and once to
put keys in their place; everything after works on integers.

Rows come with `id_<namespace>`, and `id_<namespace>.2` and so on where a row may hold several
values; keyed rows have `key_` columns instead, and `identity_key`, that of the highest priority.
"""

from __future__ import annotations

import functools
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
        one = all(len(columns_in(some, namespaces[:1], TEXT)) == 1 for some in rows)
        leading = namespaces[0] if one else None
        self._held = {
            namespace.name: engine.hold(_in_order(namespace, texts, leads=namespace is leading))
            for namespace in namespaces
            if (texts := _texts(namespace, rows, namespaces))
        }
        self._tables = {name: held.mutate(number=held.rowid()) for name, held in self._held.items()}
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
        """Write the index as a Parquet file, in order of keys: as its parts stand."""
        self.engine.write(self.index(), path)

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

    def appearances(self, rows: Sequence[ir.Table]) -> ir.Table:
        """Return identity_key, owner (is the row's primary), known_at, event_time (earliest known).

        Only the moments that make it earlier are kept. Mostly the first row known is the earliest,
        and there is one such moment: only the others are looked for in the keyed rows.
        """
        settled, unsettled = [], []
        for name, table in self._tables.items():
            for kind in ("owner", "other"):
                if f"{kind}_sum" not in table.columns:
                    continue
                known_at, event_time = table[f"{kind}_known_at"], table[f"{kind}_event_time"]
                first = table[f"{kind}_sum"] == known_at + event_time
                columns = {
                    "identity_key": table.number + self._start[name],
                    "owner": ibis.literal(kind == "owner"),
                    "known_at": known_at,
                    "event_time": event_time,
                }
                settled.append(table.filter(first).select(**columns))
                unsettled.append(table.filter(~first).select(**columns))
        rest = _seen(rows, self.namespaces).semi_join(_union(unsettled), ["identity_key", "owner"])
        every = _union([*settled, _earlier(rest)])
        return every.order_by("identity_key", "owner", "known_at")

    def close(self) -> None:
        """Let the engine forget the tables."""
        self.engine.drop(*self._held.values())


def links(rows: Sequence[ir.Table], namespaces: Sequence[Namespace]) -> ir.Table:
    """Return a, b (keys, a < b), event_time, known_at: every sighting of a pair on keyed rows."""
    pairs = []
    for some in rows:
        columns = columns_in(some, namespaces, KEY)
        linking = [name for name, space in columns.items() if space.type not in NEVER_LINK]
        for first, second in itertools.combinations(linking, 2):
            both = some.filter(some[first].notnull(), some[second].notnull())
            a, b = both[first], both[second]
            if columns[first] == columns[second]:
                both = both.filter(a != b)
                a, b = ibis.least(both[first], both[second]), ibis.greatest(a, b)
            pairs.append(both.select("event_time", "known_at", a=a, b=b))
    if not pairs:
        return ibis.memtable([], schema=ibis.schema(dict.fromkeys(LINKS, "int64")))
    return _once(_union(pairs).select(*LINKS).order_by("a", "b", "known_at", "event_time"))


def _once(rows: ir.Table) -> ir.Table:
    """Return ordered rows that differ from the row before: half the work of `distinct` and order.

    The engine keeps the order of rows under a window that asks for none.
    """
    before = rows.mutate(**{f"__{name}": rows[name].lag() for name in rows.columns})
    same = (before[name].identical_to(before[f"__{name}"]) for name in rows.columns)
    return before.filter(~ibis.and_(*same)).select(*rows.columns)


def _seen(rows: Sequence[ir.Table], namespaces: Sequence[Namespace]) -> ir.Table:
    """Return identity_key, owner, known_at, event_time: every sighting on keyed rows."""
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
    return _union(seen)


def _earlier(seen: ir.Table) -> ir.Table:
    """Keep, by identity and owner, the moments that make the earliest event time known earlier."""
    by = ["identity_key", "owner"]
    found = seen.group_by(*by, "known_at").aggregate(event_time=seen.event_time.min())
    order = {"group_by": by, "order_by": ["known_at"]}
    earlier = found.mutate(__before=found.event_time.lag().over(**order))
    least = earlier["__before"].min().over(ibis.cumulative_window(**order))
    running = earlier.mutate(__least=least)
    kept = running.filter(running["__least"].isnull() | (running.event_time < running["__least"]))
    return kept.select(*by, "known_at", "event_time")


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


def _texts(
    namespace: Namespace, rows: Sequence[ir.Table], every: Sequence[Namespace]
) -> list[ir.Table]:
    """Return identity, owner, known_at, event_time: every sighting of an identity."""
    listed = []
    for some in rows:
        before: list[str] = []
        for column, space in columns_in(some, every, TEXT).items():
            if space != namespace:
                before.append(column)
                continue
            found = some.filter(some[column].notnull())
            # The primary of a row is the first of all; the same value may stand there again.
            own = [found[name] for name in columns_in(some, [namespace], TEXT)]
            leads = ibis.coalesce(*own) == found[column] if len(own) > 1 else ibis.literal(True)
            alone = ibis.and_(leads, *(found[name].isnull() for name in before))
            times = found.select("known_at", "event_time", identity=found[column], owner=alone)
            listed.append(times)
    return listed


def _in_order(namespace: Namespace, texts: list[ir.Table], *, leads: bool) -> ir.Table:
    """Return identity, in order, and for either kind of row the times of `Keys.appearances`."""
    every = _union(texts)
    times: dict[str, ir.Value] = {}
    kinds = {"owner": every.owner, "other": ~every.owner}
    # Whoever leads is the primary of every row.
    for kind, rows in ({"owner": None} if leads else kinds).items():
        times |= {
            f"{kind}_known_at": every.known_at.min(where=rows),
            f"{kind}_event_time": every.event_time.min(where=rows),
            # The sum of both where one row is known first and the earliest, and more elsewhere.
            f"{kind}_sum": (every.known_at + every.event_time).min(where=rows),
        }
    found = every.group_by("identity").aggregate(**times)
    # In order of text, without the part that is the same in all: that sorts twice as fast.
    return found.order_by(found.identity.substr(len(namespace.name) + 1))


def _union(tables: Sequence[ir.Table]) -> ir.Table:
    # One by one: ibis.union of many puts them in another order, and the engine keeps the order.
    return functools.reduce(ir.Table.union, tables)
