"""What may stand in a mapping, and what is said of everything else."""

from __future__ import annotations

import pytest

from features.sources.errors import BadMapping, MissingColumn
from features.sources.expressions import columns_of, compile_expression

COLUMNS = ("a", "b", "Invoice No", "properties.amount", 'odd"name')


def compiled(text: str, *, as_text: bool = True) -> str:
    return compile_expression(text, COLUMNS, where="sources.log.event_type", as_text=as_text)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("a", '"a"'),
        ("A", '"a"'),
        ('"Invoice No"', '"Invoice No"'),
        ("properties.amount", '"properties.amount"'),
        ('"odd""name"', '"odd""name"'),
        ("a || b", 'TRY("a" || "b")'),
        ("a * -b", 'TRY(TRY_CAST("a" AS DOUBLE) * -TRY_CAST("b" AS DOUBLE))'),
        ("floor(a)", 'TRY(FLOOR(TRY_CAST("a" AS DOUBLE)))'),
        ("a > -5", 'TRY(TRY_CAST("a" AS DOUBLE) > -5)'),
        ("a = '5'", "TRY(\"a\" = '5')"),
        ("a between 1 and 2", 'TRY(TRY_CAST("a" AS DOUBLE) BETWEEN 1 AND 2)'),
        ("cast(a as integer)", 'TRY(TRY_CAST("a" AS INT))'),
        ("strptime(a, '%Y')", "TRY(TRY_STRPTIME(\"a\", '%Y'))"),
        ("epoch_ms(a)", "TRY(EPOCH_MS(TRY_CAST(\"a\" AS BIGINT)) AT TIME ZONE 'UTC')"),
        ("a -- the first column", '"a"'),
        ("'purchase'", "TRY('purchase')"),
    ],
)
def test_text_is_read_as_a_number_just_where_it_is_used_as_one(text, sql):
    assert compiled(text) == sql


def test_columns_that_have_types_are_not_cast():
    assert compiled("a * b", as_text=False) == 'TRY("a" * "b")'


@pytest.mark.parametrize(
    "text",
    """
    now() | current_date | current_timestamp | today() | localtime | localtimestamp | random()
    uuid() | current_user | session_user | version() | current_schema() | current_database()
    count(*) | sum(a) | max(a) | first(a) | list(a) | string_agg(a, ',') | row_number()
    row_number() over () | lag(a) | (select 1) | exists(select 1) | a in (select b) | unnest([a])
    generate_series(1, 2) | * | columns('a') | #1 | $1 | ? | a as b | select a | from a | values (1)
    drop table a | attach 'a' | set a = 1 | pragma a | copy a to 'b' | insert into a values (1)
    """.replace("\n    ", " | ")
    .strip(" |")
    .split(" | "),
)
def test_only_one_value_of_one_row_is_taken(text):
    with pytest.raises(
        BadMapping, match=r"sources\.log\.event_type: .*(not one value|not allowed)"
    ):
        compiled(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("getenv('HOME')", "the function 'getenv' is not allowed"),
        ("read_text('x')", "the function 'read_text' is not allowed"),
        ("strftim(a, '%Y')", "'strftim' is not allowed in mappings. Hint: Did you mean 'strftime'"),
        ("a, b", "is not an SQL expression"),
        ("a +", "is not an SQL expression"),
        ("'a", "is not an SQL expression"),
        ("a; b", "write exactly one expression"),
        (";", "write exactly one expression"),
    ],
)
def test_what_is_wrong_is_said_with_the_key(text, message):
    with pytest.raises(BadMapping, match=r"sources\.log\.event_type") as caught:
        compiled(text)
    assert message in str(caught.value)


def test_a_column_that_is_not_there_is_answered_with_one_that_is():
    with pytest.raises(MissingColumn, match=r"no column 'InvoiceNo'\. Hint: .*'Invoice No'"):
        compiled("InvoiceNo || '-1'")


def test_the_columns_of_an_expression_are_listed_dotted():
    found = columns_of('case when a > 1 then properties.amount else "Invoice No" end', "key")
    assert found == {"a", "properties.amount", "Invoice No"}
