"""The nodes of a condition's JSON form: their shapes, and the tree each stands for.

`node` tells what an object is. Names and kinds are not judged here: a tree made of these is one
that `features.conditions.json_tree` still has to read with a vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
)

from features.conditions import tree as t
from features.conditions.functions import MAX_STEPS
from features.conditions.literals import DECIMALS, WHOLE_DIGITS
from features.conditions.parser import MAX_LENGTH
from features.errors import TimeError
from features.time import Window, format_instant, parse_instant

VERSION = 1

_NUMBER = re.compile(rf"-?[0-9]{{1,{WHOLE_DIGITS}}}(\.[0-9]{{1,{DECIMALS}}})?")


# Values of the document --------------------------------------------------------------------------


def _exact(value: object) -> Decimal:
    """Read a number: a text, or a JSON number as it is written."""
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    if not plain or not _NUMBER.fullmatch(str(value)):
        raise ValueError(
            f"a number like 2.25, of at most {WHOLE_DIGITS} digits before and {DECIMALS} after "
            "the point, is needed here"
        )
    return Decimal(str(value))


def _instant(value: object, info: ValidationInfo) -> t.Instant:
    try:
        moment = t.Instant(parse_instant(str(value), (info.context or {})["time_zone"]))
        format_instant(moment.micros)
    except (TimeError, ValueError, OverflowError) as error:
        problem = "a date like 2024-01-31 or 2024-01-31T12:00:00Z is needed here"
        raise ValueError(problem) from error
    return moment


def _length(value: object) -> Window:
    try:
        return Window.parse(value)  # type: ignore[arg-type]  # what is no text is refused there
    except TimeError as error:
        raise ValueError("a length of time like 30d is needed here") from error


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=MAX_LENGTH)]
Text = Annotated[str, Field(max_length=MAX_LENGTH)]
Exact = Annotated[
    Decimal,
    BeforeValidator(_exact),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}]}),
]
Moment = Annotated[
    t.Instant, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
Length = Annotated[
    Window,
    BeforeValidator(_length),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+[smhdw]$"}),
]


class Part(BaseModel):
    """An object of the document: unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )


class NumberLiteral(Part):
    """A number: a text, exact, or a JSON number."""

    number: Exact


class DateLiteral(Part):
    """A moment; one without a zone is read in the project's."""

    date: Moment


def _sort(value: object) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    keys = value if isinstance(value, dict) else {}
    return next((sort for sort in ("number", "date") if sort in keys), None)


LiteralNode = Annotated[
    Annotated[Text, Tag("text")]
    | Annotated[bool, Tag("boolean")]
    | Annotated[NumberLiteral, Tag("number")]
    | Annotated[DateLiteral, Tag("date")],
    Discriminator(
        _sort,
        custom_error_type="no_literal",
        custom_error_message='a text, true, false, {{"number": "2.25"}} or '
        '{{"date": "2024-01-31"}} is needed here',
    ),
]


def _scalar(literal: str | bool | NumberLiteral | DateLiteral) -> t.Scalar:
    match literal:
        case NumberLiteral():
            return literal.number
        case DateLiteral():
            return literal.date
    return literal


class Events(Part):
    """Events of one type, and what limits them."""

    event: Text
    where: ConditionNode | None = None
    in_last: Length | None = None
    since: Moment | None = None
    before: Moment | None = None

    def tree(self) -> t.EventFilter:
        """Return the filter this stands for."""
        where = self.where.tree() if self.where else None
        return t.EventFilter(self.event, where, self.in_last, self.since, self.before)


# Values ------------------------------------------------------------------------------------------


class AttributeNode(Part):
    """A profile attribute."""

    node: Literal["attribute"]
    name: Name

    def tree(self) -> t.Value:
        """Return the value this stands for; of what kind it is, the vocabulary says."""
        return t.Attribute(self.name, "text")


class EventAttributeNode(Part):
    """An attribute of the event at hand, inside `where`."""

    node: Literal["event_attribute"]
    name: Name

    def tree(self) -> t.Value:
        """Return the value this stands for; of what kind it is, the vocabulary says."""
        return t.EventAttribute(self.name, "text")


class DaysSinceDateNode(Part):
    """Days since a date attribute."""

    node: Literal["days_since_date"]
    attribute: Name

    def tree(self) -> t.Value:
        """Return the value this stands for."""
        return t.DaysSinceDate(self.attribute)


class ScoreNode(Part):
    """One part of a score."""

    node: Literal["score"]
    goal: Name
    field: Name

    def tree(self) -> t.Value:
        """Return the value this stands for; which parts there are, the parser knows."""
        return t.Score(self.goal, self.field)  # type: ignore[arg-type]


class AggregateNode(Part):
    """A value made of events; `attribute` for the functions of an attribute."""

    node: Literal["aggregate"]
    function: Name
    events: Events
    attribute: Name | None = None

    def tree(self) -> t.Value:
        """Return the value this stands for; which functions there are, the parser knows."""
        return t.Aggregate(self.function, self.events.tree(), self.attribute)  # type: ignore[arg-type]


class MeasureNode(Part):
    """A measure, by its name."""

    node: Literal["measure"]
    name: Name

    def tree(self) -> t.Value:
        """Return the value this stands for; what it is made of, the vocabulary says."""
        return t.Measure(self.name, self.name, t.Number(Decimal(0)))


ValueNode = Annotated[
    AttributeNode
    | EventAttributeNode
    | DaysSinceDateNode
    | ScoreNode
    | AggregateNode
    | MeasureNode,
    Field(discriminator="node"),
]


# Conditions --------------------------------------------------------------------------------------


class Joined(Part):
    """All or some of at least two conditions."""

    node: Literal["and", "or"]
    terms: Annotated[list[ConditionNode], Field(min_length=2)]

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        join = t.all_of if self.node == "and" else t.any_of
        return join(term.tree() for term in self.terms)


class NotNode(Part):
    """The opposite of a condition."""

    node: Literal["not"]
    term: ConditionNode

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.Not(self.term.tree())


class CompareNode(Part):
    """A value against a literal."""

    node: Literal["compare"]
    value: ValueNode
    operator: t.Operator
    literal: LiteralNode

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.Compare(self.value.tree(), self.operator, _scalar(self.literal))


class InNode(Part):
    """A value equal to one of several literals."""

    node: Literal["in"]
    value: ValueNode
    literals: Annotated[list[LiteralNode], Field(min_length=1)]

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.In(self.value.tree(), tuple(map(_scalar, self.literals)))


class TextNode(Part):
    """A text that holds another, begins or ends with it."""

    node: Literal["contains", "starts_with", "ends_with"]
    value: ValueNode
    text: Text

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.TEXT_TESTS[self.node](self.value.tree(), self.text)


class ExistsNode(Part):
    """A value that is known."""

    node: Literal["exists"]
    value: ValueNode

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.Exists(self.value.tree())


class AnyEventNode(Part):
    """At least one event."""

    node: Literal["any"]
    events: Events

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.AnyEvent(self.events.tree())


class StepNode(Part):
    """One step of a sequence."""

    events: Events
    within: Length | None = None
    happened: bool = True

    def tree(self) -> t.Step:
        """Return the step this stands for."""
        return t.Step(self.events.tree(), self.within, self.happened)


class SequenceNode(Part):
    """Events that follow each other."""

    node: Literal["sequence"]
    steps: Annotated[list[StepNode], Field(min_length=2, max_length=MAX_STEPS)]

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.Sequence(tuple(step.tree() for step in self.steps))


class IdentityNode(Part):
    """The profile has an identity of a namespace."""

    node: Literal["identity"]
    namespace: Text

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.HasIdentity(self.namespace)


class FactorNode(Part):
    """A reason is among a score's factors."""

    node: Literal["factor"]
    goal: Name
    reason: Name
    direction: Literal["raises", "lowers"]

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.Factor(self.goal, self.reason, self.direction)


class InSegmentNode(Part):
    """The profile is in another segment."""

    node: Literal["in_segment"]
    segment: Text

    def tree(self) -> t.Condition:
        """Return the condition this stands for."""
        return t.InSegment(self.segment)


ConditionNode = Annotated[
    Joined | NotNode | CompareNode | InNode | TextNode | ExistsNode | AnyEventNode | SequenceNode
    | IdentityNode | FactorNode | InSegmentNode,
    Field(discriminator="node"),
]  # fmt: skip


class Document(Part):
    """A condition in the form of one version."""

    version: Literal[1]
    condition: ConditionNode


def atoms(node: Any, path: str) -> Iterator[tuple[str, t.Condition]]:
    """Yield every atom below a node with the JSON pointer to it, from left to right."""
    match node:
        case Joined():
            for place, term in enumerate(node.terms):
                yield from atoms(term, f"{path}/terms/{place}")
        case NotNode():
            yield from atoms(node.term, f"{path}/term")
        case _:
            yield path, node.tree()


for _model in (Events, Joined, NotNode, AnyEventNode, AggregateNode, SequenceNode, Document):
    _model.model_rebuild()
