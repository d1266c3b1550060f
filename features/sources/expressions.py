"""Mapping expressions: one scalar SQL expression over a source's columns, checked before use.

Text formats hold text, so a column is read as a number exactly where the expression uses it as
one: beside an arithmetic operator or a number. Identities and plain columns keep their text, and
with it their leading zeros.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlglot
from sqlglot import exp

from features.errors import did_you_mean
from features.sources.errors import BadMapping, MissingColumn

_ARITHMETIC = (
    exp.Mul, exp.Add, exp.Sub, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Round, exp.Abs,
    exp.Floor, exp.Ceil, exp.Sqrt, exp.Pow, exp.Ln, exp.Sign, exp.UnixToTime,
)  # fmt: skip
_THROUGH = (exp.Paren, exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least)
"""What hands on one of the values it is given."""
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_REFUSED = (
    exp.Query, exp.Subquery, exp.Command, exp.DDL, exp.DML, exp.AggFunc, exp.Window,
    exp.Placeholder, exp.Parameter, exp.Star, exp.ReadCSV, exp.UDTF, exp.CurrentDate,
    exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp, exp.Rand, exp.Randn,
    exp.Uuid, exp.CurrentUser, exp.SessionUser, exp.CurrentVersion, exp.CurrentSchema,
    exp.CurrentDatabase, exp.CurrentCatalog, exp.GenerateSeries, exp.Columns,
    exp.PositionalColumn, exp.Alias, exp.RowNumber, exp.Drop, exp.Attach, exp.Detach,
    exp.Set, exp.Pragma, exp.Use,
)  # fmt: skip
_ALLOWED = frozenset(
    """
    to_timestamp make_timestamp make_timestamptz make_date strptime try_strptime strftime ltrim
    rtrim trim lpad rpad regexp_full_match printf
    format hash md5 json_extract json_extract_string list_extract string_split suffix prefix
    """.split()  # noqa: SIM905
)
"""Functions allowed beside those that sqlglot knows by type; none reads a file or a setting."""


def compile_expression(text: str, columns: Iterable[str], *, where: str, as_text: bool) -> str:
    """Return `text` as DuckDB SQL over `columns`.

    `where` names the key of the project file in errors; `as_text` says that the columns hold text,
    so that those used as numbers are cast. Raises `BadMapping` or `MissingColumn`.
    """
    tree = _over_columns(text, columns, where, as_text)
    # One row that cannot be computed is null, and judged later; it does not end the run.
    forgiving = tree if isinstance(tree, exp.Column) else exp.Try(this=tree)
    return forgiving.sql(dialect="duckdb", comments=False)


def unreadable(text: str, columns: Iterable[str], *, where: str, as_text: bool) -> str:
    """Return SQL saying that an expression is null because a text in it could not be read.

    A null that the expression means (`nullif`, a `case` without `else`) is not unreadable.
    """
    tree = _over_columns(text, columns, where, as_text)
    plain = tree.sql(dialect="duckdb", comments=False)
    # The same expression with some value in place of each text that cannot be read: where it then
    # is not null, reading made it so. Innermost first, so that what is around reads that value.
    root = exp.Paren(this=tree)
    for node in reversed(list(tree.walk())):
        if isinstance(node, exp.TryCast) or node.name == "try_strptime":
            node.replace(_somehow(node.copy()))
    imagined = root.sql(dialect="duckdb", comments=False)
    return f"(({plain}) is null and try({imagined}) is not null)"


def _somehow(node: exp.Expr) -> exp.Expr:
    """Return `node`, a reading of text, with some value of its type where that is not readable."""
    cast = isinstance(node, exp.TryCast)
    read = (node.this if cast else node.expressions[0]).sql(dialect="duckdb")
    kind = node.args["to"].sql(dialect="duckdb") if cast else "timestamp"
    temporal = any(word in kind.casefold() for word in ("time", "date"))
    some = f"cast('{'2000-01-01' if temporal else '1'}' as {kind})"
    stated = f"nullif(trim(({read})::varchar), '') is not null"
    whole = f"coalesce({node.sql(dialect='duckdb')}, case when {stated} then {some} end)"
    return sqlglot.parse_one(whole, read="duckdb")


def _over_columns(text: str, columns: Iterable[str], where: str, as_text: bool) -> exp.Expr:
    tree = parse_expression(text, where)
    available = list(columns)
    by_fold = {name.casefold(): name for name in available}
    for column in list(tree.find_all(exp.Column)):
        name = ".".join(part.name for part in column.parts)
        found = name if name in available else by_fold.get(name.casefold())
        if found is None:
            raise MissingColumn(
                f"{where}: there is no column {name!r}.",
                hint=did_you_mean(name, available),
                column=name,
            )
        replacement: exp.Expr = exp.column(found, quoted=True)
        if as_text and _is_number_here(column):
            replacement = exp.TryCast(this=replacement, to=exp.DataType.build(_number(column)))
        if column is tree:
            tree = replacement
        else:
            column.replace(replacement)
    return _forgiving(tree)


def columns_of(text: str, where: str) -> set[str]:
    """Return the column names that an expression uses; nested keys are dotted."""
    tree = parse_expression(text, where)
    return {".".join(part.name for part in c.parts) for c in tree.find_all(exp.Column)}


def parse_expression(text: str, where: str) -> exp.Expr:
    """Parse one scalar expression; raise `BadMapping` for anything else."""
    try:
        parsed = sqlglot.parse(text, read="duckdb")
    except sqlglot.errors.SqlglotError as error:
        first = next(iter(getattr(error, "errors", [])), {"description": str(error)})
        detail = first["description"]
        raise BadMapping(
            f"{where}: {text!r} is not an SQL expression: {detail.rstrip('.')}.",
            hint="Write a column name or an expression over columns; quote text with '…'.",
        ) from error
    if len(parsed) != 1 or parsed[0] is None:
        raise BadMapping(f"{where}: write exactly one expression.", hint=f"Found {text!r}.")
    tree = parsed[0]
    _refuse(tree, text, where)
    return tree


def _refuse(tree: exp.Expr, text: str, where: str) -> None:
    for node in tree.walk():
        if isinstance(node, _REFUSED):
            raise BadMapping(
                f"{where}: {text!r} is not one value of one row ({node.key}).",
                hint="Use columns, operators, case and scalar functions only.",
            )
        if isinstance(node, exp.Anonymous) and node.name.casefold() not in _ALLOWED:
            raise BadMapping(
                f"{where}: the function {node.name!r} is not allowed in mappings.",
                hint=did_you_mean(node.name.casefold(), _ALLOWED),
            )


def _forgiving(tree: exp.Expr) -> exp.Expr:
    """Return `tree` with null, not an error, where a text cannot be read: rows are judged later."""

    def forgive(node: exp.Expr) -> exp.Expr:
        if type(node) is exp.Cast:
            return exp.TryCast(this=node.this, to=node.args["to"])
        if isinstance(node, exp.StrToTime):
            return exp.Anonymous(this="try_strptime", expressions=[node.this, node.args["format"]])
        return node

    def in_utc(node: exp.Expr) -> exp.Expr:
        # A number since 1970 is a moment in UTC, not the time on a clock in the source's zone.
        naive = isinstance(node, exp.UnixToTime) and node.args.get("scale") is not None
        return exp.AtTimeZone(this=node, zone=exp.Literal.string("UTC")) if naive else node

    return tree.transform(forgive).transform(in_utc)


def _number(column: exp.Column) -> str:
    """Return the type of a text used as a number: whole where the engine counts from 1970."""
    parent = column.parent
    whole = isinstance(parent, exp.UnixToTime) and parent.args.get("scale") is not None
    return "bigint" if whole else "double"


def _is_number_here(column: exp.Column) -> bool:
    parent = column.parent
    while isinstance(parent, _THROUGH):
        parent = parent.parent
    if isinstance(parent, _ARITHMETIC):
        return True
    if isinstance(parent, _COMPARISONS):
        return any(_is_number(side) for side in (parent.this, parent.expression))
    return isinstance(parent, exp.Between) and _is_number(parent.args["low"])


def _is_number(node: exp.Expr) -> bool:
    if isinstance(node, exp.Neg):
        return _is_number(node.this)
    return isinstance(node, exp.Literal) and not node.is_string
