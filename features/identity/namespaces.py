"""Identities as text, `namespace:value`: normalised, junk removed, personal data hashed.

A value is judged in this order: nothing at all, too long, not to be seen, junk, not one value, a
number that a program has rounded, and no address or telephone number where one is due.
`columns.py` does the same for tables, and says the same of every value.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from features.identity.junk import junk_of
from features.identity.normalising import BLANKS, fold, normalise
from features.settings import Identity, Namespace

MAX_IDENTITY = 1_024
"""Characters that an identity may have, its namespace and the colon included."""
EXACT = 2**53
"""Whole numbers from here on are not told apart once they were written as a fraction."""
UNREADABLE = {"email": "not_an_email", "phone": "not_a_phone"}
REASONS = (
    "identity_too_long", "control_characters", "not_one_value", "inexact_number",
    *UNREADABLE.values(),
)  # fmt: skip
"""Why a value that is not junk is no identity."""

# What cannot be seen, two values may differ by without anybody noticing: control characters, those
# that Unicode lets programs ignore, line separators, and the sign for a character lost.
UNSEEN = (
    (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160),
    (0x17B4, 0x17B5), (0x180B, 0x180F), (0x200B, 0x200F), (0x2028, 0x202E), (0x2060, 0x206F),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFFD),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
"""Ranges of characters that no identity has inside it."""
NOT_ONE_VALUE = r"""\{ *(?:["'].*)?\}|\[.*\]"""
"""A JSON object or array, or a program's own way of writing one."""
ROUNDED = r"[+-]?[0-9]+(?:\.[0-9]*)?[eE][+-][0-9]+|[+-]?[0-9]+\.[0-9]*[eE][0-9]+"
"""A number as programs write those they have rounded: 1.23457E+11."""
WHOLE = r"-?([0-9]+)\.0+"
HASH = r"[0-9a-fA-F]{64}"
"""A SHA-256 in hexadecimal."""

_UNSEEN = re.compile("[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in UNSEEN) + "]")


@dataclass(frozen=True)
class Judged:
    """What a value turned out to be; all empty where there was none.

    `identity`: `namespace:value`, or None. `junk`: the label of a value that identifies nobody.
    `reason`: one of `REASONS`.
    """

    identity: str | None = None
    junk: str = ""
    reason: str = ""


def judge(identity: Identity, namespace: Namespace, raw: str) -> Judged:
    """Say what a raw value is in `namespace`. Personal data comes out as SHA-256."""
    text = raw.strip(BLANKS)
    if not text:
        return Judged()
    if len(namespace.name) + 1 + len(text) > MAX_IDENTITY:
        return Judged(reason="identity_too_long")
    if _UNSEEN.search(text):
        return Judged(reason="control_characters")
    hashed = namespace.pii and re.fullmatch(HASH, text)
    value = fold(text) if hashed else normalise(namespace, text)
    junk = junk_of(namespace, identity.junk)
    if label := (value and junk.label(value)) or junk.label(text):
        return Judged(junk=label)
    if re.fullmatch(NOT_ONE_VALUE, text):
        return Judged(reason="not_one_value")
    if _inexact(text):
        return Judged(reason="inexact_number")
    if value is None:
        return Judged(reason=UNREADABLE[namespace.type])
    kept = value if hashed or not namespace.pii else hashlib.sha256(value.encode()).hexdigest()
    return Judged(identity=f"{namespace.name}:{kept}")


def _inexact(text: str) -> bool:
    whole = re.fullmatch(WHOLE, text)
    return bool(re.fullmatch(ROUNDED, text)) or (whole is not None and int(whole[1]) >= EXACT)


def identity_of(identity: Identity, namespace: Namespace, value: str) -> str | None:
    """Return the identity text of a raw value, or None when it identifies nobody."""
    return judge(identity, namespace, value).identity
