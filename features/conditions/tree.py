"""The typed tree of a condition: what every renderer reads.

Only the parser (or code that knows the names) builds it, so a tree holds known names and literals
of the right kind. Every node is a value: equal conditions are equal trees.

Every atom is two-valued. An unknown attribute, a person never scored, a mean of no events make the
atom false; `not` then makes it true. So `country != "France"` is false for a person whose country
is unknown, and `not country = "France"` is true.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, TypeVar

from features.conditions.vocabulary import AttributeKind, Kind
from features.time import Window

Operator = Literal["=", "!=", "<", "<=", ">", ">="]
COMPARE: dict[Operator, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
"""What each sign asks of two values, of one kind of number or column."""
Function = Literal[
    "count", "active_days", "calendar_days", "calendar_months", "calendar_years",
    "days_since", "days_since_first", "lifespan",
    "sum", "mean", "min", "max", "distinct", "first", "last",
]  # fmt: skip
Sign = Literal["+", "-", "*", "/"]
ScoreField = Literal["score", "probability", "percentile", "bucket"]
Direction = Literal["raises", "lowers"]


@dataclass(frozen=True)
class Instant:
    """A literal moment: UTC microseconds."""

    micros: int


Scalar = Decimal | str | bool | Instant


@dataclass(frozen=True)
class Attribute:
    """A profile attribute as known at as_of. Null = unknown."""

    name: str
    kind: AttributeKind


@dataclass(frozen=True)
class EventAttribute:
    """An attribute of the event at hand, inside `where`. Null = the event does not say."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class DaysSinceDate:
    """Days from a date attribute to as_of. Null = unknown, negative = still to come."""

    attribute: str

    @property
    def kind(self) -> AttributeKind:
        """Always a number."""
        return "number"


@dataclass(frozen=True)
class Score:
    """One field of a person's score for a goal. Null = not scored."""

    goal: str
    field: ScoreField

    @property
    def kind(self) -> AttributeKind:
        """Text for the bucket, else a number."""
        return "text" if self.field == "bucket" else "number"


@dataclass(frozen=True)
class EventFilter:
    """Events of one type known at as_of that pass `where`, in `[as_of - window, as_of)`.

    `since` and `before` narrow that to `[since, before)` of the calendar. None sets no limit.
    """

    event: str
    where: Condition | None = None
    window: Window | None = None
    since: Instant | None = None
    before: Instant | None = None

    @property
    def whole_history(self) -> bool:
        """Whether events of any time count."""
        return self.window is None and self.since is None and self.before is None


@dataclass(frozen=True)
class Aggregate:
    """One value made of a person's events.

    count, sum, distinct, active_days and the calendar functions are 0 where no event passes; the
    others are null. `attribute` is set for sum, mean, min, max, distinct, first and last, and
    `kind` is a number but for the first or last of a text. first and last skip events that do not
    say; of several at the same time the greatest counts.
    """

    function: Function
    events: EventFilter
    attribute: str | None = None
    kind: Kind = "number"


@dataclass(frozen=True)
class Number:
    """A written number."""

    value: Decimal

    @property
    def kind(self) -> AttributeKind:
        """Always a number."""
        return "number"


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers added, subtracted, multiplied or divided. Null where either is null.

    A quotient by zero is null, too. Which results are exact is said in
    `features.conditions.exactness`.
    """

    left: Formula
    sign: Sign
    right: Formula

    @property
    def kind(self) -> AttributeKind:
        """Always a number."""
        return "number"


@dataclass(frozen=True)
class Measure:
    """A named value of a person, with all that it is made of. No measure is made of another."""

    name: str
    label: str
    formula: Formula

    @property
    def kind(self) -> AttributeKind:
        """What the formula is."""
        return self.formula.kind


Leaf = Attribute | EventAttribute | DaysSinceDate | Score | Aggregate
"""A value that is not made of others."""
Formula = Number | Attribute | DaysSinceDate | Aggregate | Arithmetic
Value = Leaf | Measure


@dataclass(frozen=True)
class Compare:
    """A value against one literal of its kind. False where the value is null."""

    value: Value
    operator: Operator
    literal: Scalar


@dataclass(frozen=True)
class In:
    """A value equal to one of several literals. False where the value is null."""

    value: Value
    literals: tuple[Scalar, ...]


@dataclass(frozen=True)
class Contains:
    """A text holding another, letter for letter (case counts). False where null."""

    value: Value
    text: str


@dataclass(frozen=True)
class StartsWith:
    """A text beginning with another, letter for letter (case counts). False where null."""

    value: Value
    text: str


@dataclass(frozen=True)
class EndsWith:
    """A text ending with another, letter for letter (case counts). False where null."""

    value: Value
    text: str


@dataclass(frozen=True)
class Exists:
    """A value that is known."""

    value: Value


@dataclass(frozen=True)
class AnyEvent:
    """At least one event passes the filter."""

    events: EventFilter


@dataclass(frozen=True)
class Step:
    """One step of a sequence: an event that happened, or (`happened` False) one that did not.

    Times are told from the last step before it that happened: a step comes later than that, never
    at the same instant, and no more than `within` later. None sets no limit but as_of.
    """

    events: EventFilter
    within: Window | None = None
    happened: bool = True


@dataclass(frozen=True)
class Sequence:
    """Some events of a person follow each other as the steps say.

    At least two steps, of which the first happened and has no `within`. An event is absent where
    none passes between the step before and the next that happened (as_of, where none follows), or
    `within` a time after the step before. At the end, that time must be over at as_of: what may
    still happen is not absent yet.
    """

    steps: tuple[Step, ...]


@dataclass(frozen=True)
class HasIdentity:
    """The profile holds an identity of this namespace."""

    namespace: str


@dataclass(frozen=True)
class Factor:
    """A reason (its code) is among a score's factors and pushes this way."""

    goal: str
    reason: str
    direction: Direction


@dataclass(frozen=True)
class InSegment:
    """The profile is a member of another segment."""

    segment: str


@dataclass(frozen=True)
class And:
    """All of at least two terms, none of which is itself an And. Built by `all_of`."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    """At least one of at least two terms, none of which is itself an Or. Built by `any_of`."""

    terms: tuple[Condition, ...]


@dataclass(frozen=True)
class Not:
    """The opposite of a term."""

    term: Condition


TextTest = Contains | StartsWith | EndsWith
TEXT_TESTS: dict[str, type[Contains] | type[StartsWith] | type[EndsWith]] = {
    "contains": Contains,
    "starts_with": StartsWith,
    "ends_with": EndsWith,
}
ValueTest = Compare | In | TextTest | Exists
Atom = ValueTest | AnyEvent | Sequence | HasIdentity | Factor | InSegment
Condition = And | Or | Not | Atom


def all_of(terms: Iterable[Condition]) -> Condition:
    """Join terms with `and`; nested Ands become one, a single term stays itself."""
    flat = tuple(
        inner for term in terms for inner in (term.terms if isinstance(term, And) else (term,))
    )
    return flat[0] if len(flat) == 1 else And(flat)


def any_of(terms: Iterable[Condition]) -> Condition:
    """Join terms with `or`; nested Ors become one, a single term stays itself."""
    flat = tuple(
        inner for term in terms for inner in (term.terms if isinstance(term, Or) else (term,))
    )
    return flat[0] if len(flat) == 1 else Or(flat)


def atoms(condition: Condition) -> Iterator[Atom]:
    """Yield the atoms of a condition from left to right, without those inside `where`."""
    match condition:
        case And(terms) | Or(terms):
            for term in terms:
                yield from atoms(term)
        case Not(term):
            yield from atoms(term)
        case _:
            yield condition


Node = TypeVar("Node", Attribute, EventAttribute, DaysSinceDate, Score, Aggregate)


def value_of(atom: Atom) -> Value | None:
    """Return the value an atom looks at; `any(…)` looks at a count. None for the others."""
    match atom:
        case AnyEvent(events):
            return Aggregate("count", events)
        case Sequence() | HasIdentity() | Factor() | InSegment():
            return None
    return atom.value


def leaves(value: Value | Formula) -> Iterator[Leaf]:
    """Yield what a value is made of, from left to right: itself where it is made of no others."""
    match value:
        case Measure():
            yield from leaves(value.formula)
        case Arithmetic(left, _, right):
            yield from leaves(left)
            yield from leaves(right)
        case Number():
            return
        case _:
            yield value


def values(condition: Condition, kind: type[Node]) -> Iterator[Node]:
    """Yield the values of one class that a condition is made of, those in measures included."""
    for atom in atoms(condition):
        value = value_of(atom)
        for leaf in () if value is None else leaves(value):
            if isinstance(leaf, kind):
                yield leaf


def measures(condition: Condition) -> dict[str, Measure]:
    """Return the measures that a condition names."""
    found = (value_of(atom) for atom in atoms(condition))
    return {value.name: value for value in found if isinstance(value, Measure)}


def event_filters(condition: Condition) -> tuple[EventFilter, ...]:
    """Return the event filters of a condition, each once; those of sequences come last."""
    stated = [value.events for value in values(condition, Aggregate)]
    steps = [step.events for sequence in sequences(condition) for step in sequence.steps]
    return tuple(dict.fromkeys([*stated, *steps]))


def sequences(condition: Condition) -> tuple[Sequence, ...]:
    """Return the sequences of a condition, each once, in order of appearance."""
    return tuple(dict.fromkeys(a for a in atoms(condition) if isinstance(a, Sequence)))


def events_used(condition: Condition) -> frozenset[str]:
    """Return the event types whose history a condition needs."""
    return frozenset(found.event for found in event_filters(condition))


@dataclass(frozen=True)
class Uses:
    """The names a condition depends on, by sort. `event_attributes` are (event, attribute)."""

    events: frozenset[str]
    event_attributes: frozenset[tuple[str, str]]
    attributes: frozenset[str]
    identities: frozenset[str]
    goals: frozenset[str]
    segments: frozenset[str]
    measures: frozenset[str]


def uses(condition: Condition) -> Uses:
    """Return every name a condition depends on, those inside `where` and measures included."""
    found = tuple(atoms(condition))
    factors = {atom.goal for atom in found if isinstance(atom, Factor)}
    return Uses(
        events=events_used(condition),
        event_attributes=frozenset(_event_attributes(condition)),
        attributes=frozenset(_attributes(condition)),
        identities=frozenset(atom.namespace for atom in found if isinstance(atom, HasIdentity)),
        goals=frozenset(factors | {value.goal for value in values(condition, Score)}),
        segments=frozenset(atom.segment for atom in found if isinstance(atom, InSegment)),
        measures=frozenset(measures(condition)),
    )


def _attributes(condition: Condition) -> Iterator[str]:
    yield from (value.name for value in values(condition, Attribute))
    yield from (value.attribute for value in values(condition, DaysSinceDate))


def _event_attributes(condition: Condition) -> Iterator[tuple[str, str]]:
    for value in values(condition, Aggregate):
        if value.attribute is not None:
            yield value.events.event, value.attribute
    for events in event_filters(condition):
        if events.where is not None:
            for inner in values(events.where, EventAttribute):
                yield events.event, inner.name
