"""What moves the people of each bucket: ten reasons, whom they reach, and the values behind them.

The idea is that of Customer AI's insights (a card a bucket: top ten influential factors, each with
its distribution and coverage). Two departures: importance is a number, and a distribution is shown
for every bucket and for everyone, so that buckets can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.behavior.definitions import Feature
from training.factors import (
    DIRECTIONS,
    IMPORTANCES,
    Gathered,
    Reason,
    gather,
    level_of,
    reasons_of,
)
from training.reference import BUCKETS
from training.wording import said_null, said_number

Floats = NDArray[np.float64]

LISTED = 10
STRONGEST = 3
"""A reason covers the people among whose three strongest it is."""
EVERYONE = "everyone"
LEAST = 0.005
"""The least share that is worth a word."""
LEVELS = {"5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95}
"""Quantiles by name: inverted, so each is a value that somebody has."""

FACTORS = pa.schema(
    [("bucket", pa.string()), ("rank", pa.int8()), ("code", pa.string()), ("label", pa.string()),
     ("feature", pa.string()), ("feature_label", pa.string()), ("unit", pa.string()),
     ("importance_share", pa.float64()), ("importance", pa.string()), ("direction", pa.string()),
     ("contribution", pa.float64()), ("raises", pa.float64()), ("coverage", pa.float64())]
)  # fmt: skip
VALUES = pa.schema(
    [("code", pa.string()), ("bucket", pa.string()), ("kind", pa.string()), ("name", pa.string()),
     ("value", pa.float64())]
)  # fmt: skip


class BucketSums:
    """What reasons weigh in each bucket, added up chunk by chunk of a scored population."""

    def __init__(self, features: tuple[Feature, ...]) -> None:
        self.features, self.reasons = features, reasons_of(features)
        cells = (len(BUCKETS), len(self.reasons))
        self.people = np.zeros(len(BUCKETS), dtype=np.int64)
        self.share, self.contribution = np.zeros(cells), np.zeros(cells)
        self.raises, self.covered = np.zeros(cells), np.zeros(cells)
        self.column_size = np.zeros(len(features))

    def add(self, gathered: Gathered, bucket: NDArray[np.str_]) -> None:
        """Add explained people; `bucket` (n,) says where each of them is."""
        size = np.abs(gathered.sums)
        total = size.sum(axis=1, keepdims=True)
        share = size / np.where(total > 0, total, 1.0)
        order = np.argsort(-size, axis=1, kind="stable")[:, :STRONGEST]
        strongest = np.zeros(size.shape, dtype=bool)
        np.put_along_axis(strongest, order, True, axis=1)
        strongest &= size > 0
        for place, name in enumerate(BUCKETS):
            mine = bucket == name
            self.people[place] += int(mine.sum())
            self.share[place] += share[mine].sum(axis=0)
            self.contribution[place] += gathered.sums[mine].sum(axis=0)
            self.raises[place] += (gathered.sums[mine] > 0).sum(axis=0)
            self.covered[place] += strongest[mine].sum(axis=0)
        self.column_size += np.abs(gathered.by_column[:-1]).sum(axis=1)

    def tables(self, matrix: Floats, bucket: NDArray[np.str_]) -> tuple[pa.Table, pa.Table]:
        """Return `FACTORS` (bucket, rank) and `VALUES` (reason, bucket or everyone, name).

        `matrix` (people, features) and `bucket` (people,) are everyone who was added. A bucket
        without people has no line. Shares of a table are 0 to 1; a value's share of nulls is named
        `never` or `unknown`; of an attribute's values the shares are listed instead of quantiles.
        """
        ranked = [(bucket, self._ranked(bucket)) for bucket in range(len(BUCKETS))]
        listed = [self._line(b, rank, r) for b, places in ranked for rank, r in enumerate(places)]
        codes = sorted({place for _, places in ranked for place in places})
        groups = {name: bucket == name for name in BUCKETS if (bucket == name).any()}
        groups[EVERYONE] = np.ones(len(bucket), dtype=bool)
        values = [
            {"code": self.reasons[place].code, "bucket": str(group), **line}
            for place in codes
            for group, mine in groups.items()
            for line in self._distribution(self.reasons[place], matrix, mine)
        ]
        return pa.Table.from_pylist(listed, FACTORS), pa.Table.from_pylist(values, VALUES)

    def _ranked(self, bucket: int) -> list[int]:
        order = np.argsort(-self.share[bucket], kind="stable")[:LISTED]
        return [int(place) for place in order if self.share[bucket, place] > 0]

    def _line(self, bucket: int, rank: int, place: int) -> dict[str, Any]:
        reason, people = self.reasons[place], self.people[bucket]
        column = self._speaker(reason)
        named = self.features[reason.columns[0] if column is None else column]
        share = self.share[bucket, place] / people
        contribution = self.contribution[bucket, place] / people
        return {
            "bucket": str(BUCKETS[bucket]),
            "rank": rank + 1,
            "code": reason.code,
            "label": reason.label,
            "feature": None if column is None else named.name,
            "feature_label": reason.label if column is None else named.label,
            "unit": named.unit,
            "importance_share": share,
            "importance": str(IMPORTANCES[level_of(np.asarray(share))]),
            "direction": str(DIRECTIONS[int(contribution > 0)]),
            "contribution": contribution,
            "raises": self.raises[bucket, place] / people,
            "coverage": self.covered[bucket, place] / people,
        }

    def _speaker(self, reason: Reason) -> int | None:
        """Return the column that weighs most in a reason over everyone; None for an attribute."""
        if reason.one_hot:
            return None
        columns = np.asarray(reason.columns)
        return int(columns[self.column_size[columns].argmax()])

    def _distribution(
        self, reason: Reason, matrix: Floats, mine: NDArray[np.bool_]
    ) -> Iterator[dict[str, Any]]:
        column = self._speaker(reason)
        if column is None:
            left = 1.0
            for each in reason.columns:
                share = float((matrix[mine, each] == 1).mean())
                left -= share
                yield _share(self.features[each].label, share)
            yield _share("unknown", max(0.0, left))
            return
        values = matrix[mine, column]
        known = values[np.isfinite(values)]
        if len(known):
            found = np.quantile(known, list(LEVELS.values()), method="inverted_cdf")
            for name, value in zip(LEVELS, found, strict=True):
                yield {"kind": "quantile", "name": name, "value": float(value)}
        yield _share(said_null(self.features[column]), 1.0 - len(known) / len(values))


def _share(name: str, share: float) -> dict[str, Any]:
    return {"kind": "share", "name": name, "value": share}


def insights(
    factors: pa.Table, values: pa.Table, people: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return one goal's tables as JSON has them: a bucket with its reasons, low first.

    `people` counts those of each bucket. Each reason carries `values`: for every bucket and
    everyone, `quantiles` and `shares` by name.
    """
    spread: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for row in values.to_pylist():
        group = spread.setdefault(row["code"], {}).setdefault(row["bucket"], {})
        group.setdefault(f"{row['kind']}s", {})[row["name"]] = row["value"]
    lines = factors.to_pylist()
    return [
        {
            "bucket": str(bucket),
            "people": people[str(bucket)],
            "factors": [_factor(row, spread) for row in lines if row["bucket"] == bucket],
        }
        for bucket in BUCKETS
    ]


def bucket_insights(
    contributions: Floats,
    matrix: Floats,
    features: tuple[Feature, ...],
    bucket: NDArray[np.str_],
) -> list[dict[str, Any]]:
    """Return the insights of explained people all at once; arrays as in `factors.gather`."""
    sums = BucketSums(features)
    sums.add(gather(contributions, matrix, features), bucket)
    counts = {str(name): int((bucket == name).sum()) for name in BUCKETS}
    return insights(*sums.tables(matrix, bucket), counts)


def _factor(row: Mapping[str, Any], spread: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name != "bucket"}
    return kept | {"values": spread[row["code"]]}


def said_values(values: Mapping[str, Mapping[str, float]]) -> str:
    """Say a distribution in a line: `12 (4 to 31), never 8%` or `France 60%, Spain 25%`."""
    quantiles, parts = values.get("quantiles"), []
    if quantiles:
        low, middle, high = (said_number(quantiles[name]) for name in ("25%", "50%", "75%"))
        parts.append(middle if low == high else f"{middle} ({low} to {high})")
    shares = sorted(values.get("shares", {}).items(), key=lambda pair: -pair[1])
    parts += [f"{name} {share:.0%}" for name, share in shares[:STRONGEST] if share >= LEAST]
    return ", ".join(parts)
