"""A condition as canonical text: parsing it gives the same tree back.

One spelling for each tree: double quotes, one space, parentheses only where needed, `where` before
`in last`, dates as full UTC instants.
"""

from __future__ import annotations

import re
from decimal import Decimal

from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Atom,
    Attribute,
    Compare,
    Condition,
    Contains,
    EventAttribute,
    EventFilter,
    Exists,
    Factor,
    HasIdentity,
    In,
    InSegment,
    Instant,
    Not,
    Or,
    Scalar,
    Score,
    StartsWith,
    Value,
)
from features.time import format_instant

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def text(condition: Condition) -> str:
    """Write a condition in its canonical spelling."""
    match condition:
        case Or(terms):
            return " or ".join(text(term) for term in terms)
        case And(terms):
            return " and ".join(_inside(term, (Or,)) for term in terms)
        case Not(term):
            return f"not {_inside(term, (And, Or))}"
        case _:
            return _atom(condition)


def _inside(condition: Condition, looser: tuple[type[And] | type[Or], ...]) -> str:
    written = text(condition)
    return f"({written})" if isinstance(condition, looser) else written


def _atom(atom: Atom) -> str:
    match atom:
        case Compare(value, operator, literal):
            return f"{_value(value)} {operator} {scalar(literal)}"
        case In(value, literals):
            return f"{_value(value)} in ({', '.join(scalar(literal) for literal in literals)})"
        case Contains(value, part):
            return f"{_value(value)} contains {quoted(part)}"
        case StartsWith(value, part):
            return f"{_value(value)} starts with {quoted(part)}"
        case Exists(value):
            return f"{_value(value)} exists"
        case AnyEvent(events):
            return f"any({_events(events)})"
        case HasIdentity(namespace):
            return f"identity({_name(namespace)}) exists"
        case Factor(goal, reason, direction):
            return f"factor({goal}, {reason}) = {direction}"
        case InSegment(segment):
            return f"in_segment({_name(segment)})"


def _value(value: Value) -> str:
    match value:
        case Attribute(name) | EventAttribute(name):
            return name
        case Score(goal, field):
            return f"{goal}.{field}"
        case Aggregate(measure, events, attribute):
            return f"{measure}({_events(events, attribute)})"


def _events(events: EventFilter, attribute: str | None = None) -> str:
    parts = [_name(events.event) + (f".{attribute}" if attribute else "")]
    if events.where is not None:
        parts.append(f"where {text(events.where)}")
    if events.window is not None:
        parts.append(f"in last {events.window}")
    return " ".join(parts)


def _name(name: str) -> str:
    return name if _NAME.fullmatch(name) else quoted(name)


def quoted(value: str) -> str:
    """Write a text literal."""
    return f'"{value.translate(_ESCAPES)}"'


def number(value: Decimal) -> str:
    """Write a number without exponent or idle zeros."""
    written = f"{value:f}"
    plain = written.rstrip("0").rstrip(".") if "." in written else written
    return "0" if plain == "-0" else plain


def scalar(literal: Scalar) -> str:
    """Write any literal."""
    match literal:
        case bool():
            return "true" if literal else "false"
        case Decimal():
            return number(literal)
        case Instant(micros):
            return f'date("{format_instant(micros)}")'
        case str():
            return quoted(literal)
