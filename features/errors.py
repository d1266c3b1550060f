"""Errors that carry facts: what is wrong, where, and what to do about it.

Every error a user can cause derives from `LikelierError` and has a stable `code`. The facts stay
attributes in `details`, so the command line, the API and `--json` output show the same error in
their own dress. Rooms define their own errors beside the code that raises them.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Collection, Iterable


class LikelierError(Exception):
    """Base of every error caused by input, settings or surroundings rather than by a defect.

    `code` is stable and machine-readable, `message` says what is wrong and where, `hint` which
    action mends it, `details` holds the facts (JSON-ready values only).
    """

    code = "error"
    status = 400

    def __init__(self, message: str, *, hint: str = "", **details: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} Hint: {self.hint}" if self.hint else self.message

    def body(self) -> dict[str, object]:
        """Return the one error shape: `{"error": {"code", "message", "hint", "details"}}`."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "hint": self.hint,
                "details": self.details,
            }
        }


class SettingsError(LikelierError):
    """A project file that cannot be used as it stands."""

    code = "bad_settings"


class SourceError(LikelierError):
    """A source that cannot be read or mapped."""

    code = "bad_source"


class StoreError(LikelierError):
    """A store that is missing, locked, or holds something unexpected."""

    code = "store_unavailable"
    status = 503


class TimeError(LikelierError):
    """A window, an instant or a time zone that cannot be understood."""

    code = "bad_time"


MOST_LISTED = 20
"""Names that a hint lists."""
MOST_COMPARED = 100
"""Names that are compared letter by letter: of more, those with the most pairs of letters alike."""


def did_you_mean(missing: str, available: Iterable[str]) -> str:
    """Return a hint naming the nearest of `available`, or listing some when none is near."""
    names = sorted(available)
    folded = {name.casefold(): name for name in reversed(names)}
    near = difflib.get_close_matches(missing.casefold(), _alike(missing.casefold(), folded), n=1)
    if near:
        return f"Did you mean {folded[near[0]]!r}?"
    if not names:
        return "Nothing of this kind is known here."
    more = len(names) - MOST_LISTED
    others = f" and {more:,} more" if more > 0 else ""
    return f"Known here: {', '.join(names[:MOST_LISTED])}{others}."


def _alike(missing: str, names: Collection[str]) -> Collection[str]:
    if len(names) <= MOST_COMPARED:
        return names
    pairs = _pairs(missing)

    def likeness(name: str) -> float:
        of_name = _pairs(name)
        return len(pairs & of_name) / (len(pairs) + len(of_name) + 1)

    return heapq.nlargest(MOST_COMPARED, names, key=likeness)


def _pairs(name: str) -> set[str]:
    return {name[place : place + 2] for place in range(len(name) - 1)}
