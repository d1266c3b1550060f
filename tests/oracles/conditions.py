"""The slow twin of the condition renderers: one person, one moment, plain Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

from features.conditions import tree as t
from features.time import MICROS_PER_DAY as DAY
from tests.oracles.measures import figure

Row = Mapping[str, Any]
SIGNS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
         ">": operator.gt, ">=": operator.ge}  # fmt: skip


def holds(condition: t.Condition, person: Row, events: Sequence[Row]) -> bool:
    """Say whether a condition holds for a spine row and the history rows that belong to it."""
    match condition:
        case t.And(terms):
            return all([holds(term, person, events) for term in terms])
        case t.Or(terms):
            return any([holds(term, person, events) for term in terms])
        case t.Not(term):
            return not holds(term, person, events)
        case t.AnyEvent(wanted):
            return len(passing(wanted, person, events)) > 0
        case t.Sequence(steps):
            happened = [passing(step.events, person, events) for step in steps if step.happened]
            return any([follow(steps, chosen, person, events) for chosen in product(*happened)])
        case t.HasIdentity(namespace):
            return person[f"identity_{namespace}"] is True
        case t.InSegment(segment):
            return person[f"segment_{segment}"] is True
        case t.Factor(goal, reason, direction):
            return reason in (person[f"{goal}_{direction}"] or [])
    value = value_of(condition.value, person, events)
    match condition:
        case t.Exists():
            return value is not None
        case t.Compare(_, sign, literal):
            return value is not None and SIGNS[sign](value, plain(literal, value))
        case t.In(_, literals):
            return value is not None and value in [plain(literal, value) for literal in literals]
        case t.Contains(_, part):
            return value is not None and part in value
        case t.StartsWith(_, part):
            return value is not None and value.startswith(part)
        case t.EndsWith(_, part):
            return value is not None and value.endswith(part)


def plain(literal: t.Scalar, value: object) -> Any:
    """A literal beside a value: micros for moments, float64 beside float64, else exact."""
    if isinstance(literal, t.Instant):
        return literal.micros
    return float(literal) if isinstance(value, float) else literal


def passing(wanted: t.EventFilter, person: Row, events: Sequence[Row]) -> list[Row]:
    """The events a filter lets through: `[as_of - window, as_of)`."""
    start = person["as_of"] - wanted.window.micros if wanted.window else 0
    start = max(start, wanted.since.micros) if wanted.since else start
    end = min(person["as_of"], wanted.before.micros) if wanted.before else person["as_of"]
    return [event for event in events if event["event_type"] == wanted.event
            and start <= event["event_time"] < end
            and (wanted.where is None or holds(wanted.where, event, ()))]  # fmt: skip


def follow(
    steps: Sequence[t.Step], chosen: Sequence[Row], person: Row, events: Sequence[Row]
) -> bool:
    """Say whether these events, one for each step that happened, follow each other as they say."""
    times = [event["event_time"] for event in chosen]
    last = times.pop(0)
    for step in steps[1:]:
        latest = last + step.within.micros if step.within else float("inf")
        if step.happened:
            if not last < times[0] <= latest:
                return False
            last = times.pop(0)
            continue
        if not times and step.within and latest >= person["as_of"]:
            return False  # It may still happen.
        until = times[0] if times else person["as_of"]
        if any(last < event["event_time"] <= latest and event["event_time"] < until
               for event in passing(step.events, person, events)):  # fmt: skip
            return False
    return True


def value_of(value: t.Value, person: Row, events: Sequence[Row]) -> Any:
    """A value of the row at hand, or a number made of its events."""
    match value:
        case t.Attribute(name):
            return person[f"profile_{name}"]
        case t.EventAttribute(name):
            return person[f"attr_{name}"]
        case t.Score(goal, field):
            return person[f"{goal}_{field}"]
        case t.DaysSinceDate(name):
            born = person[f"profile_{name}"]
            return None if born is None else (person["as_of"] - born) / DAY
        case t.Measure(_, _, formula):
            return figure(formula, lambda leaf: value_of(leaf, person, events)).value
    found = passing(value.events, person, events)
    known = [event[f"attr_{value.attribute}"] for event in found] if value.attribute else []
    known = [number for number in known if number is not None]
    if value.function == "mean":
        return float(int(sum(known) * 10_000)) / (len(known) * 10_000) if known else None
    times = [event["event_time"] for event in found]
    days = [datetime.fromtimestamp(0, UTC) + timedelta(event["local_day"]) for event in found]
    stated = [
        (event["event_time"], event[f"attr_{value.attribute}"])
        for event in found
        if value.attribute and event[f"attr_{value.attribute}"] is not None
    ]
    functions: dict[str, Callable[[], Any]] = {
        "count": lambda: len(found),
        "active_days": lambda: len(set(days)),
        "calendar_days": lambda: (max(days) - min(days)).days + 1 if days else 0,
        "calendar_months": lambda: span([d.year * 12 + d.month for d in days]),
        "calendar_years": lambda: span([d.year for d in days]),
        "days_since": lambda: (person["as_of"] - max(times)) / DAY if times else None,
        "days_since_first": lambda: (person["as_of"] - min(times)) / DAY if times else None,
        "lifespan": lambda: (max(times) - min(times)) / DAY if times else None,
        "distinct": lambda: len(set(known)),
        "sum": lambda: sum(known),
        "min": lambda: min(known, default=None),
        "max": lambda: max(known, default=None),
        "first": lambda: max((v for at, v in stated if at == min(stated)[0]), default=None),
        "last": lambda: max(stated)[1] if stated else None,
    }
    return functions[value.function]()


def span(numbers: Sequence[int]) -> int:
    """How many calendar units lie from the least to the greatest, both included."""
    return max(numbers) - min(numbers) + 1 if numbers else 0
