"""The table and the live path call one person by one name, whatever was typed."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.engine import Engine
from features.identity.columns import functions_of, selects
from features.identity.junk import JUNK, JUNK_DOMAINS, JUNK_MAILBOXES
from features.identity.namespaces import EXACT, MAX_IDENTITY, UNSEEN, judge
from features.identity.normalising import (
    PLAIN_DOMAIN_LENGTH,
    PLAIN_EMAIL,
    PLAIN_EMAIL_LENGTH,
    RESERVED_DOMAIN,
    email_of,
    phone_of,
    plain_phone,
)
from features.settings import Identity, Namespace, Source

KINDS = ("person", "email", "phone", "device", "cookie", "session", "household", "partner")
JUNK_OF_OURS = ("House Account", "ÄB", "o'brien", "+44 000", "17.0", "shop@Shop.org")
LETTERS = "aAzZeEfF09\u0130\u0131\u03a3\u03c2\u212a\u00df\u1e9e\u00c4\u00e4"
"""Some of them have a lower case that differs between languages or libraries."""
HIDDEN = [chr(edge) for ends in UNSEEN for edge in ends] + ["\ue001", "\u0301", "\u200a"]
LABELS = st.text("aBz09-\u00e4\u00df", min_size=1, max_size=5) | st.just("xn--bcher-kva")
DOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(".".join) | st.sampled_from(
    ["x.org", "b\u00fccher.example", "a.test", "mail.onion", *JUNK_DOMAINS, "my.example.ORG"]
)
BOXES = st.text("aBz09.+!'\"\\ \u00e4", min_size=1, max_size=6) | st.sampled_from(
    [*sorted(JUNK_MAILBOXES), "Ann", "a" * 64, "a" * 250]
)
PHONES = st.one_of(
    st.from_regex(r"\A\+?[0-9]{5,15}\Z"),
    st.text("+0123456789 .()-/#x\u0661", min_size=6, max_size=16),
    st.sampled_from(["020 7946 0018", "+44 (0)20 7946 0018", "(650) 253-0000", "+1 650 253 0000"]),
)
NUMBERS = st.one_of(
    st.floats(allow_nan=True).map(str),
    st.integers(-(2**70), 2**70).map(lambda n: f"{n}.0"),
    st.sampled_from([f"{EXACT}.0", f"{EXACT - 1}.00", "1E5", "1e-5", "-5.0", "0.0", "-0", "1.5e3"]),
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.text(LETTERS + " @.+", max_size=8),
    st.builds("{}@{}".format, BOXES, DOMAINS),
    PHONES,
    NUMBERS,
    st.tuples(st.text("ab1", max_size=2), st.sampled_from(HIDDEN), st.just("c")).map("".join),
    st.text("0f-:.{}[]\"' ", max_size=9),
    st.sampled_from(["a" * 63 + "F", "0" * 64, "e" * 64, "ab" * 32]),
    st.integers(MAX_IDENTITY - 12, MAX_IDENTITY + 1).map(lambda n: "x" * n),
    st.from_regex(r"\A[ \t\u00a0]?[0-9]{1,6}\.0{1,3}\n?\Z"),
    st.sampled_from(sorted(JUNK) + list(JUNK_OF_OURS)).map(str.upper),
)
NAMESPACES = (
    *(Namespace(name=kind, type=kind, pii=kind in ("email", "household")) for kind in KINDS),
    Namespace(name="mobile", type="phone", pii=True, region="GB", junk=("020 7946 0018",)),
)
IDENTITY = Identity(namespaces=NAMESPACES, junk=JUNK_OF_OURS)
NAMES = tuple(namespace.name for namespace in NAMESPACES)
SOURCE = Source(name="s", kind="records", path="x", identities=dict.fromkeys(NAMES, "x"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        engine.teach(functions_of(IDENTITY))
        yield engine


@settings(max_examples=25)
@given(values=st.lists(VALUES, min_size=1, max_size=120))
@example(values=[*sorted(JUNK), "", " ", "\ufeff", "ann@x.org", "a" * 70 + "@x.org"])
@example(values=[f"a{hidden}b" for hidden in HIDDEN] + [f"a{hidden}@x.org" for hidden in HIDDEN])
def test_judge_is_the_twin_of_the_sql(engine, values):
    texts = {f"identities.{name}": pa.array(values) for name in NAMES}
    rows = engine.hold(engine.table(pa.table({"n": pa.array(range(len(values)))} | texts)))
    every = engine.sql(rows.get_name(), lambda: engine.extend(rows, *selects(IDENTITY, SOURCE)))
    found = engine.arrow(every).sort_by("n")
    engine.drop(rows)
    for namespace in NAMESPACES:
        twins = [judge(IDENTITY, namespace, value) for value in values]
        whys = [f"={twin.junk}" if twin.junk else twin.reason or None for twin in twins]
        assert found[f"why_{namespace.name}"].to_pylist() == whys
        assert found[f"id_{namespace.name}"].to_pylist() == [twin.identity for twin in twins]


# What the SQL does not ask the libraries about ----------------------------------------------------


@settings(max_examples=300)
@given(text=st.from_regex(rf"\A{PLAIN_EMAIL}\Z") | st.builds("{}@{}".format, BOXES, DOMAINS))
def test_a_plain_address_is_its_lower_case(text):
    short = len(text) <= PLAIN_EMAIL_LENGTH and len(text.split("@")[-1]) <= PLAIN_DOMAIN_LENGTH
    if short and re.fullmatch(PLAIN_EMAIL, text) and not re.search(RESERVED_DOMAIN, text):
        assert email_of(text) == text.lower()


@settings(max_examples=300)
@given(
    code=st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)),
    digits=st.text("0123456789", min_size=3, max_size=14),
    region=st.sampled_from([None, "GB", "AR", "US", "IT"]),
)
def test_a_plain_number_is_as_it_stands(code, digits, region):
    text = f"+{code}{digits}"
    if re.fullmatch(plain_phone(), text):
        assert phone_of(text, region) == text


@given(value=VALUES)
def test_what_is_normalised_stays_as_it_is(value):
    for namespace in NAMESPACES:
        found = judge(IDENTITY, namespace, value).identity
        if found and not namespace.pii:
            again = judge(IDENTITY, namespace, found.removeprefix(f"{namespace.name}:"))
            assert again.identity == found
