"""Goals: what is predicted, of whom, read as conditions."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from features.conditions import Condition, ConditionError, Vocabulary, parse, uses, words
from features.conditions.text import text_in_full
from features.conditions.tree import AnyEvent, EventFilter, any_of, event_filters
from features.errors import LikelierError
from features.settings import Goal
from features.time import Window

DEFAULT_ACTIVITY = Window.parse("45d")
"""Everyone active in this window is eligible by default (Customer AI's default population)."""


class BadGoal(LikelierError):
    """A goal whose outcome cannot be a goal."""

    code = "bad_goal"


@dataclass(frozen=True)
class CompiledGoal:
    """A goal with its conditions read. `outcome` speaks of the outcome window alone."""

    settings: Goal
    outcome: Condition
    eligible: Condition

    @property
    def name(self) -> str:
        """The goal's name."""
        return self.settings.name

    @property
    def event(self) -> str:
        """The outcome's first event type: the simple rules look at it alone."""
        return str(event_filters(self.outcome)[0].event)

    @property
    def eligible_words(self) -> str:
        """Who is eligible, in words."""
        return words(self.eligible)


def compile_goal(goal: Goal, vocabulary: Vocabulary) -> CompiledGoal:
    """Read a goal's conditions; raise `ConditionError` or `BadGoal` naming the goal."""
    outcome = _read(goal, "outcome", goal.outcome, vocabulary)
    used = uses(outcome)
    if not used.events:
        raise BadGoal(
            f"goals.{goal.name}.outcome: {goal.outcome!r} names no event.",
            hint="Say what will happen, or will not: any(purchase), not any(purchase).",
        )
    limited = not all(events.whole_history for events in event_filters(outcome))
    if used.attributes or used.identities or limited:
        raise BadGoal(
            f"goals.{goal.name}.outcome: {goal.outcome!r} looks beyond the outcome window.",
            hint="Use events without `in last`, `since`, `before`: the window is outcome_window. "
            "Attributes and identities belong in `eligible`.",
        )
    stated = _read(goal, "eligible", goal.eligible, vocabulary) if goal.eligible else None
    return CompiledGoal(goal, outcome, stated or default_population(vocabulary))


def _read(goal: Goal, key: str, text: str, vocabulary: Vocabulary) -> Condition:
    try:
        return parse(text, vocabulary)
    except ConditionError as error:
        error.message = f"goals.{goal.name}.{key}: {error.message}"
        raise


def default_population(vocabulary: Vocabulary) -> Condition:
    """Return the condition for everyone active lately, with any event."""
    # Built, not parsed: a text that names hundreds of event types is longer than a text may be.
    return any_of(
        AnyEvent(EventFilter(event, window=DEFAULT_ACTIVITY)) for event in vocabulary.events
    )


def canonical(goal: CompiledGoal) -> dict[str, str]:
    """Return what the goal says, as canonical text: part of the version of what is made of it."""
    return {
        "outcome": text_in_full(goal.outcome),
        "eligible": text_in_full(goal.eligible),
        "outcome_window": str(goal.settings.outcome_window),
        "gap": str(goal.settings.gap or ""),
        "spine": goal.settings.spine,
    }


def widened(condition: Condition, times: int | None) -> Condition:
    """Return a condition whose look-backs are `times` as long, or without end where None."""

    def changed(node: Any) -> Any:
        if isinstance(node, tuple):
            return tuple(changed(each) for each in node)
        if not is_dataclass(node) or isinstance(node, type | Window):
            return node
        parts = {each.name: changed(getattr(node, each.name)) for each in fields(node)}
        if isinstance(node, EventFilter) and node.window is not None:
            parts["window"] = Window(node.window.micros * times) if times else None
        return replace(node, **parts)

    found: Condition = changed(condition)
    return found
