"""From text to the typed tree: caps first, then the grammar, then names and kinds.

`parse` raises `ConditionError` and nothing else, whatever the text, in less than 50 ms for any
vocabulary of some thousand names; `benchmarks/conditions.py` measures it.
"""

from __future__ import annotations

import difflib
import re

from lark import Token, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from features.conditions.checking import Checker
from features.conditions.errors import ConditionError, shown
from features.conditions.grammar import KEYWORDS, in_words, lark
from features.conditions.text import formula_text
from features.conditions.text import text as written
from features.conditions.tree import Condition, Formula
from features.conditions.vocabulary import Vocabulary

MAX_LENGTH = 4_000
"""Characters a condition may have, as given and in its canonical spelling."""
MAX_DEPTH = 50
"""Parentheses and `not`s that may stand inside each other."""
MAX_SIGNS = 50
"""Signs `+ - * /` that a measure may have."""

# A quote never closed is one piece to the end: time stays linear in the text.
_PIECE = re.compile(
    r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|[()]|[A-Za-z0-9_]+|\s+|.""", re.DOTALL
)


def parse(text: str, vocabulary: Vocabulary) -> Condition:
    """Read a condition with the names of `vocabulary`.

    Raises `ConditionError`: `too_long`, `too_deep`, `condition_syntax`, `unknown_name`,
    `type_mismatch`, or `not_known_in_training`, each with the place and what was expected there.
    """
    condition = Checker(text, vocabulary.time_zone, vocabulary).condition(_tree(text, "start"))
    # Whatever is accepted can be stored in its canonical spelling and read again.
    _within_length(written(condition), text)
    return condition


def parse_formula(text: str, vocabulary: Vocabulary) -> Formula:
    """Read what a measure is made of with the names of `vocabulary`.

    Raises `ConditionError` as `parse` does; `too_deep` also for more than 50 signs.
    """
    tree = _tree(text, "value")
    _within_signs(tree, text)
    formula = Checker(text, vocabulary.time_zone, vocabulary).measured(tree)
    _within_length(formula_text(formula), text)
    return formula


def _tree(text: str, start: str) -> Tree[Token]:
    _within_length(text, text)
    _within_depth(text)
    try:
        return lark().parse(text, start=start)
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None


def _within_signs(tree: Tree[Token], text: str) -> None:
    signs = [
        token
        for token in tree.scan_values(lambda part: isinstance(part, Token))
        if isinstance(token, Token) and token.type in ("SUM", "PRODUCT")
    ]
    if len(signs) > MAX_SIGNS:
        raise ConditionError(
            "too_deep",
            f"A measure has at most {MAX_SIGNS} signs + - * /, and this one has {len(signs)}.",
            text=text,
            position=signs[MAX_SIGNS].start_pos or 0,
            expected="the end",
            hint="Use several measures, or an event with one attribute for the sum.",
        )


def _within_length(measured: str, text: str) -> None:
    if len(measured) > MAX_LENGTH:
        raise ConditionError(
            "too_long",
            f"A condition or measure has at most {MAX_LENGTH:,} characters, and this one has "
            f"{len(measured):,} (spaces between words included).",
            text=text[:MAX_LENGTH],
            position=min(len(text), MAX_LENGTH),
            expected="the end",
            hint="Split a condition into segments, and join them with in_segment(…).",
        )


def _within_depth(text: str) -> None:
    outer: list[int] = []
    depth = run = 0
    for piece in _PIECE.finditer(text):
        word = piece[0]
        if word == "(":
            outer.append(run + 1)
            depth, run = depth + run + 1, 0
        elif word == ")":
            depth -= outer.pop() if outer else 0
            run = 0
        elif word.lower() == "not":
            run += 1
        elif not word.isspace():
            run = 0
        if depth + run > MAX_DEPTH:
            raise ConditionError(
                "too_deep",
                f"Parentheses and `not` stand inside each other at most {MAX_DEPTH} deep.",
                text=text,
                position=piece.start(),
                expected="less nesting",
                hint="Remove parentheses that are not needed, or use in_segment(…).",
            )


def _syntax_error(text: str, error: UnexpectedInput) -> ConditionError:
    if isinstance(error, UnexpectedToken):
        # Nothing at all may follow a whole text.
        tokens = set(error.accepts or error.expected) or {"$END"}
        at_end = error.token.type == "$END"
        position = len(text) if at_end else error.token.start_pos or 0
    else:
        tokens = set(error.allowed or ()) if isinstance(error, UnexpectedCharacters) else set()
        position, at_end = error.pos_in_stream or 0, False
    expected = in_words(tokens)
    if not at_end and text[position] in "\"'" and "STRING" not in _found(error):
        problem, hint = "A quoted text is never closed.", "Close it with the quote it began with."
    else:
        piece = _PIECE.match(text, position)
        found = shown(piece[0]) if piece and not at_end else "the end"
        problem = f"Expected {expected}, found {found}."
        hint = _keyword_hint(piece[0] if piece else "", tokens)
    return ConditionError(
        "condition_syntax", problem, text=text, position=position, expected=expected, hint=hint
    )


def _found(error: UnexpectedInput) -> str:
    return error.token.type if isinstance(error, UnexpectedToken) else ""


_SLIPS = {
    "=": "Write one = for equality.",
    "&": "Write `and`.",
    "|": "Write `or`.",
    "!": "Write `not`.",
    "“": 'Use straight quotes: ".',
    "”": 'Use straight quotes: ".',
}


def _keyword_hint(found: str, tokens: set[str]) -> str:
    if found in _SLIPS:
        return _SLIPS[found]
    words = sorted(KEYWORDS[token] for token in tokens & KEYWORDS.keys())
    near = difflib.get_close_matches(found[:40].lower(), words, n=1)
    return f"Did you mean {near[0]!r}?" if near else ""
