"""Which files a source consists of, and what their contents are called."""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path

from features.settings import Source
from features.sources.errors import NoFiles

ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".txt": "lines", ".log": "lines",
}  # fmt: skip


@dataclass(frozen=True)
class SourceFile:
    """One file of a source: `digest` is a hash of its content, so copies are recognised."""

    source: Source
    path: Path
    format: str
    digest: str

    @property
    def delimiter(self) -> str:
        """The column separator: a tab in `.tsv` files unless the source says otherwise."""
        stated = "delimiter" in self.source.model_fields_set
        return "\t" if not stated and ".tsv" in _endings(self.path) else self.source.delimiter


def discover(source: Source, folder: Path) -> list[SourceFile]:
    """Return the files of `source`, sorted by path; raise `NoFiles` when there are none.

    A relative path is the project folder's; where nothing is there, the current folder's: so
    `DATA=../data likelier -p shop run` means what it says to who types it.
    """
    paths = _files_at(source.path, folder) or _files_at(source.path, Path.cwd())
    if not paths:
        raise NoFiles(
            f"sources.{source.name}.path: no file at {source.path!r}.",
            hint=f"Paths are relative to the project folder ({folder.name}/), else to the current "
            "one; globs are allowed.",
            source=source.name,
        )
    return [
        SourceFile(source, path, source.format or _format(source, path), digest(path))
        for path in sorted(paths)
    ]


def _files_at(path: str, folder: Path) -> list[Path]:
    place = folder / path
    if place.is_dir():
        return [p for p in place.rglob("*") if p.is_file() and not _hidden(p.relative_to(place))]
    if place.is_file():
        return [place]
    # Not Path.glob: the pattern may be absolute. The folder itself is no pattern.
    base = "" if Path(path).is_absolute() else f"{glob.escape(str(folder))}/"
    found = glob.glob(base + path, recursive=True)  # noqa: PTH207
    return [Path(p) for p in found if Path(p).is_file()]


def _hidden(path: Path) -> bool:
    """Say whether a file in a folder is another program's own: `.crc`, `_SUCCESS`."""
    return any(part.startswith((".", "_")) for part in path.parts)


def _endings(path: Path) -> list[str]:
    return [ending.lower() for ending in path.suffixes]


def _format(source: Source, path: Path) -> str:
    ending = next((s for s in reversed(_endings(path)) if s not in (".gz", ".zst")), "")
    if ending not in ENDINGS:
        raise NoFiles(
            f"sources.{source.name}: the ending of {path.name!r} names no known format.",
            hint="Set `format:` to csv, jsonl, parquet or lines.",
        )
    return ENDINGS[ending]


def digest(path: Path) -> str:
    """Return a hash of a file's content."""
    hasher = hashlib.blake2b(digest_size=16)
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()
