"""One file into accepted and refused rows: formats, codes, identities, numbers, consents."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.errors import SourceError
from features.sources.errors import BadMapping, MissingColumn, NoRows
from features.sources.unite import NAMES
from tests.unit.source_files import CUSTOMER, DAY, EMAIL, Folder, records, source

HEADER = "who,at,what\n"
ANN = f"ann,{DAY},visit\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def refused(folder: Folder) -> list[tuple[int, str, str | None]]:
    return [(row["row"], row["code"], row["value"]) for row in folder.part("quarantine")]


# Formats -----------------------------------------------------------------------------------------


def as_jsonl(rows: list[dict[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.csv.gz", "a.tsv", "a.psv", "a.jsonl", "a.jsonl.gz", "a.parquet", "a.txt"]
)
def test_every_format_says_the_same(engine, tmp_path, name):
    rows: list[dict[str, object]] = [
        {"who": "00001", "at": DAY, "what": "Product Viewed", "price": "1.5"},
        {"who": "00002", "at": DAY, "what": "visit", "price": "2"},
    ]
    changes: dict[str, object] = {"attributes": {"price": "price"}}
    delimiter = {"a.tsv": "\t", "a.psv": "|"}.get(name, ",")
    text = "\n".join(delimiter.join(map(str, r)) for r in [rows[0], *(r.values() for r in rows)])
    if name == "a.psv":
        changes |= {"delimiter": "|", "format": "csv"}
    if name == "a.txt":
        text = "\n".join(f"{r['who']} {r['at']} {r['price']} {r['what']}" for r in rows)
        parts = {"who": 1, "at": 2, "price": 3}
        sql = {key: f"split_part(line, ' ', {place})" for key, place in parts.items()}
        changes = {
            "event_time": sql["at"],
            "event_type": "regexp_extract(line, '[0-9.]+ ([A-Za-z ]+)$', 1)",
            "identities": {"customer": sql["who"]},
            "attributes": {"price": sql["price"]},
        }
    content = as_jsonl(rows) if ".jsonl" in name else text.encode()
    content = gzip.compress(content) if name.endswith(".gz") else content
    if name == "a.parquet":
        write_parquet(tmp_path / name, rows)
    else:
        (tmp_path / name).write_bytes(content)
    found = Folder(tmp_path, engine, [source(path=name, **changes)]).part()
    said = [(r["id_customer"], r["event_type"], r["attr_price"], r["local_day"]) for r in found]
    assert said == [
        ("customer:00001", "product_viewed", "1.5", 19_844),
        ("customer:00002", "visit", "2", 19_844),
    ]


@pytest.mark.parametrize(
    ("content", "people"),
    [
        (f"\ufeff{HEADER}{ANN}", ["ann"]),
        (HEADER.replace("\n", "\r\n") + ANN.replace("\n", "\r\n"), ["ann"]),
        (f'{HEADER}"a,nn",{DAY},"vi\nsit"\nbob,{DAY},visit', ["a,nn", "bob"]),
        (f"{HEADER}'ann',{DAY},visit\n", ["'ann'"]),
        (f'{HEADER}"a""n",{DAY},visit\n', ['a"n']),
        (f"{HEADER}{ANN}\n\n{ANN.replace('ann', 'bob')}", ["ann", "bob"]),
        (f"line_number,{HEADER}7,{ANN}", ["ann"]),
        (f"at,WHO,what,,\n{DAY},ann,visit,x,y\n", ["ann"]),
        (HEADER, []),
    ],
    ids=["bom", "crlf", "quoted", "apostrophes", "doubled", "blank", "line_number", "not named",
         "no rows"],
)  # fmt: skip
def test_the_dialect_of_csv_is_stated_and_not_guessed(engine, tmp_path, content, people):
    folder = Folder(tmp_path, engine).put({"log.csv": content})
    assert [row["id_customer"] for row in folder.part()] == [f"customer:{who}" for who in people]
    assert refused(folder) == []


def test_ragged_rows_are_refused_by_their_number_and_move_no_other(engine, tmp_path):
    rows = [ANN, "bob,2024-05-01\n", "eve,?,visit\n", "a,b,c,d\n", ANN, "joe,!,visit\n"]
    folder = Folder(tmp_path, engine).put({"log.csv": HEADER + "".join(rows)})
    assert refused(folder) == [
        (2, "malformed_row", "Expected Number of Columns: 3 Found: 2"),
        (3, "bad_event_time", "?"),
        (4, "malformed_row", "Expected Number of Columns: 3 Found: 4"),
        (6, "bad_event_time", "!"),
    ]
    facts = folder.part_facts()
    assert facts["examples"]["bad_event_time"] == {"row": 3, "value": "?"}
    assert (facts["rows"], facts["accepted"]) == (6, 2)


def test_a_byte_that_is_not_utf_8_spoils_its_row_only(engine, tmp_path):
    spoilt = ANN.encode().replace(b"ann", b"\xe4nn")
    csv = Folder(tmp_path, engine).put({"log.csv": HEADER.encode() + spoilt + ANN.encode()})
    assert (len(csv.part()), [code for _, code, _ in refused(csv)]) == (1, ["malformed_row"])
    line = f'{{"who": "ann", "at": "{DAY}", "what": "visit"}}\n'.encode()
    lines = Folder(tmp_path, engine, [source(path="log.jsonl")])
    lines.put({"log.jsonl": line + line.replace(b"ann", b"\xe4nn") + line})
    assert len(lines.part()) == 2
    assert refused(lines) == [(2, "malformed_row", "The line is not UTF-8.")]


def test_a_broken_line_of_json_is_refused_by_its_number(engine, tmp_path):
    line = f'{{"who": "ann", "at": "{DAY}", "what": "visit"}}'
    text = "\n".join([line, "", "   ", line[:-1], line, "ann"]) + "\n"
    folder = Folder(tmp_path, engine, [source(path="log.jsonl")]).put({"log.jsonl": text})
    assert len(folder.part()) == 2
    assert refused(folder) == [(4, "malformed_row", line[:-1]), (6, "malformed_row", "ann")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("log.csv", b"", r"log\.csv is empty.*Write a header"),
        ("log.csv", b"who,\xe4t\n", r"log\.csv cannot be read.*UTF-8"),
        ("log.csv", f"{HEADER}{ANN}".replace("\n", "\r\n").encode() + b"x\n", r"one kind of line"),
        ("log.csv.gz", b"who,at,what\n", r"log\.csv\.gz cannot be read: Not a gzipped file"),
        (
            "log.csv.gz",
            gzip.compress((HEADER + ANN * 9).encode())[:-6],
            r"cannot be read.*is whole",
        ),
        ("log.jsonl.gz", gzip.compress(b"{}\n" * 99)[:-6], r"cannot be read.*is whole"),
        ("log.parquet", b"PAR1", r"log\.parquet cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_whole_is_named_and_leaves_nothing(
    engine, tmp_path, name, content, message
):
    folder = Folder(tmp_path, engine, [source(path=name)]).put({name: content})
    with pytest.raises(SourceError, match=message):
        folder.ingest()
    assert not list((tmp_path / ".likelier").rglob("*.parquet"))


# JSON keys ---------------------------------------------------------------------------------------


def nested(**changes: object) -> dict[str, object]:
    attributes = {"amount": "properties.amount", "sku": "properties.item.sku"}
    return source(path="*.jsonl", attributes=attributes, **changes)


def test_nested_keys_are_dotted_and_may_be_missing_from_some_rows(engine, tmp_path):
    rows: list[dict[str, object]] = [
        {"who": 17850, "at": DAY, "what": "buy", "properties": {"amount": 1.25}},
        {"who": 17850.0, "at": DAY, "what": "buy", "properties": {"item": {"sku": "00x"}}},
        {"who": "00001", "at": DAY, "what": "buy", "properties": None},
        {"who": None, "at": DAY, "what": "buy"},
    ]
    folder = Folder(tmp_path, engine, [nested()]).put({"log.jsonl": as_jsonl(rows)})
    found = {(r["id_customer"], r["attr_amount"], r["attr_sku"]) for r in folder.part()}
    assert found == {
        ("customer:17850", "1.25", None),
        ("customer:17850", None, "00x"),
        ("customer:00001", None, None),
    }
    assert refused(folder) == [(4, "no_identity", None)]


def test_a_key_that_no_row_of_any_file_has_is_an_error_with_a_suggestion(engine, tmp_path):
    row: dict[str, object] = {"who": "ann", "at": DAY, "what": "buy"}
    typed = row | {"properties": {"amuont": 1, "item": {"sku": "x"}}}
    folder = Folder(tmp_path, engine, [nested()])
    folder.put({"a.jsonl": as_jsonl([row]), "b.jsonl": as_jsonl([typed])})
    with pytest.raises(
        MissingColumn,
        match=r"sources\.log\.attributes\.amount: no row of any file has the key "
        r"'properties\.amount'\. Hint: Did you mean 'properties\.amuont'\?",
    ):
        folder.unite()
    # One file that has it is enough.
    folder.put({"c.jsonl": as_jsonl([row | {"properties": {"amount": 1}}])})
    assert folder.unite().facts["accepted"] == {"log": 3}


def test_a_missing_identity_key_is_named_rather_than_every_row_refused(engine, tmp_path):
    rows: list[dict[str, object]] = [{"whom": "ann", "at": DAY, "what": "buy"}]
    folder = Folder(tmp_path, engine, [source(path="a.jsonl")]).put({"a.jsonl": as_jsonl(rows)})
    with pytest.raises(MissingColumn, match=r"identities\.customer: .*'who'.*Did you mean 'whom'"):
        folder.unite()


def test_a_file_without_any_readable_row_says_nothing_of_keys(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(path="a.jsonl")]).put({"a.jsonl": "[\n]\n"})
    with pytest.raises(
        NoRows, match=r"all 2 rows were refused; 2 with malformed_row, first at row 1"
    ):
        folder.unite()


# Codes -------------------------------------------------------------------------------------------

CODED = {
    "ann,2024-05-01,,visit,e1,ann@x.org": None,
    ",2024-05-01,,visit,e2,": ("no_identity", None),
    "NULL,2024-05-01,,visit,e3,n/a": ("no_identity", None),
    f"{'x' * 1025},2024-05-01,,visit,e4,": ("identity_too_long", None),
    "ann,,,visit,e5,": ("no_event_time", None),
    "ann,soon,,visit,e6,": ("bad_event_time", "soon"),
    "ann,1900-01-01,,visit,e7,": ("time_out_of_range", "1900-01-01"),
    "ann,2199-01-01,,visit,e8,": ("future_time", "2199-01-01"),
    "ann,2024-05-01,later,visit,e9,": ("bad_received_at", "later"),
    "ann,2024-05-01,,,e10,": ("no_event_type", None),
    "ann,2024-05-01,,!?,e11,": ("no_event_type", "!?"),
    "ann,2024-05-01,,visit, ,": ("no_event_id", None),
    "ann,2024-05-01": ("malformed_row", "Expected Number of Columns: 6 Found: 2"),
    ",,,,,": ("no_event_time", None),
}


def test_every_code_has_its_row_its_value_and_an_example(engine, tmp_path):
    log = source(received_at="got", event_id="id", identities={"customer": "who", "email": "mail"})
    folder = Folder(tmp_path, engine, [log], [CUSTOMER, EMAIL])
    folder.put({"log.csv": "who,at,got,what,id,mail\n" + "\n".join(CODED) + "\n"})
    expected = [(row, *code) for row, code in enumerate(CODED.values(), 1) if code]
    assert refused(folder) == expected
    assert len(folder.part()) == 1
    facts = folder.part_facts()
    assert facts["rows"] == len(CODED) == facts["accepted"] + sum(facts["quarantined"].values())
    first = {code: {"row": row, "value": value} for row, code, value in reversed(expected)}
    assert facts["examples"] == first


def test_a_code_that_comes_late_still_has_an_example(engine, tmp_path):
    content = HEADER + ANN + "ann,?,visit\n" * 10_001 + f",{DAY},visit\n"
    facts = Folder(tmp_path, engine).put({"log.csv": content}).part_facts()
    assert facts["examples"]["no_identity"] == {"row": 10_003, "value": None}


def test_records_have_codes_of_their_own(engine, tmp_path):
    content = "who,since\nann,2024-05-01\nbob,\neve,soon\nNULL,2024-05-01\n"
    folder = Folder(tmp_path, engine, [records()]).put({"crm.csv": content})
    assert [(row["id_customer"], row["event_type"]) for row in folder.part()] == [
        ("customer:ann", None)
    ]
    assert refused(folder) == [
        (2, "no_known_from", None), (3, "bad_known_from", "soon"), (4, "no_identity", None)
    ]  # fmt: skip


def test_rows_about_nobody_never_become_one_person(engine, tmp_path):
    nobody = ["", "null", " None ", "N/A", "undefined", "0", "Guest", "house account"]
    folder = Folder(tmp_path, engine, settings={"identity": {"junk": ["House Account"]}})
    folder.put({"log.csv": HEADER + "".join(f"{who},{DAY},visit\n" for who in [*nobody, "ann"])})
    assert [row["id_customer"] for row in folder.part()] == ["customer:ann"]
    assert folder.part_facts()["quarantined"] == {"no_identity": len(nobody)}


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


# Expressions over columns ------------------------------------------------------------------------


def test_a_missing_column_names_the_key_the_file_and_the_near_name(engine, tmp_path):
    folder = Folder(tmp_path, engine).put({"log.csv": "Whom,at,what\nann,x,y\n"})
    with pytest.raises(
        MissingColumn,
        match=r"sources\.log\.identities\.customer \(log\.csv\): there is no column 'who'\. "
        r"Hint: Did you mean 'Whom'\?",
    ):
        folder.ingest()


def test_an_expression_that_does_not_fit_the_columns_is_named_by_its_key(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(attributes={"n": "substr(who, 1, at)"})])
    folder.put({"log.csv": HEADER + ANN})
    with pytest.raises(BadMapping, match=r"sources\.log\.attributes\.n: 'substr.*does not work"):
        folder.ingest()


def test_a_row_that_cannot_be_computed_is_null_and_ends_nothing(engine, tmp_path):
    attributes = {"n": "to_timestamp(who)", "part": "1 / nullif(who, '0')", "text": "chr(who::int)"}
    folder = Folder(tmp_path, engine, [source(attributes=attributes)])
    folder.put({"log.csv": f"{HEADER}1e300,{DAY},visit\n65,{DAY},visit\n-9,{DAY},visit\n"})
    found = {row["id_customer"]: row["attr_text"] for row in folder.part()}
    assert found == {"customer:1e300": None, "customer:65": "A", "customer:-9": None}


@pytest.mark.parametrize(
    ("what", "event_type"),
    [
        ("Product Viewed", "product_viewed"),
        ("  PURCHASE ", "purchase"),
        ("$pageview", "pageview"),
        ("page--view", "page_view"),
        ("2nd visit", "e_2nd_visit"),
    ],
)
def test_event_types_are_names(engine, tmp_path, what, event_type):
    folder = Folder(tmp_path, engine).put({"log.csv": f"{HEADER}ann,{DAY},{what}\n"})
    assert [row["event_type"] for row in folder.part()] == [event_type]


# Numbers -----------------------------------------------------------------------------------------


def test_amounts_are_exact(engine, tmp_path):
    amounts = {
        "0.1 + 0.2": "0.3000",
        "quantity * price": "59.9700",
        "-price": "-19.9900",
        "price / 0": None,
        "cast('nan' as double) * quantity": None,
        "quantity * 1e15": None,
        "quantity * 100000000000 * 100": "30000000000000.0000",
        "note * 2": None,
    }
    named = {f"a{n}": sql for n, sql in enumerate(amounts)}
    folder = Folder(tmp_path, engine, [source(attributes=named)])
    folder.put({"log.csv": f"who,at,what,quantity,price,note\nann,{DAY},buy,3,19.99,n/a\n"})
    (row,) = folder.part()
    found = {sql: row[f"attr_{name}"] for name, sql in named.items()}
    assert found == {sql: v if v is None else Decimal(v) for sql, v in amounts.items()}


def test_parquet_numbers_become_decimals_and_float_ids_lose_their_fraction(engine, tmp_path):
    columns = {
        "who": pa.array([17850.0, None]),
        "at": pa.array([DAY, DAY]),
        "what": pa.array(["buy", "buy"]),
        "n": pa.array([0.1, float("nan")]),
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    folder = Folder(tmp_path, engine, [source(path="log.parquet", attributes={"n": "n"})])
    assert [(r["id_customer"], r["attr_n"]) for r in folder.part()] == [
        ("customer:17850", Decimal("0.1000"))
    ]


# Consent -----------------------------------------------------------------------------------------


def test_consent_is_a_yes_a_no_or_not_stated_and_an_unknown_word_is_a_no(engine, tmp_path):
    words = {
        "yes": True, "Y": True, " TRUE ": True, "1": True, "granted": True, "opt-in": True,
        "no": False, "0": False, "false": False, "denied": False, "unsubscribed": False,
        "nope": False, "2020-01-01": False, "": None, "null": None, "N/A": None,
    }  # fmt: skip
    folder = Folder(tmp_path, engine, [records(consent={"marketing": "ok"})])
    rows = "".join(f"c{n:02},{DAY},{word}\n" for n, word in enumerate(words))
    folder.put({"crm.csv": "who,since,ok\n" + rows})
    said = {row["id_customer"]: row["consent_marketing"] for row in folder.part()}
    assert list(said.values()) == list(words.values())


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
