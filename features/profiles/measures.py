"""Measures: named values of a person, read from the project file into typed formulas."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import pyarrow as pa

from features.behavior.scene import Scene
from features.conditions import ConditionError, Vocabulary
from features.conditions.parser import parse_formula
from features.conditions.table import measured
from features.conditions.text import name_text
from features.conditions.tree import Attribute, DaysSinceDate, Measure, leaves
from features.errors import LikelierError
from features.measure_settings import Measure as MeasureSettings
from features.profiles.templates import OPTIONAL, value_of


class MeasureNameTaken(LikelierError):
    """A measure with the name of an event type: the data has both."""

    code = "measure_name_taken"


def value_text(measure: MeasureSettings) -> str:
    """Return what a measure is made of as text: its `value`, or what its template stands for."""
    if measure.template is None:
        return measure.value or ""
    given = measure.keys
    value = value_of(measure.template, frozenset(given))
    window = f" in last {given[OPTIONAL]}" if OPTIONAL in given else ""
    names = {key: name_text(str(said)) for key, said in given.items()}
    return value.format(**names | {OPTIONAL: window})


def read_measures(
    measures: Sequence[MeasureSettings], vocabulary: Vocabulary
) -> dict[str, Measure | LikelierError]:
    """Return every measure read with the names of `vocabulary`, or what is wrong with it."""
    names = [measure.name for measure in measures]
    found: dict[str, Measure | LikelierError] = {}
    for measure in measures:
        try:
            found[measure.name] = _read(measure, vocabulary, names)
        except LikelierError as error:
            found[measure.name] = error
    return found


def with_measures(vocabulary: Vocabulary, measures: Sequence[MeasureSettings]) -> Vocabulary:
    """Return the vocabulary with the measures; raise what is wrong with the first wrong one."""
    known = {}
    for name, found in read_measures(measures, vocabulary).items():
        if isinstance(found, LikelierError):
            raise found
        known[name] = found
    return replace(vocabulary, measures=known)


def with_attributes(vocabulary: Vocabulary, attributes: Collection[str]) -> Vocabulary:
    """Return the vocabulary with these attributes alone, and the measures made of no others."""
    return replace(
        vocabulary,
        attributes={n: kind for n, kind in vocabulary.attributes.items() if n in attributes},
        measures={n: m for n, m in vocabulary.measures.items() if _attributes(m) <= {*attributes}},
    )


def measured_rows(scene: Scene, measures: Sequence[Measure]) -> dict[str, pa.ChunkedArray]:
    """Return the column `measure_<name>` of each measure, a value a spine row, by row id."""
    if not measures:
        return {}
    found = measured(measures, scene.spine, scene.history).order_by("row_id")
    table = scene.engine.arrow(found)
    return {name: table[name] for name in table.column_names if name != "row_id"}


def _attributes(measure: Measure) -> set[str]:
    found = leaves(measure)
    return {
        leaf.name if isinstance(leaf, Attribute) else leaf.attribute
        for leaf in found
        if isinstance(leaf, Attribute | DaysSinceDate)
    }


def _read(measure: MeasureSettings, vocabulary: Vocabulary, names: Collection[str]) -> Measure:
    if measure.name in vocabulary.events:
        raise MeasureNameTaken(
            f"measures.{measure.name}: the data has events of type {measure.name!r}.",
            hint="Give the measure another name: names in conditions do not collide.",
        )
    text = value_text(measure)
    try:
        formula = parse_formula(text, vocabulary)
    except ConditionError as error:
        raise _placed(error, measure, text, names) from None
    return Measure(measure.name, measure.title, formula)


def _placed(
    error: ConditionError, measure: MeasureSettings, text: str, names: Collection[str]
) -> ConditionError:
    key = "template" if measure.template else "value"
    error.message = f"measures.{measure.name}.{key}: {error.message}"
    error.details["measure"] = measure.name
    named = re.compile(r"\w*").match(text, int(str(error.details["position"])))
    if error.code == "unknown_name" and named and named[0] in names:
        error.hint = "A measure is not made of other measures: write out what it is made of."
    return error
