"""The training data of one goal: one row per person and moment, as NumPy arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.behavior.definitions import Feature
from training.errors import DatasetError, UnknownFeature

BLOCK = 10_000
"""Rows that are made plain at a time, so that a large matrix is not there three times."""


@dataclass(frozen=True)
class Dataset:
    """Rows of a spine with features and a closed label. Grain: one (profile, as_of).

    `matrix` is float64 (rows, features) with NaN = null as each feature says; `label` is 0 or 1;
    `as_of` is the row's moment in microseconds; `person` is the person_group key: rows of one
    person share it. Row order is part of the content: sort rows by key for repeatable training.
    Raises `DatasetError` when the parts disagree.
    """

    features: tuple[Feature, ...]
    matrix: NDArray[np.float64]
    label: NDArray[np.int8]
    as_of: NDArray[np.int64]
    person: NDArray[np.int64]

    def __post_init__(self) -> None:
        rows = len(self.label)
        if self.matrix.shape != (rows, len(self.features)):
            raise DatasetError(
                f"The matrix is {self.matrix.shape}, expected {(rows, len(self.features))}.",
                hint="Give one row per label and one column per feature.",
            )
        if len(self.as_of) != rows or len(self.person) != rows:
            raise DatasetError(
                f"{rows} labels, {len(self.as_of)} as_of and {len(self.person)} persons.",
                hint="Give one label, one as_of and one person per row.",
            )
        if not np.isin(self.label, (0, 1)).all():
            raise DatasetError(
                "A label is neither 0 nor 1.",
                hint="Leave out rows whose outcome window has not closed.",
            )

    @classmethod
    def joined(cls, features: tuple[Feature, ...], parts: Iterable[Dataset]) -> Dataset:
        """Return the rows of parts with these features, in their order, as one dataset."""
        none = np.empty(0, dtype=np.int64)
        nobody = cls(features, np.empty((0, len(features))), none.astype(np.int8), none, none)
        held = list(parts) or [nobody]
        return cls(
            features,
            np.concatenate([part.matrix for part in held]),
            np.concatenate([part.label for part in held]),
            np.concatenate([part.as_of for part in held]),
            np.concatenate([part.person for part in held]),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names, in column order."""
        return tuple(feature.name for feature in self.features)

    def rows(self, mask: NDArray[np.bool_]) -> Dataset:
        """Return the rows where `mask` is true, in order; rows that stand together are shared."""
        kept: slice | NDArray[np.bool_] = mask
        first, count = int(mask.argmax()) if len(mask) else 0, int(mask.sum())
        if mask[first : first + count].all():
            kept = slice(first, first + count)
        return Dataset(
            self.features,
            self.matrix[kept],
            self.label[kept],
            self.as_of[kept],
            self.person[kept],
        )

    def column(self, name: str) -> NDArray[np.float64]:
        """Return the values of the feature called `name`; raise `UnknownFeature` otherwise."""
        return self.matrix[:, self.position(name)]

    def position(self, name: str) -> int:
        """Return the column number of the feature called `name`; raise `UnknownFeature`."""
        if name not in self.names:
            raise UnknownFeature.named(name, self.names)
        return self.names.index(name)

    def fingerprint(self) -> str:
        """Return the SHA-256 of names and content: any null is one null, -0 is 0."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(repr(self.matrix.shape).encode())
        for start in range(0, len(self.matrix), BLOCK):
            block = self.matrix[start : start + BLOCK]
            plain = np.where(np.isnan(block), np.nan, block + 0.0)
            digest.update(np.ascontiguousarray(plain, dtype="<f8").data)
        for values, width in ((self.label, "<i1"), (self.as_of, "<i8"), (self.person, "<i8")):
            digest.update(np.ascontiguousarray(values, dtype=width).data)
        return digest.hexdigest()
