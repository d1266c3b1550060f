"""One identity, however it is written; nobody, however nobody is written."""

from __future__ import annotations

import hashlib

import pytest

from features.identity.junk import JUNK, JUNK_MAILBOXES, junk_of
from features.identity.namespaces import MAX_IDENTITY, UNSEEN, Judged, identity_of, judge
from features.identity.normalising import email_of, normalise, phone_of
from features.settings import Identity, Namespace

TYPES = ("person", "email", "phone", "device", "cookie", "session", "household", "partner")
PLAIN = tuple(kind for kind in TYPES if kind not in ("email", "phone"))


def space(kind: str, **more: object) -> Namespace:
    return Namespace.model_validate({"name": "ns", "type": kind} | more)


def rules(*junk: str) -> Identity:
    return Identity(namespaces=(space("person"),), junk=junk)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# One identity ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("person", " 00001 ", "00001"),
        ("person", "Ab1", "Ab1"),
        ("person", "17850.0", "17850"),
        ("person", "17850.00", "17850"),
        ("person", "-17850.0", "-17850"),
        ("person", "00001.0", "00001"),
        ("person", "17850.5", "17850.5"),
        ("person", "1.2.0", "1.2.0"),
        ("person", "9007199254740991.0", "9007199254740991"),
        ("person", "12345678901234567890123", "12345678901234567890123"),
        ("person", "1e5", "1e5"),
        ("cookie", "12345678901234e1", "12345678901234e1"),
        ("cookie", "\u00a0x\t\r\n", "x"),
        ("device", "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}",
         "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}"),
        ("email", " Ann@Mail.EXAMPLE\n", "ann@mail.example"),
        ("email", "ÄNN@mail.example", "änn@mail.example"),
        ("email", "A\u0308nn@mail.example", "änn@mail.example"),
        ("email", "ann+news@mail.example", "ann+news@mail.example"),
    ],
)  # fmt: skip
def test_ways_of_writing_one_identity_meet(kind, written, meant):
    assert normalise(space(kind), written) == meant
    assert identity_of(rules(), space(kind), written) == f"ns:{meant}"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        # RFC 3696, section 3: addresses whose local parts are valid.
        ("user+mailbox@example.com", "user+mailbox@example.com"),
        ("customer/department=shipping@example.com", "customer/department=shipping@example.com"),
        ("$A12345@example.com", "$a12345@example.com"),
        ("!def!xyz%abc@example.com", "!def!xyz%abc@example.com"),
        ("_somename@example.com", "_somename@example.com"),
        # RFC 3492, section 7.1, example L: a domain in Unicode and in ASCII.
        ("a@3年B組金八先生.example", "a@xn--3b-ww4c5e180e575a65lsy2b.example"),
        ("a@XN--3B-ww4c5e180e575a65lsy2b.example", "a@xn--3b-ww4c5e180e575a65lsy2b.example"),
        # RFC 3696, section 3: valid in quotes, which this house refuses; and plainly invalid.
        ('"Abc@def"@example.com', None),
        ("Abc\\@def@example.com", None),
        # RFC 5321, section 4.1.3: an address literal.
        ("a@[127.0.0.1]", None),
        # RFC 6761: names that reach nobody.
        ("a@b.test", None),
        ("a@b.invalid", None),
        ("a@localhost", None),
        # RFC 5322, section 3.4: a display name is no part of the address.
        ("John Doe <jdoe@machine.example>", None),
        ("jdoe@machine.example", "jdoe@machine.example"),
        ("Abc.example.com", None),
        ("a..b@mail.example", None),
        ("@mail.example", None),
        ("ann@", None),
    ],
)
def test_an_address_is_kept_in_one_form_or_refused(written, meant):
    assert email_of(written) == meant


@pytest.mark.parametrize(
    ("region", "written", "meant"),
    [
        # The README of phonenumbers, "Example Usage".
        (None, "+442083661177", "+442083661177"),
        ("GB", "020 8366 1177", "+442083661177"),
        ("GB", "00 1 650 253 2222", "+16502532222"),
        # The README of libphonenumber, "Quick Examples".
        ("CH", "044 668 18 00", "+41446681800"),
        # The FAQ of libphonenumber: in Italy the first zero is part of the number.
        ("IT", "06 1234 5678", "+390612345678"),
        (None, "+44 (0)20 8366-1177", "+442083661177"),
        ("GB", "442083661177.0", "+442083661177"),
        ("GB", "020 8366 1177 ext 5", None),
        ("GB", "1177", None),
        (None, "020 8366 1177", None),
        (None, "442083661177", None),
        (None, "+999 123 456 78", None),
        ("US", "1-800-FLOWERS", None),
        (None, "ask the wife", None),
    ],
)
def test_a_number_is_kept_in_e_164_or_refused(region, written, meant):
    assert normalise(space("phone", region=region), written) == meant


def test_personal_identities_are_kept_as_the_hash_of_what_is_meant():
    hashed = sha256("ann@mail.example")
    assert identity_of(rules(), space("email", pii=True), "ANN@mail.example ") == f"ns:{hashed}"
    # UID2's guide to hashing: the digest of the normalised user@example.com.
    digest = "b4c9a289323b21a01c3e940f150eb9b8c542587f1abfd8f0e1cc1ffc5e475514"
    assert sha256(str(email_of("USER@example.com"))) == digest


@pytest.mark.parametrize("kind", ["email", "phone", "person"])
def test_a_hash_of_a_personal_value_is_that_value(kind):
    hashed = sha256("ann@mail.example")
    assert identity_of(rules(), space(kind, pii=True), f" {hashed.upper()}") == f"ns:{hashed}"


def test_a_hash_is_no_address_where_addresses_are_not_hashed():
    assert judge(rules(), space("email"), "ab" * 32) == Judged(reason="not_an_email")
    assert judge(rules(), space("phone"), "ab" * 32) == Judged(reason="not_a_phone")


# Nobody ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("value", [*sorted(JUNK), " NULL ", "N/A", "Unknown\t", "[object Object]"])
def test_junk_identifies_nobody_in_any_namespace_and_is_counted_as_listed(kind, value):
    found = judge(rules(), space(kind), value)
    assert found == Judged(junk=found.junk)
    assert found.junk in JUNK


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("0", "zeros"), ("000", "zeros"), ("0.0", "zeros"), ("-0", "zeros"),
        ("00000000-0000-0000-0000-000000000000", "zeros"), ("00:00:00:00:00:00", "zeros"),
        ("{00000000-0000-0000-0000-000000000000}", "zeros"), ("0.0.0.0", "zeros"),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "all f"), ("ff:ff:ff:ff:ff:ff", "all f"),
    ],
)  # fmt: skip
def test_shapes_of_nothing_identify_nobody(kind, value, label):
    assert judge(rules(), space(kind), value) == Judged(junk=label)


@pytest.mark.parametrize("value", ["00a0", "fff", "0x1", "-10", "f0f0f0f0-f0f0-f0f0-f0f0-f0f0f0"])
def test_an_id_with_something_in_it_is_somebody(value):
    assert identity_of(rules(), space("cookie"), value) == f"ns:{value}"


@pytest.mark.parametrize(
    ("value", "label"),
    [(f"{box}@shop.org", f"{box}@*") for box in sorted(JUNK_MAILBOXES)]
    + [
        ("Ann@Example.COM", "*@example.com"),
        ("ann@mail.example.org", "*@example.org"),
        ("TEST@test.com", "test@*"),
        ("null", "null"),
    ],
)
def test_addresses_that_nobody_has_to_themselves_are_junk(value, label):
    assert judge(rules(), space("email", pii=True), value) == Judged(junk=label)
    assert identity_of(rules(), space("email"), f"ann.{value}") != f"ns:{value}"


@pytest.mark.parametrize(
    ("value", "label"),
    [("+15555555555", "one digit repeated"), ("555-555-5555", "one digit repeated"),
     ("1111111111", "one digit repeated"), ("+44 0000000000", "one digit repeated"),
     ("0000000000", "one digit repeated"), ("1234567890", "+11234567890")],
)  # fmt: skip
def test_numbers_that_nobody_has_are_junk(value, label):
    assert judge(rules(), space("phone", region="US"), value) == Judged(junk=label)


def test_a_project_and_a_namespace_name_junk_of_their_own_whatever_its_case():
    assert judge(rules(" House ACCOUNT "), space("person"), "house account").junk == "house account"
    own = space("phone", region="GB", junk=("020 8366 1177",))
    assert judge(rules(), own, "+44 20 8366 1177") == Judged(junk="+442083661177")
    assert identity_of(rules(), space("person"), "house account") == "ns:house account"
    assert identity_of(rules(), space("person"), "020 8366 1177") == "ns:020 8366 1177"


@pytest.mark.parametrize("value", ["", "null", "ann@corp.org", "000"])
def test_the_hash_of_junk_is_junk(value):
    mail = space("email", pii=True, junk=("Ann@Corp.org",))
    label = "zeros" if value == "000" else "hash of a listed value"
    asked = value if value == "000" else sha256(value)
    assert judge(rules(), mail, asked) == Judged(junk=label)


def test_no_label_of_junk_shows_what_somebody_typed():
    mail = junk_of(space("email"), ())
    assert {mail.label(f"{who}@example.com") for who in ("ann", "bob", "a.b")} == {"*@example.com"}


# No identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("hidden", [chr(edge) for ends in UNSEEN for edge in ends])
def test_two_values_that_look_alike_are_not_one_and_not_two_people(kind, hidden):
    found = judge(rules(), space(kind), f"a{hidden}b@mail.example")
    assert found == Judged(reason="control_characters")


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u00a0", "\ufeff"])
@pytest.mark.parametrize("kind", TYPES)
def test_nothing_is_not_even_counted(kind, value):
    assert judge(rules(), space(kind), value) == Judged()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x" * (MAX_IDENTITY - len("ns:") + 1), "identity_too_long"),
        ("x" * 10_000, "identity_too_long"),
        ('{"id": 1}', "not_one_value"),
        ("{}", "not_one_value"),
        ("{'id': 1}", "not_one_value"),
        ("[1, 2]", "not_one_value"),
        ("[]", "not_one_value"),
        ("1.23457E+11", "inexact_number"),
        ("1.2345678901234568e+17", "inexact_number"),
        ("1e+17", "inexact_number"),
        ("9007199254740992.0", "inexact_number"),
        ("-123456789012345680.0", "inexact_number"),
    ],
)
@pytest.mark.parametrize("kind", TYPES)
def test_a_value_that_is_no_identity_says_why(kind, value, reason):
    assert judge(rules(), space(kind), value) == Judged(reason=reason)


def test_the_longest_identity_is_one():
    value = "x" * (MAX_IDENTITY - len("ns:"))
    assert identity_of(rules(), space("person"), value) == f"ns:{value}"


@pytest.mark.parametrize("kind", PLAIN)
def test_only_addresses_and_numbers_have_a_form(kind):
    assert identity_of(rules(), space(kind), "ask the wife") == "ns:ask the wife"
    assert judge(rules(), space("email"), "ask the wife") == Judged(reason="not_an_email")
    assert judge(rules(), space("phone"), "ask the wife") == Judged(reason="not_a_phone")


def test_a_number_of_another_country_needs_no_region():
    assert phone_of("+1 650 253 2222", "GB") == phone_of("+1 650 253 2222", None) == "+16502532222"
