"""From lark's tree to the typed tree: every name looked up, every literal of the right kind."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from lark import Token, Tree

from features.conditions.errors import ConditionCode, ConditionError, shown
from features.conditions.functions import (
    AS_STATED,
    BUCKETS,
    DIRECTIONS,
    ELSE,
    EXAMPLES,
    FUNCTIONS,
    MAX_STEPS,
    OF_ATTRIBUTES,
    OF_NUMBERS,
    SCORE_FIELDS,
    YES_OR_NO,
)
from features.conditions.literals import Page, Part, branch, leaf
from features.conditions.tree import (
    TEXT_TESTS,
    Aggregate,
    AnyEvent,
    Arithmetic,
    Attribute,
    Compare,
    Condition,
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
    Instant,
    Not,
    Number,
    Operator,
    Scalar,
    Score,
    ScoreField,
    Sequence,
    Sign,
    Step,
    Value,
    all_of,
    any_of,
)
from features.conditions.vocabulary import Kind, Vocabulary


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
            case "range":
                return self._range(tree, value, said)
            case "exists":
                self._nullable(tree, value, said)
                return Exists(value)
            case _:
                return self._text_test(tree, value, said)

    def _range(self, tree: Tree[Token], value: Value, said: str) -> Condition:
        """Return `between A and B`, both included, as the two comparisons it stands for."""
        if value.kind not in ("number", "date"):
            raise self.error(
                "type_mismatch",
                f"{said} is a {value.kind} and has no order.",
                tree.children[1],
                expected="a number or a date before `between`",
                hint="Use =, != or in.",
            )
        low, high = (self._scalar(part, value, said) for part in tree.children[1:])
        if _place(low) > _place(high):
            raise self.error(
                "condition_syntax",
                "Nothing lies between these two: the first is greater.",
                tree.children[1],
                expected="the lesser of the two",
                hint="Write the lesser one first.",
            )
        return all_of([Compare(value, ">=", low), Compare(value, "<=", high)])

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
                hint="`contains`, `starts with` and `ends with` are for text attributes.",
            )
        part = cast("str", self.literal(tree.children[1], "text", said))
        return TEXT_TESTS[tree.data](value, part)

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
        example = EXAMPLES[function]
        return self.error(
            code, problem, place, expected=f"as in {example}", hint=f"Write {example}."
        )

    def _bare(self, call: Tree[Token]) -> Condition:
        function = self._function(call)
        if function == "any":
            return AnyEvent(self._events(branch(call, 1), "any"))
        if function == "sequence":
            return self._sequence(branch(call, 1))
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
        step = branch(arguments, 0) if arguments.data == "arguments" else arguments
        alone = step.data == "step" and len(arguments.children) == len(step.children) == 1
        if not alone or len(branch(step, 0).children) != 1:
            raise self._misuse(function, f"`{function}` takes one name.", arguments)
        return leaf(branch(step, 0), 0)

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
        subject = branch(branch(arguments, 0), 0)
        name, kind = self._attribute(subject, events.event, function)
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

    # --- events -----------------------------------------------------------------------------

    def _sequence(self, arguments: Tree[Token]) -> Sequence:
        if arguments.data == "pair":
            problem = "The steps of a sequence are joined by `then`."
            raise self._misuse("sequence", problem, leaf(arguments, 1))
        parts = cast("list[Tree[Token]]", arguments.children)
        if len(parts) < 2:
            problem = "A sequence has at least two steps."
            raise self._misuse("sequence", problem, arguments.meta.end_pos)
        if len(parts) > MAX_STEPS:
            raise self.error(
                "too_deep",
                f"A sequence has at most {MAX_STEPS} steps, and this one has {len(parts)}.",
                parts[MAX_STEPS],
                expected="`)`",
                hint="Leave out steps that the others imply.",
            )
        self._happened(parts[0])
        limits = [self._limits(part) for part in parts]
        if "within" in limits[0]:
            raise self.error(
                "condition_syntax",
                "The first step comes after no other.",
                limits[0]["within"],
                expected="`then` or `)`",
                hint="Give the limit to the step that follows, or write `in last`.",
            )
        return Sequence(tuple(map(self._step, parts, limits)))

    def _step(self, part: Tree[Token], limits: dict[str, Tree[Token]]) -> Step:
        events = self._filter(part, "sequence", limits)
        within = self.window(leaf(limits["within"], 0)) if "within" in limits else None
        return Step(events, within, part.data == "step")

    def _events(self, arguments: Tree[Token], function: str) -> EventFilter:
        if arguments.data == "pair":
            problem = f"`{function}` takes events, not two names."
            raise self._misuse(function, problem, leaf(arguments, 1))
        if len(arguments.children) > 1:
            problem = "Only `sequence` takes events that follow each other."
            raise self._misuse(function, problem, arguments.children[1])
        part = branch(arguments, 0)
        self._happened(part)
        limits = self._limits(part)
        if "within" in limits:
            raise self.error(
                "condition_syntax",
                "`within` is for the later steps of a sequence.",
                limits["within"],
                expected="`in last`, `since` or `before`",
                hint="Write in last 30d.",
            )
        return self._filter(part, function, limits)

    def _happened(self, part: Tree[Token]) -> None:
        if part.data == "absent":
            raise self.error(
                "condition_syntax",
                "Only a later step of a sequence can be one that did not happen.",
                part,
                expected="an event type",
                hint="Write `not` before the function: not any(purchase).",
            )

    def _limits(self, part: Tree[Token]) -> dict[str, Tree[Token]]:
        """Return what limits the events of a step, by its word, each said once."""
        found: dict[str, Tree[Token]] = {}
        for limit in cast("list[Tree[Token]]", part.children[1:]):
            if limit.data in found:
                raise self.error(
                    "condition_syntax",
                    "The same limit is set twice.",
                    limit,
                    expected="another limit, or `)`",
                    hint="Join two tests with `and` after one `where`."
                    if limit.data == "where"
                    else "Keep the narrower one.",
                )
            found[limit.data] = limit
        return found

    def _filter(
        self, part: Tree[Token], function: str, limits: dict[str, Tree[Token]]
    ) -> EventFilter:
        subject = branch(part, 0)
        self._no_date(leaf(subject, 0), function)
        event = self.known(leaf(subject, 0), self.vocabulary.events, "an event type")
        if len(subject.children) == 2 and function not in OF_ATTRIBUTES:
            raise self._misuse(function, f"`{function}` takes an event type.", leaf(subject, 1))
        since, before = (self._moment(limits.get(word)) for word in ("since", "before"))
        if since and before and since.micros >= before.micros:
            raise self.error(
                "condition_syntax",
                "No event is of this time: it ends before it begins.",
                limits["since"],
                expected="a date before the other",
                hint="Write since date(…) before date(…), the earlier one first.",
            )
        return EventFilter(
            event,
            self.condition(branch(limits["where"], 0), event) if "where" in limits else None,
            self.window(leaf(limits["lookback"], 0)) if "lookback" in limits else None,
            since,
            before,
        )

    def _moment(self, limit: Tree[Token] | None) -> Instant | None:
        return None if limit is None else self.instant(leaf(branch(limit, 0), 0))

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


def _place(literal: Scalar) -> Decimal | int:
    """Return where a number or a moment stands in its order."""
    return literal.micros if isinstance(literal, Instant) else cast("Decimal", literal)
