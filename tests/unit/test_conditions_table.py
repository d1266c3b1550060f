"""What each condition answers for three people: exact edges, nulls, and text that stays text."""

from __future__ import annotations

from decimal import Decimal

import ibis
import pyarrow as pa
import pytest

from features.conditions import Vocabulary, parse
from features.conditions.table import matches
from features.time import MICROS_PER_DAY

MONEY = pa.decimal128(18, 4)
AS_OF = 1_700_000_000_000_000
HOSTILE = [
    "Robert'); DROP TABLE history;--", 'say "hi"', "back\\slash", "\\", "'", "''", "%", "_",
    "{country}", "$1", ":name", "?", "é\u00a0\U0001f600", "two\nlines", "-- x", "/*",
]  # fmt: skip
VOCABULARY = Vocabulary(
    events={"purchase": {"amount": "number", "product": "text"}, "view": {}, "cart": {}},
    attributes={"country": "text", "age": "number", "born": "date", "vip": "boolean"},
    identities=frozenset({"email"}),
    goals=frozenset({"churn"}),
    segments=frozenset({"win_back"}),
)


def money(*amounts: str | None) -> pa.Array:
    return pa.array([None if amount is None else Decimal(amount) for amount in amounts], MONEY)


# Person 1 has everything, person 2 nothing but unknowns and no history, person 3 one odd event.
SPINE = pa.table(
    {
        "row_id": [1, 2, 3],
        "as_of": [AS_OF, AS_OF, AS_OF],
        "profile_country": ["France", None, "Île-de-France"],
        "profile_age": money("30.5", None, "-1"),
        "profile_born": pa.array([0, None, -1], pa.int64()),
        "profile_vip": [True, None, False],
        "identity_email": [True, None, False],
        "segment_win_back": [True, None, False],
        "churn_score": [75.0, None, 0.1],
        "churn_percentile": pa.array([90, None, 1], pa.int32()),
        "churn_bucket": ["high", None, "low"],
        "churn_raises": [["days_since_purchase"], None, []],
        "churn_lowers": [[], None, ["tenure_days", None]],
    }
)
HISTORY = pa.table(
    {
        "row_id": [1, 1, 1, 1, 3],
        "as_of": [AS_OF] * 5,
        "event_type": ["purchase", "purchase", "purchase", "view", "purchase"],
        "event_time": [
            AS_OF - 30 * MICROS_PER_DAY - 1, AS_OF - 30 * MICROS_PER_DAY, AS_OF - MICROS_PER_DAY,
            AS_OF - 1, AS_OF - 1,
        ],
        "local_day": pa.array([70, 70, 99, 100, 100], pa.int32()),
        "attr_amount": money("0.1", "0.2", "99999999999999.9999", None, None),
        "attr_product": ["a", "a", "b", None, None],
    }
)  # fmt: skip


def who(written: str) -> set[int]:
    """The row ids a condition holds for; every spine row is answered, none with null."""
    spine, history = ibis.memtable(SPINE), ibis.memtable(HISTORY)
    answers = ibis.duckdb.connect(threads=1).to_pyarrow(
        matches(parse(written, VOCABULARY), spine, history)
    )
    rows = dict(zip(answers["row_id"].to_pylist(), answers["matches"].to_pylist(), strict=True))
    assert rows.keys() == {1, 2, 3} and None not in rows.values()
    return {row_id for row_id, held in rows.items() if held}


HELD = [
    # A look-back of 30d is [as_of - 30d, as_of): one microsecond earlier is outside.
    ("count(purchase in last 30d) = 2", {1}),
    ("count(purchase) = 3", {1}),
    ("count(purchase in last 30d) = 0", {2}),
    ("count(purchase) > 0.5", {1, 3}),
    ("any(view)", {1}),
    ("not any(view)", {2, 3}),
    # Sums are exact: no float would tell these apart.
    ("sum(purchase.amount in last 1d) = 99999999999999.9999", {1}),
    ("sum(purchase.amount in last 1d) = 99999999999999.9998", set()),
    ("sum(purchase.amount) >= 99999999999999", {1}),
    ("sum(purchase.amount where product = 'a') = 0.3", {1}),
    ("sum(purchase.amount where product = 'a') > 0.299999999", {1}),
    ("sum(purchase.amount) = 0", {2, 3}),
    # The mean of 0.1 and 0.2 is the double nearest to 3000 / 20000.
    ("mean(purchase.amount where product = 'a') = 0.15", {1}),
    ("mean(purchase.amount where product = 'a') > 0.15", set()),
    ("mean(purchase.amount) < 1 or mean(purchase.amount) >= 1", {1}),
    ("min(purchase.amount) = 0.1", {1}),
    ("max(purchase.amount) > 99999999999999.9998", {1}),
    ("not max(purchase.amount) > 0", {2, 3}),
    ("distinct(purchase.product) = 2", {1}),
    ("distinct(purchase.product) = 0", {2, 3}),
    ("active_days(purchase) = 2", {1}),
    ("days_since(purchase) = 1", {1}),
    ("days_since(purchase) < 1", {3}),
    ("not days_since(purchase) < 1", {1, 2}),
    ("days_since(purchase where product = 'a') = 30", {1}),
    ("any(purchase where amount exists)", {1}),
    ("any(purchase where not amount > 0)", {3}),
    ("any(purchase where product starts with 'b' and amount > 1 in last 1d)", {1}),
    # Unknown makes an atom false, whatever the operator; `not` turns it.
    ("country = 'France'", {1}),
    ("country != 'France'", {3}),
    ("not country = 'France'", {2, 3}),
    ("country exists", {1, 3}),
    ("country contains 'France'", {1, 3}),
    ("country contains 'france'", set()),
    ("country starts with 'Î'", {3}),
    ("country in ('France', 'Spain')", {1}),
    ("country ends with 'rance'", {1, 3}),
    ("country ends with 'Rance'", set()),
    ("not country ends with 'x'", {1, 2, 3}),
    ("age between -1 and 30.5", {1, 3}),
    ("not age between 30.5 and 31", {2, 3}),
    # 2023-11-13T22:13:20Z is one day before as_of: since is included, before is not.
    ("any(purchase since date('2023-11-13T22:13:20Z'))", {1, 3}),
    ("any(purchase since date('2023-11-13T22:13:20.000001Z'))", {3}),
    ("count(purchase before date('2023-11-13T22:13:20Z')) = 2", {1}),
    ("count(purchase since date('2023-10-15T22:13:20Z') before date('2023-11-14')) = 2", {1}),
    ("not country in ('France', 'Spain')", {2, 3}),
    ("age > 30.4999", {1}),
    ("age in (30.5, -1)", {1, 3}),
    ("vip = true", {1}),
    ("vip = false", {3}),
    ("born < date('1970-01-01')", {3}),
    ("identity(email) exists", {1}),
    ("not identity(email) exists", {2, 3}),
    ("in_segment(win_back)", {1}),
    ("churn.score >= 75", {1}),
    ("churn.score = 0.1", {3}),
    ("churn.percentile > 0.5", {1, 3}),
    ("churn.bucket in ('high', 'medium')", {1}),
    ("churn.score exists", {1, 3}),
    ("factor(churn, days_since_purchase) = raises", {1}),
    ("not factor(churn, tenure_days) = lowers", {1, 2}),
]
"""A condition, and whom it holds for."""


@pytest.mark.parametrize(("written", "expected"), HELD)
def test_a_condition_holds_for(written: str, expected: set[int]) -> None:
    assert who(written) == expected


JOURNEYS = {
    # Person: what happened, and how many microseconds before as_of.
    1: [("view", 5 * MICROS_PER_DAY), ("purchase", 4 * MICROS_PER_DAY)],
    2: [("view", 5 * MICROS_PER_DAY), ("purchase", 4 * MICROS_PER_DAY - 1)],
    3: [("view", 5 * MICROS_PER_DAY), ("purchase", 5 * MICROS_PER_DAY)],
    4: [("purchase", 5 * MICROS_PER_DAY), ("view", MICROS_PER_DAY)],
    5: [("view", 9 * MICROS_PER_DAY), ("view", 2 * MICROS_PER_DAY), ("purchase", MICROS_PER_DAY),
        ("view", MICROS_PER_DAY - 1)],
    6: [],
    7: [("view", 9 * MICROS_PER_DAY), ("view", 5 * MICROS_PER_DAY),
        ("cart", 4 * MICROS_PER_DAY + 1), ("purchase", 4 * MICROS_PER_DAY)],
}  # fmt: skip


def journeys() -> tuple[pa.Table, pa.Table]:
    """The spine and the history of the journeys."""
    rows = [(row, name, AS_OF - ago) for row, seen in JOURNEYS.items() for name, ago in seen]
    history = pa.table(
        {
            "row_id": [row for row, _, _ in rows],
            "as_of": [AS_OF] * len(rows),
            "event_type": [name for _, name, _ in rows],
            "event_time": [moment for _, _, moment in rows],
        }
    )
    spine = pa.table({"row_id": list(JOURNEYS), "as_of": [AS_OF] * len(JOURNEYS)})
    return spine, history


FOUND = [
    # Later means later: at the same instant is no order. Just one day later is within 1d.
    ("sequence(view then purchase)", {1, 2, 5, 7}),
    ("sequence(purchase then view)", {4, 5}),
    ("sequence(view then purchase within 1d)", {1, 5, 7}),
    # Any view may begin the sequence, not the first or the last alone.
    ("sequence(view then view then purchase)", {5, 7}),
    ("sequence(view then view within 6d)", {5, 7}),
    ("sequence(view then purchase within 5d then view)", {5}),
    # Nothing must happen between a step and the next that did.
    ("sequence(view then not view then purchase)", {1, 2, 5, 7}),
    ("sequence(view then not purchase then view)", {5, 7}),
    ("sequence(view then not view within 6d then purchase)", {1, 2, 5, 7}),
    ("sequence(purchase then not purchase then view within 1s)", {5}),
    # An event that must be absent ends the span that it lies in, and no other.
    ("sequence(view then not cart then purchase)", {1, 2, 5}),
    ("sequence(view then not cart within 1d then purchase)", {1, 2, 5, 7}),
    ("sequence(view then not cart within 5d then purchase)", {1, 2, 5}),
    ("sequence(view then cart then purchase within 1s)", {7}),
    # At the end nothing must happen until as_of; within a time, that time must be over.
    ("sequence(view then not purchase)", {3, 4, 5}),
    ("sequence(view then not purchase within 1d)", {2, 3, 5, 7}),
    ("sequence(purchase then not view within 3d)", {1, 2, 3, 4, 7}),
    ("sequence(purchase then not view within 4d)", {3}),
    ("sequence(purchase then not view within 5d)", set()),
    ("not sequence(view then purchase)", {3, 4, 6}),
    # Limits of time are those of each event.
    ("sequence(view in last 5d then purchase)", {1, 2, 5, 7}),
    ("sequence(view in last 4d then purchase)", {5}),
    ("sequence(view then purchase before date('2023-11-10T22:13:20Z'))", set()),
    ("sequence(view then purchase before date('2023-11-10T22:13:20.000001Z'))", {1, 7}),
]
"""A sequence, and in whose journey it is found."""


@pytest.mark.parametrize(("written", "expected"), FOUND)
def test_a_sequence_is_found_in(written: str, expected: set[int]) -> None:
    spine, history = (ibis.memtable(table) for table in journeys())
    found = matches(parse(written, VOCABULARY), spine, history)
    answers = ibis.duckdb.connect(threads=1).to_pyarrow(found).to_pylist()
    assert {row["row_id"]: row["matches"] for row in answers} == {
        row: row in expected for row in JOURNEYS
    }


def hostile_tables(hostile: str) -> tuple[pa.Table, pa.Table]:
    """Person 1 has a text as their country and in all their events, person 2 has nothing of it."""
    spine = pa.table({"row_id": [1, 2], "as_of": [AS_OF] * 2, "profile_country": [hostile, "x"]})
    return spine, HISTORY.set_column(6, "attr_product", pa.array([hostile] * 5))


def hostile_conditions(hostile: str) -> list[str]:
    """Every test of a text, with this one as its literal."""
    quoted = '"' + hostile.replace("\\", "\\\\").replace('"', '\\"') + '"'
    tests = [f"= {quoted}", f"in ({quoted})", *(f"{test} {quoted}" for test in TEXT_TESTS)]
    return [f"country {test} and any(purchase where product {test})" for test in tests]


TEXT_TESTS = ("contains", "starts with", "ends with")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_in_a_literal_stays_text(hostile: str) -> None:
    spine, history = (ibis.memtable(table) for table in hostile_tables(hostile))
    for written in hostile_conditions(hostile):
        found = matches(parse(written, VOCABULARY), spine, history)
        answers = ibis.duckdb.connect(threads=1).to_pyarrow(found).to_pylist()
        assert {row["row_id"]: row["matches"] for row in answers} == {1: True, 2: False}


@pytest.mark.parametrize(
    "written",
    [
        " or ".join(["age < 1.5"] * 300),
        " and ".join(f"count(purchase in last {n}d) >= 0" for n in range(1, 90)),
        "not (age > 99 or " * 25 + "age > 98" + ")" * 25,
    ],
    ids=["long", "many windows", "deep"],
)
def test_the_largest_conditions_run(written: str) -> None:
    assert who(written) <= {1, 2, 3}


def test_all_aggregates_share_one_grouping() -> None:
    written = "count(purchase) > 1 and any(view in last 3d) or mean(purchase.amount) > 2"
    condition = parse(written, VOCABULARY)
    answers = matches(condition, ibis.memtable(SPINE), ibis.memtable(HISTORY))
    statement = str(ibis.to_sql(answers, dialect="duckdb"))
    assert (statement.count("GROUP BY"), statement.count("JOIN")) == (1, 1)


def test_a_condition_without_events_reads_no_history() -> None:
    answers = matches(
        parse("age > 1", VOCABULARY), ibis.memtable(SPINE), ibis.table(HISTORY.schema, "never_read")
    )
    assert "never_read" not in str(ibis.to_sql(answers, dialect="duckdb"))


def test_the_same_expression_is_written_for_spark() -> None:
    written = "any(purchase where product contains 'it\\'s \\\\' in last 3d) and country = 'a\\\\'"
    condition = parse(f"{written} and factor(churn, x) = raises", VOCABULARY)
    spine, history = ibis.memtable(SPINE), ibis.memtable(HISTORY)
    statement = str(ibis.to_sql(matches(condition, spine, history), dialect="pyspark"))
    assert "'a\\\\'" in statement
