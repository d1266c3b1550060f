"""Tables of overrides: what a row says, and what becomes of one that cannot be used."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.identity.override_files import BadOverrides
from features.identity.overrides import NAMES, Judged, Overrides, load, read_overrides
from features.settings import Identity
from features.store import Store
from features.time import EARLIEST, parse_instant
from tests.worlds import NAMESPACES

EMAIL = {"name": "mail", "type": "email", "pii": True}
SPACES = [*NAMESPACES, EMAIL]
MAY = parse_instant("2024-05-01T00:00:00Z")


def stated(folder: Path, **tables: str) -> Overrides:
    """Write CSV tables and read them as a project would."""
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    paths = {name: f"{name}.csv" for name in tables}
    identity = Identity.model_validate({"namespaces": SPACES, "overrides": paths})
    return read_overrides(identity, folder, "Europe/London")


def refused(folder: Path, table: str, text: str, **others: str) -> dict[str, Any]:
    return dict(stated(folder, **{table: text}, **others).judged[table].refused)


def hashed(value: str) -> str:
    return f"mail:{hashlib.sha256(value.encode()).hexdigest()}"


def test_no_tables_say_nothing(tmp_path: Path) -> None:
    nothing = stated(tmp_path)
    assert (nothing.always, nothing.never, nothing.bypass, nothing.aliases) == ({}, {}, {}, {})
    assert nothing.version == Overrides().version == ""
    empty = stated(tmp_path, never="a,b\n", aliases="alias,identity\n")
    assert empty.version == ""
    assert empty.judged["never"] == Judged(0, 0, 0, {}, {})


def test_every_table_says_what_its_rows_say(tmp_path: Path) -> None:
    found = stated(
        tmp_path,
        always="a,b,known_from,note\ncustomer: 17850.0 ,login:x,,seen in the shop\n",
        never="b,a\nlogin:x,customer:2\n",
        bypass="identity,known_from\ncookie:kiosk,2024-05-01T01:00:00\n",
        aliases="alias,identity\ncustomer:B,customer:A\n",
    )
    assert found.always == {("customer:17850", "login:x"): EARLIEST}
    assert found.never == {("customer:2", "login:x"): EARLIEST}
    assert found.bypass == {"cookie:kiosk": MAY}  # a summer hour of London
    assert found.aliases == {"customer:B": "customer:A"}
    assert found.spellings("customer:B") == found.spellings("customer:A")
    assert found.spellings("customer:A") == ("customer:A", "customer:B")


def test_personal_identities_may_be_raw_or_hashed(tmp_path: Path) -> None:
    jo = hashed("jo@x.org")
    text = f"a,b\nmail: Jo@X.org,customer:1\n{jo.upper().replace('MAIL', 'mail')},customer:1\n"
    found = stated(tmp_path, never=text)
    assert list(found.never) == [("customer:1", jo)]
    assert found.judged["never"] == Judged(2, 1, 1, {}, {})


@pytest.mark.parametrize(
    ("row", "code", "shown"),
    [
        ("customer:1", "malformed_row", None),
        ("customer:1,customer:2,,,", "malformed_row", None),
        ('"customer:1"x,customer:2,', "malformed_row", None),
        ("customer:1,,", "no_value", None),
        ("customer:1,   ,", "no_value", None),
        ("customer:1,customer:,", "no_value", "customer:"),
        ("customer:1,customer:NULL,", "no_value", "customer:NULL"),
        ("customer:1,mail:test@test.com,", "no_value", "mail:…"),
        ("customer:1,17851,", "unknown_namespace", None),
        ("customer:1,emial:jo@x.org,", "unknown_namespace", None),
        ("customer:1,customer: 1 ,", "self_pair", "customer:1"),
        ("mail:jo@x.org,mail:JO@x.org,", "self_pair", "mail:…"),
        ("customer:1,customer:2,tomorrow", "bad_known_from", None),
        ("customer:1,customer:2,1969-12-31", "bad_known_from", None),
        ("customer:1,customer:2,9999-12-31T23:59:59-23:00", "bad_known_from", None),
        (f"customer:1,customer:{'x' * 10_000},", "identity_too_long", f"customer:{'x' * 91}"),
        ("customer:1,customer:a\u200bb,", "control_characters", "customer:a\u200bb"),
        ("customer:1,mail:jo at x,", "not_an_email", "mail:…"),
        ("customer:1,customer:1.5E+11,", "inexact_number", "customer:1.5E+11"),
        (f"customer:1,customer:{'x' * 200_000},", "malformed_row", None),
        ("customer:1,household:h,", "no_links", "household:h"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_and_changes_nothing(
    tmp_path: Path, row: str, code: str, shown: str | None
) -> None:
    found = stated(tmp_path, always=f"a,b,known_from\n{row}\ncustomer:8,customer:9,\n")
    assert list(found.always) == [("customer:8", "customer:9")]
    example = {code: {"row": 1, "value": shown}}
    assert found.judged["always"] == Judged(2, 1, 0, {code: 1}, example)


def test_households_may_be_kept_apart_though_they_never_link(tmp_path: Path) -> None:
    assert refused(tmp_path, "never", "a,b\ncustomer:1,household:h\n") == {}


def test_a_pair_said_twice_counts_from_its_earliest_moment(tmp_path: Path) -> None:
    rows = "a,b,known_from\nlogin:2,login:1,2024-06-01\nlogin:1,login:2,2024-05-01T00:00:00Z\n"
    found = stated(tmp_path, always=rows, bypass="identity\ncookie:1\ncookie:1\n")
    assert found.always == {("login:1", "login:2"): MAY}
    always = found.judged["always"]
    assert (always.rows, always.applied, always.duplicates) == (2, 1, 1)
    assert found.judged["bypass"].duplicates == 1


def test_what_is_forbidden_is_not_demanded(tmp_path: Path) -> None:
    """Also where aliases make the two pairs one, and whichever was known first."""
    found = stated(
        tmp_path,
        always="a,b\nlogin:1,login:2\nlogin:1,login:3\n",
        never="a,b,known_from\nlogin:1,login:two,2024-05-01\n",
        aliases="alias,identity\nlogin:two,login:2\n",
    )
    assert found.always == {("login:1", "login:3"): EARLIEST}
    assert found.judged["always"].refused == {"never_and_always": 1}
    assert list(found.never) == [("login:1", "login:2")]


@pytest.mark.parametrize("table", ["always", "never"])
def test_an_identity_and_its_alias_are_no_pair(tmp_path: Path, table: str) -> None:
    aliases = "alias,identity\nlogin:2,login:1\nlogin:3,login:2\n"
    rows = "a,b\nlogin:1,login:3\nlogin:2,login:3\n"
    assert refused(tmp_path, table, rows, aliases=aliases) == {"self_pair": 2}


def test_chains_of_aliases_are_followed(tmp_path: Path) -> None:
    rows = "".join(f"login:{n},login:{n + 1}\n" for n in range(1, 2_001))
    found = stated(tmp_path, aliases=f"alias,identity\n{rows}").aliases
    assert len(found) == 2_000
    assert set(found.values()) == {"login:2001"}


def test_every_row_of_a_cycle_is_refused(tmp_path: Path) -> None:
    """What leads into a cycle stays: it spells an identity that spells itself again."""
    rows = ["1,2", "2,3", "3,1", "9,1", "7,8", "8,7", "5,6"]
    text = "".join(f"login:{a},login:{b}\n" for a, b in (row.split(",") for row in rows))
    found = stated(tmp_path, aliases=f"alias,identity\n{text}")
    assert found.aliases == {"login:9": "login:1", "login:5": "login:6"}
    assert found.judged["aliases"].refused == {"alias_cycle": 5}
    assert found.judged["aliases"].examples["alias_cycle"] == {"row": 1, "value": "login:1"}


def test_an_alias_is_of_one_identity_of_its_own_kind(tmp_path: Path) -> None:
    rows = ("login:1,login:2", "login:1,login:3", "login:1,customer:1", "login:4,login:4",
            "login:5,login:6", "login:5,login:6")  # fmt: skip
    found = stated(tmp_path, aliases="alias,identity\n" + "\n".join(rows))
    assert found.aliases == {"login:5": "login:6"}
    judged = found.judged["aliases"]
    assert judged.refused == {"alias_of_two": 2, "other_namespace": 1, "self_pair": 1}
    assert judged.rows == judged.applied + judged.duplicates + sum(judged.refused.values())


def test_rows_that_wait_are_counted(tmp_path: Path) -> None:
    found = stated(
        tmp_path,
        always="a,b\nlogin:1,login:2\nlogin:1,login:9\n",
        never="a,b\nlogin:8,login:9\nlogin:1,login:two\n",
        bypass="identity\ncookie:9\n",
        aliases="alias,identity\nlogin:two,login:2\nlogin:1b,login:1\n",
    )
    seen = {"login:1", "login:two"}
    assert found.not_seen(seen) == {"always": 1, "never": 1, "bypass": 1, "aliases": 1}


# Files -------------------------------------------------------------------------------------------


def test_lines_of_json_and_parquet_say_the_same(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 5, 1, tzinfo=datetime.UTC)
    rows: list[dict[str, Any]] = [
        {"a": "login:1", "b": "login:2", "known_from": moment, "note": "x"},
        {"a": None, "b": "login:2", "known_from": None, "note": None},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet")
    lines = [json.dumps(row, default=str) for row in rows]
    lines += ["", "[1]", "{", "[" * 5_000, '{"a": "login:1", "b": ["login:2"]}',
              '{"a": 1, "b": true}', '{"note": 7}', '{"a": 17850, "b": "login:2"}']  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    found = {}
    for name in ("rows.parquet", "rows.jsonl"):
        identity = Identity.model_validate({"namespaces": SPACES, "overrides": {"never": name}})
        found[name] = read_overrides(identity, tmp_path, "UTC")
    assert found["rows.parquet"].never == found["rows.jsonl"].never == {("login:1", "login:2"): MAY}
    assert found["rows.parquet"].judged["never"].refused == {"no_value": 1}
    codes = {"no_value": 2, "malformed_row": 5, "unknown_namespace": 1}
    assert found["rows.jsonl"].judged["never"].refused == codes


def test_bytes_that_are_no_text_break_their_row_only(tmp_path: Path) -> None:
    (tmp_path / "never.csv").write_bytes(b"\xef\xbb\xbfa,b\nlogin:\xff,login:2\nlogin:1,login:2\n")
    identity = Identity.model_validate({"namespaces": SPACES, "overrides": {"never": "never.csv"}})
    found = read_overrides(identity, tmp_path, "UTC")
    assert list(found.never) == [("login:1", "login:2")]
    assert found.judged["never"].refused == {"malformed_row": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"never.csv has no column 'a'"),
        ("a\nlogin:1\n", r"has no column 'b'"),
        ("a,b,known_form\n", r"the column 'known_form' means nothing here.*'known_from'"),
        ("a,b,b\n", r"the column 'b' is there twice"),
        ("login:1,jo@x.org\n", r"the column 1 means nothing here"),
        ('a,b\nlogin:1,"login:2\nlogin:3,login:4\n', r"never.csv cannot be read"),
    ],
)
def test_a_file_that_cannot_be_what_it_should_be_is_an_error(
    tmp_path: Path, text: str, said: str
) -> None:
    """Silently not applied, it would merge people again."""
    with pytest.raises(BadOverrides, match=said):
        stated(tmp_path, never=text)


@pytest.mark.parametrize(
    ("path", "said"),
    [("gone.csv", "no file at 'gone.csv'"), ("rows.xlsx", "names no known format"),
     ("rows.parquet", "rows.parquet cannot be read")],
)  # fmt: skip
def test_a_file_that_is_not_there_or_of_no_known_kind_is_an_error(
    tmp_path: Path, path: str, said: str
) -> None:
    for name in ("rows.xlsx", "rows.parquet"):
        (tmp_path / name).write_text("a,b\n")
    identity = Identity.model_validate({"namespaces": SPACES, "overrides": {"always": path}})
    with pytest.raises(BadOverrides, match=f"identity.overrides.always: .*{said}"):
        read_overrides(identity, tmp_path, "UTC")


# Versions ----------------------------------------------------------------------------------------


def test_a_version_is_what_is_said_not_how(tmp_path: Path) -> None:
    first = stated(tmp_path, never="a,b\nlogin:1,login:2\nlogin:3,login:4\n")
    again = stated(tmp_path, never="b,a,note\nlogin:3,login:4,x\nlogin:2,login:1,y\n")
    bad = stated(tmp_path, never="a,b\nlogin:1,login:2\nlogin:3,login:4\nx,y\n")
    other = stated(tmp_path, never="a,b\nlogin:1,login:2\n")
    moved = stated(tmp_path, never="a,b,known_from\nlogin:1,login:2,2024-05-01\n")
    assert first.version == again.version == bad.version
    assert first.key == again.key != bad.key
    assert len({first.version, other.version, moved.version}) == 3


def test_the_store_gives_back_what_was_written(tmp_path: Path) -> None:
    found = stated(
        tmp_path,
        always="a,b\nlogin:1,login:2\nx\n",
        never="a,b,known_from\nlogin:3,login:2,2024-05-01\n",
        bypass="identity\ncookie:1\n",
        aliases="alias,identity\nlogin:one,login:1\n",
    )
    store = Store(tmp_path / "store")
    for _ in range(2):
        found.write(store)
    assert load(store, found.key) == found
    assert [path.stem for path in store.files("overrides", found.key)] == sorted(NAMES)


def test_what_was_found_out_of_the_erased_is_gone_with_them(tmp_path: Path) -> None:
    """Whatever else is wrong with such a row: nothing of it is shown or kept."""
    (tmp_path / "never.csv").write_text("a,b\nlogin:1,login:2\nlogin:1,login:1\nlogin:3,login:4\n")
    identity = Identity.model_validate({"namespaces": SPACES, "overrides": {"never": "never.csv"}})
    found = read_overrides(identity, tmp_path, "UTC", {"login:1"}.__contains__)
    assert list(found.never) == [("login:3", "login:4")]
    example = {"erased": {"row": 1, "value": None}}
    assert found.judged["never"] == Judged(3, 1, 0, {"erased": 2}, example)
