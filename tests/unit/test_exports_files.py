"""Files: what is written reads back, and appears whole or not at all."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.settings import Destination, Segment
from serving.exports.columns import Field
from serving.exports.deliveries import DELIVERIES
from serving.exports.errors import DamagedExport, DoesNotAddUp
from serving.exports.files import Origin, Staged, deliver, manifest_of, stage, staged_in
from serving.exports.formats import encode, guarded, unguarded
from serving.exports.rows import Export

AS_OF = 1_317_427_200_000_000  # 2011-10-01T00:00:00Z
ORIGIN = Origin("run-7", {"churn": "3"})
FIELDS = {"who": Field("profile_id"), "why": Field("factor", "churn", "label", 1)}
ROWS = pa.table({"who": ["a", "b"], "why": ['Days, "since"', None]})


def export(rows: pa.Table = ROWS, format: str = "csv", **changes: Any) -> Export:
    destination = Destination.model_validate(
        {"name": "crm", "format": format, "purpose": "marketing",
         "columns": {name: str(field) for name, field in FIELDS.items()}}
    )  # fmt: skip
    found = Export(
        segment=Segment(name="lapsing", title="Lapsing", where="any(x)", holdout=0.25),
        destination=destination,
        as_of=AS_OF,
        rows=rows,
        members=len(rows) + 3,
        left_out={"opted_out": 2, "no_identity": 0, "held_out": 1},
        statements={"allowed": 1, "refused": 2, "unstated": 2},
        deliveries=DELIVERIES.empty_table(),
    )
    return replace(found, **changes)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


# --- formats ------------------------------------------------------------------------------------

TYPED = pa.table(
    {
        "text": pa.array(["é, “日本” 🛒", None, ""]),
        "score": pa.array([0.1 + 0.2, 1e-05, None]),
        "percentile": pa.array([100, None, 1], pa.int32()),
        "spent": pa.array(["99999999999999.9999", "100.0000", None]).cast(pa.decimal128(18, 4)),
        "vip": pa.array([True, False, None]),
        "born": pa.array([date(1980, 1, 2), None, date(1969, 12, 31)]),
        "as_of": pa.array([datetime(2011, 10, 1, 0, 0, 0, 1, tzinfo=UTC)] * 3),
    }
)


def test_csv_is_rfc_4180_with_the_shortest_numbers() -> None:
    assert encode(TYPED, "csv").content.decode() == (
        "text,score,percentile,spent,vip,born,as_of\r\n"
        '"é, “日本” 🛒",0.30000000000000004,100,99999999999999.9999,true,1980-01-02,'
        "2011-10-01T00:00:00.000001Z\r\n"
        ",1e-05,,100,false,,2011-10-01T00:00:00.000001Z\r\n"
        ",,1,,,1969-12-31,2011-10-01T00:00:00.000001Z\r\n"
    )


def test_json_lines_keep_every_digit_and_tell_null_from_empty() -> None:
    lines = encode(TYPED, "jsonl").content.decode().splitlines()
    read = [json.loads(line, parse_float=Decimal) for line in lines]
    assert read[0] == {
        "text": "é, “日本” 🛒", "score": Decimal("0.30000000000000004"), "percentile": 100,
        "spent": Decimal("99999999999999.9999"), "vip": True, "born": "1980-01-02",
        "as_of": "2011-10-01T00:00:00.000001Z",
    }  # fmt: skip
    assert [row["text"] for row in read] == ["é, “日本” 🛒", None, ""]


def test_parquet_keeps_values_and_types() -> None:
    assert pq.read_table(io.BytesIO(encode(TYPED, "parquet").content)).equals(TYPED)


@pytest.mark.parametrize(
    ("format", "content"), [("csv", b"who,why\r\n"), ("jsonl", b""), ("parquet", None)]
)
def test_nobody_makes_a_file_with_a_header_and_no_rows(format: str, content: bytes | None) -> None:
    found = encode(ROWS.slice(0, 0), format).content
    if content is None:
        assert pq.read_table(io.BytesIO(found)).equals(ROWS.slice(0, 0))
    else:
        assert found == content


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(A1)", "'=HYPERLINK(A1)"),
        ("@sum(a1)", "'@sum(a1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-a", "'-a"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("+33 (0)6 12-34", "+33 (0)6 12-34"),
        ("-12.5", "-12.5"),
        ("-", "-"),
        ("'quoted'", "'quoted'"),
        ("ann@x.org", "ann@x.org"),
        ("", ""),
    ],
)
def test_a_spreadsheet_finds_no_formula_in_a_cell(text: str, cell: str) -> None:
    encoded = encode(pa.table({"who": ["x"], "text": [text]}), "csv")
    ((_, written),) = list(csv.reader(io.StringIO(encoded.content.decode(), newline="")))[1:]
    assert (guarded(text), written, encoded.guarded_cells) == (cell, cell, text != cell)
    assert unguarded(cell) == text


def test_numbers_are_never_guarded() -> None:
    assert encode(pa.table({"n": [-1.5]}), "csv").content == b"n\r\n-1.5\r\n"


texts = st.text(st.characters(codec="utf-8") | st.sampled_from("'=+-@\t\r\n,\""))


@given(st.lists(st.tuples(texts, texts), max_size=5))
@example([("'", "'='"), ("''=", "+1\n")])
def test_any_text_reads_back_with_the_csv_module(pairs: list[tuple[str, str]]) -> None:
    columns = {"a": pa.array([a for a, _ in pairs], "str"), "b": pa.array([b for _, b in pairs])}
    rows = pa.table(columns, schema=pa.schema({"a": pa.string(), "b": pa.string()}))
    written = encode(rows, "csv").content.decode()
    read = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert read[0] == ["a", "b"]
    assert [(unguarded(a), unguarded(b)) for a, b in read[1:]] == pairs


# --- staging ------------------------------------------------------------------------------------


def test_a_manifest_says_all_that_is_to_be_known_of_its_file(tmp_path: Path) -> None:
    staged = stage(export(), FIELDS, ORIGIN, tmp_path)
    content = b'who,why\r\na,"Days, ""since"""\r\nb,\r\n'
    assert everything_in(tmp_path) == {
        "crm/lapsing-20111001T000000Z.csv": content,
        "crm/lapsing-20111001T000000Z.csv.manifest.json": staged.manifest.read_bytes(),
    }
    assert json.loads(staged.manifest.read_bytes()) == {
        "segment": "lapsing",
        "title": "Lapsing",
        "where": "any(x)",
        "destination": "crm",
        "purpose": "marketing",
        "as_of": "2011-10-01T00:00:00Z",
        "model_versions": {"churn": "3"},
        "rows": 2,
        "members": 5,
        "left_out": {"opted_out": 2, "no_identity": 0, "held_out": 1},
        "holdout": 0.25,
        "sha256": hashlib.sha256(content).hexdigest(),
        "format": "csv",
        "guarded_cells": 0,
        "columns": {"who": "profile_id", "why": "churn.factors.1.label"},
        "built_from": "run-7",
        "consent": {
            "purpose": "marketing",
            "statements": {"allowed": 1, "refused": 2, "unstated": 2},
        },
        "file": "lapsing-20111001T000000Z.csv",
    }


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_the_same_export_is_staged_to_the_same_bytes(tmp_path: Path, format: str) -> None:
    for folder in ("one", "two"):
        stage(export(format=format), FIELDS, ORIGIN, tmp_path / folder)
    assert everything_in(tmp_path / "one") == everything_in(tmp_path / "two")


@pytest.mark.parametrize("members", [4, 6])
def test_an_export_that_loses_somebody_is_not_written(tmp_path: Path, members: int) -> None:
    with pytest.raises(DoesNotAddUp, match=rf"{members} members, 3 left out, but 2 rows"):
        stage(export(members=members), FIELDS, ORIGIN, tmp_path)
    assert everything_in(tmp_path) == {}


# --- delivery -----------------------------------------------------------------------------------


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    return stage(export(), FIELDS, ORIGIN, tmp_path / "staged")


def test_a_delivery_is_the_staged_files_byte_for_byte(tmp_path: Path, staged: Staged) -> None:
    file = deliver(staged, tmp_path / "exports")
    assert everything_in(file.parent) == everything_in(staged.file.parent)
    assert staged_in(tmp_path / "staged", "crm") == (staged,)
    assert staged_in(tmp_path / "staged", "ads") == ()


def test_a_second_delivery_touches_nothing(tmp_path: Path, staged: Staged) -> None:
    file = deliver(staged, tmp_path / "exports")
    before = [path.stat().st_ino for path in (file, manifest_of(file))]
    deliver(staged, tmp_path / "exports")
    assert [path.stat().st_ino for path in (file, manifest_of(file))] == before


@pytest.mark.parametrize("damage", ["file", "manifest"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_what_is_missing_or_different_is_written_again(
    tmp_path: Path, staged: Staged, damage: str, how: str
) -> None:
    file = deliver(staged, tmp_path / "exports")
    damaged = file if damage == "file" else manifest_of(file)
    if how == "changed":
        damaged.write_bytes(b"who,why\r\n")
    else:
        damaged.unlink()
    deliver(staged, tmp_path / "exports")
    assert everything_in(file.parent) == everything_in(staged.file.parent)


def test_a_damaged_staged_file_is_not_delivered(tmp_path: Path, staged: Staged) -> None:
    staged.file.write_bytes(b"who,why\r\n")
    with pytest.raises(DamagedExport, match="is not the file that was staged"):
        deliver(staged, tmp_path / "exports")
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize("flushes", [0, 1, 2, 3])  # file, its folder, manifest, its folder
@pytest.mark.parametrize("delivered_before", [True, False])
def test_a_delivery_that_dies_leaves_whole_files_and_can_be_repeated(
    tmp_path: Path,
    staged: Staged,
    monkeypatch: pytest.MonkeyPatch,
    flushes: int,
    delivered_before: bool,
) -> None:
    target = tmp_path / "exports"
    older = stage(export(ROWS.slice(0, 1)), FIELDS, ORIGIN, tmp_path / "older")
    if delivered_before:
        deliver(older, target)
    left = iter(range(flushes))

    def flush(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", flush)
        with pytest.raises(OSError, match="the disk is full"):
            deliver(staged, target)
    there = {k: v for k, v in everything_in(target).items() if not k.startswith(".")}
    files = [content for name, content in there.items() if name.endswith(".csv")]
    manifests = [content for name, content in there.items() if name.endswith(".json")]
    assert set(files) <= {older.file.read_bytes(), staged.file.read_bytes()}
    # A manifest that is there vouches for the file beside it.
    assert manifests == ([staged.manifest.read_bytes()] if flushes == 3 else [])
    assert not manifests or files == [staged.file.read_bytes()]
    deliver(staged, target)
    assert everything_in(target) == everything_in(staged.file.parent)
