"""The training data of one goal: one row per person and moment, as NumPy arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.behavior.definitions import Feature
from training.errors import DatasetError, UnknownFeature


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

    @property
    def names(self) -> tuple[str, ...]:
        """The feature names, in column order."""
        return tuple(feature.name for feature in self.features)

    def rows(self, mask: NDArray[np.bool_]) -> Dataset:
        """Return the rows where `mask` is true, in order."""
        return Dataset(
            self.features,
            self.matrix[mask],
            self.label[mask],
            self.as_of[mask],
            self.person[mask],
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
        plain = np.where(np.isnan(self.matrix), np.nan, self.matrix + 0.0)
        parts = ((plain, "<f8"), (self.label, "<i1"), (self.as_of, "<i8"), (self.person, "<i8"))
        for values, width in parts:
            digest.update(np.ascontiguousarray(values, dtype=width).tobytes())
        return digest.hexdigest()
