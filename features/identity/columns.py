"""The table twin of `judge`: identities as SQL over the texts that a source's rows hold.

Four selects, each over the columns of the one before: the text, the value under which ways of
writing it meet, why it is no identity, and the identity. Libraries are asked only about addresses
and numbers that are not written plainly, through the functions of `functions_of`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from features.identity import namespaces as law
from features.identity.junk import HASHED, JUNK_DOMAINS, JUNK_MAILBOXES, Junk, junk_of
from features.identity.normalising import (
    BLANKS,
    PLAIN_DOMAIN_LENGTH,
    PLAIN_EMAIL,
    PLAIN_EMAIL_LENGTH,
    RESERVED_DOMAIN,
    email_of,
    phone_of,
    plain_phone,
)
from features.settings import Identity, Namespace, Source

_UNSEEN = "[" + "".join(rf"\x{{{a:x}}}-\x{{{b:x}}}" for a, b in law.UNSEEN) + "]"
SUSPECT = rf"{_UNSEEN}|[+.{{}}]|^\[|[0-9][eE]-|^[-:0]+$|^[-:fF]+$"
"""Texts of which more has to be asked than whether they are listed; all others are plain ids."""


def functions_of(identity: Identity) -> dict[str, Callable[[str], str | None]]:
    """Return the functions that the SQL of these namespaces calls, by name."""
    functions: dict[str, Callable[[str], str | None]] = {"email_of": email_of}
    for namespace in identity.namespaces:
        if namespace.type == "phone":
            functions[_phone_function(namespace)] = partial(phone_of, region=namespace.region)
    return functions


def identity_columns(identity: Identity, source: Source) -> dict[str, Namespace]:
    """Return the namespace of every identity column of a source's rows: `email`, `email.2`.

    A namespace that the source lacks has one column, all null.
    """
    return {
        column: namespace
        for namespace in identity.namespaces
        for column in source.identity_columns(namespace.name) or (namespace.name,)
    }


def selects(identity: Identity, source: Source) -> Iterator[dict[str, str]]:
    """Yield the columns of each select. The first reads `identities.<column>`.

    The last makes `id_<column>`, `why_<column>` (null, one of `REASONS`, or `=` and what junk it
    is), and for pii `raw_<column>` (null where only a hash was given).
    """
    every = identity_columns(identity, source)
    there = {c: n for c, n in every.items() if n.name in source.identities}
    yield {f"__text_{column}": _trimmed(column) for column in there}
    yield {f"__value_{column}": _value(column, n) for column, n in there.items()}
    yield {f"__why_{c}": _why(c, n, junk_of(n, identity.junk)) for c, n in there.items()}
    last: dict[str, str] = {}
    for column, namespace in every.items():
        last |= _identity(column, namespace) if column in there else _nothing(column, namespace)
    yield last


def _trimmed(column: str) -> str:
    blanks = " || ".join(f"chr({ord(blank)})" for blank in BLANKS)
    return f'trim("identities.{column}"::varchar, {blanks})'


def _value(column: str, namespace: Namespace) -> str:
    """Return SQL for the normalised value; null where the text is none of its type."""
    text = f'"__text_{column}"'
    cases = [(f"coalesce({text}, '') = '' or length({text}) > {law.MAX_IDENTITY}", "null")]
    if namespace.pii:
        # The length first: it costs nothing.
        hashed = f"strlen({text}) = 64 and {_is(law.HASH, text)}"
        cases.append((hashed, f"lower({text})"))
    whole = f"{text} like '%.0' or {text} like '%.00%'"
    meant = f"regexp_replace({text}, '^(-?[0-9]+)\\.0+$', '\\1')"
    if namespace.type == "email":
        short = (
            f"length({text}) <= {PLAIN_EMAIL_LENGTH} and "
            f"length(split_part({text}, '@', 2)) <= {PLAIN_DOMAIN_LENGTH}"
        )
        reserved = f"regexp_matches({text}, {_quoted(RESERVED_DOMAIN)})"
        plain = f"{short} and {_is(PLAIN_EMAIL, text)} and not {reserved}"
        return _case([*cases, (plain, f"lower({text})")], f"email_of({text})")
    if namespace.type == "phone":
        asked = f"{_phone_function(namespace)}({meant})"
        return _case([*cases, (_is(plain_phone(), text), text)], asked)
    return _case([*cases, (whole, meant)], text)


def _why(column: str, namespace: Namespace, junk: Junk) -> str:
    text, value = f'"__text_{column}"', f'"__value_{column}"'
    longest = law.MAX_IDENTITY - len(namespace.name) - 1
    cases = [
        (f"coalesce({text}, '') = ''", "null"),
        (f"length({text}) > {longest}", "'identity_too_long'"),
    ]
    unseen = (f"regexp_matches({text}, {_quoted(_UNSEEN)})", "'control_characters'")
    number = f"try_cast(regexp_extract({text}, {_quoted(law.WHOLE)}, 1) as hugeint)"
    rounded = (
        f"{_is(law.ROUNDED, text)} or "
        f"({_is(law.WHOLE, text)} and coalesce({number} >= {law.EXACT}, true))"
    )
    numbers = [(_is(law.NOT_ONE_VALUE, text), "'not_one_value'"), (rounded, "'inexact_number'")]
    if namespace.type in law.UNREADABLE:
        other = (f"{value} is null", f"'{law.UNREADABLE[namespace.type]}'")
        return _case([*cases, unseen, *_junk(junk, value), *_junk(junk, text), *numbers, other])
    listed, *shapes = _junk(junk, value)
    more = _case([unseen, *shapes, *numbers])
    suspect = (f"regexp_matches({text}, {_quoted(SUSPECT)})", more)
    return _case([*cases, listed, suspect])


def _junk(junk: Junk, value: str) -> list[tuple[str, str]]:
    """Return tests of a value and what it is counted as, those of `Junk.label`, listed first."""
    folded = _folded(value)
    cases = [(_among(junk.values, folded), f"'=' || {folded}")]
    if junk.digests:
        cases.append((f"strlen({value}) = 64 and {_among(junk.digests, folded)}", f"'={HASHED}'"))
    cases += [(_is(pattern, folded), f"'={label}'") for label, pattern in junk.shapes]
    if junk.mailboxes:
        box = f"split_part({folded}, '@', 1)"
        found = f"contains({value}, '@') and {_among(JUNK_MAILBOXES, box)}"
        cases.append((found, f"'=' || {box} || '@*'"))
        for domain in JUNK_DOMAINS:
            below = f"(ends_with({folded}, '@{domain}') or ends_with({folded}, '.{domain}'))"
            cases.append((f"contains({value}, '@') and {below}", f"'=*@{domain}'"))
    return cases


def _identity(column: str, namespace: Namespace) -> dict[str, str]:
    text, value, why = (f'"__{part}_{column}"' for part in ("text", "value", "why"))
    hashed = f"strlen({text}) = 64 and {_is(law.HASH, text)}"
    kept = f"case when {hashed} then {value} else sha256({value}) end" if namespace.pii else value
    real = f"{why} is null and {value} is not null"
    columns = {f"id_{column}": f"case when {real} then '{namespace.name}:' || {kept} end"}
    if namespace.pii:
        columns[f"raw_{column}"] = f"case when {real} and not ({hashed}) then {text} end"
    return columns | {f"why_{column}": why}


def _nothing(column: str, namespace: Namespace) -> dict[str, str]:
    names = [f"id_{column}", *([f"raw_{column}"] if namespace.pii else []), f"why_{column}"]
    return dict.fromkeys(names, "null::varchar")


def _phone_function(namespace: Namespace) -> str:
    return f"phone_of_{(namespace.region or 'any').lower()}"


def _case(cases: list[tuple[str, str]], otherwise: str = "null") -> str:
    listed = " ".join(f"when {test} then {what}" for test, what in cases)
    return f"case {listed} else {otherwise} end"


def _is(pattern: str, value: str) -> str:
    return f"regexp_full_match({value}, {_quoted(pattern)})"


def _among(values: frozenset[str], value: str) -> str:
    return f"{value} in ({', '.join(map(_quoted, sorted(values)))})"


def _folded(sql: str) -> str:
    upper, lower = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
    # As many bytes as characters: all is ASCII, where the much faster `lower` is the same.
    return (
        f"case when strlen({sql}) = length({sql}) then lower({sql}) "
        f"else translate({sql}, '{upper}', '{lower}') end"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
