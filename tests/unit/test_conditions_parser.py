"""What conditions may say, and what is answered to those that cannot be read."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from features.conditions import ConditionError, Vocabulary, events_used, parse, text, uses, words
from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Attribute,
    Compare,
    Contains,
    EventAttribute,
    EventFilter,
    Factor,
    HasIdentity,
    InSegment,
    Instant,
    Not,
    Or,
    Score,
    Sequence,
    Step,
)
from features.time import Window

TRAINING = Vocabulary(
    events={
        "purchase": {"amount": "number", "product": "text"},
        "search": {"term": "text"},
        "Product Viewed": {"price": "number"},
        "view": {"page": "text"},
        "cart": {},
    },
    attributes={"country": "text", "age": "number", "born": "date", "vip": "boolean"},
    identities=frozenset({"email", "customer"}),
)
SERVING = Vocabulary(
    events=TRAINING.events,
    attributes=TRAINING.attributes,
    identities=TRAINING.identities,
    goals=frozenset({"churn", "conversion"}),
    segments=frozenset({"win_back"}),
)


def days(number: int) -> Window:
    return Window.parse(f"{number}d")


COUNTED = Compare(
    Aggregate("count", EventFilter("purchase", window=days(90))), ">=", Decimal(2)
)  # fmt: skip
SHOES = EventFilter("search", Contains(EventAttribute("term", "text"), "shoe"), days(30))
SPENT = Aggregate("sum", EventFilter("purchase", window=days(365)), "amount")


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        (
            'count(purchase in last 90d) >= 2 and country = "France"',
            And((COUNTED, Compare(Attribute("country", "text"), "=", "France"))),
        ),
        (
            'any(search where term contains "shoe" in last 30d) and not any(purchase in last 30d)',
            And((AnyEvent(SHOES), Not(AnyEvent(EventFilter("purchase", window=days(30)))))),
        ),
        (
            "sum(purchase.amount in last 365d) > 500 or conversion.score >= 75",
            Or(
                (
                    Compare(SPENT, ">", Decimal(500)),
                    Compare(Score("conversion", "score"), ">=", Decimal(75)),
                )
            ),
        ),
        (
            'churn.bucket = "high" and factor(churn, days_since_purchase) = raises',
            And(
                (
                    Compare(Score("churn", "bucket"), "=", "high"),
                    Factor("churn", "days_since_purchase", "raises"),
                )
            ),
        ),
        (
            "sequence(view then cart within 1d then not purchase within 3d)",
            Sequence(
                (
                    Step(EventFilter("view")),
                    Step(EventFilter("cart"), days(1)),
                    Step(EventFilter("purchase"), days(3), happened=False),
                )
            ),
        ),
        (
            "in_segment(win_back) and identity(email) exists",
            And((InSegment("win_back"), HasIdentity("email"))),
        ),
    ],
)
def test_the_examples_of_the_design_are_read(written: str, tree: object) -> None:
    condition = parse(written, SERVING)
    assert condition == tree
    assert text(condition) == written


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("age>=30 AND NOT(vip=TRUE)", "age >= 30 and not vip = true"),
        ("(age > 1 or (age < 0)) and vip = true", "(age > 1 or age < 0) and vip = true"),
        ("age > 1 or age < 0 and vip = true", "age > 1 or age < 0 and vip = true"),
        ("(age > 1 and vip = true) and age < 9", "age > 1 and vip = true and age < 9"),
        ("not (not vip = true)", "not not vip = true"),
        ("count(purchase in last 4w where amount > 1) > 2",
         "count(purchase where amount > 1 in last 28d) > 2"),
        ("country in ('France',\"Spain\")", 'country in ("France", "Spain")'),
        (r"country = 'it\'s \u0041\\'", r'''country = "it's A\\"'''),
        ("age > -007.50", "age > -7.5"),
        ("age = -0", "age = 0"),
        ('born < date("2024-01-31")', 'born < date("2024-01-31T00:00:00Z")'),
        ("any('Product Viewed' where price exists)", 'any("Product Viewed" where price exists)'),
        ('any("purchase")', "any(purchase)"),
        ("age BETWEEN 18 AND 30.50 and vip = true",
         "age >= 18 and age <= 30.5 and vip = true"),
        ("not age between 1 and 1", "not (age >= 1 and age <= 1)"),
        ('born between date("2000-01-01") and date("2000-12-31")',
         'born >= date("2000-01-01T00:00:00Z") and born <= date("2000-12-31T00:00:00Z")'),
        ("country ends with 'ce'", 'country ends with "ce"'),
        ("any(search before date('2024-12-02') since date('2024-11-25') "
         "in last 1w where term exists)",
         'any(search where term exists in last 7d since date("2024-11-25T00:00:00Z") '
         'before date("2024-12-02T00:00:00Z"))'),
        ("sequence(view THEN NOT purchase)", "sequence(view then not purchase)"),
        ("sequence(view where page = 'a' in last 7d then purchase within 24h where amount > 1)",
         'sequence(view where page = "a" in last 7d then purchase where amount > 1 within 1d)'),
        ('any(search where term starts with "a" or term = "b")',
         'any(search where term starts with "a" or term = "b")'),
    ],
)  # fmt: skip
def test_a_condition_has_one_canonical_spelling(written: str, canonical: str) -> None:
    condition = parse(written, TRAINING)
    assert text(condition) == canonical
    assert parse(canonical, TRAINING) == condition


def test_a_date_without_zone_is_read_in_the_zone_of_the_vocabulary() -> None:
    paris = Vocabulary(attributes={"born": "date"}, time_zone="Europe/Paris")
    condition = parse('born >= date("1970-01-01")', paris)
    assert condition == Compare(Attribute("born", "date"), ">=", Instant(-3_600_000_000))


def test_keywords_and_functions_are_names_where_no_keyword_can_stand() -> None:
    vocabulary = Vocabulary(
        events={"in": {"where": "text"}}, attributes={"last": "number", "count": "number"}
    )
    written = 'last > 1 and count > 2 and any(in where where = "x" in last 2d)'
    assert text(parse(written, vocabulary)) == written


CASES = [
    # text, code, caret at, expected there, hint
    ("cont(purchase) > 2", "unknown_name", 0, "a function", "'count'"),
    ("count(purchas) > 2", "unknown_name", 6, "an event type", "'purchase'"),
    ("contry = 1", "unknown_name", 0, "a profile attribute", "'country'"),
    ("sum(purchase.amont) > 2", "unknown_name", 13, "an attribute of `purchase`", "'amount'"),
    ("any(search where trm = 1)", "unknown_name", 17, "an attribute of `search`", "'term'"),
    ("identity(mail) exists", "unknown_name", 9, "an identity namespace", "'email'"),
    ("churns.score > 2", "unknown_name", 0, "a goal", "'churn'"),
    ("churn.scor > 2", "unknown_name", 6, "part of a score", "'score'"),
    ('churn.bucket = "hgih"', "unknown_name", 15, "a bucket", "'high'"),
    ("factor(churn, x) = raise", "unknown_name", 19, "a direction", "'raises'"),
    ("in_segment(winback)", "unknown_name", 11, "a segment", "'win_back'"),
    ('age > "x"', "type_mismatch", 6, "a number like 30", "number"),
    ("country = 3", "type_mismatch", 10, 'a quoted text like "France"', "quoted text"),
    ("country = France", "type_mismatch", 10, 'a quoted text like "France"', '"France"'),
    ("country in ('a', 3)", "type_mismatch", 17, 'a quoted text like "France"', "quoted"),
    ("vip = 1", "type_mismatch", 6, "true or false", "true or false"),
    ('born > "2024"', "type_mismatch", 7, 'a date like date("2024-01-31")', "date"),
    ('country < "x"', "type_mismatch", 8, "= or !=", "="),
    ("age contains 'x'", "type_mismatch", 0, "a text attribute", "text attributes"),
    ("sum(purchase.product) > 1", "type_mismatch", 13, "sum(purchase.amount", "Write sum"),
    ("any(purchase) = true", "type_mismatch", 0, "any(purchase", "Write any"),
    ("mean(purchase.amount) exists", "type_mismatch", 0, "an attribute", "any(purchase)"),
    ("", "condition_syntax", 0, "a name, `(` or `not`", ""),
    ("age", "condition_syntax", 3, "a comparison", ""),
    ("age >", "condition_syntax", 5, "a quoted text, a number, `date`", ""),
    ("age > 1 nd age < 2", "condition_syntax", 8, "`or`, `and` or the end", "'and'"),
    ("(age > 1", "condition_syntax", 8, "`)`", ""),
    ("age > 1)", "condition_syntax", 7, "the end", ""),
    ("age == 1", "condition_syntax", 5, "a number", "one ="),
    ("age > 1 & vip = true", "condition_syntax", 8, "`and`", "`and`"),
    ("country = “x”", "condition_syntax", 10, "a quoted text", "straight"),
    ('country = "x', "condition_syntax", 10, "a quoted text", "Close it"),
    (r'country = "a\q"', "condition_syntax", 12, r"\n", "two backslashes"),
    (r'country = "\u0000"', "condition_syntax", 10, "a quoted text", "NUL"),
    (r'country = "\ud800"', "condition_syntax", 10, "a quoted text", "surrogate"),
    ("any(purchase in lst 3d)", "condition_syntax", 16, "`last`", "'last'"),
    ("any(purchase in last 3x)", "condition_syntax", 21, "a length of time", "whole number"),
    ("any(purchase in last 0d)", "condition_syntax", 21, "a length of time", "whole number"),
    ("any(purchase in last 99999d)", "condition_syntax", 21, "a length of time", "36500d"),
    ('born > date("soon")', "condition_syntax", 12, "a quoted date", "ISO 8601"),
    ("age > 123456789012345", "condition_syntax", 6, "a number", "14 digits"),
    ("age > 0.1234567891", "condition_syntax", 6, "a number", "9 after"),
    ("count(purchase)", "condition_syntax", 15, "count(purchase", "Write count"),
    ("count(purchase.amount) > 1", "condition_syntax", 15, "count(purchase", "Write count"),
    ("sum(purchase) > 1", "condition_syntax", 12, "sum(purchase.amount", "Write sum"),
    ("purchase.amount > 1", "condition_syntax", 0, "a function", "sum(purchase.amount"),
    ("identity(email) = 'x'", "condition_syntax", 15, "identity(email) exists", "exists"),
    ("in_segment(win_back in last 3d)", "condition_syntax", 11, "in_segment(", "Write"),
    ("factor(churn) = raises", "condition_syntax", 7, "factor(", "Write factor"),
    ("count(purchase, x) > 1", "condition_syntax", 16, "count(", "Write count"),
    ("any(purchase where any(search))", "condition_syntax", 22, "a comparison", ""),
    ("age between 3 and 1", "condition_syntax", 12, "the lesser", "lesser one first"),
    ("age between 3 or 1", "condition_syntax", 14, "`and`", ""),
    ("vip between true and false", "type_mismatch", 12, "a number or a date", "Use ="),
    ("age between 1 and 'x'", "type_mismatch", 18, "a number like 30", "number"),
    ("age ends with 'x'", "type_mismatch", 0, "a text attribute", "text attributes"),
    ("country ens with 'x'", "condition_syntax", 8, "`ends`", "'ends'"),
    ("sequence(view)", "condition_syntax", 13, "sequence(", "then"),
    ("sequence(view, cart)", "condition_syntax", 15, "sequence(", "then"),
    ("sequence(not view then cart)", "condition_syntax", 9, "an event type", "before the"),
    ("any(not view)", "condition_syntax", 4, "an event type", "not any("),
    ("in_segment(not win_back)", "condition_syntax", 11, "in_segment(", "Write"),
    ('sequence("view" then "not")', "unknown_name", 21, "an event type", "view"),
    ("sequence(view within 1d then cart)", "condition_syntax", 14, "`then`", "follows"),
    ("sequence(view then cart wihtin 1d)", "condition_syntax", 24, "`within`", "'within'"),
    ("sequence(view then crat)", "unknown_name", 19, "an event type", "'cart'"),
    ("sequence(view then cart within 1y)", "condition_syntax", 31, "a length of time", "whole"),
    ("sequence(view then purchase.amount)", "condition_syntax", 28, "sequence(", "then"),
    ("sequence(view then cart) = 1", "type_mismatch", 0, "sequence(", "then"),
    ("any(view then cart)", "condition_syntax", 14, "any(", "Write any"),
    ("any(view within 1d)", "condition_syntax", 9, "`in last`", "in last 30d"),
    ("any(view in last 1d in last 2d)", "condition_syntax", 20, "another limit", "narrower"),
    (
        "any(view where page = 'a' where page = 'b')",
        "condition_syntax",
        26,
        "another limit",
        "`and`",
    ),
    ("any(view since 3d)", "condition_syntax", 15, "`date`", ""),
    (
        "any(view before date('2024-01-01') since date('2024-01-01'))",
        "condition_syntax",
        35,
        "a date before",
        "the earlier one first",
    ),
]


@pytest.mark.parametrize(("written", "code", "position", "expected", "hint"), CASES)
def test_an_error_says_where_and_what_was_expected(
    written: str, code: str, position: int, expected: str, hint: str
) -> None:
    with pytest.raises(ConditionError, match=rf"line 1, column {position + 1}\)\n") as caught:
        parse(written, SERVING)
    error = caught.value
    assert (error.code, error.details["position"]) == (code, position)
    assert expected in str(error.details["expected"])
    assert hint in error.hint
    shown, caret = error.message.splitlines()[-2:]
    assert (shown, caret) == (f"  {written}", f"  {' ' * position}^")


def test_an_error_on_a_later_line_shows_that_line() -> None:
    with pytest.raises(ConditionError, match=r"line 3, column 7\)\n  age > 'x'\n        \^") as e:
        parse("vip = true\nand\nage > 'x'\nor vip = false", TRAINING)
    assert e.value.details == {
        "position": 21, "line": 3, "column": 7, "expected": "a number like 30"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "position"),
    [
        ("churn.score > 75", 0),
        ("vip = true and churn.bucket = 'high'", 15),
        ("factor(churn, x) = raises", 7),
        ("in_segment(win_back)", 11),
    ],
)
def test_scores_and_segments_are_not_known_in_training(written: str, position: int) -> None:
    with pytest.raises(ConditionError, match="none in training") as caught:
        parse(written, TRAINING)
    assert caught.value.code == "not_known_in_training"
    assert caught.value.details["position"] == position
    parse(written, SERVING)


def test_length_is_capped_as_given_and_in_canonical_spelling() -> None:
    fits = " or ".join(["age < 1"] * 363)
    assert len(fits) == 3_989
    assert text(parse(fits, TRAINING)) == fits
    for long in (fits + " or age < 12", " or ".join(["age<1"] * 400)):
        with pytest.raises(ConditionError, match="at most 4,000 characters") as caught:
            parse(long, TRAINING)
        assert caught.value.code == "too_long"


@pytest.mark.parametrize("nested", ["(", "not ", "not (", "NOT(", "count("])
def test_depth_is_capped_before_parsing(nested: str) -> None:
    levels = 1 + (nested.lower().startswith("not") and "(" in nested)
    deep = 50 // levels + 1
    with pytest.raises(ConditionError, match="at most 50 deep") as caught:
        parse(nested * deep + "age > 1", TRAINING)
    assert caught.value.code == "too_deep"


def test_the_deepest_condition_allowed_is_read_and_written() -> None:
    deep = "(not (age > 1 and " * 16 + "(not vip = true)" + "))" * 16
    assert parse(text(parse(deep, TRAINING)), TRAINING) == parse(deep, TRAINING)
    assert words(parse(deep, TRAINING)).count("age") == 16


def test_a_sequence_has_no_more_than_ten_steps() -> None:
    assert parse(f"sequence({' then '.join(['view'] * 10)})", TRAINING)
    with pytest.raises(ConditionError, match="at most 10 steps, and this one has 11") as caught:
        parse(f"sequence({' then '.join(['view'] * 11)})", TRAINING)
    assert (caught.value.code, caught.value.details["position"]) == ("too_deep", 109)


def test_parentheses_inside_a_quoted_text_are_no_nesting() -> None:
    assert text(parse(f'country = "{"(" * 90}"', TRAINING)) == f'country = "{"(" * 90}"'


def test_what_a_condition_uses_is_listed() -> None:
    condition = parse(
        'any(search where term = "x" in last 30d) and mean(purchase.amount in last 4w) > 2 and '
        "not (age > 3 or churn.score > 1 or factor(conversion, x) = lowers) and "
        "(in_segment(win_back) or identity(customer) exists or "
        "sequence(cart then not view where page exists))",
        SERVING,
    )
    used = uses(condition)
    assert events_used(condition) == used.events == {"search", "purchase", "cart", "view"}
    assert used.event_attributes == {("search", "term"), ("purchase", "amount"), ("view", "page")}
    assert used.attributes == {"age"}
    assert used.identities == {"customer"}
    assert used.goals == {"churn", "conversion"}
    assert used.segments == {"win_back"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('count(purchase in last 90d) >= 2 and country = "France"',
         "at least 2 purchase events in the last 90 days and country is France"),
        ("count(purchase) = 1", "exactly 1 purchase event"),
        ("not any(purchase in last 1d)", "no purchase event in the last 1 day"),
        ('any(search where term contains "shoe" in last 30d)',
         'at least 1 search event (where term contains "shoe") in the last 30 days'),
        ("sum(purchase.amount in last 365d) > 500",
         "total purchase amount in the last 365 days is more than 500"),
        ("mean(purchase.amount) <= 2.50", "average purchase amount is at most 2.5"),
        ("distinct(purchase.product in last 30d) >= 3",
         "at least 3 different purchase product values in the last 30 days"),
        ("days_since(purchase) < 30", "fewer than 30 days since the last purchase event"),
        ("active_days(purchase in last 30d) >= 2",
         "at least 2 days with a purchase event in the last 30 days"),
        ('country in ("France", "Spain", "x y")', 'country is France, Spain or "x y"'),
        ('country != "France"', "country is known and not France"),
        ("not country exists", "country is not known"),
        ('born < date("2000-01-01")', "born is before 2000-01-01"),
        ("vip = true", "vip is yes"),
        ("not (vip = true or age > 3)", "not (vip is yes or age is more than 3)"),
        ("(vip = true or age > 3) and age < 9",
         "(vip is yes or age is more than 3) and age is less than 9"),
        ("factor(churn, days_since_purchase) = raises",
         "days since purchase is a top reason that raises churn"),
        ("in_segment(win_back) and not identity(email) exists",
         "in the segment win back and no email identity"),
        ('churn.bucket = "high"', "churn bucket is high"),
        ("sequence(view where page = 'a' then cart within 1d then not purchase within 3d)",
         "a view event (where page is a), then within 1 day a cart event, then within 3 days "
         "no purchase event"),
        ("not sequence(view then cart) or vip = true",
         "not (a view event, then a cart event) or vip is yes"),
        ("vip = true and sequence(view then cart)",
         "vip is yes and (a view event, then a cart event)"),
        ("count(purchase since date('2024-11-25') before date('2024-12-02')) >= 2",
         "at least 2 purchase events since 2024-11-25 before 2024-12-02"),
        ("country ends with 'ce'", 'country ends with "ce"'),
    ],
)  # fmt: skip
def test_a_condition_is_said_in_words(written: str, said: str) -> None:
    assert words(parse(written, SERVING)) == said


def test_of_very_many_names_the_nearest_is_suggested_and_few_are_listed() -> None:
    names = [
        f"{one}_{two}_{n}" for n in range(40) for one in ("order", "page") for two in "abcdefgh"
    ]
    wide = Vocabulary(attributes=dict.fromkeys([*names, "country"], "text"))
    with pytest.raises(ConditionError, match="Did you mean 'country'"):
        parse('contry = "x"', wide)
    with pytest.raises(ConditionError, match="and 621 more") as caught:
        parse('zzz = "x"', wide)
    assert len(caught.value.hint) < 400


def test_the_error_body_is_ready_for_json() -> None:
    with pytest.raises(ConditionError, match=re.escape("`contry` is not")) as caught:
        parse("contry = 1", TRAINING)
    body = caught.value.body()["error"]
    assert isinstance(body, dict)
    assert body["code"] == "unknown_name"
    assert body["details"]["position"] == 0
