"""All parts of all sources into the tables that the rest of the house reads.

Every identity gets an integer key (`features.sources.keys`), which belongs to one version of these
tables.

`events` (an accepted event): source, event_id, identity_key (its primary identity), event_time,
known_at, local_day, local_hour, event_type, attr_*.
`identity_index` (an identity ever seen): identity_key, identity, namespace.
`links` (a pair of identities, a sighting): a, b (keys, a < b), event_time, known_at.
`appearances` (an identity, a moment known): identity_key, owner (is the row's primary), known_at,
event_time (earliest known then).
`observations` (a stated profile attribute): identity_key, attribute, value (text), event_time,
known_at, dated, source, row.
`stated_rows` (a row that states some): source, row (numbered by event id), event_id.
`consents` (a stated consent): identity_key, purpose, allowed, event_time, known_at.
`contacts` (a personal identity): identity_key, raw (the value as written last).

Of rows with the same event id the one known first stays; rows of a file are told apart by their
occurrence, so a file loaded twice adds nothing and of files holding the same row the largest count
in any one file wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir

from features import time
from features.engine import Engine
from features.errors import LikelierError, did_you_mean
from features.profiles.attributes import readable
from features.settings import JOURNAL, Project, Source
from features.sources.errors import EmptyColumn, InfiniteValues, MissingColumn, NoRows
from features.sources.expressions import columns_of
from features.sources.ingest import TABLE as PARTS
from features.sources.ingest import expressions_of
from features.sources.keys import TEXT, Keys, columns_in, links
from features.sources.meaning import NUMBER
from features.store import Store, key_of

VERSION = 8
TABLE = "united"
NAMES = ("events", "identity_index", "links", "appearances", "observations", "stated_rows",
         "consents", "contacts")  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """The parts of one source: part versions in file order, and their facts."""

    source: Source
    keys: tuple[str, ...]
    facts: tuple[dict[str, Any], ...]

    @property
    def versions(self) -> list[tuple[str, int, str]]:
        """What the rows of each part are made by: its version, and what was purged from it."""
        purged = ((facts["purged"], facts["left_by"]) for facts in self.facts)
        return [(key, *left) for key, left in zip(self.keys, purged, strict=True)]

    def total(self, name: str) -> int:
        """Return the sum of a counted fact over the files."""
        return sum(int(facts[name]) for facts in self.facts)


def gather(store: Store, project: Project, keys: dict[str, list[str]]) -> list[Parts]:
    """Return the parts of every source.

    Raises `NoRows` for a source without one usable row, `MissingColumn` for a JSON key that no row
    of any of its files has, `EmptyColumn` for an attribute without one value, `InfiniteValues`.
    """
    gathered = []
    for source in project.sources:
        listed = tuple(keys[source.name])
        parts = Parts(source, listed, tuple(store.facts(PARTS, key) for key in listed))
        if source.name == JOURNAL:
            # Each event was judged when it came, and nobody can mend what was taken.
            gathered += [parts] if listed else []
            continue
        _refuse_absent_keys(parts)
        # A source may be left without rows by erasures and expiry, but not all of them.
        gone = parts.total("erased") + parts.total("expired")
        if parts.total("accepted") == 0 and not gone:
            raise _no_rows(parts)
        _refuse_infinite(parts)
        if not gone:
            _refuse_empty(parts)
        gathered.append(parts)
    if not any(parts.total("accepted") for parts in gathered):
        raise NoRows(
            "Every row that could be used is of a person who was erased since, or has expired.",
            hint="Add a file of other people, or of later days.",
        )
    return gathered


def _refuse_absent_keys(parts: Parts) -> None:
    absent = [set(facts["absent"]) for facts in parts.facts if facts["absent"] is not None]
    everywhere = set.intersection(*absent) if absent else set()
    for key, text in expressions_of(parts.source).items():
        where = f"sources.{parts.source.name}.{key}"
        for missing in sorted(everywhere & columns_of(text, where)):
            raise MissingColumn(
                f"{where}: no row of any file has the key {missing!r}.",
                hint=did_you_mean(
                    missing, {name for facts in parts.facts for name in facts["keys"]}
                ),
                column=missing,
            )


def _kinds(parts: Parts, column: str) -> dict[str, int]:
    """Return how many values an attribute's column has in all files, and how many read as what."""
    found: dict[str, int] = {}
    for facts in parts.facts:
        for kind, count in facts["types"].get(column, {}).items():
            found[kind] = found.get(kind, 0) + count
    return found


def _attributes(parts: Parts) -> Iterator[tuple[str, str]]:
    """Yield the key of every attribute in the project file, and its column."""
    for group, prefix in (("attributes", "attr"), ("profile", "profile")):
        for name in getattr(parts.source, group):
            yield f"{group}.{name}", f"{prefix}_{name}"


def _refuse_empty(parts: Parts) -> None:
    for key, column in _attributes(parts):
        if not _kinds(parts, column).get("values"):
            raise EmptyColumn(
                f"sources.{parts.source.name}.{key}: {expressions_of(parts.source)[key]!r} gives "
                f"no value in any of {parts.total('accepted'):,} rows.",
                hint="Correct the expression, or take the key out.",
                column=key,
            )


def _refuse_infinite(parts: Parts) -> None:
    told = {
        key: (facts["infinite"][key]["values"], f", first in row {facts['infinite'][key]['row']} "
              f"of {facts['file']}")
        for facts in reversed(parts.facts)
        for key in facts["infinite"]
    }  # fmt: skip
    for key, column in _attributes(parts):
        kinds = _kinds(parts, column)
        texts = kinds.get("infinite", 0)
        # As text such a word may be a name; among nothing but numbers it is one of them.
        if texts and kinds["number"] and kinds["number"] + texts == kinds["values"]:
            told[key] = (texts, "")
    for key, (count, where) in told.items():
        raise InfiniteValues(
            f"sources.{parts.source.name}.{key}: {count:,} values are infinite{where}.",
            hint="A division by zero makes one: A / nullif(B, 0) gives none. To leave them out: "
            "case when isfinite(try_cast(COLUMN as double)) then COLUMN end.",
            column=key,
            values=count,
        )


def _no_rows(parts: Parts) -> LikelierError:
    name, rows = parts.source.name, parts.total("rows")
    if rows == 0:
        return NoRows(f"sources.{name}: the files hold no rows.", hint="Check `path`.", rows=0)
    codes: dict[str, int] = {}
    examples: dict[str, Any] = {}
    for facts in parts.facts:
        for code, count in facts["quarantined"].items():
            codes[code] = codes.get(code, 0) + count
            examples.setdefault(code, facts["examples"].get(code))
    worst = max(codes, key=lambda code: codes[code])
    example = examples[worst] or {}
    return NoRows(
        f"sources.{name}: all {rows} rows were refused; {codes[worst]} with {worst}, "
        f"first at row {example.get('row')}"
        + (f": {example['value']!r}." if example.get("value") is not None else "."),
        hint=f"Check the expression that {worst} is about in sources.{name}.",
        quarantined=codes,
    )


def united_key(project: Project, gathered: list[Parts], again: str = "") -> str:
    """Return the version of the united tables of these parts."""
    described = [[p.source.name, sorted(p.versions), p.source.constant] for p in gathered]
    settings = project.identity.model_dump(mode="json", include={"namespaces"})
    return key_of(TABLE, VERSION, described, settings, again)


def unite(engine: Engine, store: Store, project: Project, gathered: list[Parts], key: str) -> None:
    """Write the united tables as version `key`."""
    with store.writing(TABLE, key) as (folder, facts):
        _Union(engine, store, project, gathered, folder, facts).write()


class _Union:
    """One writing of the united tables: holds what its steps share."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        project: Project,
        gathered: list[Parts],
        folder: Path,
        facts: dict[str, Any],
    ) -> None:
        self.engine, self.project, self.folder, self.facts = engine, project, folder, facts
        self.namespaces = project.identity.namespaces
        self.types = _attribute_types(gathered)
        keys = sorted({key for parts in gathered for key in parts.keys})
        self.contacts = [store.folder(PARTS, key) / "contacts.parquet" for key in keys]
        texts = [engine.hold(self._texts(store, parts)) for parts in gathered]
        self.keys = Keys(engine, self.namespaces, texts)
        self.rows = [
            engine.hold(_numbered(self.keys.keyed(rows), parts.source))
            for parts, rows in zip(gathered, texts, strict=True)
        ]
        engine.drop(*texts)
        self.sources = [parts.source for parts in gathered]
        facts["types"] = self.types
        facts["events"] = {p.source.name: _events_of(p) for p in gathered}
        facts["rows"] = {p.source.name: p.total("rows") for p in gathered}
        facts["quarantined"] = {p.source.name: _codes(p) for p in gathered}
        for name in ("junk", "unusable"):
            facts[f"{name}_found"] = {p.source.name: counted(p.facts, name) for p in gathered}
        facts["erased"] = {p.source.name: p.total("erased") for p in gathered}
        facts["expired"] = {p.source.name: p.total("expired") for p in gathered}
        facts["expired_before"] = max(f["expired_before"] for p in gathered for f in p.facts)
        facts["erasures"] = max(f["erasures"] for p in gathered for f in p.facts)
        facts["newest"] = {p.source.name: max(f["newest"]["known_at"] or 0 for f in p.facts)
                           for p in gathered}  # fmt: skip

    def write(self) -> None:
        self.keys.write(self.folder / "identity_index.parquet")
        self._write("contacts", self._contacts())
        self._write("appearances", self.keys.appearances(self.rows))
        self.keys.close()
        self._write("links", links(self.rows, self.namespaces))
        self._write("stated_rows", self._stated_rows())
        self._write("observations", self._observations())
        self._write("consents", self._consents())
        self._write("events", self._events())
        counts = {
            source.name: int(self.engine.arrow(rows.count().as_table())[0][0].as_py())
            for source, rows in zip(self.sources, self.rows, strict=True)
        }
        self.facts["accepted"] = counts
        self.facts["live_since"] = self._live_since()
        self.engine.drop(*self.rows)

    def _live_since(self) -> int | None:
        """Return when the first event of the journal was known; None where it has none."""
        for source, rows in zip(self.sources, self.rows, strict=True):
            if source.name == JOURNAL:
                first = self.engine.arrow(rows.known_at.min().as_table())[0][0].as_py()
                return None if first is None else int(first)
        return None

    def _write(self, name: str, table: ir.Table) -> None:
        self.engine.write(table, self.folder / f"{name}.parquet")

    def _texts(self, store: Store, parts: Parts) -> ir.Table:
        """Return the rows of a source, each event once."""
        keys = sorted(set(parts.keys))
        paths = [store.folder(PARTS, key) / "accepted.parquet" for key in keys]
        rows = self.engine.read_parquet(paths)
        if parts.source.name == JOURNAL:
            rows = _as_declared(rows, self.types)
        if len(keys) == 1 and not parts.source.event_id:
            return rows
        return self._distinct(rows)

    def _distinct(self, rows: ir.Table) -> ir.Table:
        """Keep one row of each event id: the one known first, whatever the order of the files."""
        texts = columns_in(rows, self.namespaces, TEXT)
        rows = rows.mutate(identity=ibis.coalesce(*(rows[column] for column in texts)))
        first = ("known_at", "event_time", "identity", "event_type")
        others = [name for name in rows.columns if name not in first and name != "event_id"]
        order = [rows[name] for name in (*first, *sorted(others))]
        numbered = rows.mutate(
            __copy=ibis.row_number().over(group_by=rows.event_id, order_by=order)
        )
        return numbered.filter(numbered["__copy"] == 0).drop("__copy", "identity")

    def _stated_rows(self) -> ir.Table:
        listed = []
        for source, rows in zip(self.sources, self.rows, strict=True):
            if source.profile:
                states = ibis.or_(*(rows[f"profile_{name}"].notnull() for name in source.profile))
                some = rows.filter(states).select("row", "event_id")
                listed.append(some.mutate(source=ibis.literal(source.name)))
        if not listed:
            return _empty(row="int64", event_id="string", source="string")
        found = ibis.union(*listed) if len(listed) > 1 else listed[0]
        return found.order_by("source", "row")

    def _observations(self) -> ir.Table:
        return self._stated(
            lambda source: source.profile,
            lambda source, rows, name: {
                "attribute": ibis.literal(name),
                "value": _as_text(rows[f"profile_{name}"]),
                "event_time": rows.event_time,
                "known_at": _constant(source, name, rows),
                "dated": ibis.literal(_dated(source, name)),
                "source": ibis.literal(source.name),
                "row": rows.row,
            },
            lambda name: f"profile_{name}",
            attribute="string", value="string", event_time="int64", known_at="int64",
            dated="boolean", source="string", row="int64",
        )  # fmt: skip

    def _consents(self) -> ir.Table:
        return self._stated(
            lambda source: source.consent,
            lambda _, rows, name: {
                "purpose": ibis.literal(name),
                "allowed": rows[f"consent_{name}"],
                "event_time": rows.event_time,
                "known_at": rows.known_at,
            },
            lambda name: f"consent_{name}",
            purpose="string", allowed="boolean", event_time="int64", known_at="int64",
        )  # fmt: skip

    def _stated(
        self,
        names: Callable[[Source], Iterable[str]],
        columns: Callable[[Source, ir.Table, str], dict[str, ir.Value]],
        column: Callable[[str], str],
        **schema: str,
    ) -> ir.Table:
        """Turn wide columns of every source into one long table of what was said of whom."""
        said = []
        for source, rows in zip(self.sources, self.rows, strict=True):
            for name in names(source):
                some = rows.filter(rows[column(name)].notnull())
                said.append(some.select("identity_key", **columns(source, some, name)))
        if not said:
            return _empty(identity_key="int64", **schema)
        found = ibis.union(*said) if len(said) > 1 else said[0]
        if "row" not in schema:  # A numbered row says a thing once.
            found = found.distinct()
        return found.select("identity_key", *schema).order_by("identity_key", *schema)

    def _contacts(self) -> ir.Table:
        if not any(namespace.pii for namespace in self.namespaces):
            return _empty(identity_key="int64", raw="string")
        found = self.engine.read_parquet(self.contacts).rename(text="identity")
        newest = found.group_by("text").mutate(__newest=found.known_at.max())
        last = newest.filter(newest.known_at == newest["__newest"])
        one = last.group_by("text").aggregate(raw=last.raw.min())
        keyed = self.keys.named(one, "text")
        return keyed.select("identity_key", "raw").order_by("identity_key")

    def _events(self) -> ir.Table:
        attributes = sorted({n for s in self.sources for n in s.attributes})
        listed = []
        for source, rows in zip(self.sources, self.rows, strict=True):
            if source.kind != "events":
                continue
            kept = {
                f"attr_{name}": _typed(rows, f"attr_{name}", self.types.get(f"attr_{name}", "text"))
                for name in attributes
            }
            listed.append(
                rows.select(
                    "identity_key", "event_time", "known_at", "local_day", "local_hour",
                    "event_type", "event_id", source=ibis.literal(source.name), **kept,
                )
            )  # fmt: skip
        if not listed:
            raise NoRows(
                "No source has kind events.", hint="Behaviour is needed: add a source of events."
            )
        found = ibis.union(*listed) if len(listed) > 1 else listed[0]
        return found.order_by("identity_key", "event_time", "event_id")


def _numbered(rows: ir.Table, source: Source) -> ir.Table:
    """Return the rows with a number each, by event id, if the source speaks of people."""
    if not source.profile:
        return rows
    return rows.mutate(row=ibis.row_number().over(order_by=rows.event_id))


def _codes(parts: Parts) -> dict[str, int]:
    codes: dict[str, int] = {}
    for facts in parts.facts:
        for code, count in facts["quarantined"].items():
            codes[code] = codes.get(code, 0) + count
    return codes


def counted(parts: Iterable[dict[str, Any]], name: str) -> dict[str, dict[str, int]]:
    """Return the values that identify nobody, by namespace and why, of all parts of a source.

    `name`: `junk` (by label) or `unusable` (by reason).
    """
    total: dict[str, dict[str, int]] = {}
    for facts in parts:
        for namespace, counts in facts[name].items():
            found = total.setdefault(namespace, {})
            for why, count in counts.items():
                found[why] = found.get(why, 0) + count
    return total


def _events_of(parts: Parts) -> dict[str, list[str]]:
    """Return the event types of a source and the attributes that each of them has."""
    found: dict[str, set[str]] = {}
    for facts in parts.facts:
        for event, counts in facts["events"].items():
            some = {name for name, count in counts.items() if name and count}
            found[event] = found.get(event, set()) | some
    return {event: sorted(attributes) for event, attributes in sorted(found.items())}


def _attribute_types(gathered: list[Parts]) -> dict[str, str]:
    """Decide, over all files, what each attribute is: number, date, boolean or text.

    The journal is asked only where no file has a value: no sender can make a number a text.
    """
    files, sent = (
        _counts(parts for parts in gathered if (parts.source.name == JOURNAL) is journal)
        for journal in (False, True)
    )
    seen = sent | {name: counts for name, counts in files.items() if counts["values"]}
    return {name: _kind(name, counts) for name, counts in sorted((files | seen).items())}


def _counts(gathered: Iterable[Parts]) -> dict[str, dict[str, int]]:
    """Return, by attribute, how many values there are and how many read as what."""
    seen: dict[str, dict[str, int]] = {}
    for facts in (facts for parts in gathered for facts in parts.facts):
        for name, counts in facts["types"].items():
            total = seen.setdefault(name, {})
            for kind, count in counts.items():
                total[kind] = total.get(kind, 0) + count
    return seen


def _as_declared(rows: ir.Table, types: dict[str, str]) -> ir.Table:
    """Return rows of the journal without what cannot be read as the kind its attribute has."""
    stated = {name for name in rows.columns if name.startswith("profile_")} & types.keys()
    read = {
        name: readable(rows[name], types[name]).ifelse(rows[name], ibis.null("string"))
        for name in sorted(stated)
    }
    return rows.mutate(**read)


def _kind(name: str, counts: dict[str, int]) -> str:
    kinds = ("number",) if name.startswith("attr_") else ("number", "date", "boolean")
    for kind in kinds:
        if counts["values"] and counts.get(kind, 0) == counts["values"]:
            return kind
    return "text"


def _typed(rows: ir.Table, name: str, kind: str) -> ir.Value:
    if name not in rows.columns:
        return ibis.null(NUMBER if kind == "number" else "string").name(name)
    if kind == "number":
        return rows[name].try_cast(NUMBER).name(name)
    return _as_text(rows[name]).name(name)


def _as_text(column: ir.Value) -> ir.Value:
    return column if column.type().is_string() else column.cast("string")


def _constant(source: Source, name: str, rows: ir.Table) -> ir.Value:
    return ibis.literal(time.EARLIEST, type="int64") if name in source.constant else rows.known_at


def _dated(source: Source, name: str) -> bool:
    return source.kind == "events" or bool(source.known_from) or name in source.constant


def _empty(**schema: str) -> ir.Table:
    return ibis.memtable([], schema=ibis.schema(schema))
