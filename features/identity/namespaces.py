"""Identities as text, `namespace:value`: normalised, junk removed, personal data hashed."""

from __future__ import annotations

import hashlib
import re
import string

from features.settings import Identity, Namespace, Source

JUNK = frozenset(
    ["", "+", "null", "none", "nil", "nan", "n/a", "na", "undefined", "unknown", "anonymous",
     "anon", "guest", "test", "(not set)", "0", "00000000-0000-0000-0000-000000000000",
     "[object object]", "true", "false", "-", "test@test.com", "test@example.com",
     "noreply@example.com"]
)  # fmt: skip
"""Values that identify nobody, compared trimmed and without case."""


BLANKS = " \t\n\r\x0b\x0c\u00a0\ufeff"
"""Characters around a value that are no part of it."""
_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WHOLE = re.compile(r"([0-9]+)\.0+")


def fold(text: str) -> str:
    """Return `text` with A-Z in lower case: other letters have no case all engines agree on."""
    return text.translate(_FOLD)


def junk_values(identity: Identity, namespace: Namespace) -> list[str]:
    """Return every normalised value that identifies nobody in `namespace`, lower case and sorted.

    A junk value is also meant as the namespace would write it: `n/a` is an empty phone number.
    """
    listed = JUNK | {fold(value.strip(BLANKS)) for value in identity.junk}
    return sorted(listed | {fold(normalise(namespace, value)) for value in listed})


def normalise(namespace: Namespace, value: str) -> str:
    """Return the value under which two ways of writing one identity meet.

    Trimmed; a whole number written as a fraction (`17850.0`) without it; an e-mail address in
    lower case; a phone number as its digits and a leading plus.
    """
    text = value.strip(BLANKS)
    if whole := _WHOLE.fullmatch(text):
        text = whole[1]
    if namespace.type == "email":
        return fold(text)
    if namespace.type == "phone":
        digits = "".join(c for c in text if c in string.digits)
        return ("+" if text.startswith("+") else "") + digits
    return text


def identity_of(identity: Identity, namespace: Namespace, value: str) -> str | None:
    """Return the identity text of a raw value, or None when it identifies nobody."""
    text = normalise(namespace, value)
    if fold(text) in junk_values(identity, namespace):
        return None
    kept = hashlib.sha256(text.encode()).hexdigest() if namespace.pii else text
    return f"{namespace.name}:{kept}"


def identity_sql(
    namespace: Namespace, identity: Identity, source: Source, present: tuple[str, ...]
) -> dict[str, str]:
    """Return the SQL of `id_<ns>` (and `raw_<ns>` for pii): the table twin of `identity_of`.

    A namespace that the source lacks is null.
    """
    column = f"id_{namespace.name}"
    key = f"identities.{namespace.name}"
    if namespace.name not in source.identities or key not in present:
        columns = {column: "null::varchar"}
        return columns | ({f"raw_{namespace.name}": "null::varchar"} if namespace.pii else {})
    blanks = " || ".join(f"chr({ord(blank)})" for blank in BLANKS)
    raw = f'trim("{key}"::varchar, {blanks})'
    whole = f"regexp_replace({raw}, '^([0-9]+)\\.0+$', '\\1')"
    text = {
        "email": _folded(whole),
        "phone": f"case when starts_with({whole}, '+') then '+' else '' end || "
        f"regexp_replace({whole}, '[^0-9]', '', 'g')",
    }.get(namespace.type, whole)
    listed = ", ".join(
        "'" + value.replace("'", "''") + "'" for value in junk_values(identity, namespace)
    )
    folded = text if namespace.type == "email" else _folded(text)
    real = f"{raw} is not null and {folded} not in ({listed})"
    kept = f"sha256({text})" if namespace.pii else text
    columns = {column: f"case when {real} then '{namespace.name}:' || {kept} end"}
    if namespace.pii:
        columns[f"raw_{namespace.name}"] = f"case when {real} then {raw} end"
    return columns


def _folded(sql: str) -> str:
    exactly = f"translate({sql}, '{string.ascii_uppercase}', '{string.ascii_lowercase}')"
    # As many bytes as characters: all is ASCII, where the much faster `lower` is the same.
    return f"case when strlen({sql}) = length({sql}) then lower({sql}) else {exactly} end"
