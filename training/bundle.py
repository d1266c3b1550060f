"""A trained model as one folder: it loads whole and unchanged, or not at all.

The folder holds `model.txt` (the trees), JSON parts, and `manifest.json` with the facts and the
SHA-256 of every other file. The version comes from the content, so equal data, settings and seed
give the same version and the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from features.behavior.definitions import Feature
from features.time import format_instant
from training.booster import Trees
from training.calibration import Calibrator
from training.drift import Distribution
from training.errors import BrokenBundle, ColumnsDiffer
from training.reference import Reference

Floats = NDArray[np.float64]
Kind = Literal["churn", "conversion"]
Basis = Literal["calendar", "at_events", "table"]
Serves = Literal["model", "baseline"]

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of n rows, as arrays (n,): what section 6 of the design promises for `scored`."""

    margin: Floats
    probability: Floats
    score: Floats
    percentile: NDArray[np.int8]
    bucket: NDArray[np.str_]


class ScoredOne(NamedTuple):
    """The scores of one row, with the bits that `Scored` has of it."""

    probability: float
    score: float
    percentile: int
    bucket: str


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything needed to score a person, and to say what the score means.

    `as_of` is the training run's moment (microseconds); `outcome_window` and `gap` are text (`30d`,
    gap "" = none; both are "" where the basis is a wide table); `definitions` is the caller's
    feature manifest and `categories` its lists, both returned untouched; `base_rate` is the share
    of labelled rows with the outcome; `serves` says whether the trees are the model's or those of
    the baseline alone; `dropped` is why features were left out, by name.
    """

    goal: str
    kind: Kind
    basis: Basis
    as_of: int
    outcome_window: str
    gap: str
    trees: Trees
    calibrator: Calibrator
    features: tuple[Feature, ...]
    definitions: list[Any]
    categories: Any
    reference: Reference
    base_rate: float
    serves: Serves
    metrics: Mapping[str, float]
    data_fingerprint: str
    trained_on: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    distributions: tuple[Distribution, ...] = ()
    """Of the reference population: what drift is measured from. Older bundles have none."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The feature names, in the order the matrix must have."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the whole content."""
        return _digest(_canonical([self._facts(), self._checksums()]))

    @property
    def version(self) -> str:
        """The date of `as_of` and eight digits of the fingerprint: `2011-10-01-3fa9c2d1`."""
        return f"{format_instant(self.as_of)[:10]}-{self.fingerprint[:8]}"

    def score(self, matrix: Floats, names: Sequence[str] | None = None) -> Scored:
        """Score rows (n, features), NaN = null; one row gives a batch's bits.

        `names`, when given, must be the bundle's in its order; raises `ColumnsDiffer` otherwise.
        """
        self.check_columns(matrix, names)
        margin = self.trees.margin(matrix)
        probability = self.calibrator.probability(margin)
        score = self.reference.score(probability)
        percentile = self.reference.percentile(margin)
        return Scored(margin, probability, score, percentile, Reference.bucket(score))

    def score_one(self, row: Floats) -> ScoredOne:
        """Score one row (features,), NaN = null: what `score` says of it, in less time."""
        self.check_columns(row[None], None)
        margin = self.trees.margin_of_one(row)
        probability = self.calibrator.of_one(margin)
        return ScoredOne(probability, *self.reference.of_one(margin, probability))

    def check_columns(self, matrix: Floats, names: Sequence[str] | None) -> None:
        """Raise `ColumnsDiffer`, showing the difference, unless the columns are the model's."""
        if names is not None and tuple(names) != self.names:
            raise ColumnsDiffer.between(self.names, tuple(names))
        if matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise ColumnsDiffer(
                f"The matrix is {matrix.shape}, expected {len(self.names)} columns.",
                hint="Compute the features from the definitions stored in the bundle.",
                expected=list(self.names),
            )

    def save(self, directory: Path) -> None:
        """Write the folder whole or not at all; an equal bundle already there stays.

        A different one is put aside first, so a kill can leave none there but never half of one.
        """
        if _holds(directory, self.fingerprint):
            return
        fresh = directory.with_name(f".{directory.name}.new-{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, content in self._files().items():
            _write(fresh / name, content)
        _write(fresh / MANIFEST, _canonical(self._manifest()))
        _sync_folder(fresh)
        _move_into_place(fresh, directory)

    @classmethod
    def load(cls, directory: Path) -> Bundle:
        """Read a folder; raise `BrokenBundle` when a file is missing or not as saved."""
        manifest = _read_manifest(directory)
        parts = _read_parts(directory, manifest)
        try:
            bundle = _assemble(manifest["facts"], parts)
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(directory / MANIFEST, f"cannot be read ({error!r})") from error
        stated = (manifest.get("fingerprint"), manifest.get("version"))
        if stated != (bundle.fingerprint, bundle.version):
            raise _broken(directory / MANIFEST, "does not match its fingerprint")
        return bundle

    def _facts(self) -> dict[str, Any]:
        # Only where there is something to say: bundles of before have no such fact.
        dropped = {"dropped": dict(self.dropped)} if self.dropped else {}
        return dropped | {
            "goal": self.goal,
            "kind": self.kind,
            "basis": self.basis,
            "as_of": self.as_of,
            "outcome_window": self.outcome_window,
            "gap": self.gap,
            "threads": self.trees.threads,
            "base_rate": self.base_rate,
            "serves": self.serves,
            "metrics": dict(self.metrics),
            "data_fingerprint": self.data_fingerprint,
            "trained_on": dict(self.trained_on),
        }

    def _files(self) -> dict[str, bytes]:
        described = {
            "features": [asdict(feature) for feature in self.features],
            "definitions": self.definitions,
            "categories": self.categories,
        }
        files = {
            "model.txt": self.trees.text.encode(),
            "calibrator.json": _canonical(self.calibrator.to_json()),
            "features.json": _canonical(described, sort=False),
            "reference.json": _canonical(self.reference.to_json()),
        }
        if self.distributions:
            spread = [asdict(each) for each in self.distributions]
            files["distributions.json"] = _canonical(spread)
        return files

    def _checksums(self) -> dict[str, str]:
        return {name: _digest(content) for name, content in self._files().items()}

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "version": self.version,
            "fingerprint": self.fingerprint,
            "facts": self._facts(),
            "sha256": self._checksums(),
        }


def _assemble(facts: Mapping[str, Any], parts: Mapping[str, bytes]) -> Bundle:
    described = json.loads(parts["features.json"])
    known = dict(facts)
    return Bundle(
        trees=Trees.from_text(parts["model.txt"].decode(), int(known.pop("threads"))),
        calibrator=Calibrator.from_json(json.loads(parts["calibrator.json"])),
        features=tuple(Feature(**each) for each in described["features"]),
        definitions=described["definitions"],
        categories=described["categories"],
        reference=Reference.from_json(json.loads(parts["reference.json"])),
        distributions=tuple(
            Distribution.from_json(each)
            for each in json.loads(parts.get("distributions.json", b"[]"))
        ),
        **known,
    )


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken(path, "is missing or not JSON") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise _broken(path, f"is not of format {FORMAT}")
    return cast(dict[str, Any], manifest)


def _read_parts(directory: Path, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    parts = {}
    for name, expected in manifest.get("sha256", {}).items():
        path = directory / Path(name).name
        content = path.read_bytes() if path.is_file() else None
        if content is None or _digest(content) != expected:
            raise _broken(path, "is missing" if content is None else "has been changed")
        parts[name] = content
    return parts


def _broken(path: Path, what: str) -> BrokenBundle:
    return BrokenBundle(
        f"The model bundle {path.parent} cannot be used: {path.name} {what}.",
        hint="Fetch the model version again, or train it anew with `likelier run --from train`.",
        file=str(path),
    )


def _holds(directory: Path, fingerprint: str) -> bool:
    try:
        return Bundle.load(directory).fingerprint == fingerprint
    except BrokenBundle:
        return False


def _canonical(value: object, sort: bool = True) -> bytes:
    text = json.dumps(value, sort_keys=sort, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move_into_place(fresh: Path, directory: Path) -> None:
    aside = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    if directory.exists():
        directory.rename(aside)
    fresh.rename(directory)
    _sync_folder(directory.parent)
    shutil.rmtree(aside, ignore_errors=True)
