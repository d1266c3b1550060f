"""Delivered files lose the rows of the erased, and their manifests still add up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.erasures import Erasure, Erasures
from features.identity.namespaces import identity_of
from features.settings import Project
from features.store import write_whole
from features.time import parse_instant
from serving.exports import erasing
from serving.exports.erasing import purge_exports
from serving.exports.files import manifest_of
from serving.exports.formats import encode

WHEN = parse_instant("2024-06-01T00:00:00Z")
NAME = "vips-20240501T000000Z"
FIELDS = {
    "id": "profile_id", "customer": "identity.customer", "mail": "identity.email",
    "phone": "profile.phone", "rank": "vip.percentile",
}  # fmt: skip
ROWS = pa.table(
    {
        "id": ["customer:75", "customer:ann", "cookie:=c", "customer:eve"],
        "customer": ["75", "ann", None, "eve"],
        "mail": ["Tom@x.org", "ann@x.org", "b@x.org", "e@x.org"],
        "phone": ["1", "2", "3", "tom@x.org"],
        "rank": [1, 75, 2, 3],
    }
)
FORMATS = pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])


def project(format: str) -> Project:
    namespaces = [
        {"name": "customer", "type": "person"},
        {"name": "email", "type": "email", "pii": True},
        {"name": "cookie", "type": "cookie"},
    ]
    source = {
        "name": "log", "kind": "events", "path": "x.csv", "event_time": "t", "event_type": "e",
        "identities": {"customer": "c"},
    }  # fmt: skip
    crm = {
        "name": "crm", "purpose": "marketing", "path": "out", "format": format, "columns": FIELDS,
    }  # fmt: skip
    return Project.model_validate(
        {"project": "test", "sources": [source], "identity": {"namespaces": namespaces},
         "destinations": [crm]}
    )  # fmt: skip


def erased(*identities: str) -> Erasures:
    keyed = Erasures(b"key")
    return Erasures(b"key", (Erasure("x", WHEN, tuple(map(keyed.hash, identities))),))


def deliver(folder: Path, format: str, vouched: bool = True) -> Path:
    encoded = encode(ROWS, format)
    file = folder / "out" / f"{NAME}.{format}"
    write_whole(file, encoded.content)
    facts = {
        "rows": 4, "members": 9, "left_out": {"opted_out": 5}, "columns": FIELDS,
        "sha256": hashlib.sha256(encoded.content).hexdigest(),
        "guarded_cells": encoded.guarded_cells, "file": file.name,
    }  # fmt: skip
    if vouched:
        write_whole(manifest_of(file), json.dumps(facts).encode())
    return file


def ids(file: Path) -> list[str]:
    if file.suffix == ".parquet":
        return list(pq.read_table(file)["id"].to_pylist())
    if file.suffix == ".jsonl":
        return [orjson.loads(line)["id"] for line in file.read_bytes().splitlines()]
    return [line.split(",")[0] for line in file.read_text().splitlines()[1:]]


def manifest(file: Path):
    return json.loads(manifest_of(file).read_bytes())


@FORMATS
def test_rows_that_name_the_person_go_and_the_manifest_adds_up(tmp_path, format):
    file, shop = deliver(tmp_path, format), project(format)
    found = purge_exports(tmp_path, shop, erased("customer:75"), tmp_path / "staging")
    assert found == {file: 1}

    # Rank 75 is no customer 75.
    assert ids(file) == ["customer:ann", "cookie:=c", "customer:eve"]
    facts = manifest(file)
    assert facts["left_out"] == {"opted_out": 5, "erased": 1}
    assert facts["rows"] == facts["members"] - sum(facts["left_out"].values()) == 3
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not any((tmp_path / "staging").rglob("*.*"))


@FORMATS
def test_a_raw_address_names_the_person_also_as_an_attribute_or_written_otherwise(tmp_path, format):
    file, shop = deliver(tmp_path, format), project(format)
    mail = identity_of(shop.identity, shop.identity.namespaces[1], "tom@x.org")
    purge_exports(tmp_path, shop, erased(str(mail)), tmp_path / "staging")
    assert ids(file) == ["customer:ann", "cookie:=c"]


def test_a_guarded_cell_is_read_as_what_it_says(tmp_path):
    file = deliver(tmp_path, "csv")
    purge_exports(tmp_path, project("csv"), erased("cookie:=c"), tmp_path / "staging")
    assert ids(file) == ["customer:75", "customer:ann", "customer:eve"]


def test_a_file_that_names_nobody_erased_is_left_alone(tmp_path):
    file = deliver(tmp_path, "csv")
    before = file.read_bytes()
    assert purge_exports(tmp_path, project("csv"), erased("cookie:nobody"), tmp_path / "s") == {}
    assert file.read_bytes() == before


def test_without_a_place_to_stage_rows_are_counted_and_nothing_changes(tmp_path):
    file = deliver(tmp_path, "csv")
    before = file.read_bytes()
    assert purge_exports(tmp_path, project("csv"), erased("customer:75"), None) == {file: 1}
    assert file.read_bytes() == before


@FORMATS
def test_a_file_without_a_manifest_is_searched_in_every_column(tmp_path, format):
    file = deliver(tmp_path, format, vouched=False)
    purge_exports(tmp_path, project(format), erased("customer:75"), tmp_path / "staging")
    # Nothing says that a rank is no customer: the row goes rather than stays.
    assert ids(file) == ["cookie:=c", "customer:eve"]
    assert not manifest_of(file).exists()


def test_a_purge_killed_while_it_delivers_is_completed_by_the_next(tmp_path, monkeypatch):
    file, staging = deliver(tmp_path, "csv"), tmp_path / "staging"

    def killed(staged, place):
        manifest_of(place / staged.file.name).unlink()
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt, match="killed"):
        patched.setattr(erasing, "deliver", killed)
        purge_exports(tmp_path, project("csv"), erased("customer:75"), staging)
    (file.parent / f".{file.name}.draft").write_text("75")
    purge_exports(tmp_path, project("csv"), erased("customer:75"), staging)
    assert ids(file) == ["customer:ann", "cookie:=c", "customer:eve"]
    assert manifest(file)["left_out"]["erased"] == 1
    assert sorted(path.name for path in file.parent.iterdir()) == [
        file.name, manifest_of(file).name,
    ]  # fmt: skip
