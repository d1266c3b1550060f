"""One file into identities: what is none, hashes, several values, personal data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.sources.errors import BadMapping
from features.sources.unite import NAMES
from tests.unit.source_files import CUSTOMER, DAY, EMAIL, Folder, as_jsonl, records, refused, source

HEADER = "who,at,what\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


# No identities -----------------------------------------------------------------------------------

PHONE = {"name": "phone", "type": "phone", "region": "GB"}
ODD: dict[str, tuple[object, str]] = {
    "junk": ("undefined", "undefined"),
    "zeros": ("000", "zeros"),
    "true": (True, "true"),
    "object": ({"id": 1}, "not_one_value"),
    "array": ([1, 2], "not_one_value"),
    "nul": ("an\x00n", "control_characters"),
    "zero width": ("an\u200bn", "control_characters"),
    "lost letter": ("an\ufffdn", "control_characters"),
    "10 kB": ("x" * 10_000, "identity_too_long"),
    "rounded": (123456789012345678.0, "inexact_number"),
}


def test_what_is_no_identity_is_counted_and_leaves_the_row_to_another(engine, tmp_path):
    rows = [
        {"who": who, "mail": "ann@mail.example" if known else None, "at": DAY, "what": "visit"}
        for who, _ in ODD.values()
        for known in (True, False)
    ]
    log = source(path="log.jsonl", identities={"customer": "who", "email": "mail"})
    folder = Folder(tmp_path, engine, [log], [CUSTOMER, EMAIL]).put({"log.jsonl": as_jsonl(rows)})
    accepted = folder.part()
    assert len(accepted) == len(ODD)
    assert {row["id_customer"] for row in accepted} == {None}
    facts = folder.part_facts()
    assert facts["quarantined"] == {"identity_too_long": 1, "no_identity": len(ODD) - 1}
    assert facts["junk"] == {"customer": {"true": 2, "undefined": 2, "zeros": 2}}
    assert facts["unusable"] == {
        "customer": {
            "control_characters": 6, "identity_too_long": 2, "inexact_number": 2,
            "not_one_value": 4,
        }
    }  # fmt: skip
    united = folder.unite().facts
    assert united["junk_found"] == {"log": facts["junk"]}
    assert united["unusable_found"] == {"log": facts["unusable"]}


def test_addresses_and_numbers_of_a_table_are_read_by_type(engine, tmp_path):
    log = source(identities={"email": "who", "phone": "what"}, event_type="'visit'")
    content = (
        f"{HEADER}Ann@M\u00fcller.example,{DAY},020 8366 1177\n"
        f"ann@xn--mller-kva.example,{DAY},+44 20 8366 1177\n"
        f"ann at home,{DAY},+442083661177\n,{DAY},ask\nBob@mail.example,{DAY},0\n"
    )
    folder = Folder(tmp_path, engine, [log], [EMAIL, PHONE]).put({"log.csv": content})
    emails = {row["id_email"] for row in folder.part()}
    assert {row["id_phone"] for row in folder.part()} == {"phone:+442083661177", None}
    assert len(emails) == 3
    facts = folder.part_facts()
    assert facts["unusable"] == {"email": {"not_an_email": 1}, "phone": {"not_a_phone": 1}}
    assert facts["junk"] == {"phone": {"zeros": 1}}
    assert refused(folder) == [(4, "no_identity", None)]


def test_a_hashed_address_is_that_of_the_address_and_no_contact(engine, tmp_path):
    hashed = hashlib.sha256(b"ann@mail.example").hexdigest()
    log = source(identities={"email": "who"})
    rows = f"{HEADER}Ann@mail.example,{DAY},visit\n{hashed.upper()},{DAY},visit\n"
    folder = Folder(tmp_path, engine, [log], [EMAIL]).put({"log.csv": rows})
    united = folder.unite()
    assert united.values("identity_index", "identity") == [f"email:{hashed}"]
    assert united.values("contacts", "raw") == ["Ann@mail.example"]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([[1, 2]]), r"array<int64>"),
        (pa.array([{"id": 1}]), r"struct"),
        (pa.array([True]), r"boolean"),
        (pa.array([1.0], pa.float32()), r"float32"),
        (pa.array([b"ann"]), r"binary"),
        (pa.array([0], pa.timestamp("us")), r"timestamp"),
    ],
)
def test_a_column_that_is_no_text_or_exact_number_is_no_identity(engine, tmp_path, values, kind):
    table = pa.table({"who": values, "at": [DAY], "what": ["visit"]})
    pq.write_table(table, tmp_path / "log.parquet")
    folder = Folder(tmp_path, engine, [source(path="log.parquet")])
    with pytest.raises(BadMapping, match=rf"sources\.log\.identities\.customer: gives {kind}"):
        folder.ingest()


def test_numbers_in_parquet_are_ids_to_the_last_digit(engine, tmp_path):
    for name, values in {
        "integer": pa.array([2**63 - 1, -5]),
        "decimal": pa.array([Decimal(2**63 - 1), Decimal(-5)], pa.decimal128(20, 0)),
    }.items():
        table = pa.table({"who": values, "at": [DAY] * 2, "what": ["visit"] * 2})
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "log.parquet")
        folder = Folder(tmp_path / name, engine, [source(path="log.parquet")])
        ids = {row["id_customer"] for row in folder.part()}
        assert ids == {"customer:9223372036854775807", "customer:-5"}


# Several values of a namespace --------------------------------------------------------------------


def test_two_values_of_a_unique_namespace_on_one_row_are_a_conflict(engine, tmp_path):
    log = source(identities={"customer": ["who", "what"]}, event_type="'visit'")
    rows = ["ann,AT,bob", "ann,AT,ann", "7.0,AT,7", "null,AT,bob", "ann,AT,", "bob,AT,ann"]
    content = HEADER + "".join(f"{row}\n".replace("AT", DAY) for row in rows)
    folder = Folder(tmp_path, engine, [log]).put({"log.csv": content})
    assert refused(folder) == [
        (1, "conflicting_identity", None), (6, "conflicting_identity", None)
    ]  # fmt: skip
    facts = folder.part_facts()
    assert facts["rows"] == facts["accepted"] + facts["quarantined"]["conflicting_identity"] == 6
    assert facts["junk"] == {"customer": {"null": 1}}


def test_several_values_of_other_namespaces_are_all_about_the_row(engine, tmp_path):
    mail = EMAIL | {"pii": False}
    log = source(identities={"email": ["who", "what"]}, event_type="'visit'")
    rows = f"{HEADER}z@mail.example,{DAY},a@mail.example\n"
    folder = Folder(tmp_path, engine, [log], [mail]).put({"log.csv": rows})
    (row,) = folder.part()
    assert (row["id_email"], row["id_email.2"]) == ("email:z@mail.example", "email:a@mail.example")


# Personal data -----------------------------------------------------------------------------------


def test_raw_personal_values_are_in_no_file_but_contacts(engine, tmp_path):
    crm = records(identities={"customer": "who", "email": "mail"})
    log = source(path="log.jsonl", identities={"email": "mail"})
    folder = Folder(tmp_path, engine, [crm, log], [CUSTOMER, EMAIL])
    said = {"mail": " Ann@Mail.EXAMPLE", "what": "visit"}
    lines = as_jsonl([said | {"at": DAY}, said | {"at": "?"}, said | {"what": None, "at": DAY}])
    folder.put(
        {
            "crm.csv": f"who,since,mail\n1,{DAY},ann@mail.example\n2,{DAY}, Ann@Mail.EXAMPLE\n"
            "3,soon,ann@mail.example\n4,ann@mail.example\n",
            "log.jsonl": lines + b'{"mail": "ann@mail.example"\n',
        }
    )
    united = folder.unite()
    assert united.facts["accepted"] == {"crm": 2, "log": 1}
    assert [row["raw"] for row in united.rows("contacts")] == ["Ann@Mail.EXAMPLE"]
    texts = {path: path.read_text() for path in folder.store.root.rglob("*.json")}
    for path in folder.store.root.rglob("*.parquet"):
        texts[path] = json.dumps(pq.read_table(path).to_pylist(), default=str)
    assert len(texts) > len(NAMES)
    with_raw = {path.name for path, text in texts.items() if "mail.example" in text.lower()}
    assert with_raw == {"contacts.parquet"}


def test_a_time_made_of_a_personal_column_is_not_shown(engine, tmp_path):
    log = source(identities={"email": "who"}, event_time="split_part(who, ' ', 2)")
    folder = Folder(tmp_path, engine, [log], [EMAIL]).put(
        {"log.csv": HEADER + "a@b.org x,,visit\n"}
    )
    assert refused(folder) == [(1, "bad_event_time", "(personal)")]
