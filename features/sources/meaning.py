"""What a row means: the SQL of its accepted columns, and of the reason it is refused.

Both are selected from one row of the source's own expressions, named by their key in the project
file (`event_time`, `identities.customer`), beside what reading them found:
`__content` (the row as text), `__hash` (of that), `__broken` (it is no row), and for each time
expression `__said_<name>` (the text it was made of) and `__unread_<name>` (it is null because that
text could not be read).
"""

from __future__ import annotations

import time as clock
from typing import Any

import ibis.expr.types as ir

from features import time
from features.engine import LINE, instant_of_naive, instant_of_text, local_day, local_hour
from features.identity.columns import identity_columns
from features.settings import Project, Source
from features.sources.errors import BadMapping

NUMBER = "decimal(18,4)"
INFINITE_IN = "__infinite"
"""Column that names the first attribute of the row whose number is infinite."""
DOUBLE = 8
"""Bytes of a number with a fraction that tells whole numbers apart as far as ids go."""
YES = ("true", "1", "1.0", "yes", "y", "t", "in", "on", "granted", "opt-in", "opt_in", "opted_in",
       "opted in", "subscribed", "allowed")  # fmt: skip
UNSTATED = ("", "null", "none", "nan", "n/a", "na", "unknown", "undefined")


def instants(table: ir.Table, source: Source, project: Project) -> dict[str, str]:
    """Return the SQL of every column of `table`, and of `__when` and `__received` (microseconds).

    Undated records have the earliest time there is.
    """
    schema = table.schema()
    zone = source.time_zone or project.time_zone
    when = "event_time" if source.kind == "events" else "known_from"
    columns = {name: f'"{name}"' for name in schema.names}
    columns["__when"] = f"{time.EARLIEST}::bigint"
    columns["__received"] = "null::bigint"
    for name, column in ((when, "__when"), ("received_at", "__received")):
        if name in schema:
            columns[column] = _instant(schema, name, zone, source)
    return columns


def meaning(table: ir.Table, source: Source, project: Project) -> dict[str, str]:
    """Return the SQL of the judged row over the user's expressions, `instants` and identities."""
    schema = table.schema()
    in_range = f"__when >= {time.EARLIEST} and __when < {time.LATEST}"
    columns = {
        LINE: LINE,
        "event_id": _event_id(source),
        "event_time": "__when",
        "known_at": "greatest(__when, coalesce(__received, __when))",
        "local_day": f"case when {in_range} then {local_day('__when', project.time_zone)} end",
        "local_hour": f"case when {in_range} then {local_hour('__when', project.time_zone)} end",
        "event_type": _event_type(source),
    }
    for column, namespace in identity_columns(project.identity, source).items():
        made = [f"id_{column}", f"why_{column}", *([f"raw_{column}"] if namespace.pii else [])]
        columns |= {name: f'"{name}"' for name in made}
    for group, prefix in (("attributes", "attr"), ("profile", "profile")):
        for name in getattr(source, group):
            columns[f"{prefix}_{name}"] = _value(schema, f"{group}.{name}")
    columns[INFINITE_IN] = _infinite(schema, source)
    for purpose in source.consent:
        columns[f"consent_{purpose}"] = _yes_no(f'"consent.{purpose}"')
    columns["code"], columns["value"] = _judgement(source, schema.names)
    return columns


def refuse_identity_types(table: ir.Table, source: Source) -> None:
    """Raise `BadMapping` for an identity that is neither a text nor a number told exactly."""
    for namespace in source.identities:
        for column in source.identity_columns(namespace):
            kind = table.schema()[f"identities.{column}"]
            exact = not (kind.is_floating() and kind.nbytes < DOUBLE)
            told = kind.is_string() or kind.is_uuid() or kind.is_null() or kind.is_numeric()
            if not told or kind.is_boolean() or not exact:
                raise BadMapping(
                    f"sources.{source.name}.identities.{column}: gives {kind}, not one text or "
                    "number.",
                    hint="An identity is a text or a whole number; of a list or an object, name "
                    "the part that is meant. Numbers of 32 bits with a fraction cannot tell ids "
                    "from 16,777,216 apart.",
                )


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
        hint="Turn numbers into times: to_timestamp(SECONDS), epoch_ms(MILLISECONDS), "
        "make_timestamp(MICROSECONDS), or strptime(COLUMN, '%Y%m%d').",
    )


def _event_id(source: Source) -> str:
    if source.event_id:
        return "nullif(trim(event_id::varchar), '')"
    # Identical rows of one file are told apart by their occurrence, so none is lost, and the same
    # file read again makes the same ids.
    occurrence = f"row_number() over (partition by __hash order by {LINE})"
    return f"__hash || '-' || {occurrence}"


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


def _infinite(schema: Any, source: Source) -> str:
    named = [f"{g}.{name}" for g in ("attributes", "profile") for name in getattr(source, g)]
    tests = "".join(f" when isinf(\"{n}\") then '{n}'" for n in named if schema[n].is_floating())
    return f"case{tests} end" if tests else "null::varchar"


def _yes_no(column: str) -> str:
    """Return SQL reading a consent: a word that is not known as a yes is a no."""
    text = f"lower(trim(coalesce({column}::varchar, '')))"
    return f"case when {text} not in {UNSTATED} then {text} in {YES} end"


def _judgement(source: Source, present: tuple[str, ...]) -> tuple[str, str]:
    """Return SQL for the coded reason a row is refused (null = accepted) and the value at fault."""
    when = "event_time" if source.kind == "events" else "known_from"
    horizon = int(clock.time() * time.MICROS_PER_SECOND) + time.MICROS_PER_DAY
    rules: list[tuple[str, str, str]] = [("__broken", "malformed_row", "left(__content, 200)")]
    if when in present:
        said = f'"__said_{when}"'
        out_of_range = f"__when < {time.EARLIEST} or __when >= {time.LATEST}"
        rules += [
            (f"__when is null and {said} = ''", f"no_{when}", "null"),
            ("__when is null", f"bad_{when}", said),
            (out_of_range, "time_out_of_range", said),
            (f"__when >= {horizon}", "future_time", said),
        ]
    if "received_at" in present:
        stated = "nullif(trim(\"received_at\"::varchar), '') is not null"
        said = '"__said_received_at"'
        bad = f'__received is null and ({stated} or "__unread_received_at")'
        rules.append((bad, "bad_received_at", said))
        rules.append((f"__received >= {horizon}", "future_time", said))
    if source.event_type:
        rules.append((f"({_event_type(source)}) is null", "no_event_type", _shown("event_type")))
    if source.event_id:
        rules.append((f"({_event_id(source)}) is null", "no_event_id", "null"))
    code = " ".join(f"when {test} then '{name}'" for test, name, _ in rules)
    value = " ".join(f"when {test} then {shown}" for test, _, shown in rules)
    return f"case {code} end", f"case {value} end"


def _shown(name: str) -> str:
    return f"nullif(left(\"{name}\"::varchar, 200), '')"
