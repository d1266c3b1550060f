"""Laws of the condition language: text and tree say the same, and the table renderer is exact."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from features.conditions import Condition, ConditionError, Vocabulary, parse, text, words
from features.conditions import tree as t
from features.conditions.functions import AS_STATED, OF_EVENTS, OF_NUMBERS
from features.conditions.table import matches
from features.time import MICROS_PER_DAY, Window
from tests.oracles.conditions import holds

VOCABULARY = Vocabulary(
    events={
        "purchase": {"amount": "number", "product": "text"},
        'Größe "x" \\': {"amount": "number", "product": "text"},
    },
    attributes={"country": "text", "age": "number", "born": "date", "vip": "boolean", "in": "text"},
    identities=frozenset({"email"}),
    goals=frozenset({"churn"}),
    segments=frozenset({"win_back"}),
)
LONDON = ZoneInfo("Europe/London")
AS_OF = 1_698_622_200_000_000
"""Half past eleven of 29 October 2023 in London, a day of 25 hours."""
BORN = (AS_OF - 9_000 * MICROS_PER_DAY, -MICROS_PER_DAY)
NUMBERS = [Decimal(n) for n in ("0", "1", "2", "2.25", "1.125", "-3", "0.0001", "0.00005", "1.5")]
TEXTS = ["a", "b", "ab", "", "it's", "Robert'); DROP TABLE history;--", 'say "\\"', "%", "é\n"]

numbers = st.sampled_from(NUMBERS)
texts = st.sampled_from(TEXTS)
any_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9)
operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
windows = st.none() | st.sampled_from([Window.parse(text) for text in ("1d", "4w", "90m", "365d")])
DAYS = [
    length * MICROS_PER_DAY + shift for length in (1, 28, 365) for shift in (-1, 0, 1)
]  # fmt: skip
EDGES = [*DAYS, 1, 5_400_000_000, 5_400_000_001, 2 * MICROS_PER_DAY, 30 * MICROS_PER_DAY]
"""How long before as_of something happens: at, just before and just after every edge."""
moments = st.sampled_from(sorted(AS_OF - edge for edge in EDGES)).map(t.Instant)
spans = st.one_of(
    st.just((None, None)),
    st.just((None, None)),
    st.tuples(moments, st.none()),
    st.tuples(st.none(), moments),
    st.lists(moments, min_size=2, max_size=2, unique=True).map(
        lambda two: tuple(sorted(two, key=lambda moment: moment.micros))
    ),
)


def literals(kind: str, strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return {
        "text": strings,
        "number": numbers,
        "boolean": st.booleans(),
        "date": st.sampled_from([t.Instant(micros) for micros in BORN]),
    }[kind]


@st.composite
def value_tests(
    draw: st.DrawFn, values: st.SearchStrategy[Any], strings: st.SearchStrategy[str]
) -> Condition:
    value = draw(values)
    ordered = value.kind in ("number", "date")
    literal = literals(value.kind, strings)
    if isinstance(value, t.Score) and value.field == "bucket":
        literal = st.sampled_from(["low", "medium", "high"])
    signs = operators if ordered else st.just("=")
    several = st.lists(literal, min_size=1, max_size=3).map(tuple)
    shapes: list[st.SearchStrategy[Condition]] = [
        st.builds(t.Compare, st.just(value), signs, literal),
        st.builds(t.In, st.just(value), several),
    ]
    if not isinstance(value, t.Aggregate):
        shapes.append(st.just(t.Exists(value)))
    if value.kind == "text" and not isinstance(value, t.Score):
        shapes += [
            st.builds(kind, st.just(value), strings)
            for kind in (t.Contains, t.StartsWith, t.EndsWith)
        ]
        shapes.append(st.builds(t.Compare, st.just(value), st.just("!="), literal))
    return draw(st.one_of(shapes))


def joined(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, min_size=2, max_size=4).map(t.all_of),
            st.lists(inner, min_size=2, max_size=4).map(t.any_of),
            inner.map(t.Not),
        ),
        max_leaves=6,
    )


def event_filters(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.EventFilter]:
    attributes = [t.EventAttribute("amount", "number"), t.EventAttribute("product", "text")]
    where = joined(value_tests(st.sampled_from(attributes), strings))
    names = st.sampled_from(sorted(VOCABULARY.events))
    return st.tuples(names, st.none() | where, windows, spans).map(
        lambda parts: t.EventFilter(*parts[:3], *parts[3])
    )


def sequences(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.Sequence]:
    filters = event_filters(strings)
    # Most steps without limits of their own, or hardly any sequence would ever be found.
    plain = st.builds(t.EventFilter, st.sampled_from(sorted(VOCABULARY.events)))
    events = st.one_of(plain, plain, filters)
    later = st.builds(t.Step, events, windows, st.sampled_from([True, True, False]))
    first = st.builds(t.Step, events)
    return st.tuples(first, st.lists(later, min_size=1, max_size=3)).map(
        lambda parts: t.Sequence((parts[0], *parts[1]))
    )


def aggregates(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.Aggregate]:
    return st.one_of(number_aggregates(strings), text_aggregates(strings))


def text_aggregates(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.Aggregate]:
    name, of, kind = st.sampled_from(AS_STATED), st.just("product"), st.just("text")
    return st.builds(t.Aggregate, name, event_filters(strings), of, kind)


def number_aggregates(strings: st.SearchStrategy[str]) -> st.SearchStrategy[t.Aggregate]:
    filters = event_filters(strings)
    of_events = st.sampled_from(OF_EVENTS)
    of_numbers = st.sampled_from([*OF_NUMBERS, *AS_STATED, "distinct"])
    return st.one_of(
        st.builds(t.Aggregate, of_events, filters),
        st.builds(t.Aggregate, of_numbers, filters, st.just("amount")),
        st.builds(t.Aggregate, st.just("distinct"), filters, st.just("product")),
    )


def conditions(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Condition]:
    columns = [t.Attribute(name, kind) for name, kind in VOCABULARY.attributes.items()]
    scores = [t.Score("churn", field) for field in ("score", "probability", "percentile", "bucket")]
    directions = st.sampled_from(["raises", "lowers"])
    leaves = st.one_of(
        value_tests(aggregates(strings), strings),
        value_tests(st.sampled_from([*columns, *scores, t.DaysSinceDate("born")]), strings),
        st.builds(t.AnyEvent, event_filters(strings)),
        sequences(strings),
        st.just(t.HasIdentity("email")),
        st.just(t.InSegment("win_back")),
        st.builds(t.Factor, st.just("churn"), st.sampled_from("rs"), directions),
    )
    return joined(leaves)


# --- text and tree ------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(conditions(any_texts))
def test_canonical_text_parses_back_to_the_same_tree(condition: Condition) -> None:
    written = text(condition)
    assume(len(written) <= 4_000)
    again = parse(written, VOCABULARY)
    assert again == condition
    assert text(again) == written
    assert words(again) == words(condition) != ""


PIECES = [
    "count", "any", "sum", "purchase", "purchase.amount", "country", "age", "churn.score", "factor",
    "sequence(", "then", "within 1d", "since date('2024-01-01')", "before", "between", "ends with",
    "and", "or", "not", "in", "last", "where", "contains", "starts with", "exists", "date", "true",
    "(", ")", ",", ".", "=", "!=", "<", ">=", "30d", "0d", "7", "-1.5", '"a"', "'b'", '"', "'",
    "\\", "\n", "é", "\0", "any(purchase)", "age > 3", 'country = "x"', "churn.bucket", "raises",
]  # fmt: skip


@settings(max_examples=1_200, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join) | st.text(max_size=60))
def test_any_text_is_a_condition_or_a_condition_error(anything: str) -> None:
    try:
        condition = parse(anything, VOCABULARY)
    except ConditionError as error:
        assert 0 <= error.details["position"] <= len(anything)  # type: ignore[operator]
        assert error.details["expected"]
    else:
        assert parse(text(condition), VOCABULARY) == condition


@settings(max_examples=150, deadline=None)
@given(conditions(any_texts), st.data())
def test_a_damaged_condition_is_a_condition_or_a_condition_error(
    condition: Condition, data: st.DataObject
) -> None:
    written = text(condition)
    place = data.draw(st.integers(0, len(written)))
    damage = data.draw(st.sampled_from([*PIECES, ""]))
    try:
        parse(written[:place] + damage + written[place + 1 :], VOCABULARY)
    except ConditionError as error:
        assert error.details["line"] >= 1  # type: ignore[operator]


# --- table renderer -----------------------------------------------------------------------------

MONEY = pa.decimal128(18, 4)
SPINE = pa.schema(
    {
        "row_id": pa.int64(), "as_of": pa.int64(), "profile_country": pa.string(),
        "profile_in": pa.string(), "profile_age": MONEY, "profile_born": pa.int64(),
        "profile_vip": pa.bool_(), "identity_email": pa.bool_(), "segment_win_back": pa.bool_(),
        "churn_score": pa.float64(), "churn_probability": pa.float64(),
        "churn_percentile": pa.int32(), "churn_bucket": pa.string(),
        "churn_raises": pa.list_(pa.string()), "churn_lowers": pa.list_(pa.string()),
    }
)  # fmt: skip
HISTORY = pa.schema(
    {
        "row_id": pa.int64(), "as_of": pa.int64(), "event_type": pa.string(),
        "event_time": pa.int64(), "local_day": pa.int32(), "local_hour": pa.int8(),
        "attr_amount": MONEY, "attr_product": pa.string(),
    }
)  # fmt: skip

AMOUNTS = [
    None, *map(Decimal, ("0", "1", "1.125", "2.25", "-3", "0.0001", "1.5", "99999999999999.9999"))
]  # fmt: skip


@dataclass(frozen=True, repr=False)
class World:
    """Random people with random events on and around every edge."""

    spine: list[dict[str, Any]]
    events: list[list[dict[str, Any]]]
    tables: tuple[ir.Table, ir.Table]


def person(chance: random.Random, row_id: int) -> dict[str, Any]:
    choices: dict[str, list[Any]] = {
        "as_of": [AS_OF, AS_OF + 1], "profile_country": [None, *TEXTS],
        "profile_in": [None, *TEXTS], "profile_age": AMOUNTS, "profile_born": [None, *BORN],
        "profile_vip": [None, True, False], "identity_email": [None, True, False],
        "segment_win_back": [None, True, False], "churn_score": [None, 0.0, 1.5, 2.25],
        "churn_probability": [None, 0.0001, 1.0, 0.00005], "churn_percentile": [None, 1, 2],
        "churn_bucket": [None, "low", "high"], "churn_raises": [None, [], ["r", None, "s"]],
        "churn_lowers": [None, ["s", "x"], ["r"]],
    }  # fmt: skip
    return {"row_id": row_id} | {name: chance.choice(known) for name, known in choices.items()}


def local_day(micros: int) -> int:
    """The day on the clocks of a zone that puts them forward and back."""
    moment = datetime.fromtimestamp(micros // 1_000_000, LONDON)
    return moment.toordinal() - date(1970, 1, 1).toordinal()


def event(chance: random.Random, row: dict[str, Any]) -> dict[str, Any]:
    happened = row["as_of"] - chance.choice(EDGES)
    return {
        "row_id": row["row_id"],
        "as_of": row["as_of"],
        "event_type": chance.choice([*VOCABULARY.events, "other"]),
        "event_time": happened,
        "local_day": local_day(happened),
        "local_hour": datetime.fromtimestamp(happened // 1_000_000, LONDON).hour,
        "attr_amount": chance.choice(AMOUNTS),
        "attr_product": chance.choice([None, *TEXTS]),
    }


def world(connection: ibis.BaseBackend, seed: int) -> World:
    chance = random.Random(seed)
    spine = [person(chance, 7 * i) for i in range(80)]
    seen = [[event(chance, row) for _ in range(chance.choice([0, 1, 2, 6, 12]))] for row in spine]
    history = [row for rows in seen for row in rows]
    tables = (
        connection.create_table(f"spine_{seed}", pa.Table.from_pylist(spine, SPINE)),
        connection.create_table(f"history_{seed}", pa.Table.from_pylist(history, HISTORY)),
    )
    return World(spine, seen, tables)


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    connection = ibis.duckdb.connect(threads=1)
    return [world(connection, seed) for seed in range(3)]


def assert_the_table_agrees(condition: Condition, world: World) -> None:
    answers = matches(condition, *world.tables).to_pyarrow()
    assert answers.schema.types == [pa.int64(), pa.bool_()]
    found = zip(answers["row_id"].to_pylist(), answers["matches"].to_pylist(), strict=True)
    expected = zip(world.spine, world.events, strict=True)
    assert sorted(found) == [(row["row_id"], holds(condition, row, seen)) for row, seen in expected]


@settings(max_examples=150, deadline=None)
@given(value_tests(aggregates(texts), texts), st.integers(0, 2))
def test_table_counts_what_the_plain_evaluator_counts(
    worlds: list[World], condition: Condition, seed: int
) -> None:
    assert_the_table_agrees(condition, worlds[seed])


@settings(max_examples=80, deadline=None)
@given(conditions(texts), st.integers(0, 2))
def test_table_says_what_the_plain_evaluator_says(
    worlds: list[World], condition: Condition, seed: int
) -> None:
    assert_the_table_agrees(condition, worlds[seed])


@settings(max_examples=80, deadline=None)
@given(joined(sequences(texts)), st.integers(0, 2))
def test_the_table_finds_the_sequences_that_trying_every_choice_finds(
    worlds: list[World], condition: Condition, seed: int
) -> None:
    assert_the_table_agrees(condition, worlds[seed])
