"""Delivered files without whom was erased: rewritten with their manifest, whole or not at all.

Only what a cell says counts: a profile id, an identity, or a personal value in an attribute. A file
that nothing vouches for, because a run was killed beside it, is searched in every column.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features.erasures import Erasures
from features.identity.namespaces import identity_of
from features.settings import Identity, Project
from features.sources.erased import identities_in
from features.store import write_whole
from serving.exports.files import deliver, manifest_of, staged_in
from serving.exports.formats import Encoded, encode, unguarded

_NAME = re.compile(r"[a-z][a-z0-9_]*-\d{8}T\d{6}Z\.(csv|jsonl|parquet)")


def purge_exports(
    folder: Path, project: Project, erasures: Erasures, staging: Path | None
) -> dict[Path, int]:
    """Return by file how many rows of erased people it had, and rewrite it without them.

    Looks into the folder of every destination below `folder`. Without `staging`, an empty folder
    in the store, nothing is changed; with it, a purge killed half way is completed by the next.
    """
    found = {}
    for place in sorted({folder / destination.path for destination in project.destinations}):
        if staging:
            _complete(staging, place)
        for file in sorted(place.glob("*")):
            if match := _NAME.fullmatch(file.name):
                search = _Search(file, match[1], project, erasures)
                if rows := search.purge(staging):
                    found[file] = rows
    return found


def _complete(staging: Path, place: Path) -> None:
    """Deliver what a killed purge had staged, and forget what a killed delivery left unfinished."""
    for draft in place.glob(".*.draft"):
        draft.unlink()
    for staged in staged_in(staging, _staging_name(place)):
        if not manifest_of(place / staged.file.name).exists():
            deliver(staged, place)
    shutil.rmtree(staging / _staging_name(place), ignore_errors=True)


def _staging_name(place: Path) -> str:
    return hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Search:
    """One file, searched for people who were erased since."""

    file: Path
    format: str
    project: Project
    erasures: Erasures

    def purge(self, staging: Path | None) -> int:
        """Return the rows of erased people, and take them out if there is a `staging` folder."""
        manifest = manifest_of(self.file)
        facts = json.loads(manifest.read_bytes()) if manifest.exists() else None
        left, removed = self._without(facts["columns"] if facts else None)
        if not removed or staging is None:
            return removed
        if facts is None:
            write_whole(self.file, left.content)
            return removed
        left_out = facts["left_out"]
        facts |= {
            "rows": facts["rows"] - removed,
            "left_out": left_out | {"erased": left_out.get("erased", 0) + removed},
            "sha256": hashlib.sha256(left.content).hexdigest(),
            "guarded_cells": left.guarded_cells,
        }
        staged = staging / _staging_name(self.file.parent) / self.file.name
        write_whole(staged, left.content)
        write_whole(manifest_of(staged), json.dumps(facts, indent=1, ensure_ascii=False).encode())
        _deliver_again(staged, self.file.parent)
        return removed

    def _without(self, columns: Mapping[str, str] | None) -> tuple[Encoded, int]:
        match self.format:
            case "csv":
                return self._csv(columns)
            case "jsonl":
                return self._jsonl(columns)
        rows = pq.read_table(self.file)
        kept = [not self._erased(row, columns) for row in rows.to_pylist()]
        return encode(rows.filter(pa.array(kept, pa.bool_())), self.format), kept.count(False)

    def _csv(self, columns: Mapping[str, str] | None) -> tuple[Encoded, int]:
        header, *rows = csv.reader(io.StringIO(self.file.read_text("utf-8"), newline=""))
        plain = ({n: unguarded(c) for n, c in zip(header, row, strict=True)} for row in rows)
        kept = [
            row for row, said in zip(rows, plain, strict=True) if not self._erased(said, columns)
        ]
        sink = io.StringIO(newline="")
        csv.writer(sink).writerows([header, *kept])
        guards = sum(unguarded(cell) != cell for row in kept for cell in row)
        return Encoded(sink.getvalue().encode(), guards), len(rows) - len(kept)

    def _jsonl(self, columns: Mapping[str, str] | None) -> tuple[Encoded, int]:
        lines = self.file.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if not self._erased(orjson.loads(line), columns)]
        return Encoded(b"".join(kept)), len(lines) - len(kept)

    def _erased(self, row: Mapping[str, object], columns: Mapping[str, str] | None) -> bool:
        return any(
            self.erasures.place(identity)
            for name, value in row.items()
            if value not in (None, "")
            for identity in self._said(columns.get(name) if columns else None, str(value))
        )

    def _said(self, field: str | None, cell: str) -> Iterator[str]:
        """Yield the identities that a cell may hold, by the field that its column was filled of."""
        settings: Identity = self.project.identity
        if field is None:
            yield from identities_in(cell, settings)
            return
        kind, _, name = field.partition(".")
        personal = [n for n in settings.namespaces if n.pii and kind in ("identity", "profile")]
        if kind == "identity":
            personal = [n for n in personal if n.name == name]
            yield f"{name}:{cell}"
        elif field == "profile_id":
            yield cell
        yield from (
            spelt for n in personal if (spelt := identity_of(settings, n, cell)) is not None
        )


def _deliver_again(staged: Path, place: Path) -> None:
    (again,) = (each for each in staged_in(staged.parents[1], staged.parent.name)
                if each.file == staged)  # fmt: skip
    deliver(again, place)
    shutil.rmtree(staged.parent)
