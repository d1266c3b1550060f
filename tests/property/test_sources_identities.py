"""The table and the live path call one person by one name, whatever was typed."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import Engine
from features.identity.namespaces import JUNK, identity_of, identity_sql
from features.settings import Identity, Namespace, Source

KINDS = ("person", "email", "phone", "device", "cookie", "session", "household", "partner")
JUNK_OF_OURS = ("House Account", "ÄB", "o'brien", "+44 000")
VALUES = st.one_of(
    st.text(max_size=12),
    # Letters whose lower case differs between languages or libraries.
    st.text("aAzZ\u0130\u0131\u03a3\u03c2\u212a\u00df\u1e9e\u00c4\u00e4 @.+0", max_size=8),
    st.text("+0123456789 .()-", max_size=10),
    st.from_regex(r"\A[ \t\u00a0]?[0-9]{1,6}\.0{1,3}\n?\Z"),
    st.sampled_from(sorted(JUNK) + list(JUNK_OF_OURS)).map(str.upper),
)
NAMESPACES = tuple(
    Namespace(name=kind, type=kind, pii=kind in ("email", "household")) for kind in KINDS
)
IDENTITY = Identity(namespaces=NAMESPACES, junk=JUNK_OF_OURS)
SOURCE = Source(name="s", kind="records", path="x", identities={kind: "x" for kind in KINDS})
KEYS = tuple(f"identities.{kind}" for kind in KINDS)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@settings(max_examples=20)
@given(values=st.lists(VALUES, min_size=1, max_size=80))
def test_identity_of_is_the_twin_of_the_sql(engine, values):
    written = {"n": range(len(values))} | dict.fromkeys(KEYS, values)
    rows = engine.hold(engine.table(pa.table(written)))
    columns = {"n": "n"}
    for namespace in NAMESPACES:
        columns |= identity_sql(namespace, IDENTITY, SOURCE, KEYS)
    found = engine.arrow(engine.select(rows, columns).order_by("n"))
    engine.drop(rows)
    for namespace in NAMESPACES:
        twins = [identity_of(IDENTITY, namespace, value) for value in values]
        assert found[f"id_{namespace.name}"].to_pylist() == twins
