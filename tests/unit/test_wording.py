"""Values in words: every unit, and what null means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.behavior import definitions as d
from features.time import Window
from training.wording import as_shown, said_number, said_value, said_values

WEEK, QUARTER = Window.parse("7d"), Window.parse("90d")


@pytest.mark.parametrize(
    ("definition", "value", "said"),
    [
        (d.Count("purchase", WEEK), 4.0, "4 events"),
        (d.Count("purchase", WEEK), 1.0, "1 event"),
        (d.Count("purchase", WEEK), 0.0, "0 events"),
        (d.ActiveDays("purchase", WEEK), 1.0, "1 day"),
        (d.Sum("purchase", "amount", QUARTER), 1250.5, "1,250"),
        (d.Sum("purchase", "amount", QUARTER), -12.345, "-12.3"),
        (d.Distinct("search", "term", WEEK), 3.0, "3 values"),
        (d.DaysSince("purchase"), 12.0, "12 days"),
        (d.DaysSince("purchase"), 0.04, "0.04 days"),
        (d.DaysSince("purchase"), float("nan"), "never"),
        (d.DaysSinceFirst("purchase"), None, "never"),
        (d.DaysSinceAttribute("birth_date"), 18_700.0, "51 years"),
        (d.DaysSinceAttribute("birth_date"), None, "unknown"),
        (d.DaysSinceAttribute("contract_start"), 400.0, "400 days"),
        (d.Gap("purchase", "ratio"), 2.5, "2.5 times"),
        (d.Gap("purchase", "mean"), 30.25, "30.2 days"),
        (d.Gap("purchase", "mean"), None, "never"),
        (d.Trend("purchase", WEEK, QUARTER), 0.0, "0 times"),
        (d.NumberAttribute("income"), 2_000_000.0, "2,000,000"),
        (d.NumberAttribute("income"), None, "unknown"),
        (d.NumberAttribute("income"), float("inf"), "unknown"),
        (d.CategoryIs("country", "France", 1), 1.0, "yes"),
        (d.CategoryIs("country", None, 0), 0.0, "no"),
        (d.ValueShare("search", "term", "shoe", 1, WEEK), 0.4, "40%"),
        (d.ValueShare("search", "term", "shoe", 1, WEEK), 1 / 3, "33.3%"),
        (d.ValueShare("search", "term", "shoe", 1, WEEK), None, "none seen"),
        (d.IdentityCount("cookie"), 1.0, "1 identity"),
        (d.IdentityCount("cookie"), 2.0, "2 identities"),
    ],
)
def test_a_value_is_said_with_its_unit(definition, value, said):
    assert said_value(definition.feature, value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (0.005, "0.005"), (0.0146, "0.015"), (0.25, "0.25"), (3.1, "3.1"), (99.96, "100"),
     (123.4, "123"), (-0.5, "-0.5"), (1e12, "1,000,000,000,000"), (10.0, "10"), (1e-7, "1e-07")],
)  # fmt: skip
def test_a_number_has_about_three_digits(value, said):
    assert said_number(value) == said


COLUMNS = (
    d.Count("purchase", WEEK).feature,
    d.DaysSince("purchase").feature,
    d.DaysSinceAttribute("birth_date").feature,
    d.CategoryIs("country", "France", 1).feature,
    d.Gap("purchase", "ratio").feature,
)
VALUES = st.one_of(st.floats(), st.floats(-1_000, 1_000), st.integers(0, 9).map(float))


@given(st.lists(st.tuples(st.integers(-1, len(COLUMNS) - 1), VALUES), max_size=30))
def test_many_values_are_said_as_each_is(pairs):
    column = np.array([column for column, _ in pairs], dtype=np.int64)
    value = np.array([value for _, value in pairs], dtype=np.float64)
    wanted = [
        "unknown" if column < 0 else said_value(COLUMNS[column], float(as_shown(np.float64(value))))
        for column, value in pairs
    ]
    assert said_values(COLUMNS, column, value).to_pylist() == wanted


@given(st.floats(-1e6, 1e6))
def test_what_is_shown_of_a_number_is_the_number(value):
    assert float(said_number(float(as_shown(np.float64(value)))).replace(",", "")) == pytest.approx(
        value, rel=0.05, abs=0
    )
