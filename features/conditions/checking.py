"""From lark's tree to the typed tree: every name looked up, every literal of the right kind."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from lark import Token, Tree

from features.conditions.errors import ConditionCode, ConditionError, shown
from features.conditions.literals import Page, Part, branch, leaf
from features.conditions.tree import (
    Aggregate,
    AnyEvent,
    Arithmetic,
    Attribute,
    Compare,
    Condition,
    Contains,
    DaysSinceDate,
    Direction,
    EventAttribute,
    EventFilter,
    Exists,
    Factor,
    Formula,
    Function,
    HasIdentity,
    In,
    InSegment,
    Not,
    Number,
    Operator,
    Scalar,
    Score,
    ScoreField,
    Sign,
    StartsWith,
    Value,
    all_of,
    any_of,
)
from features.conditions.vocabulary import Kind, Vocabulary

OF_CALENDAR = ("active_days", "calendar_days", "calendar_months", "calendar_years")
OF_EVENTS = ("count", "days_since", "days_since_first", "lifespan", *OF_CALENDAR)
OF_NUMBERS = ("sum", "mean", "min", "max")
AS_STATED = ("first", "last")
OF_ATTRIBUTES = (*OF_NUMBERS, *AS_STATED, "distinct")
YES_OR_NO = ("any", "in_segment")
ELSE = ("days_since_date", "identity", "factor")
FUNCTIONS = (*OF_EVENTS, *OF_ATTRIBUTES, *YES_OR_NO, *ELSE)

SCORE_FIELDS = ("score", "probability", "percentile", "bucket")
BUCKETS = ("low", "medium", "high")
DIRECTIONS = ("raises", "lowers")

_USE = {
    "any": "any(purchase in last 30d)",
    "in_segment": "in_segment(win_back)",
    "identity": "identity(email) exists",
    "factor": "factor(churn, days_since_purchase) = raises",
    "count": "count(purchase in last 30d) >= 2",
    "days_since": "days_since(purchase) < 30",
    "days_since_first": "days_since_first(purchase) > 365",
    "days_since_date": "days_since_date(birth_date) > 6574",
    "lifespan": "lifespan(purchase) > 365",
    **{name: f"{name}(purchase in last 30d) >= 2" for name in OF_CALENDAR},
    **{name: f"{name}(purchase.amount in last 30d) >= 2" for name in OF_ATTRIBUTES},
}


@dataclass(frozen=True)
class Checker(Page):
    """Types one parsed text against a vocabulary. Raises `ConditionError` only."""

    vocabulary: Vocabulary

    def condition(self, tree: Tree[Token], event: str = "") -> Condition:
        """Return the typed condition; inside `where`, `event` is the event at hand."""
        match tree.data:
            case "either":
                return any_of(self.condition(cast("Tree[Token]", c), event) for c in tree.children)
            case "both":
                return all_of(self.condition(cast("Tree[Token]", c), event) for c in tree.children)
            case "negation":
                return Not(self.condition(branch(tree, 0), event))
            case "bare":
                return self._bare(branch(tree, 0))
        function = self._function(branch(tree, 0))
        if function == "identity":
            return self._identity(tree)
        if function == "factor":
            return self._factor(tree)
        if function in YES_OR_NO:
            problem = f"`{function}` is already true or false."
            raise self._misuse(function, problem, leaf(branch(tree, 0), 0), "type_mismatch")
        return self._test(tree, self._value(branch(tree, 0), event), event)

    # --- tests of a value -------------------------------------------------------------------

    def _test(self, tree: Tree[Token], value: Value, event: str) -> Condition:
        said = shown(self.text[tree.meta.start_pos : branch(tree, 0).meta.end_pos])
        match tree.data:
            case "compare":
                operator = cast("Operator", str(leaf(tree, 1)))
                if operator not in ("=", "!=") and value.kind in ("text", "boolean"):
                    raise self.error(
                        "type_mismatch",
                        f"{said} is a {value.kind} and has no order.",
                        leaf(tree, 1),
                        expected="= or !=",
                        hint="Use =, != or in.",
                    )
                return Compare(value, operator, self._scalar(tree.children[2], value, said))
            case "among":
                return In(value, tuple(self._scalar(c, value, said) for c in tree.children[1:]))
            case "exists":
                self._nullable(tree, value, said)
                return Exists(value)
            case _:
                return self._text_test(tree, value, said)

    def _scalar(self, part: Part, value: Value, said: str) -> Scalar:
        literal = self.literal(part, value.kind, said)
        if isinstance(value, Score) and value.field == "bucket":
            self.known(cast("Token", part), BUCKETS, "a bucket")
        return literal

    def _text_test(self, tree: Tree[Token], value: Value, said: str) -> Condition:
        if value.kind != "text" or isinstance(value, Score):
            raise self.error(
                "type_mismatch",
                f"{said} has no letters to look into.",
                tree,
                expected="a text attribute",
                hint="`contains` and `starts with` are for text attributes.",
            )
        part = cast("str", self.literal(tree.children[1], "text", said))
        return Contains(value, part) if tree.data == "contains" else StartsWith(value, part)

    def _nullable(self, tree: Tree[Token], value: Value, said: str) -> None:
        if isinstance(value, Aggregate):
            raise self.error(
                "type_mismatch",
                f"{said} is made of events and does not `exist`.",
                tree,
                expected="an attribute, an identity or a score",
                hint=f"Ask for the events themselves: any({shown(value.events.event)[1:-1]}).",
            )

    # --- values -----------------------------------------------------------------------------

    def _value(self, tree: Tree[Token], event: str) -> Value:
        match tree.data:
            case "call":
                return self._call(tree)
            case "score":
                return self._score(tree)
            case "field":
                kinds = self.vocabulary.events[event]
                name = self.known(leaf(tree, 0), kinds, f"an attribute of {shown(event)}")
                return EventAttribute(name, kinds[name])
        attributes, measures = self.vocabulary.attributes, self.vocabulary.measures
        what = "a profile attribute or a measure" if measures else "a profile attribute"
        name = self.known(leaf(tree, 0), [*attributes, *measures], what)
        return Attribute(name, attributes[name]) if name in attributes else measures[name]

    def measured(self, tree: Tree[Token]) -> Formula:
        """Return what a measure is made of: a number, or one text that an event states."""
        formula = self._formula(tree)
        if formula.kind == "text" and isinstance(formula, Aggregate):
            return formula
        return self._number(formula, tree)

    def _formula(self, tree: Tree[Token]) -> Formula:
        match tree.data:
            case "chain":
                return self._chain(tree)
            case "number":
                return Number(self.number(leaf(tree, 0)))
            case "call":
                return self._call(tree)
        attributes = self.vocabulary.attributes
        name = self.known(leaf(tree, 0), attributes, "a profile attribute")
        return Attribute(name, attributes[name])

    def _chain(self, tree: Tree[Token]) -> Formula:
        """Return `a - b + c` as `(a - b) + c`."""
        first, *rest = cast("list[Tree[Token]]", tree.children[::2])
        whole = self._number(self._formula(first), first)
        for sign, part in zip(tree.children[1::2], rest, strict=True):
            right = self._number(self._formula(part), part)
            if sign == "/" and right == Number(Decimal(0)):
                problem = "A division by zero is never known."
                raise self.error("condition_syntax", problem, part, expected="another number")
            whole = Arithmetic(whole, cast("Sign", str(sign)), right)
        return whole

    def _number(self, formula: Formula, tree: Tree[Token]) -> Formula:
        if formula.kind == "number":
            return formula
        said = self.text[tree.meta.start_pos : tree.meta.end_pos]
        dated = f"Write days_since_date({said[:60]})." if formula.kind == "date" else ""
        raise self.error(
            "type_mismatch",
            f"{shown(said)} is a {formula.kind}, and a measure is made of numbers.",
            tree,
            expected="a number",
            hint=dated or "Texts can be counted: distinct(purchase.product).",
        )

    def _score(self, tree: Tree[Token]) -> Score:
        goal, field = leaf(tree, 0), leaf(tree, 1)
        events = self.vocabulary.events
        if goal not in self.vocabulary.goals and goal in events:
            raise self.error(
                "condition_syntax",
                f"`{goal}` has many events, not one value.",
                goal,
                expected="a function over events",
                hint=f"Say which: sum({goal}.{field[:40]} in last 30d).",
            )
        name = self._goal(goal)
        return Score(name, cast("ScoreField", self.known(field, SCORE_FIELDS, "part of a score")))

    def _goal(self, token: Token) -> str:
        self._served(token)
        return self.known(token, self.vocabulary.goals, "a goal")

    def _served(self, token: Token) -> None:
        if self.vocabulary.of_training:
            raise self.error(
                "not_known_in_training",
                f"{shown(token)} asks for a score or a segment, and there are none in training.",
                token,
                expected="events, profile attributes or identities",
                hint="Outcomes and populations may use events, attributes and identities only.",
            )

    # --- functions --------------------------------------------------------------------------

    def _function(self, tree: Tree[Token]) -> str:
        if tree.data != "call":
            return ""
        return self.known(leaf(tree, 0), FUNCTIONS, "a function")

    def _misuse(
        self,
        function: str,
        problem: str,
        place: Part | int,
        code: ConditionCode = "condition_syntax",
    ) -> ConditionError:
        example = _USE[function]
        return self.error(
            code, problem, place, expected=f"as in {example}", hint=f"Write {example}."
        )

    def _bare(self, call: Tree[Token]) -> Condition:
        function = self._function(call)
        if function == "any":
            return AnyEvent(self._events(branch(call, 1), "any"))
        if function == "in_segment":
            token = self._one_name(call, function)
            self._served(token)
            return InSegment(self.known(token, self.vocabulary.segments, "a segment"))
        problem = f"`{function}(…)` is no condition by itself."
        raise self._misuse(function, problem, call.meta.end_pos)

    def _identity(self, tree: Tree[Token]) -> Condition:
        token = self._one_name(branch(tree, 0), "identity")
        namespace = self.known(token, self.vocabulary.identities, "an identity namespace")
        if tree.data != "exists":
            problem = "An identity can only be asked to exist: its value is private."
            raise self._misuse("identity", problem, branch(tree, 0).meta.end_pos)
        return HasIdentity(namespace)

    def _factor(self, tree: Tree[Token]) -> Condition:
        arguments = branch(branch(tree, 0), 1)
        if arguments.data != "pair":
            raise self._misuse("factor", "`factor` takes a goal and a reason.", arguments)
        goal, reason = self._goal(leaf(arguments, 0)), str(leaf(arguments, 1))
        if tree.data != "compare" or leaf(tree, 1) != "=" or isinstance(tree.children[2], Tree):
            problem = "A factor can only be compared with `= raises` or `= lowers`."
            raise self._misuse("factor", problem, branch(tree, 0).meta.end_pos)
        direction = self.known(leaf(tree, 2), DIRECTIONS, "a direction")
        return Factor(goal, reason, cast("Direction", direction))

    def _one_name(self, call: Tree[Token], function: str) -> Token:
        arguments = branch(call, 1)
        alone = arguments.data == "arguments" and len(arguments.children) == 1
        if not alone or len(branch(arguments, 0).children) != 1:
            raise self._misuse(function, f"`{function}` takes one name.", arguments)
        return leaf(branch(arguments, 0), 0)

    def _call(self, call: Tree[Token]) -> Aggregate | DaysSinceDate:
        function, arguments = self._function(call), branch(call, 1)
        if function == "days_since_date":
            return self._days_since_date(call)
        if function in ELSE or function in YES_OR_NO:
            problem = f"`{function}` is no number."
            raise self._misuse(function, problem, leaf(call, 0), "type_mismatch")
        events = self._events(arguments, function)
        if function not in OF_ATTRIBUTES:
            return Aggregate(cast("Function", function), events)
        name, kind = self._attribute(branch(arguments, 0), events.event, function)
        stated = kind if function in AS_STATED else "number"
        return Aggregate(cast("Function", function), events, name, stated)

    def _days_since_date(self, call: Tree[Token]) -> DaysSinceDate:
        token = self._one_name(call, "days_since_date")
        attributes = self.vocabulary.attributes
        name = self.known(token, attributes, "a profile attribute")
        if attributes[name] != "date":
            problem = f"`days_since_date` needs a date, and {shown(name)} is a {attributes[name]}."
            raise self._misuse("days_since_date", problem, token, "type_mismatch")
        return DaysSinceDate(name)

    def _attribute(self, subject: Tree[Token], event: str, function: str) -> tuple[str, Kind]:
        if len(subject.children) == 1:
            problem = f"`{function}` needs an attribute of the event."
            raise self._misuse(function, problem, subject.meta.end_pos)
        kinds, token = self.vocabulary.events[event], leaf(subject, 1)
        name = self.known(token, kinds, f"an attribute of {shown(event)}")
        if function in OF_NUMBERS and kinds[name] != "number":
            problem = f"`{function}` needs a number, and {shown(name)} is a text."
            raise self._misuse(function, problem, token, "type_mismatch")
        return name, kinds[name]

    def _events(self, arguments: Tree[Token], function: str) -> EventFilter:
        if arguments.data == "pair":
            problem = f"`{function}` takes events, not two names."
            raise self._misuse(function, problem, leaf(arguments, 1))
        subject = branch(arguments, 0)
        self._no_date(leaf(subject, 0), function)
        event = self.known(leaf(subject, 0), self.vocabulary.events, "an event type")
        if len(subject.children) == 2 and function not in OF_ATTRIBUTES:
            raise self._misuse(function, f"`{function}` takes an event type.", leaf(subject, 1))
        parts = {part.data: part for part in cast("list[Tree[Token]]", arguments.children[1:])}
        where, lookback = parts.get("where"), parts.get("lookback")
        return EventFilter(
            event,
            None if where is None else self.condition(branch(where, 0), event),
            None if lookback is None else self.window(leaf(lookback, 0)),
        )

    def _no_date(self, token: Token, function: str) -> None:
        dated = self.vocabulary.attributes.get(str(token)) == "date"
        if function == "days_since" and dated and token not in self.vocabulary.events:
            raise self.error(
                "unknown_name",
                f"{shown(token)} is a date of the person, not an event type.",
                token,
                expected="an event type",
                hint=f"Write days_since_date({token[:60]}).",
            )
