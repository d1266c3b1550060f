"""JSON documents of conditions: what is read, what is refused, and where."""

from __future__ import annotations

from typing import Any

import pytest

from features.conditions import ConditionError, Vocabulary, parse
from features.conditions.json_tree import BadConditionDocument, from_json, json_schema, to_json

VOCABULARY = Vocabulary(
    events={"purchase": {"amount": "number"}, "view": {}},
    attributes={"country": "text", "age": "number", "born": "date"},
    segments=frozenset({"win_back"}),
    time_zone="Europe/Paris",
)
AGE = {"node": "attribute", "name": "age"}
KNOWN = {"node": "exists", "value": AGE}


def document(condition: object) -> dict[str, Any]:
    return {"version": 1, "condition": condition}


def compared(value: object, operator: object, literal: object) -> dict[str, Any]:
    return document({"node": "compare", "value": value, "operator": operator, "literal": literal})


@pytest.mark.parametrize("number", ["2.50", 2.5, "2.5"])
def test_a_number_is_read_from_text_or_as_json_has_it(number: object) -> None:
    read = from_json(compared(AGE, ">", {"number": number}), VOCABULARY)
    assert read == parse("age > 2.5", VOCABULARY)


def test_a_date_without_a_zone_is_read_in_that_of_the_vocabulary() -> None:
    born = {"node": "attribute", "name": "born"}
    read = from_json(compared(born, "<", {"date": "1970-01-01"}), VOCABULARY)
    assert to_json(read) == compared(born, "<", {"date": "1969-12-31T23:00:00Z"})


def test_ands_inside_ands_are_one() -> None:
    inner = {"node": "and", "terms": [KNOWN, KNOWN]}
    read = from_json(document({"node": "and", "terms": [inner, KNOWN]}), VOCABULARY)
    assert to_json(read) == document({"node": "and", "terms": [KNOWN, KNOWN, KNOWN]})


@pytest.mark.parametrize(
    ("sent", "path", "problem"),
    [
        ([], "", "must be an object"),
        ({"condition": KNOWN}, "/version", "is missing"),
        ({"version": 2, "condition": KNOWN}, "/version", "should be 1"),
        (document(None), "/condition", "must be an object"),
        (document({"node": "exist", "value": AGE}), "/condition", "'exist'"),
        (document({"node": "exists"}), "/condition/value", "is missing"),
        (document(KNOWN | {"of": 1}), "/condition/of", "is no key known here"),
        (document({"node": "and", "terms": [KNOWN]}), "/condition/terms", "at least 2"),
        (document({"node": "or", "terms": [KNOWN, {"node": "not", "term": []}]}),
         "/condition/terms/1/term", "must be an object"),
        (compared(AGE, "==", {"number": "1"}), "/condition/operator", "'='"),
        (compared(AGE, "=", 3), "/condition/literal", "is needed here"),
        (compared(AGE, "=", {"number": "1e9"}), "/condition/literal/number", "a number like"),
        (compared(AGE, "=", {"number": True}), "/condition/literal/number", "a number like"),
        (compared(AGE, "=", {"date": "soon"}), "/condition/literal/date", "a date like"),
        (compared({"node": "attribute", "name": "age > 1 or age"}, "=", {"number": 1}),
         "/condition/value/name", "a plain name"),
        (document({"node": "any", "events": {"event": "view", "in_last": "3 d"}}),
         "/condition/events/in_last", "like 30d"),
        (document({"node": "sequence", "steps": [{"events": {"event": "view"}}]}),
         "/condition/steps", "at least 2"),
        # A name of another sort than the document says: no profile attribute stands in a `where`.
        (document({"node": "any", "events": {"event": "purchase", "where":
            {"node": "exists", "value": {"node": "attribute", "name": "amount"}}}}),
         "/condition", "of another"),
    ],
)  # fmt: skip
def test_a_wrong_shape_is_told_with_its_place(sent: object, path: str, problem: str) -> None:
    with pytest.raises(BadConditionDocument, match=problem) as caught:
        from_json(sent, VOCABULARY)
    assert caught.value.details["path"] == path


@pytest.mark.parametrize(
    ("wrong", "code", "hint"),
    [
        ({"node": "exists", "value": {"node": "attribute", "name": "contry"}},
         "unknown_name", "'country'"),
        ({"node": "compare", "value": AGE, "operator": "=", "literal": "x"},
         "type_mismatch", "a number like"),
        ({"node": "in_segment", "segment": "winback"}, "unknown_name", "'win_back'"),
        ({"node": "sequence", "steps": [{"events": {"event": "view"}, "within": "1d"},
                                        {"events": {"event": "view"}}]},
         "condition_syntax", "the step that follows"),
        ({"node": "any", "events": {"event": "view\0"}}, "condition_syntax", "NUL"),
    ],
)  # fmt: skip
def test_names_and_kinds_are_refused_as_in_a_text(
    wrong: dict[str, Any], code: str, hint: str
) -> None:
    sent = document({"node": "and", "terms": [KNOWN, {"node": "not", "term": wrong}]})
    with pytest.raises(ConditionError, match="/condition/terms/1/term: ") as caught:
        from_json(sent, VOCABULARY)
    error = caught.value
    assert (error.code, error.details["path"]) == (code, "/condition/terms/1/term")
    assert hint in error.hint
    assert error.details["text"] and error.details["position"] >= 0  # type: ignore[operator]


def test_size_and_depth_are_capped() -> None:
    deep: Any = KNOWN
    for _ in range(100_000):
        deep = {"node": "not", "term": deep}
    with pytest.raises(BadConditionDocument, match="at most 250 deep"):
        from_json(document(deep), VOCABULARY)
    with pytest.raises(BadConditionDocument, match="at most 20,000 values"):
        from_json(document([1] * 20_000), VOCABULARY)
    many = document({"node": "or", "terms": [KNOWN] * 1_000})
    with pytest.raises(ConditionError, match="at most 4,000 characters") as caught:
        from_json(many, VOCABULARY)
    assert (caught.value.code, caught.value.details["path"]) == ("too_long", "/condition")
    nots = KNOWN
    for _ in range(60):
        nots = {"node": "not", "term": nots}
    with pytest.raises(ConditionError, match="at most 50 deep") as caught:
        from_json(document(nots), VOCABULARY)
    assert caught.value.code == "too_deep"


def test_the_schema_names_every_node() -> None:
    schema = json_schema()
    written = str(schema)
    for node in ("and", "not", "compare", "sequence", "aggregate", "measure", "in_segment"):
        assert f"'{node}'" in written
    assert schema["properties"]["version"]["const"] == 1
