"""All files of all sources into one set of tables: copies, ids, types, keys, what was said."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import permutations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.sources.errors import NoRows
from features.time import parse_instant
from tests.unit.source_files import CUSTOMER, DAY, EMAIL, Folder, records, source

HEADER = "who,at,what\n"
ANN, BOB = f"ann,{DAY},visit\n", f"bob,{DAY},visit\n"
COOKIE = {"name": "cookie", "type": "cookie"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


# Copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "rows", "accepted"),
    [
        ({"a.csv": HEADER + ANN + ANN + BOB}, 3, 3),
        ({"a.csv": HEADER + ANN + ANN, "b.csv": HEADER + ANN + ANN}, 4, 2),
        ({"a.csv": HEADER + ANN, "b.csv.gz": gzip.compress((HEADER + ANN).encode())}, 2, 1),
        ({"a.csv": HEADER + ANN * 2 + BOB, "b.csv": HEADER + ANN * 3, "c.csv": HEADER + BOB}, 7, 4),
        ({"a.csv": HEADER + ANN, "b.csv": "at,who,what\n" + f"{DAY},ann,visit\n"}, 2, 1),
    ],
    ids=["identical rows", "a copy", "a packed copy", "the largest count", "other column order"],
)
def test_a_file_loaded_again_adds_nothing_and_no_row_of_one_file_is_lost(
    engine, tmp_path, files, rows, accepted
):
    united = Folder(tmp_path, engine, [source(path="*.csv*")]).put(files).unite()
    assert united.facts["rows"] == {"log": rows}
    assert united.facts["accepted"] == {"log": accepted}
    assert len(united.rows("events")) == accepted == len(set(united.values("events", "event_id")))


def test_a_copy_is_counted_when_it_comes_later(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(path="*.csv")]).put({"a.csv": HEADER + ANN})
    alone = folder.unite()
    both = folder.put({"b.csv": HEADER + ANN}).unite()
    assert (alone.facts["rows"], both.facts["rows"]) == ({"log": 1}, {"log": 2})
    assert alone.rows("events") == both.rows("events")


ONCE = "who,at,got,what,id,n\n"
COPIES = [
    ONCE + "ann,2024-05-01,2024-05-04,visit,e1,4\n",
    ONCE + "ann,2024-05-02,2024-05-03,visit,e1,3\nann,2024-05-02,2024-05-03,visit,e1,2\n",
    ONCE + "ann,2024-05-01,2024-05-09,visit,e1,9\n",
]


def test_of_one_event_id_the_row_known_first_stays_whatever_the_order_of_files(engine, tmp_path):
    log = source(path="*.csv", event_id="id", received_at="got", attributes={"n": "n"})
    kept = []
    for number, order in enumerate(permutations(COPIES)):
        files = {f"{place}.csv": content for place, content in enumerate(order)}
        united = Folder(tmp_path / str(number), engine, [log]).put(files).unite()
        assert (united.facts["rows"], united.facts["accepted"]) == ({"log": 4}, {"log": 1})
        kept.append(united.rows("events", "event_id", "event_time", "known_at", "attr_n"))
    # Two are known at one moment: what else they say decides, not where they stand.
    assert kept[0] == [
        {
            "event_id": "e1",
            "event_time": parse_instant("2024-05-02"),
            "known_at": parse_instant("2024-05-03"),
            "attr_n": Decimal(2),
        }
    ]
    assert all(rows == kept[0] for rows in kept)


def test_one_id_in_two_sources_is_two_events(engine, tmp_path):
    web, shop = (source(name=n, path=f"{n}.csv", event_id="what") for n in ("web", "shop"))
    folder = Folder(tmp_path, engine, [web, shop])
    united = folder.put({"web.csv": HEADER + ANN + ANN, "shop.csv": HEADER + ANN}).unite()
    assert united.facts["accepted"] == {"web": 1, "shop": 1}
    assert sorted(united.values("events", "source")) == ["shop", "web"]


# Types -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind", "kept"),
    [
        (["1", "-2.50", "0", ""], "number", [Decimal(1), Decimal("-2.5"), Decimal(0), None]),
        (["0.1", "12345678.12345"], "number", [Decimal("0.1"), Decimal("12345678.1235")]),
        (["1", "007"], "text", ["1", "007"]),
        (["1", "12b"], "text", ["1", "12b"]),
        (["1", "1e5"], "text", ["1", "1e5"]),
        (["true", "false"], "text", ["true", "false"]),
        (["12345678901234", "1"], "text", ["12345678901234", "1"]),
    ],
)
def test_an_attribute_is_a_number_when_all_its_values_are(engine, tmp_path, values, kind, kept):
    files = {f"{n}.csv": f"who,at,what,n\nc{n},{DAY},buy,{v}\n" for n, v in enumerate(values)}
    log = source(path="*.csv", attributes={"n": "n"})
    united = Folder(tmp_path, engine, [log]).put(files).unite()
    assert united.facts["types"] == {"attr_n": kind}
    assert united.values("events", "attr_n") == kept


def test_parquet_files_of_one_source_may_disagree_on_the_type_of_a_column(engine, tmp_path):
    for name, n in (("a", [1.5]), ("b", ["2"]), ("c", pa.array([None], pa.int64()))):
        table = pa.table({"who": [name], "at": [DAY], "what": ["buy"], "n": n})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    log = source(path="*.parquet", attributes={"n": "n"})
    united = Folder(tmp_path, engine, [log]).unite()
    assert united.facts["types"] == {"attr_n": "number"}
    assert united.values("events", "attr_n") == [Decimal("1.5"), Decimal(2), None]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(["1990-01-01", "2000-12-31"], "date"), (["true", "FALSE"], "boolean"), (["1", "2"], "number"),
     (["1990-01-01", "2"], "text")],
)  # fmt: skip
def test_profile_attributes_may_also_be_dates_and_booleans(engine, tmp_path, values, kind):
    crm = "who,since,x\n" + "".join(f"c{n},{DAY},{v}\n" for n, v in enumerate(values))
    folder = Folder(tmp_path, engine, [source(), records(profile={"x": "x"})])
    united = folder.put({"log.csv": HEADER + ANN, "crm.csv": crm}).unite()
    assert united.facts["types"] == {"profile_x": kind}
    assert united.values("observations", "value") == values


# Who and what was said ---------------------------------------------------------------------------


def test_keys_number_identities_by_priority_and_then_by_text(engine, tmp_path):
    log = source(identities={"cookie": "what", "customer": "who"})
    rows = f"{HEADER}b,{DAY},c1\n,{DAY},c0\na,{DAY},c1\n"
    folder = Folder(tmp_path, engine, [log], [CUSTOMER, COOKIE]).put({"log.csv": rows})
    united = folder.unite()
    names = ["customer:a", "customer:b", "cookie:c0", "cookie:c1"]
    assert united.values("identity_index", "identity") == names
    found = [(names[row["a"]], names[row["b"]]) for row in united.rows("links")]
    assert found == [("customer:a", "cookie:c1"), ("customer:b", "cookie:c1")]
    owners = {(names[r["identity_key"]], r["owner"]) for r in united.rows("appearances")}
    assert owners == {
        ("customer:a", True), ("customer:b", True), ("cookie:c0", True), ("cookie:c1", False)
    }  # fmt: skip
    assert [names[key] for key in united.values("events", "identity_key")] == names[:3]


def test_several_values_of_a_namespace_link_and_the_first_leads(engine, tmp_path):
    mail = {"name": "email", "type": "email"}
    log = source(identities={"email": ["who", "other"], "cookie": "what"}, event_type="'visit'")
    rows = f"who,other,at,what\nz@m.org,a@m.org,{DAY},c1\nz@m.org,Z@m.org,{DAY},\n,a@m.org,{DAY},\n"
    folder = Folder(tmp_path, engine, [log], [mail, COOKIE]).put({"log.csv": rows})
    united = folder.unite()
    names = united.values("identity_index", "identity")
    assert names == ["email:a@m.org", "email:z@m.org", "cookie:c1"]
    assert [(row["a"], row["b"]) for row in united.rows("links")] == [(0, 1), (0, 2), (1, 2)]
    # Of the first row z is the primary, of the last a.
    assert united.values("events", "identity_key") == [0, 1, 1]
    owners = {(row["identity_key"], row["owner"]) for row in united.rows("appearances")}
    assert owners == {(0, False), (0, True), (1, True), (2, False)}


def test_partners_do_not_link_even_with_each_other(engine, tmp_path):
    partner = {"name": "partner", "type": "partner"}
    log = source(identities={"partner": ["who", "what"]}, event_type="'visit'")
    folder = Folder(tmp_path, engine, [log], [partner]).put({"log.csv": f"{HEADER}a,{DAY},b\n"})
    assert folder.unite().rows("links") == []


def test_contacts_hold_every_personal_value_of_a_row(engine, tmp_path):
    crm = records(identities={"customer": "who", "email": ["mail", "work"]})
    rows = f"who,since,mail,work\n1,{DAY},Ann@m.org,ann@work.org\n"
    folder = Folder(tmp_path, engine, [source(), crm], [CUSTOMER, EMAIL])
    united = folder.put({"log.csv": HEADER + ANN, "crm.csv": rows}).unite()
    assert sorted(united.values("contacts", "raw")) == ["Ann@m.org", "ann@work.org"]


def test_what_never_changes_is_known_always_and_what_is_undated_says_so(engine, tmp_path):
    told = {"profile": {"born": "born", "city": "city"}, "constant": ["born"]}
    crm = f"who,since,born,city\nann,{DAY},1990-01-01,Rome\n"
    for known_from, expected in (
        ("since", {"born": (0, True), "city": (parse_instant(DAY), True)}),
        (None, {"born": (0, True), "city": (0, False)}),
    ):
        sources = [source(), records(known_from=known_from, **told)]
        folder = Folder(tmp_path / str(known_from), engine, sources)
        united = folder.put({"log.csv": HEADER + ANN, "crm.csv": crm}).unite()
        said = {r["attribute"]: (r["known_at"], r["dated"]) for r in united.rows("observations")}
        assert said == expected


def test_consents_are_dated_by_their_row(engine, tmp_path):
    crm = "who,since,ok\nann,2024-05-01,yes\nann,2024-05-02,no\nann,2024-05-03,\n"
    sources = [source(), records(consent={"marketing": "ok"})]
    united = (
        Folder(tmp_path, engine, sources).put({"log.csv": HEADER + ANN, "crm.csv": crm}).unite()
    )
    assert united.rows("consents", "purpose", "allowed", "known_at") == [
        {"purpose": "marketing", "allowed": False, "known_at": parse_instant("2024-05-02")},
        {"purpose": "marketing", "allowed": True, "known_at": parse_instant("2024-05-01")},
    ]


def test_contacts_hold_the_value_as_written_last(engine, tmp_path):
    crm = "who,since,mail\n1,2024-05-01,ANN@x.org\n1,2024-05-02,Ann@x.org\n2,2024-04-01,b@x.org\n"
    sources = [source(), records(identities={"customer": "who", "email": "mail"})]
    folder = Folder(tmp_path, engine, sources, [CUSTOMER, EMAIL])
    united = folder.put({"log.csv": HEADER + ANN, "crm.csv": crm}).unite()
    assert sorted(united.values("contacts", "raw")) == ["Ann@x.org", "b@x.org"]


# Nothing to unite --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEADER, r"sources\.log: the files hold no rows"),
        (
            f"{HEADER}ann,?,visit\nbob,!,visit\n,{DAY},visit\n",
            r"sources\.log: all 3 rows were refused; 2 with bad_event_time, first at row 1: '\?'",
        ),
    ],
)
def test_a_source_of_no_use_is_an_error_with_an_example(engine, tmp_path, content, message):
    with pytest.raises(NoRows, match=message):
        Folder(tmp_path, engine).put({"log.csv": content}).unite()


def test_people_alone_have_no_behaviour_and_leave_no_tables(engine, tmp_path):
    folder = Folder(tmp_path, engine, [records()]).put({"crm.csv": f"who,since\nann,{DAY}\n"})
    with pytest.raises(NoRows, match="No source has kind events"):
        folder.unite()
    assert not list((folder.store.root / "tables" / "united").iterdir())


def test_an_empty_file_among_others_is_no_error(engine, tmp_path):
    log = source(path="*.jsonl")
    line = json.dumps({"who": "ann", "at": DAY, "what": "visit"})
    united = Folder(tmp_path, engine, [log]).put({"a.jsonl": "", "b.jsonl": line}).unite()
    assert united.facts["accepted"] == {"log": 1}
