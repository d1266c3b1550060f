"""One file of a source into accepted rows and quarantined rows.

Grain in: a row of the file. Grain out: `accepted.parquet` has one row per usable row, and
`quarantine.parquet` one per refused row: `row` (from 1, the header not counted), `code`, `value`
(what was at fault; null where it may be personal). Rows read = accepted + quarantined + erased,
always: rows of people erased since they happened are dropped (`features.sources.erased`).

Accepted columns: `event_id`, `event_time`, `known_at` (int64 microseconds), `local_day`,
`local_hour`, `event_type` (null in records), `id_<namespace>` and, where a source has several
expressions for it, `id_<namespace>.2` and so on (text `namespace:value`, SHA-256 for pii),
`attr_*`, `profile_*` (text or DECIMAL(18,4)), `consent_*` (boolean).

`contacts.parquet` has the raw values of pii identities (identity, raw, known_at), and no other file
has them.

Quarantine codes: `malformed_row`, `no_event_time`, `bad_event_time`, `no_known_from`,
`bad_known_from`, `time_out_of_range`, `future_time`, `bad_received_at`, `no_event_type`,
`no_event_id`, `no_identity`, `identity_too_long`, `conflicting_identity`.

A value that identifies nobody leaves its row where another identity is on it. The facts count
them: `junk` by namespace and label, `unusable` by namespace and reason.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from features.engine import LINE, Engine, json_has, json_values
from features.erasures import Erasures
from features.errors import SourceError
from features.identity.columns import functions_of, identity_columns, selects
from features.settings import Namespace, Project, Source
from features.sources.erased import veiled, without_erased
from features.sources.errors import INFINITE, MOST_VALUES, BadMapping, TooManyValues
from features.sources.expressions import columns_of, compile_expression, unreadable
from features.sources.files import SourceFile
from features.sources.meaning import INFINITE_IN, instants, meaning, refuse_identity_types
from features.store import Store, key_of

VERSION = 6
TABLE = "parts"
CONTACTS = pa.schema([("identity", pa.string()), ("raw", pa.string()), ("known_at", pa.int64())])
NOBODY = Erasures()
"""No erasure was ever asked for."""
SAMPLE = 1_000
"""Rows of JSON looked at for a key before all are."""


def part_key(project: Project, file: SourceFile, again: str = "") -> str:
    """Return the version of what `file` is turned into: its content and all that shapes it.

    `again` asks for a version of its own, to read a file anew.
    """
    source = file.source.model_dump(mode="json", exclude={"path"})
    identity = project.identity.model_dump(mode="json", include={"namespaces", "junk"})
    return key_of(
        TABLE, VERSION, source, identity, project.time_zone, file.format, file.delimiter,
        file.digest, again,
    )  # fmt: skip


def ingest_file(
    engine: Engine,
    store: Store,
    project: Project,
    file: SourceFile,
    key: str,
    erasures: Erasures = NOBODY,
) -> None:
    """Read, map and judge one file into the store as version `key`, without whom was erased."""
    spaces = identity_columns(project.identity, file.source)
    raw = _read(engine, file)
    rejects = engine.rejected()
    mapped = engine.hold(_mapped(engine, raw, file, project))
    identity = project.identity
    with (
        store.writing(TABLE, key) as (folder, facts),
        without_erased(engine, _judged(mapped, spaces), identity, erasures) as (judged, touched),
    ):
        bad = judged.filter(judged.code.notnull()).select("code", "value", row=judged[LINE])
        refused = veiled(_quarantined(engine.arrow(bad), rejects), identity, erasures)
        good = judged.filter(judged.code.isnull())
        _refuse_many_types(engine, good, file)
        facts["infinite"] = _infinite(engine, good)
        kept = good.filter(~good.erased).drop("code", "value", LINE, "erased", INFINITE_IN)
        kept = kept.drop(*(f"why_{column}" for column in spaces))
        _write_contacts(engine, kept, folder)
        facts.update(write_part(engine, kept, refused, folder))
        erased = count_erased(engine, good)
        facts["rows"] = facts["accepted"] + refused.num_rows + erased
        facts |= {"source": file.source.name, "file": file.path.name}
        facts |= {"erased": erased, "erasures": len(erasures)}
        facts["purged"] = len(erasures) if touched else 0
        facts.update(_nobodies(engine, mapped, spaces))
        facts |= {"expired": 0, "expired_before": 0, "left_by": ""}
        facts.update(_absent_keys(engine, raw, file))
    engine.drop(mapped, raw)


def _read(engine: Engine, file: SourceFile) -> ir.Table:
    if file.format == "csv":
        return engine.read_csv(file.path, file.delimiter)
    if file.format == "parquet":
        return engine.read_numbered_parquet(file.path)
    return engine.read_lines(file.path)


def expressions_of(source: Source) -> dict[str, str]:
    """Return every mapping expression of a source, by the key of the project file it stands at."""
    single = ("event_time", "received_at", "known_from", "event_id", "event_type")
    found = {name: getattr(source, name) for name in single if getattr(source, name)}
    for namespace in source.identities:
        for column, sql in source.identity_columns(namespace).items():
            found[f"identities.{column}"] = sql
    for group in ("attributes", "profile", "consent"):
        for name, sql in getattr(source, group).items():
            found[f"{group}.{name}"] = sql
    return found


def _mapped(engine: Engine, raw: ir.Table, file: SourceFile, project: Project) -> ir.Table:
    """Return the judged rows: of the user's expressions, their times, identities and meaning."""
    source = file.source
    expressions = expressions_of(source)
    table = _keyed_json(engine, raw, file) if file.format == "jsonl" else raw
    available = [name for name in table.columns if name not in (LINE, "__content", "__broken")]
    personal = _personal_columns(source, project)
    compiled, read = {}, {}
    for name, text in expressions.items():
        where = f"sources.{source.name}.{name} ({file.path.name})"
        as_text = file.format != "parquet"
        compiled[name] = compile_expression(text, available, where=where, as_text=as_text)
        if name in ("event_time", "known_from", "received_at"):
            read[f"__said_{name}"] = _said(text, available, where, personal)
            read[f"__unread_{name}"] = unreadable(text, available, where=where, as_text=as_text)
    content = _content(table, file)
    hashed = f"left(sha256({content}), 32)"
    extra = {LINE: LINE, "__content": content, "__hash": hashed, "__broken": _broken(file)} | read
    try:
        first = engine.select(table, extra | compiled)
    except SourceError as error:
        raise _blame(engine, table, source, compiled, error) from error
    refuse_identity_types(first, source)
    dated = engine.select(first, instants(first, source, project))
    engine.teach(functions_of(project.identity))
    known = engine.extend(dated, *selects(project.identity, source))
    meant = meaning(known, source, project)
    if personal and file.format == "jsonl":
        # What is broken cannot be told apart into personal and other values.
        meant["value"] = f"case when not __broken then {meant['value']} end"
    return engine.select(known, meant)


def _personal_columns(source: Source, project: Project) -> set[str]:
    """Return the columns that pii identities are made of."""
    found = (
        columns_of(sql, f"identities.{name}")
        for namespace in project.identity.namespaces
        for name, sql in source.identity_columns(namespace.name).items()
        if namespace.pii
    )
    return {column.casefold() for columns in found for column in columns}


def _said(text: str, available: list[str], where: str, personal: set[str]) -> str:
    """Return SQL for the text that an expression reads, as shown to people; never null."""
    used = {name.casefold() for name in columns_of(text, where)}
    columns = [_quoted(name) for name in available if name.casefold() in used]
    if not columns:
        return "''"
    said = f"left(trim(concat_ws(' ', {', '.join(f'{c}::varchar' for c in columns)})), 200)"
    return f"case when {said} <> '' then '(personal)' else '' end" if used & personal else said


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def json_names(source: Source) -> list[str]:
    """Return the JSON keys that a source's expressions use, sorted; nested keys are dotted."""
    named = expressions_of(source).items()
    return sorted({n for name, sql in named for n in columns_of(sql, f"{source.name}.{name}")})


def _keyed_json(engine: Engine, raw: ir.Table, file: SourceFile) -> ir.Table:
    """Return JSON lines as text columns, one per key that an expression uses."""
    names = json_names(file.source)
    some = raw.filter(raw.line.strip() != "")
    listed = engine.select(some, {LINE: LINE, "line": "line", "__keys": json_values(names)})
    columns = {name: f"__keys[{i + 1}]" for i, name in enumerate(names)}
    broken = {"__broken": "__keys is null", "__content": "line"}
    return engine.select(listed, {LINE: LINE} | broken | columns)


def _content(table: ir.Table, file: SourceFile) -> str:
    if file.format == "jsonl":
        return "__content"
    names = sorted(name for name in table.columns if name != LINE)
    parts = ", ".join(f"coalesce({_quoted(name)}::varchar, chr(30))" for name in names)
    return f"concat_ws(chr(31), {parts})"


def _broken(file: SourceFile) -> str:
    return "__broken" if file.format == "jsonl" else "false"


def _blame(
    engine: Engine, table: ir.Table, source: Source, compiled: dict[str, str], error: SourceError
) -> SourceError:
    """Find the expression that the engine refuses, so that the error names its key."""
    for name, sql in compiled.items():
        try:
            engine.select(table, {"x": sql})
        except SourceError as single:
            text = expressions_of(source)[name]
            return BadMapping(
                f"sources.{source.name}.{name}: {text!r} does not work on these columns: "
                f"{single.message.removeprefix('The expression does not compile: ')}",
                hint="Text columns become numbers with try_cast(COLUMN as double).",
            )
    return error


def _judged(mapped: ir.Table, spaces: dict[str, Namespace]) -> ir.Table:
    """Return mapped rows with the code of the rules that need their identities."""
    nobody = ibis.and_(*(mapped[f"id_{column}"].isnull() for column in spaces))
    too_long = ibis.or_(*(mapped[f"why_{column}"] == "identity_too_long" for column in spaces))
    cases = [(nobody & too_long.fill_null(False), "identity_too_long"), (nobody, "no_identity")]
    for first, second in combinations(spaces, 2):
        if spaces[first] == spaces[second] and spaces[first].unique:
            a, b = mapped[f"id_{first}"], mapped[f"id_{second}"]
            cases.append(((a != b).fill_null(False), "conflicting_identity"))
    return mapped.mutate(code=mapped.code.coalesce(ibis.cases(*cases)))


def write_part(engine: Engine, kept: ir.Table, refused: pa.Table, folder: Path) -> dict[str, Any]:
    """Write accepted and quarantined rows into `folder`; return the facts that follow from them."""
    pq.write_table(refused, folder / "quarantine.parquet", compression="zstd")
    raws = [name for name in kept.columns if name.startswith("raw_")]
    accepted = engine.write(kept.drop(*raws), folder / "accepted.parquet")
    codes = [str(code) for code in refused["code"].to_pylist()]
    return {
        "accepted": accepted,
        "quarantined": {code: codes.count(code) for code in sorted(set(codes))},
        "examples": {code: _example(refused, codes.index(code)) for code in sorted(set(codes))},
        "types": _types(engine, kept),
        "newest": _newest(engine, kept),
        "events": _event_types(engine, kept),
    }


def count_erased(engine: Engine, rows: ir.Table) -> int:
    """Return how many rows are marked `erased`."""
    return int(engine.arrow(rows.erased.sum().as_table())[0][0].as_py() or 0)


def _nobodies(
    engine: Engine, mapped: ir.Table, spaces: dict[str, Namespace]
) -> dict[str, dict[str, dict[str, int]]]:
    """Count the values of all rows read that identify nobody, by namespace and why."""
    junk: dict[str, dict[str, int]] = {}
    unusable: dict[str, dict[str, int]] = {}
    for column, namespace in spaces.items():
        some = mapped.filter(mapped[f"why_{column}"].notnull())
        rows = engine.arrow(some.group_by(why=some[f"why_{column}"]).aggregate(n=some.count()))
        for row in sorted(rows.to_pylist(), key=lambda row: str(row["why"])):
            counts = junk if row["why"].startswith("=") else unusable
            found, label = counts.setdefault(namespace.name, {}), row["why"].removeprefix("=")
            found[label] = found.get(label, 0) + row["n"]
    return {"junk": junk, "unusable": unusable}


def _quarantined(judged: pa.Table, rejects: list[dict[str, Any]]) -> pa.Table:
    """Return refused rows in the order of the file, with those that could not even be read."""
    unread = [
        {"row": each["row"], "code": "malformed_row", "value": each["message"][:200]}
        for each in rejects
    ]
    schema = pa.schema([("row", pa.int64()), ("code", pa.string()), ("value", pa.string())])
    listed = judged.select(schema.names).cast(schema)
    return pa.concat_tables([listed, pa.Table.from_pylist(unread, schema=schema)]).sort_by("row")


def _example(quarantined: pa.Table, position: int) -> dict[str, Any]:
    row = quarantined.slice(position, 1).to_pylist()[0]
    return {"row": row["row"], "value": row["value"]}


def _write_contacts(engine: Engine, good: ir.Table, folder: Path) -> None:
    said = []
    for name in (name for name in good.columns if name.startswith("raw_")):
        some = good.filter(good[name].notnull())
        identity = some[name.replace("raw_", "id_", 1)]
        said.append(some.select(identity=identity, raw=some[name], known_at=some.known_at))
    path = folder / "contacts.parquet"
    if said:
        engine.write(ibis.union(*said, distinct=True) if said[1:] else said[0].distinct(), path)
    else:
        pq.write_table(CONTACTS.empty_table(), path)


def _absent_keys(engine: Engine, raw: ir.Table, file: SourceFile) -> dict[str, Any]:
    """Return `absent`: the keys that no row of JSON has (null: no row could be read), and `keys`.

    `keys` are those that the first rows do have, for a hint; only listed when some are absent.
    """
    if file.format != "jsonl":
        return {"absent": [], "keys": []}
    absent: list[str] | None = json_names(file.source)
    for rows in (raw.limit(SAMPLE), raw):
        absent = _absent_in(engine, rows, absent) if absent else absent
    first = engine.arrow(raw.order_by(LINE).limit(SAMPLE))["line"].to_pylist() if absent else []
    return {"absent": absent, "keys": sorted({key for line in first for key in _keys_in(line)})}


def _absent_in(engine: Engine, rows: ir.Table, names: list[str]) -> list[str] | None:
    asked = {f"has_{position}": json_has(name) for position, name in enumerate(names)}
    seen = engine.select(rows, asked)
    found = engine.arrow(seen.aggregate(**{name: seen[name].any() for name in asked})).to_pylist()
    has = list(found[0].values())
    return None if None in has else [n for n, known in zip(names, has, strict=True) if not known]


def _keys_in(line: str) -> list[str]:
    """Return the dotted keys of one line of JSON; none when it is no object."""
    try:
        waiting = [("", json.loads(line))]
    except ValueError:
        return []
    keys = []
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}" if path else key, inner) for key, inner in value.items()]
        elif path:
            keys.append(path)
    return keys


def _refuse_many_types(engine: Engine, good: ir.Table, file: SourceFile) -> None:
    """Raise `TooManyValues` where what happened is told by a name of its own in every row."""
    count = int(engine.arrow(good.event_type.nunique().as_table())[0][0].as_py() or 0)
    if count > MOST_VALUES:
        raise TooManyValues(
            f"sources.{file.source.name}.event_type: {file.path.name} has {count:,} event types; "
            f"up to {MOST_VALUES:,} may be.",
            hint="Map it to a name of what happened, such as 'page_view', and what differs from "
            "row to row to attributes.",
            values=count,
        )


def _infinite(engine: Engine, good: ir.Table) -> dict[str, dict[str, int]]:
    """Return, by attribute, how many values are infinite, and the first row with one."""
    some = good.filter(good[INFINITE_IN].notnull())
    named = some.group_by(name=some[INFINITE_IN]).aggregate(
        values=some.count(), row=some[LINE].min()
    )
    return {row.pop("name"): row for row in engine.arrow(named.order_by("name")).to_pylist()}


def _newest(engine: Engine, good: ir.Table) -> dict[str, Any]:
    row = engine.arrow(
        good.aggregate(event_time=good.event_time.max(), known_at=good.known_at.max())
    ).to_pylist()[0]
    return dict(row)


def _event_types(engine: Engine, good: ir.Table) -> dict[str, dict[str, int]]:
    """Return, per event type, its rows and how many of them have each attribute."""
    named = [name for name in good.columns if name.startswith("attr_")]
    counts = {name.removeprefix("attr_"): good[name].count() for name in named}
    some = good.filter(good.event_type.notnull())
    rows = engine.arrow(some.group_by("event_type").aggregate(**counts))
    return {row.pop("event_type"): row for row in rows.to_pylist()}


def _types(engine: Engine, good: ir.Table) -> dict[str, dict[str, int]]:
    """Return, per attribute, how many values there are and how many read as what.

    A code with leading zeros counts as text: turning it into a number would lose it.
    """
    counts = {}
    for name in good.columns:
        if not name.startswith(("attr_", "profile_")):
            continue
        column = good[name]
        if not column.type().is_string():
            counts[f"{name}/values"] = column.count()
            counts[f"{name}/number"] = column.count()
            continue
        number = column.re_search(r"^-?(0|[1-9][0-9]{0,12})(\.[0-9]+)?$")
        counts[f"{name}/values"] = column.count()
        counts[f"{name}/number"] = number.sum()
        counts[f"{name}/date"] = column.re_search(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$").sum()
        counts[f"{name}/infinite"] = column.lower().isin(INFINITE).sum()
        counts[f"{name}/boolean"] = column.lower().isin(["true", "false"]).sum()
    if not counts:
        return {}
    row = engine.arrow(good.aggregate(**counts)).to_pylist()[0]
    found: dict[str, dict[str, int]] = {}
    for key, count in row.items():
        name, _, kind = key.partition("/")
        found.setdefault(name, {})[kind] = int(count or 0)
    return found
