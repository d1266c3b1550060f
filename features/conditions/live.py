"""Conditions and measures over one person at one moment: the live renderer, in NumPy.

It says of a person just what the table renderer says of the same person's row. What does not depend
on the person is worked out once, when a renderer is made; a renderer may be shared by threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, cast

from features import time
from features.behavior.history import History
from features.conditions.exactness import exactness
from features.conditions.live_events import Known, aggregate, happened, sequence
from features.conditions.live_formulas import arithmetic
from features.conditions.live_tests import test_of
from features.conditions.tree import (
    Aggregate,
    And,
    AnyEvent,
    Arithmetic,
    Attribute,
    Condition,
    DaysSinceDate,
    EventAttribute,
    Factor,
    Formula,
    HasIdentity,
    InSegment,
    Measure,
    Not,
    Number,
    Or,
    Score,
    Sequence,
    Value,
    ValueTest,
)


@dataclass(frozen=True)
class Scored:
    """A person's score for a goal. None = not scored. `raises`, `lowers`: codes of reasons."""

    score: float | None = None
    probability: float | None = None
    percentile: int | None = None
    bucket: str | None = None
    raises: frozenset[str] = frozenset()
    lowers: frozenset[str] = frozenset()


NOT_SCORED = Scored()


@dataclass(frozen=True, eq=False)
class Person:
    """One person at one moment: what a row of the table renderer's spine and its history hold.

    `scores` by goal; `segments`: those the person is in.
    """

    history: History
    as_of: int
    scores: Mapping[str, Scored] = field(default_factory=dict)
    segments: frozenset[str] = frozenset()

    @cached_property
    def known(self) -> Known:
        """What counted at as_of, by event type: made once for all that is asked of the person."""
        return self.history.known(self.as_of).events


Answer = Callable[[Person], bool]
Figure = Callable[[Person], Any]
"""Gives a value of a person: exact numbers as whole numbers of 10**-scale; None = null."""


def live(condition: Condition) -> Answer:
    """Return what says whether a condition holds for a person."""
    match condition:
        case And(terms):
            every = [live(term) for term in terms]
            return lambda person: all(term(person) for term in every)
        case Or(terms):
            some = [live(term) for term in terms]
            return lambda person: any(term(person) for term in some)
        case Not(term):
            opposite = live(term)
            return lambda person: not opposite(person)
        case AnyEvent(events):
            some_events = happened(events)
            return lambda person: some_events(person.known, person.as_of)
        case Sequence():
            found = sequence(condition)
            return lambda person: found(person.known, person.as_of)
        case HasIdentity(namespace):
            return lambda person: person.history.identities.get(namespace, 0) > 0
        case Factor(goal, reason, direction):
            return lambda person: reason in getattr(person.scores.get(goal, NOT_SCORED), direction)
        case InSegment(segment):
            return lambda person: segment in person.segments
        case _:
            return _tested(condition)


def live_measure(measure: Measure) -> Callable[[Person], Decimal | float | str | None]:
    """Return what gives the value of a measure for a person. None = not defined.

    Exact values are decimals, the others float64s; a text stays one.
    """
    figure, exact = _figure(measure.formula), exactness(measure.formula)
    if measure.kind != "number" or exact is None:
        return figure
    scale = exact.scale

    def exactly(person: Person) -> Decimal | None:
        units = figure(person)
        return None if units is None else Decimal(units).scaleb(-scale)

    return exactly


def _tested(atom: ValueTest) -> Answer:
    figure, test = _figure(atom.value), test_of(atom, _scale(atom.value))

    def answer(person: Person) -> bool:
        value = figure(person)
        return value is not None and bool(test(value))

    return answer


def _scale(value: Value) -> int | None:
    """Return the scale of a value's exact numbers; None for all that is compared as it is."""
    if value.kind != "number":
        return None
    if isinstance(value, Score):
        return 0 if value.field == "percentile" else None
    exact = exactness(value.formula if isinstance(value, Measure) else cast("Formula", value))
    return exact.scale if exact else None


def _figure(value: Value | Formula) -> Figure:
    match value:
        case Measure(_, _, formula):
            return _figure(formula)
        case Attribute(name):
            return lambda person: person.history.attributes.get(name)
        case DaysSinceDate(name):
            return lambda person: _days_since(person.history.attributes.get(name), person.as_of)
        case Score(goal, part):
            return lambda person: getattr(person.scores.get(goal, NOT_SCORED), part)
        case Aggregate():
            made = aggregate(value)
            return lambda person: made(person.known, person.as_of)
        case Arithmetic() | Number():
            return arithmetic(value, _figure)
        case EventAttribute():
            raise TypeError("An attribute of an event belongs to a `where`.")


def _days_since(micros: Any, as_of: int) -> float | None:
    return None if micros is None else float(time.days_between(int(micros), as_of))
