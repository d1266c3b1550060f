"""Reasons gathered from columns, on numbers small enough to check by eye."""

import numpy as np
import pytest

from features.behavior.definitions import CategoryIs, Count, DaysSince, NumberAttribute
from features.time import Window
from training.errors import ColumnsDiffer, NotAdditive
from training.factors import check_additive, explain, importance, reasons_of

FEATURES = (
    Count("purchase", Window.parse("7d")).feature,
    DaysSince("purchase").feature,
    Count("purchase", Window.parse("30d")).feature,
    CategoryIs("country", "France", 1).feature,
    CategoryIs("country", None, 0).feature,
)
#              7d    since   30d   France  other
MATRIX = np.array(
    [
        [2.0, np.nan, 4.0, 1.0, 0.0],
        [0.0, 12.0, 1.0, 0.0, 1.0],
        [0.0, np.inf, 0.0, 0.0, 0.0],
    ]
)
#              7d    since   30d   France  other  base
CONTRIBUTIONS = np.array(
    [
        [0.25, -0.5, 0.50, 0.125, 0.125, -2.0],
        [-1.0, 0.0, -2.0, 0.75, -0.25, -2.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, -2.0],
    ]
)


def test_windows_are_one_reason_named_by_the_column_that_counts_most():
    first, second, third = explain(CONTRIBUTIONS, MATRIX, FEATURES).of(0)
    assert first == {
        "code": "purchase_count",
        "label": "Number of purchase events in the last 30 days",
        "value": 4.0,
        "value_text": "4 events",
        "direction": "raises",
        "contribution": 0.75,
        "importance_share": 0.5,
        "importance": "high",
    }
    assert (second["code"], second["value"]) == ("days_since_purchase", None)
    assert second["value_text"] == "never"
    assert (second["direction"], second["importance_share"]) == ("lowers", 0.5 / 1.5)
    assert (third["label"], third["value"]) == ("Country is France", 1.0)
    assert (third["contribution"], third["importance"]) == (0.25, "medium")


def test_an_attribute_names_the_value_the_person_has_even_if_another_column_counts_more():
    factors = explain(CONTRIBUTIONS, MATRIX, FEATURES).of(1)
    assert [(each["code"], each["contribution"]) for each in factors] == [
        ("purchase_count", -3.0),
        ("profile_country", 0.5),
    ]
    assert factors[1]["label"] == "Country is other"


def test_the_naming_column_may_be_one_that_lowers():
    found = explain(CONTRIBUTIONS, MATRIX, FEATURES).of(1)[0]
    assert (found["label"][-7:], found["value"]) == ("30 days", 1.0)


def test_an_unknown_attribute_carries_its_own_label_and_no_value():
    contributions = np.array([[0.0, 0.0, 0.0, 0.3, 0.1, -1.0]])
    (found,) = explain(contributions, MATRIX[2:], FEATURES).of(0)
    assert (found["label"], found["value"]) == ("Country", None)
    assert found["value_text"] == "unknown"


def test_what_contributes_nothing_is_left_out():
    factors = explain(CONTRIBUTIONS, MATRIX, FEATURES)
    assert factors.of(2) == []
    assert factors.base.tolist() == [-2.0] * 3
    assert "days_since_purchase" not in [each["code"] for each in factors.of(1)]


def test_the_rest_is_what_the_top_leaves():
    factors = explain(CONTRIBUTIONS, MATRIX, FEATURES, top=1)
    assert factors.contribution[:, 0].tolist() == [0.75, -3.0, 0.0]
    assert factors.rest.tolist() == [-0.25, 0.5, 0.0]


def test_equal_reasons_are_ordered_by_code():
    contributions = np.array([[0.0, -0.5, 0.5, 0.5, 0.0, 0.0]])
    codes = [each["code"] for each in explain(contributions, MATRIX[:1], FEATURES).of(0)]
    assert codes == ["days_since_purchase", "profile_country", "purchase_count"]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([75, 25], ["high", "high"]),
        ([90, 10], ["high", "medium"]),
        ([91, 9], ["high", "low"]),
    ],
)
def test_importance_is_high_from_a_quarter_and_medium_from_a_tenth(shares, expected):
    features = (NumberAttribute("age").feature, NumberAttribute("height").feature)
    contributions = np.array([[*shares, 0.0]], dtype=np.float64)
    factors = explain(contributions, np.zeros((1, 2)), features).of(0)
    assert [each["importance"] for each in factors] == expected


def test_the_table_says_what_the_single_answers_say():
    factors = explain(CONTRIBUTIONS, MATRIX, FEATURES, top=2)
    lines = factors.table().to_pylist()
    places = [(line.pop("row"), line.pop("rank")) for line in lines]
    assert places == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert lines == [*factors.of(0), *factors.of(1)]


def test_the_table_states_its_types_even_when_empty():
    table = explain(CONTRIBUTIONS[:0], MATRIX[:0], FEATURES).table()
    assert [str(field.type) for field in table.schema] == [
        "int64", "int8", "string", "string", "double", "string", "string", "double", "double",
        "string",
    ]  # fmt: skip


def test_global_importance_adds_up_to_one_largest_first():
    found = importance(CONTRIBUTIONS, FEATURES)
    # purchase .75 + 3, country .25 + .5, days since .5: of 5 in all.
    assert list(found.values()) == pytest.approx([3.75 / 5, 0.75 / 5, 0.5 / 5])
    assert next(iter(found)) == "Number of purchase events"


def test_contributions_that_do_not_add_up_are_refused():
    margin = CONTRIBUTIONS.sum(axis=1)
    check_additive(CONTRIBUTIONS, margin + 5e-10)
    margin[1] += 1e-8
    with pytest.raises(NotAdditive, match="1 of 3 rows do not add up to the margin; row 1 has"):
        check_additive(CONTRIBUTIONS, margin)
    with pytest.raises(NotAdditive, match="row 0"):
        check_additive(CONTRIBUTIONS, np.full(3, np.nan))


def test_shapes_that_disagree_are_refused():
    with pytest.raises(ColumnsDiffer, match="has 4 columns and the contributions 6"):
        explain(CONTRIBUTIONS, MATRIX[:, :4], FEATURES)


def test_reasons_come_by_code_with_their_columns():
    found = [(each.code, each.columns, each.one_hot) for each in reasons_of(FEATURES)]
    assert found == [
        ("days_since_purchase", (1,), False),
        ("profile_country", (3, 4), True),
        ("purchase_count", (0, 2), False),
    ]
