"""Values that identify nobody: what programs write where an identity is missing.

A list of values and a few shapes, by type where it matters; a project and a namespace add values
of their own. What is found is counted under a label, the listed value or the name of the shape, so
that no count shows anybody's data.
"""

from __future__ import annotations

import hashlib
import re
import string
from dataclasses import dataclass
from functools import lru_cache

from features.identity.normalising import BLANKS, fold, normalise
from features.settings import Namespace

JUNK = frozenset(
    ["+", "-", "--", ".", "?", "#n/a", "(empty)", "(none)", "(not set)", "(null)", "(unknown)",
     "-1", "-inf", "127.0.0.1", "::1", "[object object]", "\\n", "<na>", "<null>", "anon",
     "anonymous", "anonymous_user", "anonymoususer", "deleted", "empty", "false", "guest", "inf",
     "infinity", "localhost", "n/a", "na", "nan", "nil", "no_user", "nobody", "none",
     "not available", "not set", "not_set", "null", "test", "testuser", "test_user", "true",
     "undef", "undefined", "unknown", "user_null", "user_undefined", "xxx",
     # An id that many telephones of one make share, and what systems say instead of an address.
     "9774d56d682e549c", "02:00:00:00:00:00"]
)  # fmt: skip
"""Values that identify nobody, compared trimmed and without case."""
JUNK_PHONES = frozenset(["0123456789", "123456789", "1234567890"])
JUNK_MAILBOXES = frozenset(
    ["anonymous", "do-not-reply", "do_not_reply", "donotreply", "mailer-daemon",
     "no-reply", "no.reply", "no_reply", "nobody", "noemail", "nomail", "none", "noreply", "null",
     "test", "undefined", "unknown"]
)  # fmt: skip
"""What stands before the @ of an address that nobody has to themselves."""
JUNK_DOMAINS = ("example.com", "example.net", "example.org")
"""Domains kept for examples (RFC 2606), with all below them."""
HASHED = "hash of a listed value"
"""Label of a SHA-256 that is that of a listed value, or of nothing."""

_SAME = "|".join(rf"{digit}{{7,}}" for digit in string.digits)
_ZEROS = {"zeros": r"[-+:.{}]*0[-+:.{}0]*"}
_EFFS = {"all f": r"\{?(?:ff[-:]?){5,}ff\}?"}
_ONE_DIGIT = {"one digit repeated": rf"\+?[0-9]{{0,3}}(?:{_SAME})"}
_MAILBOX = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(JUNK_MAILBOXES)))})@")
_DOMAIN = re.compile(rf"[@.]({'|'.join(map(re.escape, JUNK_DOMAINS))})\Z")


@dataclass(frozen=True)
class Junk:
    """What identifies nobody in one namespace: folded values, digests of them, and shapes.

    `shapes` are pairs of a label and a pattern of the whole folded text, in a syntax that Python
    and RE2 share.
    """

    values: frozenset[str]
    digests: frozenset[str]
    shapes: tuple[tuple[str, str], ...]
    mailboxes: bool

    def label(self, value: str) -> str | None:
        """Return what a trimmed value is counted as, or None when it may be somebody."""
        text = fold(value)
        if text in self.values:
            return text
        if text in self.digests:
            return HASHED
        for label, pattern in self.shapes:
            if re.fullmatch(pattern, text):
                return label
        return _address(text) if self.mailboxes else None


def _address(text: str) -> str | None:
    if box := _MAILBOX.match(text):
        return f"{box[0]}*"
    domain = _DOMAIN.search(text)
    return f"*@{domain[1]}" if domain and "@" in text else None


@lru_cache
def junk_of(namespace: Namespace, listed: tuple[str, ...]) -> Junk:
    """Return what identifies nobody in `namespace`; `listed` are the project's own values.

    A junk value is also meant as the namespace would write it: `17.0` as an id is 17.
    """
    own = {fold(value.strip(BLANKS)) for value in (*listed, *namespace.junk)} - {""}
    written = JUNK | own | (JUNK_PHONES if namespace.type == "phone" else frozenset())
    meant = {fold(value) for each in written if (value := normalise(namespace, each))}
    hashed = {hashlib.sha256(value.encode()).hexdigest() for value in written | meant | {""}}
    shapes = _ZEROS | _EFFS | (_ONE_DIGIT if namespace.type == "phone" else {})
    return Junk(
        values=frozenset(written | meant),
        digests=frozenset(hashed if namespace.pii else ()),
        shapes=tuple(shapes.items()),
        mailboxes=namespace.type == "email",
    )
