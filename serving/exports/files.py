"""Exports as files: staged in the store first, then delivered whole or not at all.

Staging writes the file and its manifest into a folder that the run publishes as one. Delivery
copies both to where the receiver looks, and may be repeated: what is there and right is left alone.
The manifest is written last, so a manifest that is there vouches for the file beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.store import write_whole
from features.time import format_instant
from serving.exports.columns import Field
from serving.exports.deliveries import file_name
from serving.exports.errors import DamagedExport, DoesNotAddUp
from serving.exports.formats import Encoded, encode
from serving.exports.rows import Export

MANIFEST = ".manifest.json"
"""What the name of a manifest adds to the name of its file."""


@dataclass(frozen=True)
class Origin:
    """The run an export was built from, and the model version behind each goal's scores."""

    run_id: str
    model_versions: Mapping[str, str]


@dataclass(frozen=True)
class Staged:
    """A file in a staging folder, with its manifest beside it."""

    file: Path

    @property
    def manifest(self) -> Path:
        """The path of the manifest."""
        return manifest_of(self.file)


def manifest_of(file: Path) -> Path:
    """Return where the manifest of an exported file is: `win_back-….csv.manifest.json`."""
    return file.with_name(file.name + MANIFEST)


def stage(export: Export, fields: Mapping[str, Field], origin: Origin, folder: Path) -> Staged:
    """Write an export and its manifest below `folder`, by destination; return where.

    Raises `DoesNotAddUp`, with nothing written, unless rows = members - all who are left out.
    """
    segment, destination, left_out = export.segment, export.destination, export.left_out
    if len(export.rows) != export.members - sum(left_out.values()):
        raise DoesNotAddUp.of(
            segment.name, destination.name, len(export.rows), export.members, left_out
        )
    encoded = encode(export.rows, destination.format)
    file = folder / destination.name / file_name(segment.name, destination, export.as_of)
    write_whole(file, encoded.content)
    facts = _facts(export, fields, origin, encoded) | {"file": file.name}
    write_whole(manifest_of(file), json.dumps(facts, indent=1, ensure_ascii=False).encode())
    return Staged(file)


def staged_in(folder: Path, destination: str) -> tuple[Staged, ...]:
    """Return what was staged below `folder` for one destination, by name."""
    manifests = sorted((folder / destination).glob(f"*{MANIFEST}"))
    return tuple(Staged(path.with_name(path.name.removesuffix(MANIFEST))) for path in manifests)


def deliver(staged: Staged, target: Path) -> Path:
    """Copy a staged file and its manifest into folder `target`; return the delivered file.

    A file already there with the right content is left alone; a missing or different one is
    written. Raises `DamagedExport`, with nothing delivered, when the staged file is not what its
    manifest says.
    """
    content, manifest = staged.file.read_bytes(), staged.manifest.read_bytes()
    checksum = json.loads(manifest)["sha256"]
    if _sha256(content) != checksum:
        raise DamagedExport(
            f"{staged.file.name} in the store is not the file that was staged.",
            hint="Run again with --from export; nothing was delivered.",
            file=staged.file.name,
            expected=checksum,
        )
    file = target / staged.file.name
    if not _holds(file, content):
        # An older manifest must not vouch for the new file, not even for a moment.
        manifest_of(file).unlink(missing_ok=True)
        write_whole(file, content)
    if not _holds(manifest_of(file), manifest):
        write_whole(manifest_of(file), manifest)
    return file


def _facts(
    export: Export, fields: Mapping[str, Field], origin: Origin, encoded: Encoded
) -> dict[str, Any]:
    segment, destination = export.segment, export.destination
    return {
        "segment": segment.name,
        "title": segment.title or segment.name,
        "where": segment.where,
        "destination": destination.name,
        "purpose": destination.purpose,
        "as_of": format_instant(export.as_of),
        "model_versions": dict(origin.model_versions),
        "rows": len(export.rows),
        "members": export.members,
        "left_out": dict(export.left_out),
        "holdout": segment.holdout,
        "sha256": _sha256(encoded.content),
        "format": destination.format,
        "guarded_cells": encoded.guarded_cells,
        "columns": {name: str(field) for name, field in fields.items()},
        "built_from": origin.run_id,
        "consent": {"purpose": destination.purpose, "statements": dict(export.statements)},
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
