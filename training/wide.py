"""Training on a wide table: one row a person, with the label among its columns.

Such a table has no moments, so nothing but the leak lint guards against columns that were written
after the outcome: name them with `without`. Columns become features as dated profile attributes do:
a number as it stands, a date as days before `as_of`, anything else as its most frequent values and
`other`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import time
from features.behavior.catalogue import to_json
from features.behavior.definitions import (
    CategoryIs,
    DaysSinceAttribute,
    Definition,
    Feature,
    NumberAttribute,
)
from features.engine import LINE, Engine, instant_of_text
from features.errors import LikelierError, did_you_mean
from features.sources.errors import (
    INFINITE,
    MOST_VALUES,
    EmptyColumn,
    InfiniteValues,
    TooManyValues,
)
from training.baselines import best_column
from training.booster import BoosterParams
from training.bundle import Bundle
from training.dataset import Dataset
from training.errors import ColumnsDiffer
from training.evaluation import auc
from training.fit import Progress, Trained, TrainingTask, train
from training.sufficiency import FEWEST_PEOPLE
from training.tables import Sheet
from training.tuning import Budget

Floats = NDArray[np.float64]

MOSTLY = 0.95
"""A column is of a kind when this share of its filled cells reads as that kind."""
NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"
"""A code with leading zeros is no number: turning it into one would lose it."""
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?"
CATEGORIES = 10
YES = ("1", "1.0", "true", "t", "yes", "y")


class ConstantLabel(LikelierError):
    """A label that is the same in every row: there is nothing to tell apart."""

    code = "constant_label"


class BadTable(LikelierError):
    """A wide table that cannot be trained on, or scored, as asked."""

    code = "bad_table"


@dataclass(frozen=True)
class Question:
    """What to learn of a table: the columns that say who, and what to leave out.

    `positive` None is found when the label has two values, one of which means yes. Without `person`
    each row is a person. `as_of` is when the table was taken; None: its newest date, or `written`.
    """

    label: str
    positive: str | None = None
    person: str | None = None
    without: tuple[str, ...] = ()
    as_of: int | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True)
class Column:
    """How one column is read. `values`: those with a column of their own; `rest`: `other` too."""

    name: str
    attribute: str
    kind: Literal["number", "date", "category"]
    values: tuple[str, ...] = ()
    rest: bool = False

    @property
    def definitions(self) -> tuple[Definition, ...]:
        """The features this column makes, in order."""
        if self.kind == "number":
            return (NumberAttribute(self.attribute),)
        if self.kind == "date":
            return (DaysSinceAttribute(self.attribute),)
        listed = tuple(CategoryIs(self.attribute, v, i) for i, v in enumerate(self.values, 1))
        return (*listed, CategoryIs(self.attribute, None, 0)) if self.rest else listed


@dataclass(frozen=True, eq=False)
class Wide:
    """A table read for training. Rows without a label are left out. `notes` say what was done."""

    dataset: Dataset
    columns: tuple[Column, ...]
    as_of: int
    question: Question
    notes: tuple[str, ...]

    @property
    def definitions(self) -> list[dict[str, Any]]:
        """The manifest of the features, JSON-ready."""
        return [to_json(each) for column in self.columns for each in column.definitions]


def learn(engine: Engine, sheet: Sheet, question: Question) -> Wide:
    """Decide what each column is and return the labelled rows.

    Raises `BadTable`, and of columns `ConstantLabel`, `EmptyColumn`, `InfiniteValues`,
    `TooManyValues`.
    """
    named = [question.label, *question.without, *filter(None, [question.person])]
    for name in named:
        if name not in sheet.names:
            raise BadTable(
                f"{sheet.path.name} has no column {name!r}.",
                hint=did_you_mean(name, sheet.names) + _one_column(sheet),
                column=name,
            )
    label, known, positive = _labels(engine, sheet, question)
    offered = [name for name in sheet.names if name not in named]
    columns, notes = _columns(engine, sheet, offered)
    if not columns:
        raise BadTable(
            f"{sheet.path.name} has no column to learn from beside {question.label!r}.",
            hint="; ".join(notes) or "Give the table more columns.",
        )
    as_of = question.as_of if question.as_of is not None else moment_of(engine, sheet, columns)
    matrix = matrix_of(engine, sheet, columns, as_of, question.time_zone)
    person = _people(engine, sheet, question.person)
    dataset = Dataset(features_of(columns), matrix, label, np.full(len(label), as_of), person)
    said = [*sheet.notes, *_unlabelled(known, question.label), *notes]
    asked = replace(question, positive=positive, as_of=as_of)
    return Wide(dataset.rows(known), columns, as_of, asked, tuple(said))


def _one_column(sheet: Sheet) -> str:
    return " The table has one column: is --delimiter right?" if len(sheet.names) == 1 else ""


def _unlabelled(known: NDArray[np.bool_], label: str) -> Iterator[str]:
    if not known.all():
        yield f"{int((~known).sum()):,} rows have no {label!r} and were left out."


def _labels(
    engine: Engine, sheet: Sheet, question: Question
) -> tuple[NDArray[np.int8], NDArray[np.bool_], str]:
    """Return the label of every row, whether it has one, and the value that counts as 1."""
    text = sheet.texts(engine, [question.label])[question.label]
    found = sorted(pc.unique(text.drop_null()).to_pylist())
    if not found:
        raise EmptyColumn(
            f"{sheet.path.name}: no row has a {question.label!r}.",
            hint="Name the column with the outcome in --label.",
        )
    if len(found) == 1:
        raise ConstantLabel(
            f"{sheet.path.name}: {question.label!r} is {found[0]!r} in every row that has one.",
            hint="To tell who has the outcome, rows with it and without it are needed.",
            value=found[0],
        )
    positive = _positive(found, question)
    label = pc.fill_null(pc.equal(text, positive), False).to_numpy(zero_copy_only=False)
    return label.astype(np.int8), text.is_valid().to_numpy(zero_copy_only=False), positive


def _positive(found: Sequence[str], question: Question) -> str:
    shown = ", ".join(repr(value) for value in found[:10])
    if question.positive is not None:
        if question.positive not in found:
            raise BadTable(
                f"No row has {question.positive!r} in {question.label!r}.",
                hint=f"There are: {shown}.",
            )
        return question.positive
    means_yes = [value for value in found if value.casefold() in YES]
    if len(found) != 2 or len(means_yes) != 1:
        raise BadTable(
            f"{question.label!r} has {len(found)} values: {shown}.",
            hint="Say with --positive which of them is the outcome.",
            values=list(found[:10]),
        )
    return means_yes[0]


def _people(engine: Engine, sheet: Sheet, person: str | None) -> NDArray[np.int64]:
    """Return a number per row: rows of one person share it; a row without a name is its own."""
    if person is None:
        return np.arange(sheet.count, dtype=np.int64)
    names = sheet.texts(engine, [person])[person].to_pylist()
    return np.array([_number(name, row) for row, name in enumerate(names)], np.int64)


def _number(name: str | None, row: int) -> int:
    if name is None:
        return row
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


# Columns -----------------------------------------------------------------------------------------


def _columns(
    engine: Engine, sheet: Sheet, names: Sequence[str]
) -> tuple[tuple[Column, ...], list[str]]:
    """Return how each column is read, and notes on those left out or not wholly read."""
    facts = _facts(engine, sheet, names)
    _refuse_bad(sheet, facts)
    kept, left, notes = [], [], []
    taken: set[str] = set()
    for name in names:
        kind, reason = _kind(facts[name], sheet.count)
        if reason:
            left.append(f"{name} ({reason})")
            continue
        lost = facts[name]["filled"] - facts[name].get(f"{kind}s", facts[name]["filled"])
        if lost:
            notes.append(f"{lost:,} cells of {name} are no {kind} and count as unknown.")
        kept.append(Column(name, _attribute(name, taken), kind))
    if left:
        notes.append(f"Left out: {', '.join(left)}.")
    texts = sheet.texts(engine, [each.name for each in kept if each.kind == "category"])
    return tuple(
        _with_values(each, texts[each.name]) if each.kind == "category" else each for each in kept
    ), notes


def _refuse_bad(sheet: Sheet, facts: Mapping[str, Mapping[str, int]]) -> None:
    """Raise the error for columns that cannot be what they seem, all of one kind at once."""
    empty = [name for name, found in facts.items() if not found["filled"]]
    if empty:
        raise EmptyColumn(
            f"{sheet.path.name} has no value in {_listed(empty)}.",
            hint=f"Fill it, or leave it out: {_left_out(empty)}",
            columns=empty,
        )
    infinite = [
        name
        for name, found in facts.items()
        if found["infinite"] and found["numbers"] + found["infinite"] >= MOSTLY * found["filled"]
    ]
    if infinite:
        counts = [facts[name]["infinite"] for name in infinite]
        raise InfiniteValues(
            f"{sheet.path.name} has infinite values in {_listed(infinite)}: "
            f"{', '.join(f'{count:,}' for count in counts)} of {sheet.count:,} rows.",
            hint="Write an empty cell where a number is not known, or leave the column out: "
            + _left_out(infinite),
            columns=infinite,
        )
    many = [
        name
        for name, found in facts.items()
        if found["distinct"] > MOST_VALUES and _kind(found, sheet.count)[0] == "category"
    ]
    if many:
        raise TooManyValues(
            f"{sheet.path.name} has {facts[many[0]]['distinct']:,} different texts in "
            f"{_listed(many[:1])}; a category may have {MOST_VALUES:,}.",
            hint=f"If it names the person: --id {many[0]}. Else leave it out: {_left_out(many)}",
            columns=many,
        )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _left_out(names: Sequence[str]) -> str:
    return " ".join(f"--without {shlex.quote(name)}" for name in names)


def _facts(engine: Engine, sheet: Sheet, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return, per column, how many cells are filled, differ, and read as what."""
    asked = {}
    for name in names:
        cell = sheet.rows[sheet.cell(name)]
        asked[f"{sheet.cell(name)}/filled"] = cell.count()
        asked[f"{sheet.cell(name)}/distinct"] = cell.nunique()
        number, value = cell.re_search(f"^{NUMBER}$"), cell.try_cast("float64")
        infinite = cell.lower().isin(INFINITE) | (number & value.isinf().fill_null(False))
        asked[f"{sheet.cell(name)}/numbers"] = number.sum()
        asked[f"{sheet.cell(name)}/infinite"] = infinite.sum()
        asked[f"{sheet.cell(name)}/dates"] = cell.re_search(f"^{DATE}$").sum()
    row = engine.arrow(sheet.rows.aggregate(**asked)).to_pylist()[0] if asked else {}
    parts = ("filled", "distinct", "numbers", "infinite", "dates")
    return {
        name: {part: int(row[f"{sheet.cell(name)}/{part}"] or 0) for part in parts}
        for name in names
    }


def _kind(found: Mapping[str, int], rows: int) -> tuple[Literal["number", "date", "category"], str]:
    """Return a column's kind and, where it cannot be learnt from, why."""
    filled, distinct = found["filled"], found["distinct"]
    if distinct == 1 and filled == rows:
        return "category", "the same in every row"
    if found["numbers"] >= MOSTLY * filled:
        return "number", ""
    if found["dates"] >= MOSTLY * filled:
        return "date", ""
    if distinct > max(CATEGORIES, filled / 2):
        return "category", "nearly every value is another"
    return "category", ""


def _attribute(name: str, taken: set[str]) -> str:
    """Return a column's name in words of its own, joined by `_`; never one of `taken`."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    stem = re.sub(r"\W+", "_", parted).strip("_").lower() or "column"
    tries = [stem, *(f"{stem}_{copy}" for copy in range(2, len(taken) + 3))]
    found = next(each for each in tries if each not in taken)
    taken.add(found)
    return found


def _with_values(column: Column, text: pa.ChunkedArray) -> Column:
    counted = pc.value_counts(text.drop_null()).to_pylist()
    order = sorted(counted, key=lambda each: (-each["counts"], each["values"]))
    values = tuple(each["values"] for each in order[:CATEGORIES])
    boolean = all(each["values"].lower() in ("true", "false") for each in order)
    return replace(column, values=values, rest=not boolean)


def features_of(columns: Sequence[Column]) -> tuple[Feature, ...]:
    """Return the features of `columns`, in order."""
    return tuple(each.feature for column in columns for each in column.definitions)


def moment_of(engine: Engine, sheet: Sheet, columns: Sequence[Column]) -> int:
    """Return when a table was taken: its newest date, else when its file was written."""
    dated = [column for column in columns if column.kind == "date"]
    values = _values(engine, sheet, dated, "UTC")
    newest = [int(np.nanmax(each)) for each in values.values() if np.isfinite(each).any()]
    return max(newest, default=sheet.written)


def matrix_of(
    engine: Engine, sheet: Sheet, columns: Sequence[Column], as_of: int, time_zone: str
) -> Floats:
    """Return the rows (n, features) of a table; raise `ColumnsDiffer` where it lacks a column."""
    if missing := [each.name for each in columns if each.name not in sheet.names]:
        raise ColumnsDiffer(
            f"{sheet.path.name} lacks the columns {missing}.",
            hint="Score a table with the columns of the one that was learnt from.",
            missing=missing,
        )
    numbers = _values(engine, sheet, [c for c in columns if c.kind != "category"], time_zone)
    texts = sheet.texts(engine, [c.name for c in columns if c.kind == "category"])
    parts = []
    for column in columns:
        if column.kind == "number":
            parts.append(numbers[column.name])
        elif column.kind == "date":
            parts.append(np.asarray(time.days_between(numbers[column.name], as_of)))
        else:
            parts += _one_hot(column, texts[column.name])
    return np.column_stack(parts) if parts else np.empty((sheet.count, 0))


def _values(
    engine: Engine, sheet: Sheet, columns: Sequence[Column], time_zone: str
) -> dict[str, Floats]:
    """Return numbers, and dates as microseconds, NaN where a cell does not read as one."""
    if not columns:
        return {}
    asked = {}
    for column in columns:
        cell = sheet.cell(column.name)
        if column.kind == "number":
            reads = f"regexp_full_match({cell}, '{NUMBER}')"
            asked[cell] = f"case when {reads} then try_cast({cell} as double) end"
        else:
            asked[cell] = instant_of_text(cell, time_zone)
    found = engine.arrow(engine.select(sheet.rows.order_by(LINE), asked))
    return {
        column.name: _finite(found[sheet.cell(column.name)].cast(pa.float64()).to_numpy())
        for column in columns
    }


def _finite(values: Floats) -> Floats:
    return np.where(np.isfinite(values), values, np.nan)


def _one_hot(column: Column, text: pa.ChunkedArray) -> list[Floats]:
    place = pc.fill_null(pc.index_in(text, pa.array(column.values, pa.string())), -1).to_numpy()
    listed = [(place == number).astype(np.float64) for number in range(len(column.values))]
    other = ((place < 0) & text.is_valid().to_numpy(zero_copy_only=False)).astype(np.float64)
    return [*listed, other] if column.rest else listed


# Training and scoring ----------------------------------------------------------------------------


def train_wide(
    wide: Wide,
    goal: str,
    params: BoosterParams | None = None,
    progress: Progress | None = None,
    fewest_people: int = FEWEST_PEOPLE,
    allow: Mapping[str, str] | None = None,
    tuning: Budget | None = None,
    selecting: bool = False,
) -> Trained:
    """Train on a wide table; the reference population is everyone in it.

    `allow` is what the leak lint is to let pass, to why. People, not dates, are split 60/20/20. The
    model stands beside its best single column, which is served where the model is no better, and
    beside a logistic regression on the same columns.
    """
    task = TrainingTask(
        goal=goal,
        kind="conversion",
        basis="table",
        as_of=wide.as_of,
        outcome_window=None,
        gap=None,
        event_columns=None,
        definitions=wide.definitions,
        categories={
            "columns": [asdict(column) for column in wide.columns],
            "question": asdict(wide.question),
        },
        fewest_people=fewest_people,
        notes=wide.notes,
        allow=allow or {},
        tuning=tuning,
        selecting=selecting,
    )
    trained = train(wide.dataset, wide.dataset.matrix, task, params, progress)
    return replace(trained, summary=(*trained.summary, _beside(wide.dataset, trained)))


def _beside(dataset: Dataset, trained: Trained) -> str:
    """Name the best single column, and say how a logistic regression does on the same rows."""
    fit, judged = (dataset.rows(mask) for mask in (trained.roles.fit, trained.roles.evaluate))
    best = dataset.features[best_column(fit.matrix, fit.label)]
    regression = auc(judged.label, logistic(fit.matrix, fit.label, judged.matrix))
    return (
        f"On the same people, the best single column is {best.label!r}; logistic regression on all "
        f"columns manages {regression:.1%}."
    )


def logistic(matrix: Floats, label: NDArray[np.int8], rows: Floats) -> Floats:
    """Return the log-odds of `rows` by a logistic regression on standardised columns.

    Unknown numbers take the column's median; scikit-learn's own penalty (C = 1) applies.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = SimpleImputer(strategy="median", keep_empty_features=True)
    model = make_pipeline(filled, StandardScaler(), LogisticRegression(max_iter=1_000))
    model.fit(matrix, label)
    return np.asarray(model.decision_function(rows), dtype=np.float64)


def matrix_for(engine: Engine, sheet: Sheet, bundle: Bundle) -> Floats:
    """Return a table's rows in the columns of a bundle that was trained on a wide table.

    Dates count back from the table's own moment, as they did in training.
    """
    described = bundle.categories
    columns = tuple(
        Column(**each | {"values": tuple(each["values"])}) for each in described["columns"]
    )
    zone = described["question"]["time_zone"]
    whole = matrix_of(engine, sheet, columns, moment_of(engine, sheet, columns), zone)
    names = [feature.name for feature in features_of(columns)]
    return np.ascontiguousarray(whole[:, [names.index(name) for name in bundle.names]])
