"""A condition or a formula as canonical text: parsing it gives the same tree back.

One spelling for each tree: double quotes, one space, parentheses only where needed, dates as full
UTC instants, and after an event `where`, `in last`, `since`, `before`, `within` in this order. A
measure is written as its name.
"""

from __future__ import annotations

import re
from decimal import Decimal

from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Arithmetic,
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
    Formula,
    HasIdentity,
    In,
    InSegment,
    Instant,
    Measure,
    Not,
    Number,
    Or,
    Scalar,
    Score,
    Sequence,
    StartsWith,
    Step,
    Value,
    measures,
)
from features.time import format_instant

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANK = {"+": 0, "-": 0, "*": 1, "/": 1}
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


def text_in_full(condition: Condition) -> str:
    """Write a condition with what its measures are made of: what its answers depend on."""
    made_of = [
        f"{name} = {formula_text(measure.formula)}"
        for name, measure in sorted(measures(condition).items())
    ]
    return f"{text(condition)} with {', '.join(made_of)}" if made_of else text(condition)


def formula_text(formula: Formula) -> str:
    """Write what a measure is made of in its canonical spelling."""
    match formula:
        case Number(value):
            return number(value)
        case Arithmetic(left, sign, right):
            # Signs of one rank are read from left to right.
            return f"{_part(left, _RANK[sign])} {sign} {_part(right, _RANK[sign] + 1)}"
        case _:
            return _value(formula)


def _part(formula: Formula, rank: int) -> str:
    written = formula_text(formula)
    loose = isinstance(formula, Arithmetic) and _RANK[formula.sign] < rank
    return f"({written})" if loose else written


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
        case EndsWith(value, part):
            return f"{_value(value)} ends with {quoted(part)}"
        case Exists(value):
            return f"{_value(value)} exists"
        case AnyEvent(events):
            return f"any({_events(events)})"
        case Sequence(steps):
            return f"sequence({' then '.join(map(_step, steps))})"
        case HasIdentity(namespace):
            return f"identity({name_text(namespace)}) exists"
        case Factor(goal, reason, direction):
            return f"factor({goal}, {reason}) = {direction}"
        case InSegment(segment):
            return f"in_segment({name_text(segment)})"


def _value(value: Value) -> str:
    match value:
        case Attribute(name) | EventAttribute(name) | Measure(name):
            return name
        case DaysSinceDate(attribute):
            return f"days_since_date({attribute})"
        case Score(goal, field):
            return f"{goal}.{field}"
        case Aggregate(function, events, attribute):
            return f"{function}({_events(events, attribute)})"


def _events(events: EventFilter, attribute: str | None = None) -> str:
    parts = [name_text(events.event) + (f".{attribute}" if attribute else "")]
    if events.where is not None:
        parts.append(f"where {text(events.where)}")
    if events.window is not None:
        parts.append(f"in last {events.window}")
    if events.since is not None:
        parts.append(f"since {scalar(events.since)}")
    if events.before is not None:
        parts.append(f"before {scalar(events.before)}")
    return " ".join(parts)


def _step(step: Step) -> str:
    happened = "" if step.happened else "not "
    limit = "" if step.within is None else f" within {step.within}"
    return f"{happened}{_events(step.events)}{limit}"


def name_text(name: str) -> str:
    """Write a name, quoted where it is no plain one; a bare `not` would deny the next word."""
    plain = _NAME.fullmatch(name) and name.lower() != "not"
    return name if plain else quoted(name)


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
