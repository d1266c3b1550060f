"""Laws of measures: text and tree say the same, and the table renderer is exact to the bit."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import ibis
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.conditions import Condition, ConditionError, parse, text, uses, words
from features.conditions import tree as t
from features.conditions.parser import parse_formula
from features.conditions.table import matches, measured
from features.conditions.text import formula_text
from tests.oracles.conditions import holds, value_of
from tests.property.test_conditions_laws import (
    NUMBERS,
    PIECES,
    VOCABULARY,
    World,
    any_texts,
    event_filters,
    joined,
    number_aggregates,
    text_aggregates,
    texts,
    value_tests,
    world,
)

SIGNS = st.sampled_from("+-*/")
WRITTEN = [*NUMBERS, Decimal("99999999999999.999999999"), Decimal("-1e13"), Decimal("1e-9")]
written = st.sampled_from(WRITTEN).map(t.Number)


def divisible(formula: t.Arithmetic) -> t.Arithmetic:
    """The same formula, but for a written zero that the parser would not divide by."""
    by_zero = formula.sign == "/" and formula.right == t.Number(Decimal(0))
    return replace(formula, sign="+") if by_zero else formula


def formulas(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    numbers = number_aggregates(strings)
    stated = st.sampled_from([t.Attribute("age", "number"), t.DaysSinceDate("born")])
    return st.recursive(
        st.one_of(numbers, numbers, written, stated),
        lambda inner: st.builds(t.Arithmetic, inner, SIGNS, inner).map(divisible),
        max_leaves=7,
    )


def measures(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.Measure]:
    made_of = st.one_of(formulas(strings), text_aggregates(strings))
    return st.builds(t.Measure, st.just("m"), st.just("it"), made_of)


@settings(max_examples=250, deadline=None)
@given(formulas(any_texts))
def test_the_text_of_a_formula_is_read_back_as_the_same_tree(formula: t.Formula) -> None:
    spelt = formula_text(formula)
    assume(len(spelt) <= 4_000)
    again = parse_formula(spelt, VOCABULARY)
    assert again == formula
    assert formula_text(again) == spelt


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES, "+", "-", "*", "/", "age", "sum("]), max_size=16).map(
        " ".join
    )
    | st.text(max_size=60)
)
def test_any_text_is_a_formula_or_a_condition_error(anything: str) -> None:
    try:
        formula = parse_formula(anything, VOCABULARY)
    except ConditionError as error:
        assert 0 <= error.details["position"] <= len(anything)  # type: ignore[operator]
        assert error.details["expected"]
    else:
        assert parse_formula(formula_text(formula), VOCABULARY) == formula


@settings(max_examples=80, deadline=None)
@given(measures(any_texts), st.data())
def test_a_condition_speaks_of_a_measure_by_its_name(
    measure: t.Measure, data: st.DataObject
) -> None:
    condition = data.draw(value_tests(st.just(measure), any_texts))
    known = replace(VOCABULARY, measures={"m": measure})
    assert parse(text(condition), known) == condition
    assert text(condition).startswith("m ") and words(condition).startswith("it ")
    expanded = uses(t.Exists(measure))
    assert uses(condition) == expanded
    assert expanded.events == {
        leaf.events.event for leaf in t.leaves(measure) if isinstance(leaf, t.Aggregate)
    }


# --- table renderer -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    connection = ibis.duckdb.connect(threads=1)
    return [world(connection, seed) for seed in range(3)]


@settings(max_examples=150, deadline=None)
@given(measures(texts), st.integers(0, 2))
def test_the_table_measures_what_the_plain_evaluator_measures(
    worlds: list[World], measure: t.Measure, seed: int
) -> None:
    spine, history = worlds[seed].tables
    answers = measured([measure], spine, history).order_by("row_id").to_pyarrow()
    found = dict(zip(answers["row_id"].to_pylist(), answers["measure_m"].to_pylist(), strict=True))
    people = zip(worlds[seed].spine, worlds[seed].events, strict=True)
    assert found == {row["row_id"]: value_of(measure, row, seen) for row, seen in people}
    numbers = [value for value in found.values() if isinstance(value, float)]
    assert all(abs(number) <= 1.7976931348623157e308 for number in numbers)


@settings(max_examples=60, deadline=None)
@given(joined(value_tests(measures(texts), texts)), st.integers(0, 2))
def test_a_test_of_a_measure_says_what_the_plain_evaluator_says(
    worlds: list[World], condition: Condition, seed: int
) -> None:
    answers = matches(condition, *worlds[seed].tables).to_pyarrow()
    found = zip(answers["row_id"].to_pylist(), answers["matches"].to_pylist(), strict=True)
    people = zip(worlds[seed].spine, worlds[seed].events, strict=True)
    expected = [(row["row_id"], holds(condition, row, seen)) for row, seen in people]
    assert sorted(found) == expected


@settings(max_examples=40, deadline=None)
@given(event_filters(texts), st.integers(0, 2))
def test_a_mean_is_the_sum_of_what_is_stated_over_its_number(
    worlds: list[World], events: t.EventFilter, seed: int
) -> None:
    said = t.Exists(t.EventAttribute("amount", "number"))
    stated = replace(events, where=t.all_of([events.where, said]) if events.where else said)
    total, mean = (t.Aggregate(name, events, "amount") for name in ("sum", "mean"))
    ratio = t.Arithmetic(total, "/", t.Aggregate("count", stated))
    both = [t.Measure("mean", "", mean), t.Measure("ratio", "", ratio)]
    answers = measured(both, *worlds[seed].tables).to_pyarrow()
    assert answers["measure_mean"].to_pylist() == answers["measure_ratio"].to_pylist()
