"""The one error of the condition language: what is wrong, where, and what was expected there."""

from __future__ import annotations

from typing import Literal

from features.errors import LikelierError

ConditionCode = Literal[
    "condition_syntax",
    "unknown_name",
    "type_mismatch",
    "too_long",
    "too_deep",
    "not_known_in_training",
]

SHOWN_BEFORE, SHOWN_AFTER = 60, 30


class ConditionError(LikelierError):
    """A condition that cannot be read.

    `code` is one of `ConditionCode`. `details` hold `position` (characters from the start of the
    text, from 0), `line` and `column` (from 1) and `expected` (what may stand there, in words). The
    message ends with the offending line and a caret below the place.
    """

    code: str = "condition_syntax"

    def __init__(
        self,
        code: ConditionCode,
        problem: str,
        *,
        text: str,
        position: int,
        expected: str = "",
        hint: str = "",
    ) -> None:
        """Describe the place; `position` is an offset into `text`."""
        self.code = code
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        where = f"line {line}, column {column}"
        super().__init__(
            f"{problem} ({where})\n{_pointer(text, position)}",
            hint=hint,
            position=position,
            line=line,
            column=column,
            expected=expected,
        )


def shown(text: str) -> str:
    """Return text from outside as one short quoted line, fit for a message."""
    cut = text if len(text) <= 40 else text[:39] + "…"
    return "`" + "".join(letter if letter.isprintable() else " " for letter in cut) + "`"


def _pointer(text: str, position: int) -> str:
    start = max(text.rfind("\n", 0, position) + 1, position - SHOWN_BEFORE)
    line = text[start : position + SHOWN_AFTER].split("\n")[0]
    printable = "".join(letter if letter.isprintable() else " " for letter in line)
    return f"  {printable}\n  {' ' * (position - start)}^"
