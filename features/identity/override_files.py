"""Tables of overrides as they are written: rows of CSV, JSON lines or Parquet files.

Grain: a row of the file, numbered from 1, the header and blank lines not counted. A row that does
not fit the header, is no JSON object, or holds what is no text is broken: it has no values. A file
that is missing, or has other columns than it should, is an error: overrides that are silently not
applied would merge people again.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SourceError, did_you_mean

_NAME = re.compile(r"[A-Za-z_ ]{1,40}")

Values = dict[str, str]
"""Column to text; empty where the row says nothing."""


class BadOverrides(SourceError):
    """A file of `identity.overrides` that is missing, cannot be read, or has other columns."""

    code = "bad_overrides"


@dataclass(frozen=True)
class Line:
    """One row. `values` is None where the row is broken."""

    number: int
    values: Values | None


def read(
    name: str, path: str, folder: Path, required: Sequence[str], optional: Sequence[str]
) -> list[Line]:
    """Return the rows of the table `name`, which stands at `path`; raise `BadOverrides`."""
    file = _File(f"identity.overrides.{name}", _found(name, path, folder), required, optional)
    return [Line(number, values) for number, values in enumerate(file.rows(), 1)]


def _found(name: str, path: str, folder: Path) -> Path:
    for place in (folder / path, Path.cwd() / path):
        if place.is_file():
            return place
    raise BadOverrides(
        f"identity.overrides.{name}: no file at {path!r}.",
        hint=f"Paths are relative to the project folder ({folder.name}/), else to the current one.",
    )


@dataclass(frozen=True)
class _File:
    where: str
    path: Path
    required: Sequence[str]
    optional: Sequence[str]

    def rows(self) -> Iterator[Values | None]:
        readers: dict[str, Callable[[], Iterator[Values | None]]] = {
            ".csv": lambda: self._csv(","), ".tsv": lambda: self._csv("\t"), ".json": self._json,
            ".jsonl": self._json, ".ndjson": self._json, ".parquet": self._parquet,
        }  # fmt: skip
        ending = self.path.suffix.lower()
        if ending not in readers:
            raise self._error(
                f"the ending of {self.path.name!r} names no known format",
                f"Let it end in {', '.join(readers)}.",
            )
        try:
            yield from readers[ending]()
        except (OSError, pa.ArrowException, csv.Error) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise self._error(f"{self.path.name} cannot be read: {said}", "Write it anew.") from (
                error
            )

    def _csv(self, delimiter: str) -> Iterator[Values | None]:
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
            # Strict: a quote that is never closed would swallow all rows after it.
            reader = csv.reader(handle, delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            self._check(header, self.required)
            for cells in _whole_lines(reader):
                if len(cells) == len(header):
                    yield _texts(dict(zip(header, cells, strict=True)))
                elif cells:
                    yield None

    def _json(self) -> Iterator[Values | None]:
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape") as handle:
            for line in handle:
                if line.strip():
                    yield self._object(line)

    def _object(self, line: str) -> Values | None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict):
            return None
        self._check(list(found), ())
        return _texts(found)

    def _parquet(self) -> Iterator[Values | None]:
        table = pq.ParquetFile(self.path)
        self._check(table.schema_arrow.names, self.required)
        for batch in table.iter_batches(columns=[*self.required, *self._stated(table)]):
            for row in batch.to_pylist():
                yield _texts(row)

    def _stated(self, table: pq.ParquetFile) -> list[str]:
        return [name for name in self.optional if name in table.schema_arrow.names]

    def _check(self, names: list[str], required: Sequence[str]) -> None:
        allowed = [*self.required, *self.optional]
        for place, name in enumerate(names, 1):
            if name not in allowed or names.count(name) > 1:
                # Without a header the first row stands here, and it may be about a person.
                shown = f"column {name!r}" if _NAME.fullmatch(name) else f"column {place}"
                what = "is there twice" if name in allowed else "means nothing here"
                raise self._error(
                    f"{self.path.name}: the {shown} {what}", did_you_mean(name[:60], allowed)
                )
        for name in required:
            if name not in names:
                raise self._error(
                    f"{self.path.name} has no column {name!r}",
                    f"The columns are {', '.join(allowed)}.",
                )

    def _error(self, what: str, hint: str) -> BadOverrides:
        return BadOverrides(f"{self.where}: {what}.", hint=hint)


def _whole_lines(reader: Any) -> Iterator[list[str]]:
    """Yield the cells of every line; of one that is no CSV a single empty cell, as of no header.

    Raises `csv.Error` only where the rest of the file is swallowed by a quote.
    """
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "end of data" in str(error):
                raise
            yield [""]


def _texts(row: dict[str, Any]) -> Values | None:
    """Return the values of a row as text, or None where one is no text and no time."""
    found = {}
    for name, value in row.items():
        match value:
            case None:
                found[name] = ""
            case datetime() | date():
                found[name] = value.isoformat()
            case int() | float() if not isinstance(value, bool):
                found[name] = str(value)
            case str() if _readable(value):
                found[name] = value
            case _ if name == "note":
                continue
            case _:
                return None
    return found


def _readable(text: str) -> bool:
    """Say whether a text is whole: bytes that are no UTF-8 were read as lone surrogates."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
