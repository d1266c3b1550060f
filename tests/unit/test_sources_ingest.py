"""One file into accepted and refused rows: formats, codes, numbers, consents."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.errors import SourceError
from features.sources.errors import BadMapping, MissingColumn, NoRows
from tests.unit.source_files import CUSTOMER, DAY, EMAIL, Folder, as_jsonl, records, refused, source

HEADER = "who,at,what\n"
ANN = f"ann,{DAY},visit\n"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


# Formats -----------------------------------------------------------------------------------------


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
            gzip.compress((HEADER + ANN * 9).encode(), mtime=0)[:-6],
            r"cannot be read.*is whole",
        ),
        ("log.jsonl.gz", gzip.compress(b"{}\n" * 99, mtime=0)[:-6], r"cannot be read.*is whole"),
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
