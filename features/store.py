"""The store: versioned Parquet tables, run manifests, and the one pointer that readers follow.

A table version is a folder named by a hash of everything it was made from, so a finished step is
never redone, a killed run resumes where it stopped, and equal inputs give equal tables. A version
appears whole (written beside, flushed, renamed) or not at all. `CURRENT` names the manifest of the
published run and is swapped once, at the end of a run; readers pin a manifest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from features.errors import StoreError

KEPT_RUNS = 3
MARK = ".erased.json"
"""What the name of a model bundle's folder and this make is a mark beside it, no part of it."""


def key_of(*parts: object) -> str:
    """Return the version name of something made from `parts` (JSON-ready values)."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True)
class Manifest:
    """What one run published: the version of every table, and the figures to show.

    `as_of` is in microseconds; `tables` maps table name to version; `models` maps goal to bundle
    version, and `spare_models` to those kept beside it; `figures` holds JSON-ready numbers for
    people.
    """

    run_id: str
    as_of: int
    tables: Mapping[str, str]
    models: Mapping[str, str] = field(default_factory=dict)
    spare_models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    published_at: str = ""


class Store:
    """Tables under one folder. Many readers; one writer, which holds `lock()`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str, key: str) -> Path:
        """Return the folder of version `key` of table `name`, whether or not it exists."""
        return self.root / "tables" / name / key

    def has(self, name: str, key: str) -> bool:
        """Say whether that version exists, whole."""
        return self.folder(name, key).is_dir()

    def files(self, name: str, key: str) -> list[Path]:
        """Return the Parquet files of a version, in order."""
        return sorted(self.folder(name, key).glob("*.parquet"))

    def facts(self, name: str, key: str) -> dict[str, Any]:
        """Return what the writer of a version noted beside it."""
        facts: dict[str, Any] = json.loads((self.folder(name, key) / "facts.json").read_bytes())
        return facts

    @contextlib.contextmanager
    def writing(
        self, name: str, key: str, *, replace: bool = False
    ) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield an empty folder and a dict of facts; a version appears if the block ends well.

        A version that is there stays, unless `replace`: then it is gone for a moment, and a writer
        killed in it leaves none.
        """
        final = self.folder(name, key)
        draft = final.with_name(f".{key}.{os.getpid()}")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        facts: dict[str, Any] = {}
        try:
            yield draft, facts
            (draft / "facts.json").write_text(json.dumps(facts, sort_keys=True, default=str))
            _flush(draft)
            if replace:
                shutil.rmtree(final, ignore_errors=True)
            if not final.exists():
                draft.rename(final)
                flush_folder(final.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def current(self) -> Manifest | None:
        """Return the manifest of the published run, or None before the first one."""
        try:
            run_id = (self.root / "CURRENT").read_text().strip()
        except FileNotFoundError:
            return None
        return self.manifest(run_id)

    def require_current(self) -> Manifest:
        """Return the published run's manifest; raise `StoreError` before the first run."""
        manifest = self.current()
        if manifest is None:
            raise StoreError("Nothing has been published yet.", hint="Run `likelier run` first.")
        return manifest

    def manifest(self, run_id: str) -> Manifest:
        """Return the manifest of a run that is still kept."""
        try:
            raw = json.loads((self.root / "runs" / f"{run_id}.json").read_bytes())
        except FileNotFoundError as error:
            raise StoreError(
                f"Run {run_id!r} is not in the store.", hint="Only the last runs are kept."
            ) from error
        return Manifest(**raw)

    def runs(self) -> list[Manifest]:
        """Return the manifests of the runs that are kept, newest first."""
        paths = (self.root / "runs").glob("*.json")
        newest = sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True)
        return [Manifest(**json.loads(path.read_bytes())) for path in newest]

    def publish(self, manifest: Manifest) -> None:
        """Make `manifest` the one that readers see: atomic, and durable when this returns."""
        write_whole(
            self.root / "runs" / f"{manifest.run_id}.json",
            json.dumps(asdict(manifest), indent=1, sort_keys=True).encode(),
        )
        write_whole(self.root / "CURRENT", manifest.run_id.encode())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for one run; raise `StoreError` when another run holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StoreError(
                    "Another run is working on this store.",
                    hint="Wait for it to end; a killed run leaves no lock behind.",
                ) from error
            yield

    def collect(self, kept_runs: int = KEPT_RUNS) -> None:
        """Delete drafts, and the tables and models that the last `kept_runs` runs do not name."""
        runs = sorted((self.root / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
        current = self.require_current().run_id
        kept = [path for path in runs if path.stem == current] + [
            path for path in reversed(runs) if path.stem != current
        ][: kept_runs - 1]
        named = {
            (name, key)
            for path in kept
            for name, keys in json.loads(path.read_bytes())["tables"].items()
            for key in keys.split("+")
        }
        for folder in (self.root / "tables").glob("*/*"):
            if (folder.parent.name, folder.name) not in named:
                shutil.rmtree(folder, ignore_errors=True)
        models = set[tuple[str, str]]()
        for path in kept:
            run = json.loads(path.read_bytes())
            models |= set(run["models"].items())
            spare = run.get("spare_models", {}).items()
            models |= {(goal, version) for goal, versions in spare for version in versions}
        for path in (self.root / "models").glob("*/*"):
            if (path.parent.name, path.name.removesuffix(MARK)) in models:
                continue
            path.unlink() if path.is_file() else shutil.rmtree(path, ignore_errors=True)
        for path in set(runs) - set(kept):
            path.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file so that it appears whole, on disk, or not at all.

    One writer a path at a time: what a killed one left goes. `mode`: who may do what with it,
    from the first byte on, as far as the process's mask allows.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    flush_folder(path.parent)


def _flush(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as handle:
                os.fsync(handle.fileno())
        elif path.is_dir():
            flush_folder(path)
    flush_folder(folder)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
