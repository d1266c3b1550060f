"""How far features and scores have moved from the population a model is compared with.

Measured by size of effect, the population stability index: for shares p and q by bin, the sum of
(p - q)(ln p - ln q). It is 0 where nothing moved, never negative, and the same both ways. Below .1
nothing to speak of has changed, from .25 on very much has (Siddiqi 2006, Credit Risk Scorecards,
chapter 12). No test is made: with very many people any difference is significant. With few, chance
alone gives a PSI of about (bins - 1)(1/n + 1/m) (Yurdakul 2018, Statistical Properties of the
Population Stability Index); what lies within that and six deviations is no drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from features.behavior.definitions import Feature

Floats = NDArray[np.float64]
Counts = NDArray[np.float64]
Level = Literal["steady", "moved", "shifted"]

MOVED, SHIFTED = 0.1, 0.25
NULLS_JUMPED = 0.1
"""Difference in the share of nulls that is told, in shares of all people."""
DEVIATIONS = 6.0
"""Of the PSI under chance alone: its tail is long where bins are nearly empty."""
PARTS = 10
SCORE = "score"
"""Code of the distribution of the margin, of which scores are made."""


@dataclass(frozen=True)
class Distribution:
    """How a feature, or an attribute with categories, was spread over the reference population.

    Numeric: `edges` are the distinct deciles with least and greatest value, and the bins are below
    the least, the least itself, from edge up to edge, and above the greatest. Categories: `columns`
    are the yes/no columns of one attribute, each a bin; values that were not listed, the unseen
    among them, are the column `other`. The last bin is null. `counts` are people by bin.
    """

    code: str
    label: str
    columns: tuple[str, ...]
    edges: tuple[float, ...]
    bins: tuple[str, ...]
    counts: tuple[int, ...]

    def count(self, values: Floats) -> tuple[int, ...]:
        """Return how many rows (n, columns) fall into each bin; the margin is (n, 1)."""
        found = _categories(values) if len(self.columns) > 1 else _numbers(self.edges, values[:, 0])
        return tuple(int(each) for each in found)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Distribution:
        """Read what `asdict` gave, written as JSON."""
        known: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in body.items()
        }
        return cls(**known)


@dataclass(frozen=True)
class Drift:
    """One feature then and now: people by bin, PSI, its level, and the shares of nulls."""

    code: str
    label: str
    psi: float
    level: Level
    nulls_before: float
    nulls_now: float
    nulls_jumped: bool
    bins: tuple[str, ...]
    before: tuple[int, ...]
    now: tuple[int, ...]

    def body(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)


def distributions(
    features: Sequence[Feature], matrix: Floats, margin: Floats
) -> tuple[Distribution, ...]:
    """Return how the score, and each feature of the columns of `matrix` (n, features), is spread.

    Features that are categories of one attribute make one distribution. At least one row.
    """
    found = [_numeric(SCORE, "Score (raw margin)", (), margin)]
    for places in _groups(features):
        mine = [features[place] for place in places]
        columns = tuple(each.name for each in mine)
        if len(mine) == 1:
            name, label = mine[0].name, mine[0].label
            found.append(_numeric(name, label, columns, matrix[:, places[0]]))
            continue
        shown = (*(each.label for each in mine), "null")
        counts = tuple(int(each) for each in _categories(matrix[:, places]))
        what = Distribution(mine[0].reason, mine[0].reason_label, columns, (), shown, counts)
        found.append(what)
    return tuple(found)


def drifts(
    reference: Sequence[Distribution], features: Sequence[Feature], matrix: Floats, margin: Floats
) -> list[Drift]:
    """Return every distribution then and now, the most moved first; nothing of no people."""
    if not len(matrix):
        return []
    place = {feature.name: number for number, feature in enumerate(features)}
    found = []
    for each in reference:
        values = matrix[:, [place[name] for name in each.columns]] if each.columns else None
        now = each.count(margin[:, None] if values is None else values)
        found.append(drift_of(each, now))
    return sorted(found, key=lambda drift: (-drift.psi, drift.code))


def drift_of(before: Distribution, now: Sequence[int]) -> Drift:
    """Compare people by bin with those of the reference."""
    p, q = np.array(before.counts, dtype=np.float64), np.array(now, dtype=np.float64)
    n, m = p.sum(), q.sum()
    size, some = psi(p, q), 1 / n + 1 / m
    spare = int(((p > 0) | (q > 0)).sum()) - 1
    chance = (spare + DEVIATIONS * np.sqrt(2 * spare)) * some
    level: Level = "shifted" if size >= SHIFTED else "moved" if size >= MOVED else "steady"
    nulls = (p[-1] / n, q[-1] / m)
    pooled = (p[-1] + q[-1]) / (n + m)
    sure = DEVIATIONS * np.sqrt(pooled * (1 - pooled) * some)
    return Drift(
        code=before.code,
        label=before.label,
        psi=size,
        level=level if size > chance else "steady",
        nulls_before=float(nulls[0]),
        nulls_now=float(nulls[1]),
        nulls_jumped=bool(abs(nulls[1] - nulls[0]) >= max(NULLS_JUMPED, sure)),
        bins=before.bins,
        before=before.counts,
        now=tuple(now),
    )


def psi(before: Counts, now: Counts) -> float:
    """Return the population stability index of people by bin; both count at least one person.

    An empty bin counts as half a person of the smaller population, so that it stays finite.
    """
    n, m = before.sum(), now.sum()
    least = 0.5 / min(n, m)
    p, q = np.maximum(before / n, least), np.maximum(now / m, least)
    return float(((p - q) * (np.log(p) - np.log(q))).sum())


def _groups(features: Sequence[Feature]) -> Iterator[list[int]]:
    """Yield columns that are one distribution: the yes/no columns of one reason, else each."""
    seen: set[str] = set()
    for place, feature in enumerate(features):
        if feature.unit != "yes/no":
            yield [place]
        elif feature.reason not in seen:
            seen.add(feature.reason)
            yield [
                other for other, each in enumerate(features)
                if each.unit == "yes/no" and each.reason == feature.reason
            ]  # fmt: skip


def _numeric(code: str, label: str, columns: tuple[str, ...], values: Floats) -> Distribution:
    known = values[~np.isnan(values)]
    edges: tuple[float, ...] = ()
    if len(known):
        levels = np.linspace(0.0, 1.0, PARTS + 1)
        found = np.quantile(known, levels, method="inverted_cdf") + 0.0
        edges = tuple(np.unique(found).tolist())
    counts = tuple(int(each) for each in _numbers(edges, values))
    return Distribution(code, label, columns, edges, tuple(_shown(edges)), counts)


def _shown(edges: tuple[float, ...]) -> Iterator[str]:
    """Name the bins of `_numbers`."""
    if edges:
        yield f"below {edges[0]:.4g}"
        yield f"{edges[0]:.4g}"
        yield from (f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges))
    yield f"above {edges[-1]:.4g}" if edges else "known"
    yield "null"


def _numbers(edges: tuple[float, ...], values: Floats) -> NDArray[np.int64]:
    null = np.isnan(values)
    known = values[~null]
    # 0: at most the least; i: above edge i - 1, up to edge i; last: above the greatest.
    place = np.searchsorted(edges, known, side="left")
    if edges:
        place += known >= edges[0]
    last = len(edges) + (2 if edges else 1)
    return np.bincount(np.append(place, np.full(null.sum(), last)), minlength=last + 1)


def _categories(values: Floats) -> NDArray[np.int64]:
    """Count rows by the column that is 1; all 0 is null."""
    told = values > 0
    place = np.where(told.any(axis=1), told.argmax(axis=1), values.shape[1])
    return np.bincount(place, minlength=values.shape[1] + 1)
