"""What measures may say, what is answered to those that cannot be read, and where they stand."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, get_args

import ibis
import pyarrow as pa
import pytest

from features.conditions import ConditionError, Vocabulary, parse, text, uses, words
from features.conditions.exactness import exactness
from features.conditions.parser import parse_formula
from features.conditions.table import matches, measured
from features.conditions.text import formula_text, text_in_full
from features.conditions.tree import (
    Aggregate,
    Compare,
    EventFilter,
    Measure,
)
from features.errors import LikelierError, SettingsError
from features.measure_settings import Measure as MeasureSettings
from features.measure_settings import Template
from features.profiles.measures import (
    MeasureNameTaken,
    read_measures,
    value_text,
    with_attributes,
    with_measures,
)
from features.profiles.templates import TEMPLATES, keys_of
from features.project_file import parse as parse_project
from features.settings import Goal
from features.time import MICROS_PER_DAY, Window
from training.goals import BadGoal, canonical, compile_goal

NAMES = Vocabulary(
    events={
        "purchase": {"amount": "number", "product": "text"},
        "points": {"earned": "number", "redeemed": "number"},
        "Product Viewed": {"price": "number"},
    },
    attributes={
        "country": "text", "age": "number", "born": "date", "vip": "boolean", "joined": "date",
    },
)  # fmt: skip
SPEND = MeasureSettings(name="total_spend", label="Total spend", value="sum(purchase.amount)")
ORDER = MeasureSettings(
    name="average_order", template="average_transaction_value", event="purchase", amount="amount"
)
KNOWN = with_measures(NAMES, [SPEND, ORDER])


# Text and tree -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("sum(points.earned)-sum(points.redeemed)", "sum(points.earned) - sum(points.redeemed)"),
        ("(age)", "age"),
        ("1+(2+age)", "1 + (2 + age)"),
        ("(1+2)+age", "1 + 2 + age"),
        ("1 - (age - 3)", "1 - (age - 3)"),
        ("2*(age+1)/(3*age)", "2 * (age + 1) / (3 * age)"),
        ("age/2*3", "age / 2 * 3"),
        ("age -1", "age - 1"),
        ("age - -1", "age - -1"),
        ("-1.50 * age", "-1.5 * age"),
        ("mean(purchase.amount in last 4w where product = 'a')",
         'mean(purchase.amount where product = "a" in last 28d)'),
        ("count('Product Viewed')", 'count("Product Viewed")'),
        ("last(purchase.product)", "last(purchase.product)"),
        ("days_since_date(born) / 365.25", "days_since_date(born) / 365.25"),
        ("lifespan(purchase) + days_since_first(points)",
         "lifespan(purchase) + days_since_first(points)"),
        ("calendar_years(purchase) * calendar_months(purchase) - calendar_days(purchase)",
         "calendar_years(purchase) * calendar_months(purchase) - calendar_days(purchase)"),
    ],
)  # fmt: skip
def test_a_formula_has_one_canonical_spelling(written: str, canonical: str) -> None:
    formula = parse_formula(written, NAMES)
    assert formula_text(formula) == canonical
    assert parse_formula(canonical, NAMES) == formula


CASES = [
    # text, code, caret at, expected there, hint
    ("cont(purchase)", "unknown_name", 0, "a function", "'count'"),
    ("sum(purchas.amount)", "unknown_name", 4, "an event type", "'purchase'"),
    ("sum(purchase.amont)", "unknown_name", 13, "an attribute of `purchase`", "'amount'"),
    ("1 + ag", "unknown_name", 4, "a profile attribute", "'age'"),
    ("days_since(born)", "unknown_name", 11, "an event type", "days_since_date(born)"),
    ("days_since_date(purchase)", "unknown_name", 16, "a profile attribute", "Known here"),
    ("sum(purchase.product)", "type_mismatch", 13, "sum(purchase.amount", "Write sum"),
    ("1 + last(purchase.product)", "type_mismatch", 4, "a number", "distinct"),
    ("last(purchase.product) * 2", "type_mismatch", 0, "a number", "distinct"),
    ("country", "type_mismatch", 0, "a number", "distinct"),
    ("2 * vip", "type_mismatch", 4, "a number", "distinct"),
    ("born", "type_mismatch", 0, "a number", "days_since_date(born)"),
    ("days_since_date(age)", "type_mismatch", 16, "days_since_date(birth_date)", "Write days_"),
    ("any(purchase)", "type_mismatch", 0, "any(purchase", "Write any"),
    ("1 + identity(email)", "type_mismatch", 4, "identity(email) exists", "Write identity"),
    ("count(purchase) / 0", "condition_syntax", 18, "another number", ""),
    ("count(purchase) / -0.00", "condition_syntax", 18, "another number", ""),
    ("", "condition_syntax", 0, "a name, a number or `(`", ""),
    ("age +", "condition_syntax", 5, "a name, a number or `(`", ""),
    ("+ age", "condition_syntax", 0, "a name, a number or `(`", ""),
    ("(age", "condition_syntax", 4, "`)`", ""),
    ("age)", "condition_syntax", 3, "the end", ""),
    ("age age", "condition_syntax", 4, "`+`, `-`, `*`, `/`", ""),
    ("age > 3", "condition_syntax", 4, "the end", ""),
    ("'age'", "condition_syntax", 0, "a name, a number or `(`", ""),
    ("sum(purchase)", "condition_syntax", 12, "sum(purchase.amount", "Write sum"),
    ("lifespan(purchase.amount)", "condition_syntax", 18, "lifespan(purchase)", "Write"),
    ("days_since_date(born in last 3d)", "condition_syntax", 16, "days_since_date(", "Write"),
    ("age * 123456789012345", "condition_syntax", 6, "a number", "14 digits"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "code", "position", "expected", "hint"), CASES)
def test_an_error_says_where_and_what_was_expected(
    written: str, code: str, position: int, expected: str, hint: str
) -> None:
    with pytest.raises(ConditionError, match=rf"line 1, column {position + 1}\)\n") as caught:
        parse_formula(written, NAMES)
    error = caught.value
    assert (error.code, error.details["position"]) == (code, position)
    assert expected in str(error.details["expected"])
    assert hint in error.hint


@pytest.mark.parametrize(
    ("written", "code", "position"),
    [
        ("age + " * 700 + "age", "too_long", 4_000),
        ("(" * 51 + "age" + ")" * 51, "too_deep", 50),
        (" + ".join(["age"] * 52), "too_deep", 304),
        ("(age * 2 - 1) / " * 17 + "age", "too_deep", 270),
    ],
)
def test_length_depth_and_signs_are_capped(written: str, code: str, position: int) -> None:
    with pytest.raises(ConditionError, match="at most") as caught:
        parse_formula(written, NAMES)
    assert (caught.value.code, caught.value.details["position"]) == (code, position)


LARGEST = {
    "sum": " + ".join(["sum(purchase.amount)"] * 51),
    "ratios": " / ".join(["sum(purchase.amount)"] * 51),
    "products": " * ".join(["lifespan(purchase)"] * 51),
    "mixed": "(" * 49 + "age" + " - 0.5) * 1.5" * 24 + ")" * 25,
}


@pytest.mark.parametrize("written", LARGEST.values(), ids=LARGEST)
def test_the_largest_measures_are_read_in_time_and_run(written: str) -> None:
    begun = time.thread_time()
    formula = parse_formula(written, NAMES)
    assert time.thread_time() - begun < 0.2
    spine = ibis.memtable(pa.table({"row_id": [1], "as_of": [1], "profile_age": money(30)}))
    history = ibis.memtable(
        pa.table(
            {
                "row_id": [1, 1], "as_of": [10**15] * 2, "event_type": ["purchase"] * 2,
                "event_time": [0, 86_400_000_000], "local_day": pa.array([0, 1], pa.int32()),
                "attr_amount": money(2, 3),
            }
        )
    )  # fmt: skip
    answers = ibis.duckdb.connect(threads=1).to_pyarrow(
        measured([Measure("m", "m", formula)], spine, history)
    )
    (found,) = answers["measure_m"].to_pylist()
    expected = {"sum": 255, "ratios": 5.0**-49, "products": 1.0}
    name = next(name for name, value in LARGEST.items() if value == written)
    assert float(found) == pytest.approx(float(expected[name])) if name in expected else found


def money(*amounts: float | str | None) -> pa.Array:
    return pa.array([a if a is None else Decimal(a) for a in amounts], pa.decimal128(18, 4))


# Values ------------------------------------------------------------------------------------------


SPINE = pa.table(
    {
        "row_id": [1, 2],
        "as_of": [100 * MICROS_PER_DAY] * 2,
        "profile_age": money("30.5", None),
        "profile_born": pa.array([-MICROS_PER_DAY, None], pa.int64()),
    }
)
HISTORY = pa.table(
    {
        "row_id": [1, 1, 1, 1],
        "as_of": [100 * MICROS_PER_DAY] * 4,
        "event_type": ["purchase"] * 4,
        "event_time": [day * MICROS_PER_DAY for day in (10, 10, 40, 40)],
        "local_day": pa.array([10, 10, 40, 40], pa.int32()),
        "attr_amount": money("0.1", "0.2", "5", None),
        "attr_product": ["a", "b", "c", "d"],
    }
)


@pytest.mark.parametrize(
    ("written", "one", "two"),
    [
        # A tie of first is decided by the greatest value; an event that does not say is skipped.
        ("first(purchase.amount)", Decimal("0.2"), None),
        ("last(purchase.amount)", Decimal(5), None),
        ("first(purchase.product)", "b", None),
        ("last(purchase.product)", "d", None),
        ("lifespan(purchase)", 30.0, None),
        ("days_since_first(purchase)", 90.0, None),
        ("days_since_date(born)", 101.0, None),
        ("calendar_days(purchase)", 31, 0),
        # 11 January and 10 February 1970.
        ("calendar_months(purchase)", 2, 0),
        ("calendar_years(purchase)", 1, 0),
        ("age", Decimal("30.5"), None),
        ("7", Decimal(7), Decimal(7)),
        # Exact where a float64 would not be: 0.1 + 0.2 and 3 * 0.1.
        ("sum(purchase.amount where amount < 1)", Decimal("0.3"), Decimal(0)),
        ("3 * 0.1", Decimal("0.3"), Decimal("0.3")),
        ("count(purchase) * 0.1 - 0.4", Decimal(0), Decimal("-0.4")),
        # One float64 division of whole numbers: 3000 / 20000.
        ("sum(purchase.amount where amount < 1) / 2", 0.15, 0.0),
        ("sum(purchase.amount) / count(purchase)", 1.325, None),
        ("1 / (count(purchase) - 4)", None, -0.25),
        ("1 / lifespan(purchase where product = 'd')", None, None),
        ("age + sum(purchase.amount)", Decimal("35.8"), None),
        ("mean(purchase.amount) - 1", 5.3 / 3 - 1, None),
        ("lifespan(purchase) * 0.1", 3.0, None),
        # Too large for 38 digits: float64. Too large for a float64: not defined.
        ("sum(purchase.amount) * sum(purchase.amount)", 5.3 * 5.3, 0.0),
        (" * ".join(["1000000000000 * lifespan(purchase)"] * 25), None, None),
    ],
)
def test_a_formula_is_worth(written: str, one: object, two: object) -> None:
    measure = Measure("m", "it", parse_formula(written, NAMES))
    answers = ibis.duckdb.connect(threads=1).to_pyarrow(
        measured([measure], ibis.memtable(SPINE), ibis.memtable(HISTORY)).order_by("row_id")
    )
    assert answers["measure_m"].to_pylist() == [one, two]


def test_what_is_exact_is_told_from_the_formula_alone() -> None:
    for written in ("sum(purchase.amount) * 0.01 + count(purchase)", "age - 3.25", "7"):
        assert exactness(parse_formula(written, NAMES)), written
    for written in ("age / 2", "lifespan(purchase) + 1", "sum(points.earned) * sum(points.earned)"):
        assert exactness(parse_formula(written, NAMES)) is None, written


def test_a_measure_is_written_for_spark() -> None:
    formula = parse_formula("(last(purchase.amount) + 1) / calendar_months(purchase) * 2", NAMES)
    table = measured([Measure("m", "it", formula)], ibis.memtable(SPINE), ibis.memtable(HISTORY))
    statement = str(ibis.to_sql(table, dialect="pyspark"))
    assert "STRUCT(" in statement and "`measure_m`" in statement


# In conditions -----------------------------------------------------------------------------------


def test_a_name_stands_for_the_measure_and_carries_what_it_is_made_of() -> None:
    condition = parse("total_spend>500", KNOWN)
    spend = Aggregate("sum", EventFilter("purchase"), "amount")
    assert condition == Compare(Measure("total_spend", "Total spend", spend), ">", Decimal(500))
    assert text(condition) == "total_spend > 500"
    assert text_in_full(condition) == "total_spend > 500 with total_spend = sum(purchase.amount)"
    assert words(condition) == "Total spend is more than 500"
    assert words(parse("not average_order exists", KNOWN)) == "average order is not known"


def test_what_a_condition_uses_is_seen_through_its_measures() -> None:
    balance = MeasureSettings(
        name="balance",
        value="sum(points.earned where redeemed > 0) - 2 * age * days_since(purchase)",
    )
    seen = MeasureSettings(name="member", template="membership_duration", since="joined")
    used = uses(parse("balance > 3 and not member < 9", with_measures(NAMES, [balance, seen])))
    assert used.events == {"points", "purchase"}
    assert used.event_attributes == {("points", "earned"), ("points", "redeemed")}
    assert used.attributes == {"age", "joined"}
    assert used.measures == {"balance", "member"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("total_spend = 5.3", {1}),
        ("total_spend in (5.3, 0)", {1, 2}),
        ("total_spend >= 0", {1, 2}),
        ("average_order exists", {1}),
        ("not average_order < 100", {2}),
        ("average_order != 2", {1}),
        ("latest = 'd'", {1}),
        ("latest contains 'd' or latest starts with 'x'", {1}),
        ("not latest = 'x'", {1, 2}),
        ("last(purchase.product where amount exists) = 'c'", {1}),
        ("first(purchase.amount) in (0.2, 7)", {1}),
        ("lifespan(purchase) >= 30 and calendar_months(purchase) = 2", {1}),
        ("days_since_date(born) > 100", {1}),
        ("not days_since_date(born) exists", {2}),
    ],
)
def test_a_condition_of_measures_holds_for(written: str, expected: set[int]) -> None:
    latest = MeasureSettings(name="latest", value="last(purchase.product)")
    condition = parse(written, with_measures(NAMES, [SPEND, ORDER, latest]))
    answers = ibis.duckdb.connect(threads=1).to_pyarrow(
        matches(condition, ibis.memtable(SPINE), ibis.memtable(HISTORY))
    )
    rows = zip(answers["row_id"].to_pylist(), answers["matches"].to_pylist(), strict=True)
    assert {row_id for row_id, held in rows if held} == expected


@pytest.mark.parametrize(
    ("written", "code", "hint"),
    [
        ("totl_spend > 3", "unknown_name", "'total_spend'"),
        ("total_spend = 'x'", "type_mismatch", "number"),
        ("total_spend contains 'x'", "type_mismatch", "text attributes"),
        ("count(total_spend) > 3", "unknown_name", "Known here"),
        ("any(purchase where total_spend > 3)", "unknown_name", "Known here"),
        ("total_spend + 3 > 4", "condition_syntax", ""),
    ],
)
def test_a_measure_is_a_number_of_the_person(written: str, code: str, hint: str) -> None:
    with pytest.raises(ConditionError, match=r"line 1, column \d+") as caught:
        parse(written, KNOWN)
    assert caught.value.code == code
    assert hint in caught.value.hint


def goal(**conditions: str) -> Goal:
    return Goal(
        name="churn", kind="churn", outcome_window=Window.parse("30d"),
        **({"outcome": "not any(purchase)"} | conditions),
    )  # fmt: skip


def test_goals_use_measures_and_their_versions_depend_on_what_those_are() -> None:
    asked = goal(outcome="average_order > 50", eligible="total_spend > 5")
    compiled = compile_goal(asked, KNOWN)
    assert compiled.event == "purchase"
    other = MeasureSettings(name="total_spend", value="sum(purchase.amount in last 30d)")
    changed = compile_goal(asked, with_measures(NAMES, [other, ORDER]))
    assert canonical(compiled)["eligible"] != canonical(changed)["eligible"]
    assert canonical(compiled)["outcome"] == canonical(changed)["outcome"]


def test_an_outcome_sees_through_a_measure_that_looks_beyond_its_window() -> None:
    for value in ("sum(purchase.amount in last 30d)", "count(purchase) * age"):
        names = with_measures(NAMES, [MeasureSettings(name="m", value=value)])
        with pytest.raises(BadGoal, match="looks beyond the outcome window"):
            compile_goal(goal(outcome="m > 3"), names)


def test_measures_of_undated_attributes_are_for_segments_only() -> None:
    joined = MeasureSettings(name="member", template="membership_duration", since="joined")
    names = with_measures(NAMES, [joined, SPEND])
    dated = with_attributes(names, {"age", "born"})
    assert set(dated.attributes) == {"age", "born"}
    assert set(dated.measures) == {"total_spend"}


# Settings ----------------------------------------------------------------------------------------


def test_every_template_is_a_setting_and_every_key_of_a_template_too() -> None:
    assert set(get_args(Template)) == set(TEMPLATES)
    keys = {key for values in TEMPLATES.values() for value in values for key in keys_of(value)}
    others = {"name", "label", "value", "template"}
    assert keys == set(MeasureSettings.model_fields) - others


@pytest.mark.parametrize("template", get_args(Template))
def test_every_template_stands_for_a_value_that_can_be_read(template: str) -> None:
    said = {"event": "purchase", "amount": "amount", "points": "amount", "earned": "amount",
            "redeemed": "redeemed", "redeemed_event": "points", "since": "born"}  # fmt: skip
    for value in TEMPLATES[template]:
        keys: dict[str, Any] = {key: said[key] for key in keys_of(value) if key in said}
        if template == "loyalty_points_balance":
            keys |= {"event": "points", "earned": "earned"}
        measure = MeasureSettings(name="m", template=template, **keys)  # type: ignore[arg-type]
        formula = parse_formula(value_text(measure), NAMES)
        assert formula_text(formula) == value_text(measure)


def test_an_event_name_of_a_template_is_quoted_where_it_is_no_plain_name() -> None:
    measure = MeasureSettings(
        name="m", template="transaction_count", event="Product Viewed", in_last=Window.parse("30d")
    )
    assert value_text(measure) == 'count("Product Viewed" in last 30d)'
    hostile = MeasureSettings(name="m", template="transaction_count", event='x") + count(purchase')
    assert formula_text(
        parse_formula(value_text(hostile), Vocabulary(events={'x") + count(purchase': {}}))
    ) == value_text(hostile)


def file(*measures: str) -> str:
    listed = "\n".join(f"  - {measure}" for measure in measures)
    return f"""
project: shop
sources:
  - {{name: log, kind: events, path: log.csv, event_time: t, event_type: e,
     identities: {{customer: c}}, profile: {{country: k}}}}
identity: {{namespaces: [{{name: customer, type: person}}]}}
goals: [{{name: churn, kind: churn, outcome: not any(buy), outcome_window: 30d}}]
segments: [{{name: vip, where: total > 3}}]
measures:
{listed}
"""


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ("{name: m}", "measures.0: m: needs either a value or a template"),
        ("{name: m, value: '1', template: transaction_count, event: x}", "either a value or a"),
        ("{name: m, value: '1', event: x}", "measures.0: m: event belongs to a template"),
        ("{name: m, template: transaction_count}", "transaction_count takes event \\(and in_last"),
        ("{name: m, template: transaction_count, event: x, amount: a}", "takes event"),
        ("{name: m, template: average_daily_revenue, event: x}", "takes event, amount"),
        ("{name: m, template: membership_duration, event: x, since: y}", "takes event or since"),
        ("{name: m, template: membership_duration, event: x, in_last: 3d}", "event or since"),
        ("{name: m, template: total, event: x}", "measures.0.template: Input should be 'average"),
        ("{name: m, valu: '1'}", "measures.0.valu: unknown key"),
        ("{name: M, value: '1'}", "measures.0.name: String should match pattern"),
        ("{name: m, template: transaction_count, event: x, in_last: 3x}", "not a length of time"),
        ("{name: churn, value: '1'}", "measures.churn: a goal has the name"),
        ("{name: vip, value: '1'}", "measures.vip: a segment has the name"),
        ("{name: customer, value: '1'}", "measures.customer: a namespace has the name"),
        ("{name: country, value: '1'}", "measures.country: a profile attribute has the name"),
    ],
)
def test_a_wrong_measure_is_refused_with_its_key(measure: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parse_project(file(measure))


def test_two_measures_have_two_names() -> None:
    with pytest.raises(SettingsError, match="measures: 'm' is there twice"):
        parse_project(file("{name: m, value: '1'}", "{name: m, value: '2'}"))


def test_what_the_data_says_of_measures_is_told_of_each() -> None:
    wrong = [
        MeasureSettings(name="purchase", value="age"),
        MeasureSettings(name="twice", value="2 * total_spend"),
        MeasureSettings(name="itself", value="itself + 1"),
        MeasureSettings(name="gone", template="transaction_count", event="purchas"),
        SPEND,
    ]
    found = read_measures(wrong, NAMES)
    problems = {n: each for n, each in found.items() if isinstance(each, LikelierError)}
    assert list(problems) == ["purchase", "twice", "itself", "gone"]
    assert isinstance(problems["purchase"], MeasureNameTaken)
    assert "events of type 'purchase'" in problems["purchase"].message
    for name in ("twice", "itself"):
        assert problems[name].message.startswith(f"measures.{name}.value: `")
        assert "not made of other measures" in problems[name].hint
    assert problems["gone"].message.startswith("measures.gone.template: `purchas` is not an event")
    assert "'purchase'" in problems["gone"].hint
    with pytest.raises(MeasureNameTaken, match=r"measures\.purchase"):
        with_measures(NAMES, wrong)
