"""Identities as text, `namespace:value`: normalised, junk removed, personal data hashed."""

from __future__ import annotations

import hashlib

from features.settings import Identity, Namespace, Source

JUNK = frozenset(
    ["", "null", "none", "nil", "nan", "n/a", "na", "undefined", "unknown", "anonymous", "anon",
     "guest", "test", "(not set)", "0", "00000000-0000-0000-0000-000000000000", "[object object]",
     "true", "false", "-", "test@test.com", "test@example.com", "noreply@example.com"]
)  # fmt: skip
"""Values that identify nobody, compared trimmed and without case."""


def junk_values(identity: Identity) -> list[str]:
    """Return every value that identifies nobody in this project, lower case and sorted."""
    return sorted(JUNK | {value.strip().casefold() for value in identity.junk})


def normalise(namespace: Namespace, value: str) -> str:
    """Return the value under which two ways of writing one identity meet.

    Trimmed; an e-mail address in lower case; a phone number as its digits and a leading plus.
    """
    text = value.strip()
    if namespace.type == "email":
        return text.lower()
    if namespace.type == "phone":
        digits = "".join(c for c in text if c in "0123456789")
        return ("+" if text.startswith("+") else "") + digits
    return text


def identity_of(identity: Identity, namespace: Namespace, value: str) -> str | None:
    """Return the identity text of a raw value, or None when it identifies nobody."""
    text = normalise(namespace, value)
    if text.lower() in junk_values(identity):
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
    raw = f'trim("{key}"::varchar)'
    text = {
        "email": f"lower({raw})",
        "phone": f"case when starts_with({raw}, '+') then '+' else '' end || "
        f"regexp_replace({raw}, '[^0-9]', '', 'g')",
    }.get(namespace.type, raw)
    listed = ", ".join("'" + value.replace("'", "''") + "'" for value in junk_values(identity))
    real = f"{raw} is not null and lower({text}) not in ({listed})"
    kept = f"sha256({text})" if namespace.pii else text
    columns = {column: f"case when {real} then '{namespace.name}:' || {kept} end"}
    if namespace.pii:
        columns[f"raw_{namespace.name}"] = f"case when {real} then {raw} end"
    return columns
