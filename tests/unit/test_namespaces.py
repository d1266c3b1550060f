"""One identity, however it is written; nobody, however nobody is written."""

from __future__ import annotations

import hashlib

import pytest

from features.identity.namespaces import JUNK, identity_of, normalise
from features.settings import Identity, Namespace

TYPES = ("person", "email", "phone", "device", "cookie", "session", "household", "partner")


def space(kind: str, *, pii: bool = False) -> Namespace:
    return Namespace(name="ns", type=kind, pii=pii)


def rules(*junk: str) -> Identity:
    return Identity(namespaces=(space("person"),), junk=junk)


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("person", " 00001 ", "00001"),
        ("person", "Ab1", "Ab1"),
        ("person", "17850.0", "17850"),
        ("person", "17850.00", "17850"),
        ("person", "00001.0", "00001"),
        ("person", "17850.5", "17850.5"),
        ("person", "1.2.0", "1.2.0"),
        ("cookie", "\u00a0x\t\r\n", "x"),
        ("email", " Ann@Example.ORG\n", "ann@example.org"),
        ("email", "ÄNN@example.org", "Änn@example.org"),
        ("phone", "+44 (0)20 7946-0018", "+4402079460018"),
        ("phone", "020 7946 0018", "02079460018"),
        ("phone", "447700900123.0", "447700900123"),
    ],
)
def test_ways_of_writing_one_identity_meet(kind, written, meant):
    assert normalise(space(kind), written) == meant
    assert identity_of(rules(), space(kind), written) == f"ns:{meant}"


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", [*sorted(JUNK), " NULL ", "N/A", "Unknown\t", "0.0"])
def test_junk_identifies_nobody_in_any_namespace(kind, value):
    assert identity_of(rules(), space(kind), value) is None


@pytest.mark.parametrize("value", ["n/a", "+", "+ ", "ask the wife", "( )"])
def test_a_phone_number_without_digits_identifies_nobody(value):
    assert identity_of(rules(), space("phone"), value) is None


def test_a_project_names_junk_of_its_own_whatever_its_case():
    assert identity_of(rules(" House ACCOUNT "), space("person"), "house account") is None
    assert identity_of(rules("+44 000"), space("phone"), "+44-000") is None
    assert identity_of(rules(), space("person"), "house account") == "ns:house account"


def test_personal_identities_are_kept_as_the_hash_of_what_is_meant():
    hashed = hashlib.sha256(b"ann@example.org").hexdigest()
    assert identity_of(rules(), space("email", pii=True), "ANN@example.org ") == f"ns:{hashed}"
