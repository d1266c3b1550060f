"""The simple rules that a model must beat: recency, RFM, and BG/NBD.

Many models lose to them. Every rule learns what it has to learn on the fit rows; which one is the
baseline is decided on the calibration rows, never on the evaluation rows. To be served a rule
becomes trees on its columns alone, monotone in its directions; there null (never) is its own
branch, placed where the data say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.behavior.definitions import (
    ActiveDays,
    DaysSince,
    DaysSinceFirst,
    Definition,
    Gap,
    Sum,
)
from features.time import Window
from training.bgnbd import BgNbd, Ledger
from training.booster import BoosterParams
from training.dataset import Dataset
from training.evaluation import auc
from training.split import person_fraction

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rule = Literal["recency", "rfm", "bg_nbd", "column"]

NAMES: dict[Rule, str] = {
    "recency": "days since the last time",
    "rfm": "RFM",
    "bg_nbd": "BG/NBD",
    "column": "the best single column",
}
BASELINE_DEPTH = 3
FIFTHS = 5
MOST_PEOPLE = 20_000
"""The four parameters of BG/NBD are learnt on so many people at most."""
WEEK = 7.0


@dataclass(frozen=True)
class EventColumns:
    """Names of the features of the outcome's event that rules read; None where not measured.

    `days`: days with the event in the longest window; `amounts`: sums in it, of every numeric
    attribute; `gap`: mean days between moments with the event, over the whole history.
    """

    recency: str
    first: str | None = None
    gap: str | None = None
    days: str | None = None
    amounts: tuple[str, ...] = ()

    @classmethod
    def of(cls, event: str, definitions: Sequence[Definition]) -> EventColumns:
        """Find the features of `event` among those that are measured."""
        known = {each.feature.name for each in definitions}
        days = [
            each for each in definitions if isinstance(each, ActiveDays) and each.event == event
        ]
        sums = [each for each in definitions if isinstance(each, Sum) and each.event == event]
        windows = [each.window for each in days] + [each.window for each in sums]
        longest = max(windows, default=None)
        first, gap = DaysSinceFirst(event).feature.name, Gap(event, "mean").feature.name
        return cls(
            DaysSince(event).feature.name,
            first if first in known else None,
            gap if gap in known else None,
            next((each.feature.name for each in days if each.window == longest), None),
            tuple(each.feature.name for each in sums if each.window == longest),
        )


@dataclass(frozen=True, eq=False)
class Baseline:
    """A simple rule, fitted. `columns` are its features' places in the dataset's matrix.

    `monotone` holds, per column, the direction in which the outcome is likelier, 0 = either.
    `judge` takes those columns of rows and returns values that grow with likelihood.
    """

    rule: Rule
    columns: tuple[int, ...]
    monotone: tuple[int, ...]
    judge: Callable[[Floats], Floats]

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return NAMES[self.rule]

    def rank(self, matrix: Floats) -> Floats:
        """Return values (n,) that grow with likelihood, for ranking only; may be infinite.

        `matrix` has all columns of the dataset that the rule was fitted on.
        """
        return self.judge(matrix[:, list(self.columns)])


@dataclass(frozen=True, eq=False)
class Rules:
    """The rules that the data bear, all fitted, and the best of them: the baseline."""

    offered: tuple[Baseline, ...]
    best: Baseline

    @classmethod
    def of(
        cls,
        fit: Dataset,
        calibrate: Dataset,
        event: EventColumns | None,
        ahead: Window | None,
        gap: Window | None,
    ) -> Rules:
        """Fit every rule on `fit` rows and choose the one that ranks `calibrate` rows best.

        `event` None: rows have no time, and the column that alone ranks best is the only rule.
        `ahead` is the outcome window, and begins after `gap`. The first among equals wins, recency
        before RFM before BG/NBD. Raises `UnknownFeature` for a column that is not there.
        """
        offered = tuple(_fitted(fit, event, ahead, gap))
        judging = calibrate if 0 < calibrate.label.sum() < len(calibrate.label) else fit
        ranked = [auc(judging.label, each.rank(judging.matrix)) for each in offered]
        return cls(offered, offered[int(np.argmax(ranked))])

    def aucs(self, label: NDArray[np.int8], matrix: Floats) -> dict[str, float]:
        """Return the AUC of every rule on other rows, as `baseline_rfm_auc` and so on."""
        return {f"baseline_{o.rule}_auc": auc(label, o.rank(matrix)) for o in self.offered}


def _fitted(
    fit: Dataset, event: EventColumns | None, ahead: Window | None, gap: Window | None
) -> Iterator[Baseline]:
    if event is None or ahead is None:
        yield _alone(fit, best_column(fit.matrix, fit.label), "column")
        return
    yield _alone(fit, fit.position(event.recency), "recency")
    if event.days is not None:
        yield _rfm(fit, event)
    if (found := _bg_nbd(fit, event, ahead, gap)) is not None:
        yield found


def best_column(matrix: Floats, label: NDArray[np.int8]) -> int:
    """Return the column that alone ranks fit rows best, either way round; the first among equals.

    It is what stands in for recency where rows have no time.
    """
    columns = (matrix[:, place] for place in range(matrix.shape[1]))
    return int(np.argmax([abs(auc(label, _or_never(column)) - 0.5) for column in columns]))


def baseline_params(params: BoosterParams) -> BoosterParams:
    """Return parameters for small trees on few columns, so that a rule can be served."""
    return replace(params, max_depth=min(BASELINE_DEPTH, params.max_depth))


def _alone(fit: Dataset, place: int, rule: Rule) -> Baseline:
    """Rank by one column; never counts as longest ago."""
    sign = _sign(fit.label, _or_never(fit.matrix[:, place]))
    return Baseline(rule, (place,), (sign,), lambda some: sign * _or_never(some[:, 0]))


def _rfm(fit: Dataset, event: EventColumns) -> Baseline:
    """Add up fifths of recency, frequency and money, each in its direction (Hughes 1994).

    Money is the sum that alone ranks the fit rows best, if the event has any.
    """
    names = [event.recency, *filter(None, [event.days])]
    if event.amounts:
        places = [fit.position(name) for name in event.amounts]
        names.append(event.amounts[best_column(fit.matrix[:, places], fit.label)])
    places = [fit.position(name) for name in names]
    values = _or_never(fit.matrix[:, places])
    signs = np.array([_sign(fit.label, column) for column in values.T])
    shares = np.arange(1, FIFTHS) / FIFTHS
    cuts = [np.quantile(column, shares, method="inverted_cdf") for column in values.T]
    return Baseline("rfm", tuple(places), tuple(signs), partial(_fifths, cuts, signs))


def _fifths(cuts: Sequence[Floats], signs: Floats, some: Floats) -> Floats:
    columns = zip(cuts, _or_never(some).T, strict=True)
    fifths = [np.searchsorted(cut, column, side="left") for cut, column in columns]
    return np.asarray(signs @ np.array(fifths, dtype=np.float64))


def _bg_nbd(
    fit: Dataset, event: EventColumns, ahead: Window, gap: Window | None
) -> Baseline | None:
    """Rank by the events to expect in the outcome window; None where nobody comes again.

    The parameters are learnt on the newest row of each person who has had the event.
    """
    if event.first is None or event.gap is None:
        return None
    places = [fit.position(name) for name in (event.recency, event.first, event.gap)]
    newest = _newest_of_some(fit)
    ledger = _ledger(fit.matrix[newest][:, places])
    model = BgNbd.fit(ledger.rows(np.isfinite(ledger.age)))
    if model is None:
        return None
    begins = gap.days if gap else 0.0
    judge = partial(_expected, model, begins / WEEK, (begins + ahead.days) / WEEK)
    sign = _sign(fit.label, judge(fit.matrix[:, places]))
    return Baseline("bg_nbd", tuple(places), (0, 0, 0), lambda some: sign * judge(some))


def _newest_of_some(fit: Dataset) -> NDArray[np.intp]:
    """Return the newest row of each person, of at most `MOST_PEOPLE` people."""
    order = np.lexsort((-fit.as_of, fit.person))
    first = np.concatenate([[True], np.diff(fit.person[order]) != 0])
    newest = order[first]
    drawn = np.argsort(person_fraction(fit.person[newest], salt=3), kind="stable")
    return np.sort(newest[drawn[:MOST_PEOPLE]])


def _ledger(some: Floats) -> Ledger:
    """Return days since, days since the first, and mean gap as a ledger in weeks; NaN = never.

    The mean gap is the time from the first moment to the last over the repeats.
    """
    since, first, gap = some.T
    lasted = np.maximum(first - since, 0.0)
    repeats = np.where(gap > 0, np.round(lasted / np.where(gap > 0, gap, 1.0)), 0.0)
    return Ledger(repeats, np.where(repeats > 0, lasted, 0.0) / WEEK, first / WEEK)


def _expected(model: BgNbd, begins: float, ends: float, some: Floats) -> Floats:
    """Return the events to expect from `begins` to `ends` (weeks); 0 of whoever had none yet."""
    ledger = _ledger(some)
    known = np.isfinite(ledger.age)
    expected, theirs = np.zeros(len(some)), ledger.rows(known)
    expected[known] = model.expected(theirs, ends)
    if begins:
        expected[known] -= model.expected(theirs, begins)
    return expected


def _sign(label: NDArray[np.int8], ranking: Floats) -> int:
    return 1 if auc(label, ranking) >= 0.5 else -1


def _or_never(values: Floats) -> Floats:
    return np.where(np.isnan(values), np.inf, values)
