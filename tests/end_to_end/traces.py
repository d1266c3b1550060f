"""A search for traces of a person: every file of a folder, as raw bytes and as what it says."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import lmdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def traces(folders: Iterable[Path], values: Iterable[str]) -> list[tuple[str, str]]:
    """Return (file, value) for every value that a file holds, hidden files and drafts included."""
    wanted = sorted(set(values))
    return [
        (str(file), value)
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        for value in sorted(_held(file, wanted))
    ]


def _held(file: Path, values: list[str]) -> set[str]:
    content = file.read_bytes()
    found = {value for value in values if value.encode() in content}
    for part in _decoded(file):
        found |= {value for value in values if value in part}
    if file.suffix == ".parquet":
        found |= _in_table(pq.read_table(file), values)
    return found


def _decoded(file: Path) -> Iterator[str]:
    if file.suffix == ".gz":
        yield gzip.decompress(file.read_bytes()).decode(errors="replace")
    elif file.suffix == ".db":
        with closing(sqlite3.connect(file)) as database:
            yield "\n".join(database.iterdump())
    elif file.name == "data.mdb":
        yield from _in_lmdb(file.parent)


def _in_lmdb(folder: Path) -> Iterator[str]:
    with lmdb.open(str(folder), readonly=True, create=False, lock=False, max_dbs=1_000) as store:
        with store.begin() as transaction:
            names = [bytes(name) for name, _ in transaction.cursor()]
        for name in names:
            table = store.open_db(name, create=False)
            with store.begin(db=table) as transaction:
                for pair in transaction.cursor():
                    yield "\n".join(bytes(part).decode(errors="replace") for part in pair)


def _in_table(table: pa.Table, values: list[str]) -> set[str]:
    texts = []
    for column in table.columns:
        flat = pc.list_flatten(column) if pa.types.is_list(column.type) else column
        if pa.types.is_string(flat.type) or pa.types.is_large_string(flat.type):
            texts.append(flat)
    found = set()
    for text in texts:
        said = text.unique() if len(text) else text
        found |= {v for v in values if pc.any(pc.match_substring(said, v)).as_py()}
    return found
