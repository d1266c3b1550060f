"""The columns of a wide table: what kind each is, and the features they become.

A number is taken as it stands, a date as days before the table's moment, anything else as its most
frequent values and `other`, as with dated profile attributes.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import time
from features.behavior.definitions import (
    CategoryIs,
    DaysSinceAttribute,
    Definition,
    Feature,
    NumberAttribute,
)
from features.engine import LINE, Engine, instant_of_text
from features.sources.errors import (
    INFINITE,
    MOST_VALUES,
    EmptyColumn,
    InfiniteValues,
    TooManyValues,
)
from training.errors import ColumnsDiffer
from training.tables import Sheet

Floats = NDArray[np.float64]

MOSTLY = 0.95
"""A column is of a kind when this share of its filled cells reads as that kind."""
NUMBER = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?"
"""A code with leading zeros is no number: turning it into one would lose it."""
DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T].*)?"
CATEGORIES = 10


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


def columns_of(
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
