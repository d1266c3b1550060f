"""A condition in plain words, for pages, reports and `--explain`."""

from __future__ import annotations

import re
from decimal import Decimal

from features.conditions.text import number, quoted
from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Atom,
    Attribute,
    Compare,
    Condition,
    Contains,
    DaysSinceDate,
    EndsWith,
    EventAttribute,
    EventFilter,
    Exists,
    Factor,
    HasIdentity,
    In,
    InSegment,
    Instant,
    Measure,
    Not,
    Or,
    Scalar,
    Score,
    Sequence,
    StartsWith,
    Step,
    Value,
)
from features.time import format_instant

_AMOUNT = {
    "=": "exactly",
    "!=": "any number but",
    "<": "fewer than",
    "<=": "at most",
    ">": "more than",
    ">=": "at least",
}
_IS = {
    "=": "is",
    "!=": "is known and not",
    "<": "is less than",
    "<=": "is at most",
    ">": "is more than",
    ">=": "is at least",
}
_IS_DATE = _IS | {
    "<": "is before",
    "<=": "is no later than",
    ">": "is after",
    ">=": "is no earlier than",
}
_OF = {
    "sum": "total", "mean": "average", "min": "lowest", "max": "highest", "first": "first",
    "last": "latest", "distinct": "different",
}  # fmt: skip
_DAYS_OF = {
    "active_days": "with a",
    "days_since": "since the last",
    "days_since_first": "since the first",
    "lifespan": "from the first to the last",
    "calendar_days": "of the calendar from the first to the last",
    "calendar_months": "of the calendar from the first to the last",
    "calendar_years": "of the calendar from the first to the last",
}
_PLAIN_TEXT = re.compile(r"\w+(-\w+)*")


def words(condition: Condition) -> str:
    """Say a condition: `at least 2 purchase events in the last 90 days and country is France`."""
    match condition:
        case Or(terms):
            return " or ".join(_grouped(term) for term in terms)
        case And(terms):
            return " and ".join(_grouped(term) for term in terms)
        case Not(term):
            return _opposite(term)
        case _:
            return _atom(condition)


def _grouped(condition: Condition) -> str:
    said = words(condition)
    return f"({said})" if isinstance(condition, And | Or | Sequence) else said


def _opposite(term: Condition) -> str:
    match term:
        case AnyEvent(events):
            return f"no {_events(events, 1)}"
        case Exists(value):
            return f"{_value(value)} is not known"
        case HasIdentity(namespace):
            return f"no {_plain(namespace)} identity"
        case Factor(goal, reason, direction):
            return f"{_plain(reason)} is no top reason that {direction} {_plain(goal)}"
        case InSegment(segment):
            return f"not in the segment {_plain(segment)}"
    return f"not ({words(term)})"


def _atom(atom: Atom) -> str:
    match atom:
        case Compare(Aggregate() as value, operator, Decimal() as literal):
            return _amount(value, _AMOUNT[operator], [literal], operator)
        case Compare(value, operator, literal):
            verbs = _IS_DATE if isinstance(literal, Instant) else _IS
            return f"{_value(value)} {verbs[operator]} {_scalar(literal)}"
        case In(Aggregate(kind="number") as value, literals):
            return _amount(value, "exactly", list(literals), "=")
        case In(value, literals):
            return f"{_value(value)} is {_either(literals)}"
        case Contains(value, text):
            return f"{_value(value)} contains {quoted(text)}"
        case StartsWith(value, text):
            return f"{_value(value)} starts with {quoted(text)}"
        case EndsWith(value, text):
            return f"{_value(value)} ends with {quoted(text)}"
        case Exists(value):
            return f"{_value(value)} is known"
        case AnyEvent(events):
            return f"at least 1 {_events(events, 1)}"
        case Sequence(steps):
            return ", then ".join(map(_step, steps))
        case HasIdentity(namespace):
            return f"at least 1 {_plain(namespace)} identity"
        case Factor(goal, reason, direction):
            return f"{_plain(reason)} is a top reason that {direction} {_plain(goal)}"
        case InSegment(segment):
            return f"in the segment {_plain(segment)}"


def _amount(value: Aggregate, how: str, literals: list[Scalar], operator: str) -> str:
    """Say an aggregate with what it is compared with: counts lead with the number."""
    many = 1 if literals == [Decimal(1)] else 2
    what, events = _either(literals), value.events
    match value.function:
        case "count":
            return f"{how} {what} {_events(events, many)}"
        case "distinct":
            return f"{how} {what} different {_of_events(value)}"
        case function if function in _DAYS_OF:
            return f"{how} {what} {_days(value, many)}"
        case _:
            return f"{_value(value)} {_IS[operator]} {what}"


def _days(value: Aggregate, many: int) -> str:
    unit = {"calendar_months": "month", "calendar_years": "year"}.get(value.function, "day")
    plural = "" if many == 1 else "s"
    return f"{unit}{plural} {_DAYS_OF[value.function]} {_events(value.events, 1)}"


def _of_events(value: Aggregate) -> str:
    named = f"{_plain(value.events.event)} {_plain(value.attribute or '')}"
    return f"{named}{' values' if value.function == 'distinct' else ''}{_limits(value.events)}"


def _events(events: EventFilter, many: int) -> str:
    return f"{_plain(events.event)} event{'' if many == 1 else 's'}{_limits(events)}"


def _limits(events: EventFilter) -> str:
    where = "" if events.where is None else f" (where {words(events.where)})"
    last = "" if events.window is None else f" in the last {events.window.words}"
    since = "" if events.since is None else f" since {_scalar(events.since)}"
    before = "" if events.before is None else f" before {_scalar(events.before)}"
    return where + last + since + before


def _step(step: Step) -> str:
    """Say a step: `within 1 day a cart event`, `within 3 days no purchase event`."""
    limit = "" if step.within is None else f"within {step.within.words} "
    return f"{limit}{'a' if step.happened else 'no'} {_events(step.events, 1)}"


def _value(value: Value) -> str:
    match value:
        case Attribute(name) | EventAttribute(name):
            return _plain(name)
        case Score(goal, field):
            return f"{_plain(goal)} {field}"
        case Measure(_, label):
            return label
        case DaysSinceDate(attribute):
            return f"days since {_plain(attribute)}"
        case Aggregate():
            return f"{_OF[value.function]} {_of_events(value)}"


def _either(literals: tuple[Scalar, ...] | list[Scalar]) -> str:
    said = [_scalar(literal) for literal in literals]
    return " or ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


def _scalar(literal: Scalar) -> str:
    match literal:
        case bool():
            return "yes" if literal else "no"
        case Decimal():
            return number(literal)
        case Instant(micros):
            return format_instant(micros).removesuffix("T00:00:00Z")
        case str():
            return literal if _PLAIN_TEXT.fullmatch(literal) else quoted(literal)


def _plain(name: str) -> str:
    return name.replace("_", " ")
