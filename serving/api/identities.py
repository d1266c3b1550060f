"""Identities as callers write them: `namespace:value` in a body, hashed in a URL."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from features.errors import did_you_mean
from features.identity.namespaces import HASH, MAX_IDENTITY, identity_of
from features.identity.normalising import BLANKS
from features.settings import Identity, Namespace
from serving.api.errors import BadIdentity, RawIdentityInUrl, UnknownNamespace
from serving.scorer import Asked

LONGEST = MAX_IDENTITY

_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


def in_body(said: str, settings: Identity, place: str) -> Asked:
    """Read an identity from a body; personal data may be raw or already hashed.

    A value that identifies nobody (junk, or no address) becomes None, as in tables. `place` names
    the key in errors. Raises `BadIdentity` or `UnknownNamespace`.
    """
    namespace, value = _split(said, settings, place)
    return Asked(said, identity_of(settings, namespace, value))


def in_url(segment: str, settings: Identity) -> str | None:
    """Read an identity from one percent-encoded path segment; None when it is junk.

    Raises `BadIdentity`, `UnknownNamespace`, or `RawIdentityInUrl` for personal data that is not
    hashed.
    """
    try:
        said = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadIdentity(
            "The identity in the URL is not percent-encoded UTF-8.",
            hint="Encode namespace:value as one path segment.",
        ) from error
    namespace, value = _split(said, settings, "identity")
    if namespace.pii and not re.fullmatch(HASH, value.strip(BLANKS)):
        raise RawIdentityInUrl(
            f"{namespace.name} holds personal data, which must not be in a URL.",
            hint=f"Write {namespace.name}: and the SHA-256 of the normalised value, 64 hex digits; "
            "raw values may go in the body of POST /score.",
            namespace=namespace.name,
        )
    return in_body(said, settings, "identity").identity


def _split(said: str, settings: Identity, place: str) -> tuple[Namespace, str]:
    if len(said) > LONGEST:
        raise BadIdentity(
            f"{place} has {len(said)} characters, at most {LONGEST:,} are allowed.",
            hint="Write namespace:value.",
            place=place,
        )
    name, colon, value = said.partition(":")
    known = [namespace.name for namespace in settings.namespaces]
    if not colon:
        raise BadIdentity(
            f"{place} has no colon, expected namespace:value.",
            hint=f"Write for example {known[0]}:VALUE.",
            place=place,
        )
    for namespace in settings.namespaces:
        if namespace.name == name:
            return namespace, value
    shown = name if _NAME.fullmatch(name) else ""
    raise UnknownNamespace(
        f"{place} is of a namespace that this project does not have{shown and f': {shown}'}.",
        hint=did_you_mean(shown, known),
        place=place,
        known=known,
    )
