"""Reading a wide table: CSV, JSON lines or Parquet into trimmed text, blank cells as null."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ibis.expr.types as ir
import pyarrow as pa

from features.engine import LINE, Engine, json_values
from features.sources.errors import NoFiles
from features.sources.files import ENDINGS

PACKED = (".gz", ".zst")
SAMPLE = 1_000
"""Rows of JSON looked at for the names of columns."""


@dataclass(frozen=True)
class Sheet:
    """A table as text. Grain: a row of the file; the cells of column i are called `c<i>`.

    `written` is when the file was, in microseconds; `notes` tell of rows that could not be read.
    """

    path: Path
    names: tuple[str, ...]
    rows: ir.Table
    count: int
    written: int
    notes: tuple[str, ...]

    def cell(self, name: str) -> str:
        """Return what the column called `name` is called in `rows`."""
        return f"c{self.names.index(name)}"

    def texts(self, engine: Engine, names: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Return columns as text, in the order of rows."""
        if not names:
            return {}
        some = self.rows.order_by(LINE).select(*(self.cell(name) for name in names))
        found = engine.arrow(some)
        return {name: found[self.cell(name)] for name in names}


def read_table(engine: Engine, path: Path, delimiter: str | None = None) -> Sheet:
    """Read a file by its ending; raise `NoFiles`, or `SourceError` where it cannot be read."""
    form = _format(path)
    if form == "csv":
        tab = ".tsv" in [suffix.lower() for suffix in path.suffixes]
        raw = engine.read_csv(path, delimiter or ("\t" if tab else ","))
    elif form == "parquet":
        raw = engine.read_numbered_parquet(path)
    else:
        raw = engine.read_lines(path)
    refused = len(engine.rejected())
    names, rows = _keyed(engine, raw) if form == "jsonl" else _plain(raw)
    held = engine.hold(rows)
    read, count = (int(engine.arrow(t.count().as_table())[0][0].as_py()) for t in (raw, held))
    engine.drop(raw)
    lost = refused + read - count
    notes = (f"{lost:,} rows of {path.name} could not be read and were left out.",) if lost else ()
    return Sheet(path, tuple(names), held, count, path.stat().st_mtime_ns // 1_000, notes)


def _format(path: Path) -> str:
    if not path.is_file():
        raise NoFiles(f"There is no table {str(path)!r}.", hint="Name a file that is there.")
    ending = next((s for s in reversed(path.suffixes) if s.lower() not in PACKED), "").lower()
    form = ENDINGS.get(ending, "")
    if form not in ("csv", "jsonl", "parquet"):
        raise NoFiles(
            f"The ending of {path.name!r} names no known format of tables.",
            hint="Name it .csv, .tsv, .jsonl or .parquet; .gz and .zst may follow.",
        )
    return form


def _plain(raw: ir.Table) -> tuple[list[str], ir.Table]:
    names = [name for name in raw.columns if name != LINE]
    cells = {f"c{i}": _trimmed(raw[name].cast("string")) for i, name in enumerate(names)}
    return names, raw.select(LINE, **cells)


def _keyed(engine: Engine, raw: ir.Table) -> tuple[list[str], ir.Table]:
    """Return JSON lines as columns: the keys of the first thousand lines. Blank lines are none."""
    first = engine.arrow(raw.order_by(LINE).limit(SAMPLE))["line"].to_pylist()
    names = list(dict.fromkeys(key for line in first for key in _keys(line)))
    listed = engine.select(raw, {LINE: LINE, "found": json_values(names)})
    good = listed.filter(listed.found.notnull())
    cells = {f"c{i}": _trimmed(good.found[i]) for i in range(len(names))}
    return names, good.select(LINE, **cells)


def _keys(line: str) -> list[str]:
    try:
        value = json.loads(line)
    except ValueError:
        return []
    return [str(key) for key in value] if isinstance(value, dict) else []


def _trimmed(text: ir.StringValue) -> ir.Value:
    plain = text.strip()
    return plain.nullif("")
