"""Goals: what is predicted, of whom, read as conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from decimal import Decimal
from typing import Any

from features.behavior.definitions import DaysSinceAttribute
from features.conditions import Condition, ConditionError, Vocabulary, parse, uses, words
from features.conditions.text import text_in_full
from features.conditions.tree import (
    AnyEvent,
    Compare,
    DaysSinceDate,
    EventFilter,
    Or,
    all_of,
    any_of,
    event_filters,
)
from features.errors import LikelierError
from features.goal_settings import Goal, Subscription
from features.time import Window

DEFAULT_ACTIVITY = Window.parse("45d")
"""Everyone active in this window is eligible by default (Customer AI's default population)."""


class BadGoal(LikelierError):
    """A goal whose outcome cannot be a goal."""

    code = "bad_goal"


@dataclass(frozen=True)
class CompiledGoal:
    """A goal with its conditions read.

    `outcome` speaks of the outcome window alone. Of a subscription it says who is lost at its end,
    and `eligible` who is not yet. Events that pass one of `excluded` do not count.
    """

    settings: Goal
    outcome: Condition
    eligible: Condition
    excluded: tuple[EventFilter, ...] = ()

    @property
    def name(self) -> str:
        """The goal's name."""
        return self.settings.name

    @property
    def event(self) -> str:
        """The outcome's first event type: the simple rules look at it alone.

        Of a subscription there is none, and this raises `BadGoal`: see `end`.
        """
        if self.settings.subscription:
            raise BadGoal(f"goals.{self.name}: the loss of a subscription is no event.")
        return str(event_filters(self.outcome)[0].event)

    @property
    def end(self) -> str | None:
        """Name of the feature that tells the days since a subscription ended; None of others."""
        subscription = self.settings.subscription
        return DaysSinceAttribute(subscription.end).feature.name if subscription else None

    @property
    def eligible_words(self) -> str:
        """Who is eligible, in words."""
        return words(self.eligible)


def compile_goal(goal: Goal, vocabulary: Vocabulary) -> CompiledGoal:
    """Read a goal's conditions; raise `ConditionError` or `BadGoal` naming the goal."""
    stated = _read(goal, "eligible", goal.eligible, vocabulary) if goal.eligible else None
    excluded = _excluded(goal, vocabulary)
    if goal.subscription is None:
        outcome = _outcome(goal, vocabulary)
        return CompiledGoal(goal, outcome, stated or default_population(vocabulary), excluded)
    lost, kept = _lost(goal, goal.subscription, vocabulary)
    return CompiledGoal(goal, lost, all_of([kept, *([stated] if stated else [])]), excluded)


def _outcome(goal: Goal, vocabulary: Vocabulary) -> Condition:
    outcome = _read(goal, "outcome", goal.outcome or "", vocabulary)
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
    return outcome


def _lost(
    goal: Goal, subscription: Subscription, vocabulary: Vocabulary
) -> tuple[Condition, Condition]:
    """Return who has lost their subscription at a moment, and who has one that is not lost."""
    where, kind = f"goals.{goal.name}.subscription.end", vocabulary.attributes.get(subscription.end)
    if kind is None:
        raise BadGoal(
            f"{where}: nobody dated {subscription.end!r}, so it may know the future.",
            hint="Name the column that says when a record was written as its source's known_from.",
        )
    if kind != "date":
        raise BadGoal(
            f"{where}: {subscription.end!r} is a {kind}, not a date.",
            hint="Write dates as 2024-01-31: cast(COLUMN as date).",
        )
    since, days = DaysSinceDate(subscription.end), Decimal(repr(subscription.renewed_within.days))
    return Compare(since, ">=", days), Compare(since, "<", days)


def _excluded(goal: Goal, vocabulary: Vocabulary) -> tuple[EventFilter, ...]:
    if goal.exclude is None:
        return ()
    condition = _read(goal, "exclude", goal.exclude, vocabulary)
    terms = condition.terms if isinstance(condition, Or) else (condition,)
    found = [term.events for term in terms if isinstance(term, AnyEvent)]
    if len(found) < len(terms) or any(events.window for events in found):
        raise BadGoal(
            f"goals.{goal.name}.exclude: {goal.exclude!r} does not say which events.",
            hint='Say it of events alone, without `in last`: any(purchase where staff = "yes"), '
            "several joined by `or`.",
        )
    return tuple(found)


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
        "excluded": excluded_text(goal),
    }


def excluded_text(goal: CompiledGoal) -> str:
    """Return what does not count for a goal, as canonical text; empty where everything counts."""
    return text_in_full(any_of(map(AnyEvent, goal.excluded))) if goal.excluded else ""


def by_exclusion(goals: Sequence[CompiledGoal]) -> list[list[CompiledGoal]]:
    """Return goals that leave out the same events together, those that leave out none first."""
    found: dict[str, list[CompiledGoal]] = {}
    for goal in sorted(goals, key=lambda goal: bool(goal.excluded)):
        found.setdefault(excluded_text(goal), []).append(goal)
    return list(found.values())


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
