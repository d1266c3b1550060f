"""The engine: bounded, quiet about itself, and plain about what it cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import LINE, DuplicateColumns, Engine
from features.errors import SourceError


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def csv(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


def test_its_bounds_are_those_it_is_given(tmp_path):
    with Engine(threads=3, memory_limit="700MB", temporary=tmp_path / "spill") as engine:
        sql = "select current_setting('threads'), current_setting('memory_limit')"
        assert engine.backend.con.execute(sql).fetchone() == (3, "667.5 MiB")
        zone = engine.backend.con.execute("select current_setting('TimeZone')").fetchone()
        assert zone == ("UTC",)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("a,b", ["a", "b"]),
        ("a,a_1,column3,", ["a", "a_1", "column3", "column3_1"]),
        (" a ,,b", ["a", "column1", "b"]),
        ('"a,b","c""d"', ["a,b", 'c"d']),
        ("line_number,order by,é", ["line_number", "order by", "é"]),
    ],
)
def test_every_column_has_a_name_of_its_own(engine, tmp_path, header, names):
    columns = len(names)
    rows = engine.read_csv(csv(tmp_path / "a.csv", f"{header}\n{','.join('x' * columns)}\n"), ",")
    assert list(rows.columns) == [LINE, *names]
    assert engine.arrow(rows).num_rows == 1
    engine.drop(rows)


@pytest.mark.parametrize("header", ["a,b,a", "a, a", "a,A"])
def test_columns_of_one_name_are_refused(engine, tmp_path, header):
    with pytest.raises(DuplicateColumns, match="several columns called 'a'"):
        engine.read_csv(csv(tmp_path / "a.csv", f"{header}\n1,2,3\n"), ",")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(DuplicateColumns, match="several columns called 'a'"):
        engine.read_numbered_parquet(tmp_path / "a.parquet")


def test_rejected_rows_are_told_once_and_belong_to_the_last_reading(engine, tmp_path):
    engine.read_csv(csv(tmp_path / "a.csv", "a,b\n1\n1,2\n"), ",")
    assert [row["row"] for row in engine.rejected()] == [1]
    assert engine.rejected() == []
    engine.read_csv(csv(tmp_path / "a.csv", "a,b\n1\n"), ",")
    engine.read_lines(csv(tmp_path / "b.txt", "x\n"))
    assert engine.rejected() == []


def test_many_refused_rows_leave_the_numbers_of_the_others_right(engine, tmp_path):
    lines = ["1" if n % 7 in (0, 1, 5) else f"{n},x" for n in range(1, 30_001)]
    rows = engine.read_csv(csv(tmp_path / "a.csv", "n,b\n" + "\n".join(lines) + "\n"), ",")
    found = engine.arrow(rows)
    assert [str(n) for n in found[LINE].to_pylist()] == found["n"].to_pylist()
    assert found.num_rows + len(engine.rejected()) == 30_000


def test_lines_are_numbered_and_none_is_lost(engine, tmp_path):
    text = 'a\n\n"b\n\\x00\tc\r\nd\re\n' + "x" * 3_000_000 + "\nlast"
    (tmp_path / "a.txt").write_bytes(text.encode())
    found = engine.arrow(engine.read_lines(tmp_path / "a.txt"))
    lines = ["a", "", '"b', "\\x00\tc", "d\re", "x" * 3_000_000, "last"]
    assert sorted(zip(found[LINE].to_pylist(), found["line"].to_pylist(), strict=True)) == [
        *enumerate(lines, 1)
    ]


def test_held_tables_stay_until_they_are_dropped(engine):
    held = engine.hold(engine.table(pa.table({"a": [1, 2]})))
    assert engine.arrow(engine.select(held, {"b": "a * 2"}))["b"].to_pylist() == [2, 4]
    engine.drop(held)
    with pytest.raises(SourceError, match=r"does not exist"):
        engine.arrow(held)


def test_what_is_written_is_counted_and_read_again(engine, tmp_path):
    table = engine.table(pa.table({"a": [1, 2, 3]}))
    assert engine.write(table, tmp_path / "a.parquet") == 3
    pq.write_table(pa.table({"b": ["x"]}), tmp_path / "b.parquet")
    both = engine.read_parquet([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert engine.arrow(both).num_rows == 4


def test_an_expression_that_does_not_compile_is_a_source_error(engine):
    table = engine.hold(engine.table(pa.table({"a": ["x"]})))
    with pytest.raises(SourceError, match=r"The expression does not compile: Binder Error"):
        engine.select(table, {"b": "nothing"})


@pytest.mark.parametrize("way", ["hold", "arrow", "write"])
def test_a_value_that_cannot_be_computed_is_a_source_error(engine, tmp_path, way):
    table = engine.hold(engine.table(pa.table({"a": ["x"]})))
    broken = engine.select(table, {"b": "cast(a as integer)"})
    compute = {
        "hold": engine.hold,
        "arrow": engine.arrow,
        "write": lambda rows: engine.write(rows, tmp_path / "a.parquet"),
    }[way]
    with pytest.raises(SourceError, match=r"The rows cannot be computed: Conversion Error"):
        compute(broken)
