"""The JSON form of conditions: there and back, and an answer to whatever is sent."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.conditions import Condition, ConditionError, text
from features.conditions import tree as t
from features.conditions.json_tree import BadConditionDocument, from_json, to_json
from tests.property.test_conditions_laws import (
    VOCABULARY,
    any_texts,
    conditions,
    joined,
    value_tests,
)

SPENT = t.Measure("spent", "Spent", t.Number(Decimal(2)))
WITH_MEASURE = replace(VOCABULARY, measures={"spent": SPENT})

every_kind = st.one_of(
    conditions(any_texts), joined(value_tests(st.just(SPENT), any_texts)), conditions(any_texts)
)


@settings(max_examples=150, deadline=None)
@given(every_kind)
def test_a_condition_goes_to_json_and_back(condition: Condition) -> None:
    assume(len(text(condition)) <= 4_000)
    document = json.loads(json.dumps(to_json(condition)))
    again = from_json(document, WITH_MEASURE)
    assert again == condition
    assert to_json(again) == document


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, inner in pairs:
        found.append((value, key))
        found += places(inner) if isinstance(inner, dict | list) else []
    return found


anything = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), any_texts,
        st.sampled_from(["and", "compare", "country", "age", "1d", "a or b", "x" * 5_000]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["node", "terms", "number", "date", "/~"]), inner),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=250, deadline=None)
@given(every_kind, st.data())
def test_a_damaged_document_is_a_condition_or_a_coded_error(
    condition: Condition, data: st.DataObject
) -> None:
    document = json.loads(json.dumps(to_json(condition)))
    container, key = data.draw(st.sampled_from(places(document)))
    container[key] = data.draw(anything)
    try:
        read = from_json(document, WITH_MEASURE)
    except (BadConditionDocument, ConditionError) as error:
        assert_leads_somewhere(document, str(error.details["path"]))
    else:
        assert from_json(to_json(read), WITH_MEASURE) == read


def assert_leads_somewhere(document: Any, path: str) -> None:
    """A JSON pointer leads to a value, or to a key that is missing from one."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    place = document
    for number, step in enumerate(steps):
        if isinstance(place, dict) and step not in place:
            assert number == len(steps) - 1
            return
        place = place[int(step) if isinstance(place, list) else step]


@settings(max_examples=100, deadline=None)
@given(anything)
def test_anything_at_all_is_answered(document: Any) -> None:
    try:
        from_json(document, WITH_MEASURE)
    except (BadConditionDocument, ConditionError) as error:
        assert error.code
