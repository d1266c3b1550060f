"""Training on a wide table: one row a person, with the label among its columns.

Such a table has no moments, so nothing but the leak lint guards against columns that were written
after the outcome: name them with `without`. What columns become is told in `training.columns`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.behavior.catalogue import to_json
from features.engine import Engine
from features.errors import LikelierError, did_you_mean
from features.sources.errors import EmptyColumn
from training.baselines import best_column
from training.booster import BoosterParams
from training.bundle import Bundle
from training.columns import Column, columns_of, features_of, matrix_of, moment_of
from training.dataset import Dataset
from training.evaluation import auc
from training.fit import Progress, Trained, TrainingTask, train
from training.sufficiency import FEWEST_PEOPLE
from training.tables import Sheet
from training.tuning import Budget

Floats = NDArray[np.float64]

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
    columns, notes = columns_of(engine, sheet, offered)
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
