"""Which files a source is made of."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from features.settings import Source
from features.sources.errors import NoFiles
from features.sources.files import SourceFile, discover
from tests.unit.source_files import source


def found(folder: Path, path: str, **changes: object) -> list[SourceFile]:
    return discover(Source.model_validate(source(path=path, **changes)), folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # Brackets in the name of the folder are no pattern.
    folder = tmp_path / "shop [1]"
    for name in (
        "a.csv", "b.CSV", "sub/c.csv.gz", "d[1].jsonl", "e.log", "f.tsv",
        "lake/part-0.parquet", "lake/_SUCCESS", "lake/.part-0.parquet.crc",
        "lake/_delta_log/0.json", "lake/.checkpoints/part-0.parquet",
    ):  # fmt: skip
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("a.csv", ["a.csv"]),
        ("*.[cC][sS][vV]", ["a.csv", "b.CSV"]),
        ("**/*.csv*", ["a.csv", "c.csv.gz"]),
        ("d[1].jsonl", ["d[1].jsonl"]),
        ("lake", ["part-0.parquet"]),
        ("lake/", ["part-0.parquet"]),
        ("sub", ["c.csv.gz"]),
    ],
)
def test_a_path_is_a_file_a_folder_or_a_glob(folder, path, names):
    assert [file.path.name for file in found(folder, path)] == names


def test_an_absolute_path_needs_no_folder(folder, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.csv").write_text("x")
    assert [file.path for file in found(folder, f"{plain}/*.csv")] == [plain / "a.csv"]


def test_a_relative_path_is_the_project_folders_and_else_the_current_ones(
    folder, tmp_path, monkeypatch
):
    """`DATA=../data likelier -p shop run` names a folder beside the one it is typed in."""
    here = tmp_path / "here"
    here.mkdir()
    (here / "a.csv").write_text("who\n9\n")
    (here / "only_here.csv").write_text("who\n9\n")
    monkeypatch.chdir(here)
    assert [file.path for file in found(folder, "a.csv")] == [folder / "a.csv"]
    assert [file.path for file in found(folder, "only_here.csv")] == [here / "only_here.csv"]


def test_the_format_is_that_of_the_ending_unless_it_is_stated(folder):
    formats = {name: found(folder, name)[0].format for name in ("a.csv", "b.CSV", "e.log", "f.tsv")}
    assert formats == {"a.csv": "csv", "b.CSV": "csv", "e.log": "lines", "f.tsv": "csv"}
    assert found(folder, "sub/c.csv.gz")[0].format == "csv"
    assert found(folder, "e.log", format="jsonl")[0].format == "jsonl"


def test_tabs_separate_the_columns_of_tsv_files_unless_something_else_is_stated(folder):
    assert found(folder, "f.tsv")[0].delimiter == "\t"
    assert found(folder, "f.tsv", delimiter=",")[0].delimiter == ","
    assert found(folder, "a.csv")[0].delimiter == ","


def test_a_copy_has_the_digest_of_the_original(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("who\n1\n")
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(b"who\n1\n"))
    first, second, packed = found(tmp_path, "*.csv*")
    assert first.digest == second.digest != packed.digest


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.csv", r"sources\.log\.path: no file at 'none\.csv'.*relative to the project folder"),
        (
            "lake/_S*",
            r"sources\.log: the ending of '_SUCCESS' names no known format.*Set `format:`",
        ),
    ],
)
def test_no_file_and_no_format_are_errors_that_name_the_source(folder, path, message):
    with pytest.raises(NoFiles, match=message):
        found(folder, path)
