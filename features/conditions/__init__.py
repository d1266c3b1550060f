"""Conditions: one small language that goals, populations and segments speak about people.

`parse` reads text with a vocabulary into a typed tree, `words` says it and `text` writes it back.
`features.conditions.table.matches` renders it over tables and `features.conditions.live.live` over
one person's history; neither is imported here, so that reading a condition loads no engine.
"""

from features.conditions.errors import ConditionError
from features.conditions.parser import parse
from features.conditions.text import text
from features.conditions.tree import Condition, events_used, uses
from features.conditions.vocabulary import Vocabulary
from features.conditions.words import words

__all__ = [
    "Condition",
    "ConditionError",
    "Vocabulary",
    "events_used",
    "parse",
    "text",
    "uses",
    "words",
]
