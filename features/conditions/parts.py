"""A condition kept for later: its canonical text, in parts where it joins many terms.

A text is read only up to a length; the population of everyone active names every event type there
is, and is longer. What is kept is JSON-ready and was a tree already, so only its terms are read.
"""

from __future__ import annotations

from typing import Any

from features.conditions.parser import parse
from features.conditions.text import text
from features.conditions.tree import And, Condition, Or
from features.conditions.vocabulary import Vocabulary

Kept = str | dict[str, list[Any]]
"""A text, or `and` or `or` with what it joins."""


def to_parts(condition: Condition) -> Kept:
    """Return a condition as it is kept."""
    match condition:
        case And(terms):
            return {"and": [to_parts(term) for term in terms]}
        case Or(terms):
            return {"or": [to_parts(term) for term in terms]}
    return text(condition)


def from_parts(kept: Kept, vocabulary: Vocabulary) -> Condition:
    """Return the condition that `to_parts` kept; raises what `parse` raises for its terms."""
    if isinstance(kept, str):
        return parse(kept, vocabulary)
    ((joint, parts),) = kept.items()
    terms = tuple(from_parts(part, vocabulary) for part in parts)
    return And(terms) if joint == "and" else Or(terms)
