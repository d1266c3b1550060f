"""One way of writing a value for each way people write it: by type, and in SQL for plain ones.

E-mail addresses are read by email-validator and telephone numbers by phonenumbers. Tables have
millions of them, nearly all written plainly: `PLAIN_EMAIL` and `plain_phone` match only texts for
which the library's answer is known beforehand, so that only the others have to be asked about.
"""

from __future__ import annotations

import re
import string
import unicodedata
from functools import cache, lru_cache
from typing import Any

import phonenumbers
from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from phonenumbers import PhoneMetadata, PhoneNumberFormat, ValidationResult

from features.settings import Namespace

BLANKS = " \t\n\r\x0b\x0c\u00a0\ufeff"
"""Characters around a value that are no part of it."""
REMEMBERED = 100_000
"""Values whose answers are kept at hand: the rows of a table have the same values many times."""

_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_WHOLE = re.compile(r"(-?[0-9]+)\.0+")
_ATOM = r"[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]+"
_LABEL = r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*"
PLAIN_EMAIL = rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?:[A-Za-z0-9]+-)*[A-Za-z0-9]*[A-Za-z]"
"""Addresses that are valid, and normalised by lower case, given the conditions below.

ASCII; no two hyphens in a row in the domain (Punycode, or refused); a letter at the end.
"""
PLAIN_EMAIL_LENGTH, PLAIN_DOMAIN_LENGTH = 254, 63
"""What an address may have (RFC 5321); and what a label, so any domain so short, may have."""
RESERVED_DOMAIN = rf"(?i)[@.](?:{'|'.join(map(re.escape, SPECIAL_USE_DOMAIN_NAMES))})$"
"""The end of an address that reaches nobody (RFC 6761): the library refuses it."""


def fold(text: str) -> str:
    """Return `text` with A-Z in lower case: other letters have no case all engines agree on."""
    return text.translate(_FOLD)


def normalise(namespace: Namespace, value: str) -> str | None:
    """Return the value under which ways of writing one identity meet; None when it cannot be one.

    Trimmed; a whole number written as a fraction (`17850.0`) without it; an e-mail address in
    lower case and a telephone number in E.164, where the namespace is of that type.
    """
    text = value.strip(BLANKS)
    if namespace.type == "email":
        return email_of(text)
    whole = _WHOLE.fullmatch(text)
    text = whole[1] if whole else text
    return phone_of(text, namespace.region) if namespace.type == "phone" else text


@lru_cache(REMEMBERED)
def email_of(text: str) -> str | None:
    """Return an address as it is kept, or None when it is none.

    All of it in lower case: who writes to Ann@ and to ann@ means one person. A domain in Unicode
    is written in its ASCII form (IDNA). Syntax is judged, not whether mail arrives. A display
    name, a quoted local part and a literal IP address are refused.
    """
    try:
        found = validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        return None
    local = unicodedata.normalize("NFC", (found.local_part or "").lower())
    return f"{local}@{found.ascii_domain}"


@lru_cache(REMEMBERED)
def phone_of(text: str, region: str | None) -> str | None:
    """Return a telephone number in E.164 (`+442079460018`), or None when it is none.

    `region` is the country whose way of dialling is meant where no `+` says so; without it such a
    number could be anybody's, and is refused. So are letters, an extension (it may be somebody
    else's desk), and a length that the country does not have.
    """
    if any(character.isalpha() for character in text):
        return None
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    whole = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    if number.extension or not whole:
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164))


@cache
def plain_phone() -> str:
    """Return a pattern of numbers in E.164 that the library leaves as they are.

    Of the countries whose prefix for dialling at home is plain digits: a number that does not
    begin with it, and has a length of the country's, is read as it stands.
    """
    shapes: dict[str, list[int]] = {}
    for code, regions in sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()):
        country: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, regions[0])
        prefixes = (country.national_prefix_for_parsing or "0").split("|")
        if all(prefix.isdigit() for prefix in prefixes):
            first = "".join(sorted(set("123456789") - {prefix[0] for prefix in prefixes}))
            lengths = "|".join(f"[0-9]{{{n - 1}}}" for n in country.general_desc.possible_length)
            shapes.setdefault(f"[{first}](?:{lengths})", []).append(code)
    listed = (f"(?:{'|'.join(map(str, codes))}){shape}" for shape, codes in shapes.items())
    return rf"\+(?:{'|'.join(listed)})"
