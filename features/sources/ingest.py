"""One file of a source into accepted rows and quarantined rows.

Grain in: a row of the file. Grain out: `accepted.parquet` has one row per usable row, and
`quarantine.parquet` one per refused row, with its line, a coded reason and the offending value.
Rows read = accepted + quarantined, always.

Accepted columns: `event_id`, `event_time`, `known_at` (int64 microseconds), `local_day`,
`event_type` (null in records), `id_<namespace>` (text `namespace:value`, SHA-256 for pii),
`raw_<namespace>` (pii only), `attr_*`, `profile_*` (text or DECIMAL(18,4)), `consent_*` (boolean).

Quarantine codes: `malformed_row`, `no_event_time`, `bad_event_time`, `no_known_from`,
`bad_known_from`, `time_out_of_range`, `future_time`, `bad_received_at`, `no_event_type`,
`no_event_id`, `no_identity`, `identity_too_long`.
"""

from __future__ import annotations

import time as clock
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from features import time
from features.engine import (
    LINE,
    Engine,
    instant_of_naive,
    instant_of_text,
    json_values,
    local_day,
)
from features.errors import SourceError
from features.identity.namespaces import identity_sql
from features.settings import Project, Source
from features.sources.errors import BadMapping
from features.sources.expressions import columns_of, compile_expression
from features.sources.files import SourceFile
from features.store import Store, key_of

VERSION = 1
TABLE = "parts"
MAX_IDENTITY = 1_024
NUMBER = "decimal(18,4)"


def part_key(project: Project, file: SourceFile, again: str = "") -> str:
    """Return the version of what `file` is turned into: its content and all that shapes it.

    `again` asks for a version of its own, to read a file anew.
    """
    source = file.source.model_dump(mode="json", exclude={"path"})
    identity = project.identity.model_dump(mode="json", include={"namespaces", "junk"})
    return key_of(
        TABLE, VERSION, source, identity, project.time_zone, file.format, file.digest, again
    )


def ingest_file(engine: Engine, store: Store, project: Project, file: SourceFile, key: str) -> None:
    """Read, map and judge one file into the store as version `key`."""
    raw = _read(engine, file)
    rejects = engine.rejected() if file.format == "csv" else []
    mapped = engine.hold(_mapped(engine, raw, file, project))
    with store.writing(TABLE, key) as (folder, facts):
        facts.update(_write(engine, mapped, file, rejects, folder))
    engine.drop(mapped, raw)


def _read(engine: Engine, file: SourceFile) -> ir.Table:
    if file.format == "csv":
        return engine.read_csv(file.path, file.source.delimiter)
    if file.format == "parquet":
        return engine.read_numbered_parquet(file.path)
    return engine.read_lines(file.path)


def _expressions(source: Source) -> dict[str, str]:
    """Return every mapping expression of a source, by the key of the project file it stands at."""
    single = ("event_time", "received_at", "known_from", "event_id", "event_type")
    found = {name: getattr(source, name) for name in single if getattr(source, name)}
    for group in ("identities", "attributes", "profile", "consent"):
        for name, sql in getattr(source, group).items():
            found[f"{group}.{name}"] = sql
    return found


def _mapped(engine: Engine, raw: ir.Table, file: SourceFile, project: Project) -> ir.Table:
    """Two selects: the user's expressions as they stand, then their meaning."""
    source = file.source
    expressions = _expressions(source)
    table = _keyed_json(engine, raw, file, expressions) if file.format == "jsonl" else raw
    available = [name for name in table.columns if name not in (LINE, "__content", "__broken")]
    compiled = {}
    for name, text in expressions.items():
        where = f"sources.{source.name}.{name} ({file.path.name})"
        as_text = file.format != "parquet"
        compiled[name] = compile_expression(text, available, where=where, as_text=as_text)
    extra = {LINE: LINE, "__content": _content(table, file), "__broken": _broken(file)}
    try:
        first = engine.select(table, extra | compiled)
    except SourceError as error:
        raise _blame(engine, table, source, compiled, error) from error
    return engine.select(first, _meaning(first, source, project))


def _keyed_json(
    engine: Engine, raw: ir.Table, file: SourceFile, expressions: dict[str, str]
) -> ir.Table:
    """Return JSON lines as text columns, one per key that an expression uses."""
    source = file.source
    names = sorted(
        {n for name, sql in expressions.items() for n in columns_of(sql, f"{source.name}.{name}")}
    )
    listed = engine.select(raw, {LINE: LINE, "line": "line", "__keys": json_values(names)})
    columns = {name: f"__keys[{i + 1}]" for i, name in enumerate(names)}
    broken = {"__broken": "__keys is null", "__content": "line"}
    return engine.select(listed, {LINE: LINE} | broken | columns)


def _content(table: ir.Table, file: SourceFile) -> str:
    if file.format == "jsonl":
        return "__content"
    names = sorted(name for name in table.columns if name != LINE)
    parts = ", ".join(f'coalesce("{name}"::varchar, chr(30))' for name in names)
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
            text = _expressions(source)[name]
            return BadMapping(
                f"sources.{source.name}.{name}: {text!r} does not work on these columns: "
                f"{single.message.removeprefix('The expression does not compile: ')}",
                hint="Text columns become numbers with try_cast(COLUMN as double).",
            )
    return error


def _meaning(table: ir.Table, source: Source, project: Project) -> dict[str, str]:
    """Return the SQL of the judged row over the user's expressions."""
    schema = table.schema()
    zone = source.time_zone or project.time_zone
    when = "event_time" if source.kind == "events" else "known_from"
    event_time = _instant(schema, when, zone, source) if when in schema else str(time.EARLIEST)
    received = (
        _instant(schema, "received_at", zone, source) if "received_at" in schema else "null::bigint"
    )
    columns = {
        LINE: LINE,
        "event_id": _event_id(source),
        "event_time": event_time,
        "known_at": f"greatest({event_time}, coalesce({received}, {event_time}))",
        "local_day": local_day(f"({event_time})", project.time_zone),
        "event_type": _event_type(source),
    }
    for namespace in project.identity.namespaces:
        columns |= identity_sql(namespace, project.identity, source, schema.names)
    for group, prefix in (("attributes", "attr"), ("profile", "profile")):
        for name in getattr(source, group):
            columns[f"{prefix}_{name}"] = _value(schema, f"{group}.{name}")
    for purpose in source.consent:
        columns[f"consent_{purpose}"] = _yes_no(f'"consent.{purpose}"')
    columns["code"], columns["value"] = _judgement(source, schema.names, event_time, received)
    return columns


def _instant(schema: Any, name: str, zone: str, source: Source) -> str:
    kind = schema[name]
    if kind.is_string():
        return instant_of_text(f'"{name}"', zone)
    if kind.is_timestamp() and kind.timezone:
        return f'epoch_us("{name}")'
    if kind.is_timestamp() or kind.is_date():
        return instant_of_naive(f'"{name}"', zone)
    raise BadMapping(
        f"sources.{source.name}.{name}: gives {kind}, not a time.",
        hint="Turn numbers into times: make_timestamp(micros), to_timestamp(seconds), or "
        "strptime(COLUMN, '%Y%m%d').",
    )


def _event_id(source: Source) -> str:
    if source.event_id:
        return "nullif(trim(event_id::varchar), '')"
    # Identical rows of one file are told apart by their occurrence, so none is lost, and the same
    # file read again makes the same ids.
    occurrence = f"row_number() over (partition by __content order by {LINE})"
    return f"left(sha256(__content), 32) || '-' || {occurrence}"


def _event_type(source: Source) -> str:
    if not source.event_type:
        return "null::varchar"
    snake = "trim(regexp_replace(lower(trim(event_type::varchar)), '[^a-z0-9]+', '_', 'g'), '_')"
    return f"nullif(regexp_replace({snake}, '^([0-9])', 'e_\\1'), '')"


def _value(schema: Any, name: str) -> str:
    kind = schema[name]
    if kind.is_boolean():
        return f'"{name}"::varchar'
    if kind.is_numeric():
        return f'try_cast("{name}" as {NUMBER})'
    return f"nullif(trim(\"{name}\"::varchar), '')"


def _yes_no(column: str) -> str:
    text = f"lower(trim({column}::varchar))"
    yes, no = "('true', '1', 'yes', 'y', 't', 'in')", "('false', '0', 'no', 'n', 'f', 'out')"
    return f"case when {text} in {yes} then true when {text} in {no} then false end"


def _judgement(
    source: Source, present: tuple[str, ...], event_time: str, received: str
) -> tuple[str, str]:
    """Return SQL for the coded reason a row is refused (null = accepted) and the value at fault."""
    when = "event_time" if source.kind == "events" else "known_from"
    horizon = int(clock.time() * time.MICROS_PER_SECOND) + time.MICROS_PER_DAY
    rules: list[tuple[str, str, str]] = [("__broken", "malformed_row", "left(__content, 200)")]
    if when in present:
        shown = f'left("{when}"::varchar, 200)'
        rules += [
            (f"nullif(trim(\"{when}\"::varchar), '') is null", f"no_{when}", "null"),
            (f"({event_time}) is null", f"bad_{when}", shown),
            (
                f"({event_time}) < {time.EARLIEST} or ({event_time}) >= {time.LATEST}",
                "time_out_of_range",
                shown,
            ),
            (f"({event_time}) >= {horizon}", "future_time", shown),
        ]
    if "received_at" in present:
        stated = "nullif(trim(\"received_at\"::varchar), '') is not null"
        shown = 'left("received_at"::varchar, 200)'
        rules.append((f"{stated} and ({received}) is null", "bad_received_at", shown))
    if source.event_type:
        rules.append((f"({_event_type(source)}) is null", "no_event_type", "null"))
    if source.event_id:
        rules.append((f"({_event_id(source)}) is null", "no_event_id", "null"))
    code = " ".join(f"when {test} then '{name}'" for test, name, _ in rules)
    value = " ".join(f"when {test} then {shown}" for test, _, shown in rules)
    return f"case {code} end", f"case {value} end"


def _write(
    engine: Engine, mapped: ir.Table, file: SourceFile, rejects: list[dict[str, Any]], folder: Path
) -> dict[str, Any]:
    """Divide judged rows into accepted and quarantined, and return the part's facts."""
    ids = [mapped[name] for name in mapped.columns if name.startswith("id_")]
    longest = ids[0].length()
    nobody = ids[0].isnull()
    for column in ids[1:]:
        longest = ibis.greatest(longest.fill_null(0), column.length().fill_null(0))
        nobody = nobody & column.isnull()
    judged = mapped.mutate(
        code=mapped.code.coalesce(
            nobody.ifelse("no_identity", (longest > MAX_IDENTITY).ifelse("identity_too_long", None))
        )
    )
    good = judged.filter(judged.code.isnull()).drop("code", "value", LINE)
    bad = judged.filter(judged.code.notnull()).select(LINE, "code", "value")
    quarantined = engine.arrow(bad.order_by(LINE))
    if rejects:
        quarantined = pa.concat_tables([quarantined, _rejected_rows(rejects, quarantined.schema)])
    pq.write_table(quarantined, folder / "quarantine.parquet", compression="zstd")
    accepted = engine.write(good, folder / "accepted.parquet")
    codes = [str(code) for code in quarantined["code"].to_pylist()]
    return {
        "rows": accepted + len(codes),
        "accepted": accepted,
        "quarantined": {code: codes.count(code) for code in sorted(set(codes))},
        "examples": _examples(quarantined),
        "types": _types(engine, good),
        "newest": _newest(engine, good),
        "events": _event_types(engine, good),
    }


def _rejected_rows(rejects: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    rows = [
        # The header is line 1 of the file and has no number here.
        {LINE: row["line"] - 1, "code": "malformed_row", "value": row["message"][:200]}
        for row in rejects
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _examples(quarantined: pa.Table) -> dict[str, dict[str, Any]]:
    examples: dict[str, dict[str, Any]] = {}
    for row in quarantined.slice(0, 10_000).to_pylist():
        examples.setdefault(row["code"], {"row": row[LINE], "value": row["value"]})
    return examples


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
        counts[f"{name}/boolean"] = column.lower().isin(["true", "false"]).sum()
    if not counts:
        return {}
    row = engine.arrow(good.aggregate(**counts)).to_pylist()[0]
    found: dict[str, dict[str, int]] = {}
    for key, count in row.items():
        name, _, kind = key.partition("/")
        found.setdefault(name, {})[kind] = int(count or 0)
    return found
