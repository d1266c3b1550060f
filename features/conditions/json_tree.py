"""The JSON form of a condition, for programs that build conditions or draw them.

`{"version": 1, "condition": {"node": "exists", "value": {"node": "attribute", "name": "country"}}}`

One object a node. Texts and booleans are JSON's own; numbers are `{"number": "2.25"}`, exact, and
moments `{"date": "2024-01-31T00:00:00Z"}`; lengths of time are written `30d`. What is by default is
left out, and so are kinds: the vocabulary knows them. A document is read in two steps: its shape
here, its names and kinds by the parser, through its canonical text. So it can say nothing that a
text could not.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from features.conditions import tree as t
from features.conditions.errors import ConditionError
from features.conditions.json_nodes import VERSION, Document, atoms
from features.conditions.parser import parse
from features.conditions.text import number, text
from features.conditions.vocabulary import Vocabulary
from features.errors import LikelierError
from features.time import format_instant

MAX_DEPTH = 250
"""Lists and objects that may stand inside each other: more than the deepest condition needs."""
MAX_VALUES = 20_000
"""Values that a document may hold: more than the longest condition needs."""


class BadConditionDocument(LikelierError):
    """A JSON document that is no condition: `path` is a JSON pointer to what is wrong."""

    code = "bad_condition_document"


def from_json(document: object, vocabulary: Vocabulary) -> t.Condition:
    """Return the condition of a decoded JSON document, read with the names of `vocabulary`.

    Raises `BadConditionDocument` for a wrong shape or version, and what `parse` raises for wrong
    names and kinds and for what is too long or too deep. `details` hold `path`, a JSON pointer
    (RFC 6901); a `position` is one in the canonical `text` of what the path leads to.
    """
    _within_size(document)
    try:
        read = Document.model_validate(document, context={"time_zone": vocabulary.time_zone})
    except ValidationError as error:
        raise _misshapen(document, error) from None
    whole = text(said := read.condition.tree())
    try:
        condition = parse(whole, vocabulary)
    except ConditionError as error:
        raise _placed(error, whole, read, vocabulary) from None
    if _condition(said) != _condition(condition):
        raise _mistaken(read, vocabulary)
    return condition


def to_json(condition: t.Condition) -> dict[str, Any]:
    """Return the JSON form of a condition, ready for `json.dumps`; `from_json` gives it back."""
    return {"version": VERSION, "condition": _condition(condition)}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a document."""
    return Document.model_json_schema()


# Writing -----------------------------------------------------------------------------------------


def _condition(condition: t.Condition) -> dict[str, Any]:
    match condition:
        case t.And(terms):
            return {"node": "and", "terms": [_condition(term) for term in terms]}
        case t.Or(terms):
            return {"node": "or", "terms": [_condition(term) for term in terms]}
        case t.Not(term):
            return {"node": "not", "term": _condition(term)}
        case t.AnyEvent(events):
            return {"node": "any", "events": _events(events)}
        case t.Sequence(steps):
            return {"node": "sequence", "steps": [_step(step) for step in steps]}
        case t.HasIdentity(namespace):
            return {"node": "identity", "namespace": namespace}
        case t.Factor(goal, reason, direction):
            return {"node": "factor", "goal": goal, "reason": reason, "direction": direction}
        case t.InSegment(segment):
            return {"node": "in_segment", "segment": segment}
        case _:
            return _test(condition)


def _test(atom: t.ValueTest) -> dict[str, Any]:
    value = _value(atom.value)
    match atom:
        case t.Compare(_, operator, literal):
            return {
                "node": "compare", "value": value, "operator": operator, "literal": _scalar(literal)
            }  # fmt: skip
        case t.In(_, literals):
            return {"node": "in", "value": value, "literals": [*map(_scalar, literals)]}
        case t.Contains(_, part):
            return {"node": "contains", "value": value, "text": part}
        case t.StartsWith(_, part):
            return {"node": "starts_with", "value": value, "text": part}
        case t.EndsWith(_, part):
            return {"node": "ends_with", "value": value, "text": part}
        case t.Exists():
            return {"node": "exists", "value": value}


def _value(value: t.Value) -> dict[str, Any]:
    match value:
        case t.Attribute(name):
            return {"node": "attribute", "name": name}
        case t.EventAttribute(name):
            return {"node": "event_attribute", "name": name}
        case t.DaysSinceDate(attribute):
            return {"node": "days_since_date", "attribute": attribute}
        case t.Score(goal, field):
            return {"node": "score", "goal": goal, "field": field}
        case t.Measure(name):
            return {"node": "measure", "name": name}
        case t.Aggregate(function, events, attribute):
            stated = {"attribute": attribute} if attribute else {}
            return {"node": "aggregate", "function": function, "events": _events(events)} | stated


def _events(events: t.EventFilter) -> dict[str, Any]:
    limits = {
        "where": None if events.where is None else _condition(events.where),
        "in_last": None if events.window is None else str(events.window),
        "since": None if events.since is None else format_instant(events.since.micros),
        "before": None if events.before is None else format_instant(events.before.micros),
    }
    return {"event": events.event} | {key: said for key, said in limits.items() if said is not None}


def _step(step: t.Step) -> dict[str, Any]:
    said: dict[str, Any] = {"events": _events(step.events)}
    said |= {} if step.within is None else {"within": str(step.within)}
    return said if step.happened else said | {"happened": False}


def _scalar(literal: t.Scalar) -> Any:
    match literal:
        case t.Instant(micros):
            return {"date": format_instant(micros)}
        case bool() | str():
            return literal
    return {"number": number(literal)}


# What is wrong -----------------------------------------------------------------------------------


def _within_size(document: object) -> None:
    """Refuse what is too large before anything walks down it by calling itself."""
    waiting: list[tuple[object, int]] = [(document, 1)]
    seen = 0
    while waiting:
        value, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH or seen > MAX_VALUES:
            raise BadConditionDocument(
                f"A condition has at most {MAX_VALUES:,} values, at most {MAX_DEPTH} deep.",
                hint="Split it into segments, and join them with in_segment.",
                path="",
            )
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            waiting += [(each, depth + 1) for each in inner]


_PROBLEMS = {
    "missing": "is missing",
    "extra_forbidden": "is no key known here",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "union_tag_not_found": "must be an object with a `node`",
    "string_pattern_mismatch": "must be a plain name",
}


def _misshapen(document: object, error: ValidationError) -> BadConditionDocument:
    first = error.errors(include_url=False, include_input=False)[0]
    path = _pointer(document, first["loc"], missing=first["type"] == "missing")
    told = first["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
    problem = _PROBLEMS.get(first["type"], told[:1].lower() + told[1:])
    return _bad(path, problem)


def _bad(path: str, problem: str) -> BadConditionDocument:
    return BadConditionDocument(
        f"{path or 'The document'}: {problem}.",
        hint="The page on conditions describes the JSON form.",
        path=path,
    )


def _mistaken(read: Document, vocabulary: Vocabulary) -> BadConditionDocument:
    """Return the error of the first atom that names a thing of one sort as one of another."""
    for path, atom in atoms(read.condition, "/condition"):
        if _condition(atom) != _condition(parse(text(atom), vocabulary)):
            return _bad(path, "says of what sort a name is, and it is of another")
    return _bad("/condition", "cannot be told from another condition")


def _pointer(document: object, location: tuple[int | str, ...], *, missing: bool) -> str:
    """Return the JSON pointer of what pydantic names; its own names of union members are left out.

    A key that is missing is told, too.
    """
    path, place = "", document
    for position, step in enumerate(location):
        last = position == len(location) - 1
        if isinstance(place, dict) and (step in place or (last and missing)):
            path, place = f"{path}/{_escaped(step)}", place.get(step)
        elif isinstance(place, list) and isinstance(step, int):
            path, place = f"{path}/{step}", place[step]
    return path


def _escaped(key: object) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")


def _placed(
    error: ConditionError, whole: str, read: Document, vocabulary: Vocabulary
) -> ConditionError:
    """Return the error of the first atom that is wrong by itself, with the path to it."""
    of_whole = error.code in ("too_long", "too_deep")
    for path, atom in () if of_whole else atoms(read.condition, "/condition"):
        try:
            parse(alone := text(atom), vocabulary)
        except ConditionError as found:
            found.details |= {"path": path, "text": alone}
            found.message = f"{path}: {found.message}"
            return found
    error.details |= {"path": "/condition", "text": whole}
    return error
