"""An export as bytes: CSV, JSON lines or Parquet.

The values are the same in all three. Parquet keeps their types; JSON and CSV write numbers in the
fewest digits that read back to the same number, dates and times as ISO 8601, and in CSV null and
the empty text are both an empty cell.

CSV is RFC 4180 in UTF-8 with a header. Cells come from outside (a visitor chooses their own cookie)
and a spreadsheet runs a cell that begins with `=`, `@` and the like as a formula, so such a text is
written with an apostrophe in front. Texts that can only be a phone number or a negative number are
left alone. A cell that already has apostrophes before such a sign gets one more, so that a reader
who takes one away (`unguarded`) has the exact text; the manifest counts the guarded cells. JSON
lines and Parquet are never altered.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.conditions.text import number

BATCH = 50_000
"""Rows turned into Python values at a time."""

# Full-width signs count too: some spreadsheets read them as the plain ones.
_FORMULA = re.compile(r"'*(?![+-][0-9 ().\-]*\Z)[=@+\-\t\r\n\uff1d\uff20\uff0b\uff0d]")


@dataclass(frozen=True)
class Encoded:
    """The content of a file. `guarded_cells` counts CSV cells given an apostrophe."""

    content: bytes
    guarded_cells: int = 0


def encode(rows: pa.Table, format: str) -> Encoded:
    """Return `rows` as the bytes of a file in `format`: csv, jsonl or parquet."""
    if format == "csv":
        return _csv(rows)
    if format == "jsonl":
        lines = (_json_line(row) for row in _values(rows, rows.column_names))
        return Encoded(b"".join(lines))
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return Encoded(sink.getvalue())


def guarded(text: str) -> str:
    """Return `text` as it stands in a CSV cell."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """Return the text of a CSV cell: the inverse of `guarded`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _csv(rows: pa.Table) -> Encoded:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink)
    writer.writerow(rows.column_names)
    guards = 0
    for row in _values(rows, rows.column_names):
        cells = [_cell(value) for value in row.values()]
        safe = [
            guarded(cell) if isinstance(value, str) else cell
            for cell, value in zip(cells, row.values(), strict=True)
        ]
        guards += sum(before != after for before, after in zip(cells, safe, strict=True))
        writer.writerow(safe)
    return Encoded(sink.getvalue().encode(), guards)


def _values(rows: pa.Table, names: list[str]) -> Iterator[dict[str, Any]]:
    for batch in rows.to_batches(max_chunksize=BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case Decimal():
            return number(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case _:
            return str(value)


def _json_line(row: dict[str, Any]) -> bytes:
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
    return orjson.dumps(row, default=_exact, option=options)


def _exact(value: object) -> orjson.Fragment:
    """Write a decimal as a JSON number with all its digits."""
    if not isinstance(value, Decimal):
        raise TypeError(f"{type(value).__name__} has no place in a JSON line")
    return orjson.Fragment(number(value).encode())
