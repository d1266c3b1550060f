"""Whatever is in the files, every row read is accepted, a duplicate or refused."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import Engine
from features.sources.errors import NoRows
from tests.unit.source_files import Folder, United, source

COLUMNS = ("who", "at", "got", "what", "id")
GOOD = {
    "who": ["ann", "bob", "00001"],
    "at": ["2024-05-01", "2024-05-01T12:00:00Z", "2024-05-02 12:00"],
    "got": ["", "2024-05-03"],
    "what": ["visit", "Product Viewed"],
    "id": ["e1", "e2", "e3"],
}
BAD = {
    "who": ["", "null", "x" * 1_025],
    "at": ["", "soon", "1900-01-01", "2199-01-01"],
    "got": ["later"],
    "what": ["", "?"],
    "id": ["", " "],
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\x00"), max_size=6)


@st.composite
def row(draw: st.DrawFn) -> tuple[str, ...]:
    """A row that is good more often than not; sometimes of anything, or with columns missing."""
    kind = draw(st.sampled_from(["good", "good", "good", "bad", "any", "ragged"]))
    if kind == "any":
        return tuple(draw(st.tuples(*[TEXT] * len(COLUMNS))))
    cells = [draw(st.sampled_from(GOOD[name])) for name in COLUMNS]
    if kind == "bad":
        place = draw(st.integers(0, len(COLUMNS) - 1))
        cells[place] = draw(st.sampled_from(BAD[COLUMNS[place]]))
    return tuple(cells[: draw(st.integers(2, 4))] if kind == "ragged" else cells)


FILES = st.lists(st.lists(row(), max_size=40), min_size=1, max_size=3)


def as_csv(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    return text.getvalue()


def as_jsonl(rows: list[tuple[str, ...]]) -> str:
    """Write rows as JSON; a ragged one as a line cut off in the middle."""
    lines = []
    for cells in rows:
        line = json.dumps(dict(zip(COLUMNS, cells, strict=False)))
        lines.append(line if len(cells) == len(COLUMNS) else line[:-1])
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def united(
    engine: Engine, folder: Path, ending: str, files: list[list[tuple[str, ...]]], by_id: bool
) -> tuple[Folder, United | None]:
    log = source(path=f"*.{ending}", received_at="got") | ({"event_id": "id"} if by_id else {})
    place = Folder(folder, engine, [log])
    write = as_csv if ending == "csv" else as_jsonl
    place.put({f"{number}.{ending}": write(rows) for number, rows in enumerate(files)})
    try:
        return place, place.unite()
    except NoRows:
        return place, None


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@settings(max_examples=5)
@given(files=FILES, by_id=st.booleans())
def test_rows_read_are_accepted_or_duplicates_or_refused(engine, ending, files, by_id):
    whole = [("ann", "2024-05-01", "", "visit", "e0")]
    with tempfile.TemporaryDirectory() as name:
        place, tables = united(engine, Path(name), ending, [whole, *files], by_id)
        assert tables is not None
        facts = tables.facts
        refused = sum(facts["quarantined"]["log"].values())
        parts = [place.store.facts("parts", key) for key in place.ingest()["log"]]
        assert facts["rows"]["log"] == 1 + sum(len(rows) for rows in files)
        assert all(part["rows"] == part["accepted"] + refusals(part) for part in parts)
        assert all(set(part["examples"]) == set(part["quarantined"]) for part in parts)
        # Counted here from the parts' own rows: what is left of each id is one row.
        ids = [r["event_id"] for key in set(place.ingest()["log"]) for r in rows_of(place, key)]
        assert sorted(set(ids)) == sorted(tables.values("events", "event_id"))
        duplicates = sum(part["accepted"] for part in parts) - len(set(ids))
        assert facts["rows"]["log"] == facts["accepted"]["log"] + duplicates + refused


def refusals(part: dict[str, dict[str, int]]) -> int:
    return sum(part["quarantined"].values())


def rows_of(place: Folder, key: str) -> list[dict[str, object]]:
    table = place.engine.read_parquet([place.store.folder("parts", key) / "accepted.parquet"])
    found: list[dict[str, object]] = place.engine.arrow(table).to_pylist()
    return found


@settings(max_examples=5)
@given(files=st.lists(st.lists(st.sampled_from("abc"), max_size=5), min_size=1, max_size=4))
def test_of_files_holding_the_same_row_the_largest_count_in_one_file_wins(engine, files):
    rows = [[(who, "2024-05-01", "", "visit", "") for who in file] for file in files]
    with tempfile.TemporaryDirectory() as name:
        _, tables = united(engine, Path(name), "csv", rows, by_id=False)
        expected: Counter[str] = Counter()
        for file in files:
            expected |= Counter(file)
        if tables is None:
            assert not expected
            return
        index = tables.values("identity_index", "identity")
        found = Counter(index[key][-1] for key in tables.values("events", "identity_key"))
        assert found == expected
