"""Literals and name look-ups: tokens in, typed values out, or a `ConditionError` at the place."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from lark import Token, Tree

from features.conditions.errors import ConditionCode, ConditionError, shown
from features.conditions.tree import Instant, Scalar
from features.errors import TimeError, did_you_mean
from features.time import Window, format_instant, parse_instant

Part = Tree[Token] | Token

WHOLE_DIGITS, DECIMALS = 14, 9
"""Numbers have at most 14 digits before and 9 after the point: a DECIMAL(23,9)."""

LONGEST = Window.parse("36500d")
"""The longest look-back, a hundred years."""

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "'": "'", "\\": "\\"}
_KIND = {"STRING": "text", "NUMBER": "number", "TRUE": "boolean", "FALSE": "boolean"}
_WRITE = {
    "text": 'a quoted text like "France"',
    "number": "a number like 30",
    "boolean": "true or false",
    "date": 'a date like date("2024-01-31")',
}


def branch(tree: Tree[Token], index: int) -> Tree[Token]:
    """Return a child that the grammar makes a tree."""
    return cast("Tree[Token]", tree.children[index])


def leaf(tree: Tree[Token], index: int) -> Token:
    """Return a child that the grammar makes a token."""
    return cast("Token", tree.children[index])


def start(part: Part) -> int:
    """Return the place where a part of the text begins."""
    place = part.start_pos if isinstance(part, Token) else part.meta.start_pos
    return place or 0


@dataclass(frozen=True)
class Page:
    """The text being read: raises errors that point into it."""

    text: str
    time_zone: str

    def error(
        self,
        code: ConditionCode,
        problem: str,
        place: Part | int,
        *,
        expected: str = "",
        hint: str = "",
    ) -> ConditionError:
        """Return the error that points at `place`."""
        position = place if isinstance(place, int) else start(place)
        return ConditionError(
            code, problem, text=self.text, position=position, expected=expected, hint=hint
        )

    def known(self, token: Token, names: Collection[str], what: str) -> str:
        """Return the name a token holds, or raise `unknown_name` with the nearest one."""
        name = self.string(token) if token.type == "STRING" else str(token)
        if name in names:
            return name
        raise self.error(
            "unknown_name",
            f"{shown(name)} is not {what} known here.",
            token,
            expected=what,
            hint=did_you_mean(name, names),
        )

    def literal(self, part: Part, kind: str, subject: str) -> Scalar:
        """Return the literal, or raise `type_mismatch` where it is not of `kind`."""
        found = _KIND.get(part.type, "name") if isinstance(part, Token) else "date"
        if found != kind:
            raise self.error(
                "type_mismatch",
                f"{subject} is a {kind} and cannot be compared with a {found}.",
                part,
                expected=_WRITE[kind],
                hint=self._mend(part, kind),
            )
        if isinstance(part, Tree):
            return self.instant(leaf(part, 0))
        match kind:
            case "text":
                return self.string(part)
            case "number":
                return self.number(part)
            case _:
                return part.type == "TRUE"

    def _mend(self, part: Part, kind: str) -> str:
        if isinstance(part, Token) and part.type == "NAME" and kind == "text":
            return f'Write a quoted text: "{part[:40]}".'
        return f"Write {_WRITE[kind]}."

    def number(self, token: Token) -> Decimal:
        """Return an exact number; raise when it has more digits than DECIMAL(23,9)."""
        whole, _, decimals = token.lstrip("-").partition(".")
        if len(whole.lstrip("0")) > WHOLE_DIGITS or len(decimals.rstrip("0")) > DECIMALS:
            raise self.error(
                "condition_syntax",
                "A number has too many digits.",
                token,
                expected="a number",
                hint=f"At most {WHOLE_DIGITS} digits before the point and {DECIMALS} after.",
            )
        sign = "-" if token.startswith("-") else ""
        return Decimal(f"{sign}{whole.lstrip('0') or '0'}.{decimals.rstrip('0') or '0'}")

    def string(self, token: Token) -> str:
        """Return the text between the quotes; raise for an unknown escape or what is no text."""

        def plain(match: re.Match[str]) -> str:
            mark = match[1]
            if mark[0] == "u" and len(mark) == 5:
                return chr(int(mark[1:], 16))
            if mark in _PLAIN:
                return _PLAIN[mark]
            raise self.error(
                "condition_syntax",
                f"{shown(match[0])} is not an escape.",
                start(token) + 1 + match.start(),
                expected="one of \\\\ \\\" \\' \\n \\r \\t \\u0041",
                hint="Write a backslash itself as two backslashes.",
            )

        value = _ESCAPE.sub(plain, token[1:-1])
        # Neither a NUL nor half a surrogate pair can be stored, so no data could ever equal it.
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise self.error(
                "condition_syntax",
                "A quoted text holds a character that no stored text can hold.",
                token,
                expected="a quoted text",
                hint="Remove the NUL character or the half surrogate pair.",
            )
        return value

    def instant(self, token: Token) -> Instant:
        """Return the moment a date literal names."""
        try:
            moment = Instant(parse_instant(self.string(token), self.time_zone))
            format_instant(moment.micros)
        except (TimeError, ValueError, OverflowError) as error:
            raise self.error(
                "condition_syntax",
                f"{shown(token)} is not a date.",
                token,
                expected="a quoted date",
                hint="Write ISO 8601: 2024-01-31 or 2024-01-31T12:00:00Z.",
            ) from error
        return moment

    def window(self, token: Token) -> Window:
        """Return a look-back such as 30d."""
        problem, hint = f"{shown(token)} is longer than any history.", f"At most {LONGEST}."
        try:
            window = Window.parse(str(token))
        except TimeError as error:
            problem, hint = f"{shown(token)} is not a length of time.", error.hint
        else:
            if window.micros <= LONGEST.micros:
                return window
        raise self.error(
            "condition_syntax", problem, token, expected="a length of time like 30d", hint=hint
        )
