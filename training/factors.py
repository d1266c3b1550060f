"""Why: contributions of columns gathered into reasons a person would name.

The columns of one `Feature.reason` (the windows of one behaviour, the values of one attribute) are
summed to one reason. Contributions are to the raw margin, so base + top reasons + rest = margin.
Everything runs over all rows at once; one row gives the same bits as the same row in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.behavior.definitions import Feature
from training.errors import ColumnsDiffer, NotAdditive
from training.wording import as_shown, said_value, said_values

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

TOLERANCE = 1e-9
HIGH_SHARE, MEDIUM_SHARE = 0.25, 0.10
DIRECTIONS = np.array(["lowers", "raises"])
IMPORTANCES = np.array(["low", "medium", "high"])


@dataclass(frozen=True)
class Reason:
    """One reason and the columns that speak for it. `one_hot`: they are values of an attribute."""

    code: str
    label: str
    columns: tuple[int, ...]
    one_hot: bool


@lru_cache(maxsize=64)
def reasons_of(features: tuple[Feature, ...]) -> tuple[Reason, ...]:
    """Return the reasons of `features`, by code; columns keep their order within a reason."""
    groups: dict[str, list[int]] = {}
    for column, feature in enumerate(features):
        groups.setdefault(feature.reason, []).append(column)
    return tuple(
        Reason(
            code,
            features[columns[0]].reason_label,
            tuple(columns),
            all(features[column].unit == "yes/no" for column in columns),
        )
        for code, columns in sorted(groups.items())
    )


@dataclass(frozen=True, eq=False)
class Factors:
    """The top reasons of n rows, by rank: arrays are (n, k), unused places have `column` -1.

    `reason` numbers `reasons`; `label` is the column that names it, or -1 for the reason's own
    label; `value` is that column's value (NaN = null); `share` is the part of the sum of
    |contribution| over all reasons. `base` and `rest` are (n,): base + top + rest = margin.
    """

    features: tuple[Feature, ...]
    reasons: tuple[Reason, ...]
    reason: Places
    column: Places
    value: Floats
    contribution: Floats
    share: Floats
    kept: NDArray[np.bool_]
    base: Floats
    rest: Floats

    def table(self) -> pa.Table:
        """Return one line per row and rank: row from 0, rank from 1, and the factor."""
        row, place = np.nonzero(self.kept)
        reason, column = self.reason[self.kept], self.column[self.kept]
        value, contribution = self.value[self.kept], self.contribution[self.kept]
        share = self.share[self.kept]
        words = [each.label for each in self.reasons] + [each.label for each in self.features]
        word = np.where(column < 0, reason, column + len(self.reasons))
        return pa.table(
            {
                "row": pa.array(row, pa.int64()),
                "rank": pa.array((place + 1).astype(np.int8), pa.int8()),
                "code": pa.array([each.code for each in self.reasons], pa.string()).take(reason),
                "label": pa.array(words, pa.string()).take(word),
                "value": pa.array(value, pa.float64(), mask=~np.isfinite(value)),
                "value_text": said_values(self.features, column, value),
                "direction": pa.array(DIRECTIONS).take((contribution > 0).astype(np.int64)),
                "contribution": pa.array(contribution, pa.float64()),
                "importance_share": pa.array(share, pa.float64()),
                "importance": pa.array(IMPORTANCES).take(level_of(share)),
            }
        )

    def of(self, row: int) -> list[dict[str, object]]:
        """Return one row's factors as the API shows them, most important first."""
        return [self._factor(row, int(place)) for place in np.flatnonzero(self.kept[row])]

    def _factor(self, row: int, place: int) -> dict[str, object]:
        reason = self.reasons[self.reason[row, place]]
        column = int(self.column[row, place])
        value, share = float(self.value[row, place]), float(self.share[row, place])
        contribution = float(self.contribution[row, place])
        return {
            "code": reason.code,
            "label": reason.label if column < 0 else self.features[column].label,
            "value": value if np.isfinite(value) else None,
            "value_text": self._said(column, value),
            "direction": "raises" if contribution > 0 else "lowers",
            "contribution": contribution,
            "importance_share": share,
            "importance": str(IMPORTANCES[level_of(np.asarray(share))]),
        }

    def _said(self, column: int, value: float) -> str:
        if column < 0:
            return "unknown"
        return said_value(self.features[column], float(as_shown(np.float64(value))))


@dataclass(frozen=True, eq=False)
class Gathered:
    """Contributions of n rows gathered into reasons.

    `sums` and `columns` are (n, reasons): what each contributes, and the column that names it on
    the row, or -1 for the reason's own label. `by_column` is (features + 1, n), the base last.
    """

    features: tuple[Feature, ...]
    reasons: tuple[Reason, ...]
    sums: Floats
    columns: Places
    by_column: Floats

    def top(self, matrix: Floats, top: int) -> Factors:
        """Return the `top` reasons of every row; `matrix` (n, features) holds the values."""
        order = np.argsort(-np.abs(self.sums), axis=1, kind="stable")
        ranked = np.take_along_axis(self.sums, order, axis=1)
        first = order[:, :top]
        column = np.take_along_axis(self.columns, first, axis=1)
        contribution = ranked[:, :top]
        total = _add_up(np.abs(ranked))
        return Factors(
            self.features,
            self.reasons,
            first,
            column,
            _values(matrix, column),
            contribution,
            np.abs(contribution) / np.where(total > 0, total, 1.0)[:, None],
            contribution != 0,
            self.by_column[-1],
            _add_up(ranked[:, top:]),
        )


def gather(contributions: Floats, matrix: Floats, features: tuple[Feature, ...]) -> Gathered:
    """Return contributions (n, features + 1), the base last, gathered into reasons."""
    _check_shapes(contributions, matrix, features)
    reasons = reasons_of(features)
    by_column = np.ascontiguousarray(contributions.T)
    sums, columns = _sums_and_names(by_column, matrix, reasons)
    return Gathered(features, reasons, sums, columns, by_column)


def explain(
    contributions: Floats, matrix: Floats, features: tuple[Feature, ...], top: int = 10
) -> Factors:
    """Return the `top` reasons of every row, largest |contribution| first, then by code.

    `contributions` is (n, features + 1) with the base last; `matrix` (n, features) holds the
    values. A reason that contributes exactly nothing is left out.
    """
    return gather(contributions, matrix, features).top(matrix, top)


def check_additive(contributions: Floats, margin: Floats) -> None:
    """Raise `NotAdditive` unless base + contributions = margin on every row, within 1e-9."""
    total = _add_up(contributions)
    error = np.abs(total - margin)
    wrong = ~(error <= TOLERANCE * (1.0 + np.abs(margin)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise NotAdditive(
            f"Contributions of {int(wrong.sum())} of {len(margin)} rows do not add up to the "
            f"margin; row {row} has {float(total[row])!r} for {float(margin[row])!r}.",
            hint="Explain with the model, and on the matrix, that gave the margin.",
            rows=int(wrong.sum()),
            first_row=row,
        )


def importance(contributions: Floats, features: tuple[Feature, ...]) -> dict[str, float]:
    """Return each reason's share of the mean |contribution| over rows, by label, largest first."""
    reasons = reasons_of(features)
    by_column = np.ascontiguousarray(contributions.T)
    sizes = [float(np.abs(_sum_of(by_column, reason)).sum()) for reason in reasons]
    total = sum(sizes) or 1.0
    pairs = sorted(zip(sizes, reasons, strict=True), key=lambda pair: (-pair[0], pair[1].code))
    return {reason.label: size / total for size, reason in pairs}


def _sums_and_names(
    by_column: Floats, matrix: Floats, reasons: Sequence[Reason]
) -> tuple[Floats, Places]:
    """Return the reasons' contributions and naming columns, both (n, reasons)."""
    rows = by_column.shape[1]
    sums = np.empty((rows, len(reasons)))
    columns = np.empty((rows, len(reasons)), dtype=np.int64)
    for place, reason in enumerate(reasons):
        sums[:, place] = _sum_of(by_column, reason)
        columns[:, place] = _naming_column(by_column, matrix, reason)
    return sums, columns


def _sum_of(by_column: Floats, reason: Reason) -> Floats:
    # Column after column: NumPy's own sum may add in another order for another number of rows.
    total: Floats = by_column[reason.columns[0]].copy()
    for column in reason.columns[1:]:
        total += by_column[column]
    return total


def _naming_column(by_column: Floats, matrix: Floats, reason: Reason) -> Places | int:
    """Return the column that names the reason on each row; -1 for the reason's own label."""
    columns = np.asarray(reason.columns)
    if reason.one_hot:
        chosen = matrix[:, columns] == 1
        return np.where(chosen.any(axis=1), columns[chosen.argmax(axis=1)], -1)
    if len(columns) == 1:
        return int(columns[0])
    named: Places = columns[np.abs(by_column[columns]).argmax(axis=0)]
    return named


def _values(matrix: Floats, column: Places) -> Floats:
    found = np.take_along_axis(matrix, np.maximum(column, 0), axis=1)
    values: Floats = np.where(column < 0, np.nan, found)
    return values


def _add_up(values: Floats) -> Floats:
    total = np.zeros(values.shape[0])
    for column in range(values.shape[1]):
        total += values[:, column]
    return total


def level_of(share: Floats) -> Places:
    """Return the place among `IMPORTANCES` of shares: low, medium from 10%, high from 25%."""
    level: Places = np.searchsorted([MEDIUM_SHARE, HIGH_SHARE], share, side="right")
    return level


def _check_shapes(contributions: Floats, matrix: Floats, features: Sequence[Feature]) -> None:
    names = [feature.name for feature in features]
    if matrix.shape[1] != len(names) or contributions.shape[1] != len(names) + 1:
        raise ColumnsDiffer(
            f"The matrix has {matrix.shape[1]} columns and the contributions "
            f"{contributions.shape[1]}, expected {len(names)} and {len(names) + 1}.",
            hint="Pass the contributions of this matrix, the base in the last column.",
            expected=names,
        )
