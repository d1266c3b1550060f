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

_ARITHMETIC = (exp.Mul, exp.Add, exp.Sub, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Round, exp.Abs)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE)
_REFUSED = (
    exp.Query, exp.Subquery, exp.Command, exp.DDL, exp.DML, exp.AggFunc, exp.Window,
    exp.Placeholder, exp.Parameter, exp.Star, exp.ReadCSV, exp.UDTF, exp.CurrentDate,
    exp.CurrentTime, exp.CurrentTimestamp, exp.Rand, exp.Uuid,
)  # fmt: skip
_ALLOWED = frozenset(
    """
    to_timestamp make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz make_date
    epoch_ms strptime try_strptime strftime ltrim rtrim trim lpad rpad regexp_full_match printf
    format hash md5 json_extract json_extract_string list_extract string_split suffix prefix
    """.split()  # noqa: SIM905
)
"""Functions allowed beside those that sqlglot knows by type; none reads a file or a setting."""


def compile_expression(text: str, columns: Iterable[str], *, where: str, as_text: bool) -> str:
    """Return `text` as DuckDB SQL over `columns`.

    `where` names the key of the project file in errors; `as_text` says that the columns hold text,
    so that those used as numbers are cast. Raises `BadMapping` or `MissingColumn`.
    """
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
            replacement = exp.TryCast(this=replacement, to=exp.DataType.build("double"))
        if column is tree:
            tree = replacement
        else:
            column.replace(replacement)
    return _forgiving(tree).sql(dialect="duckdb")


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

    return tree.transform(forgive)


def _is_number_here(column: exp.Column) -> bool:
    parent = column.parent
    while isinstance(parent, exp.Paren):
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
