"""When a row happened and when it was known, from all the ways of writing times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.engine import Engine
from features.sources.errors import BadMapping
from features.time import parse_instant
from tests.unit.source_files import Folder, records, source

DAY = 86_400_000_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def read(folder: Folder, times: list[str]) -> dict[str, int]:
    """Return event_time by the text it was read from; refused rows are missing."""
    lines = "".join(f'{n + 1:03},"{text}",visit\n' for n, text in enumerate(times))
    folder.put({"log.csv": "who,at,what\n" + lines})
    return {
        times[int(row["id_customer"].partition(":")[2]) - 1]: row["event_time"]
        for row in folder.part()
    }


LONDON = {
    "2024-03-31 00:59:59": "2024-03-31T00:59:59Z",
    "2024-03-31 01:30:00": "2024-03-31T01:30:00Z",  # left out: as if not put forward
    "2024-03-31 02:00:00": "2024-03-31T01:00:00Z",
    "2024-10-27 00:30:00": "2024-10-26T23:30:00Z",
    "2024-10-27 01:30:00": "2024-10-27T01:30:00Z",  # comes twice: the later one
    "2024-10-27 02:00:00": "2024-10-27T02:00:00Z",
    "2024-07-01": "2024-06-30T23:00:00Z",
    "2024-07-01T12:00": "2024-07-01T11:00:00Z",
    " 2024/07/01 12:00 ": "2024-07-01T11:00:00Z",
    "2024-07-01 12:00:00.123456": "2024-07-01T11:00:00.123456Z",
    "2024-07-01T12:00:00Z": "2024-07-01T12:00:00Z",
    "2024-07-01T12:00:00z": "2024-07-01T12:00:00Z",
    "2024-07-01T12:00:00.5Z": "2024-07-01T12:00:00.500000Z",
    "2024-07-01T12:00:00+02:00": "2024-07-01T10:00:00Z",
    "2024-07-01 12:00:00+0200": "2024-07-01T10:00:00Z",
    "2024-07-01 12:00:00 -0500": "2024-07-01T17:00:00Z",
    "2024-07-01 12:00:00-05": "2024-07-01T17:00:00Z",
    "2024-07-01 12:00:00 UTC": "2024-07-01T12:00:00Z",
    "2024-07-01 12:00:00 Europe/Paris": "2024-07-01T10:00:00Z",
}


def test_naive_times_are_read_in_the_zone_of_the_source_and_others_in_their_own(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(time_zone="Europe/London")])
    found = read(folder, list(LONDON))
    assert found == {text: parse_instant(meant) for text, meant in LONDON.items()}


def test_one_time_means_the_same_in_a_file_and_in_a_call(engine, tmp_path):
    naive = [
        text for text in LONDON if text[-1].isdigit() and "+" not in text and "-05" not in text
    ]
    found = read(Folder(tmp_path, engine, [source(time_zone="Europe/London")]), naive)
    said = {text: parse_instant(text.replace("/", "-"), "Europe/London") for text in naive}
    assert found == said


def test_the_zone_of_the_project_is_the_default_and_utc_its_default(engine, tmp_path):
    summer = "2024-07-01 12:00:00"
    in_utc = read(Folder(tmp_path / "a", engine), [summer])
    in_london = read(
        Folder(tmp_path / "b", engine, settings={"time_zone": "Europe/London"}), [summer]
    )
    assert in_utc[summer] - in_london[summer] == 3_600_000_000


IMPOSSIBLE = {
    "": "no_event_time",
    "   ": "no_event_time",
    "yesterday": "bad_event_time",
    "epoch": "bad_event_time",
    "infinity": "bad_event_time",
    "2024-02-30": "bad_event_time",
    "2024-07-01 12:00:00 PM": "bad_event_time",
    "01/07/2024": "bad_event_time",
    "1719835200": "bad_event_time",
    "1969-12-31 11:59:59.999999": "time_out_of_range",
    "2200-01-02": "time_out_of_range",
    "290000-01-01": "time_out_of_range",
    "2011-10-01 (BC)": "time_out_of_range",
    "2199-12-31": "future_time",
}


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland"])
def test_a_time_that_cannot_be_is_refused_and_shown(engine, tmp_path, zone):
    folder = Folder(tmp_path, engine, settings={"time_zone": zone})
    assert list(read(folder, ["1990-01-01", *IMPOSSIBLE])) == ["1990-01-01"]
    assert folder.part("quarantine") == [
        {"row": row, "code": code, "value": at.strip() or None}
        for row, (at, code) in enumerate(IMPOSSIBLE.items(), 2)
    ]


def test_a_row_may_be_a_day_ahead_of_its_load_and_no_more(engine, tmp_path):
    now = datetime.now(UTC)
    soon, later = (now + timedelta(hours=hours) for hours in (23, 25))
    folder = Folder(tmp_path, engine)
    assert list(read(folder, [soon.isoformat(), later.isoformat()])) == [soon.isoformat()]
    assert folder.part_facts()["quarantined"] == {"future_time": 1}


def test_known_at_is_the_later_of_happening_and_arriving(engine, tmp_path):
    late = {"received_at": "got"}
    rows = (
        "who,at,got,what\n"
        "1,2024-05-01,2024-05-03,visit\n"
        "2,2024-05-01,2024-04-01,visit\n"
        "3,2024-05-01,,visit\n"
        "4,2024-05-01,soon,visit\n"
        "5,2024-05-01,2199-01-01,visit\n"
        "6,2024-05-01,1900-01-01,visit\n"
    )
    folder = Folder(tmp_path, engine, [source(**late)]).put({"log.csv": rows})
    known = {row["id_customer"][-1]: row["known_at"] for row in folder.part()}
    first = parse_instant("2024-05-01")
    assert known == {"1": parse_instant("2024-05-03"), "2": first, "3": first, "6": first}
    assert folder.part("quarantine") == [
        {"row": 4, "code": "bad_received_at", "value": "soon"},
        {"row": 5, "code": "future_time", "value": "2199-01-01"},
    ]


def test_an_arrival_that_cannot_be_parsed_is_not_taken_for_one_that_is_not_stated(engine, tmp_path):
    got = "case when got <> '-' then strptime(got, '%d.%m.%Y') end"
    said = enumerate(("-", "3.5.2024", "3/5"), 1)
    rows = "who,at,got,what\n" + "".join(f"{n},2024-05-01,{text},visit\n" for n, text in said)
    folder = Folder(tmp_path, engine, [source(received_at=got)]).put({"log.csv": rows})
    known = [row["known_at"] for row in folder.part()]
    assert known == [parse_instant("2024-05-01"), parse_instant("2024-05-03")]
    assert folder.part("quarantine") == [{"row": 3, "code": "bad_received_at", "value": "3/5"}]


@pytest.mark.parametrize(
    ("event_time", "at"),
    [
        ("strptime(at, '%Y%m%d %H')", "20240701 12"),
        ("strptime(at, ['%d/%m/%Y', '%d/%m/%Y %H:%M'])", "01/07/2024 12:00"),
        ("replace(at, '_', ' ')", "2024-07-01_12:00:00"),
        ("cast(at as timestamp) + interval 1 hour", "2024-07-01 11:00:00"),
        ("to_timestamp(at)", "1719831600"),
        ("to_timestamp(at / 1000)", "1719831600000"),
        ("epoch_ms(at)", "1719831600000"),
        ("make_timestamp(at)", "1719831600000000"),
        ("strptime(at, '%Y-%m-%d %H:%M%z')", "2024-07-01 13:00+02:00"),
    ],
)
def test_a_moment_may_be_computed(engine, tmp_path, event_time, at):
    # Read in London, in summer: a clock there is an hour ahead of UTC, a number since 1970 is not.
    settings = {"time_zone": "Europe/London"}
    folder = Folder(tmp_path, engine, [source(event_time=event_time)], settings=settings)
    assert read(folder, [at, "?"]) == {at: parse_instant("2024-07-01T11:00:00Z")}
    assert folder.part("quarantine") == [{"row": 2, "code": "bad_event_time", "value": "?"}]


def test_a_number_is_no_time_and_the_hint_says_how_to_make_it_one(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(event_time="at * 1")])
    with pytest.raises(BadMapping, match=r"sources\.log\.event_time: gives float64.*to_timestamp"):
        read(folder, ["1719831600"])


def test_parquet_times_are_read_by_their_type(engine, tmp_path):
    moment = datetime(2024, 7, 1, 12, tzinfo=UTC)
    naive = moment.replace(tzinfo=None)
    types = {
        "aware": pa.array([moment], pa.timestamp("us", "Europe/Paris")),
        "naive": pa.array([naive], pa.timestamp("us")),
        "nanos": pa.array([naive], pa.timestamp("ns")),
        "day": pa.array([date(2024, 7, 1)]),
        "text": pa.array(["2024-07-01 12:00"]),
    }
    found = {}
    for name, array in types.items():
        folder = Folder(
            tmp_path / name, engine, [source(path="log.parquet", time_zone="Europe/London")]
        )
        folder.path.mkdir()
        pq.write_table(
            pa.table({"who": ["1"], "at": array, "what": ["visit"]}), folder.path / "log.parquet"
        )
        found[name] = folder.part()[0]["event_time"]
    noon = parse_instant("2024-07-01T11:00Z")
    assert found == {
        "aware": parse_instant("2024-07-01T12:00Z"),
        "naive": noon,
        "nanos": noon,
        "day": parse_instant("2024-06-30T23:00Z"),
        "text": noon,
    }


def test_a_parquet_number_is_no_time(engine, tmp_path):
    folder = Folder(tmp_path, engine, [source(path="log.parquet")])
    pq.write_table(
        pa.table({"who": ["1"], "at": [1719831600], "what": ["visit"]}), tmp_path / "log.parquet"
    )
    with pytest.raises(BadMapping, match=r"event_time: gives int64, not a time.*to_timestamp"):
        folder.ingest()


@pytest.mark.parametrize(
    ("zone", "at", "day"),
    [
        ("UTC", "2024-05-01T23:59:59.999999Z", date(2024, 5, 1)),
        ("UTC", "2024-05-02T00:00:00Z", date(2024, 5, 2)),
        ("Europe/London", "2024-05-01T22:59:59.999999Z", date(2024, 5, 1)),
        ("Europe/London", "2024-05-01T23:00:00Z", date(2024, 5, 2)),
        ("America/New_York", "2024-05-02T03:59:59.999999Z", date(2024, 5, 1)),
        ("America/New_York", "2024-05-02T04:00:00Z", date(2024, 5, 2)),
        ("America/New_York", "1970-01-01T02:00:00Z", date(1969, 12, 31)),
    ],
)
def test_the_local_day_turns_at_midnight_of_the_project(engine, tmp_path, zone, at, day):
    folder = Folder(
        tmp_path, engine, [source(time_zone="Asia/Tokyo")], settings={"time_zone": zone}
    )
    read(folder, [at])
    assert folder.part()[0]["local_day"] == (day - date(1970, 1, 1)).days


def test_records_are_known_from_a_date_or_undated(engine, tmp_path: Path):
    rows = "who,since\n1,2024-05-01\n2,\n3,soon\n"
    dated = Folder(tmp_path / "a", engine, [records()]).put({"crm.csv": rows})
    assert [row["known_at"] for row in dated.part()] == [parse_instant("2024-05-01")]
    codes = [(row["row"], row["code"], row["value"]) for row in dated.part("quarantine")]
    assert codes == [(2, "no_known_from", None), (3, "bad_known_from", "soon")]
    undated = Folder(tmp_path / "b", engine, [records(known_from=None)]).put({"crm.csv": rows})
    assert [(row["event_time"], row["known_at"]) for row in undated.part()] == [(0, 0)] * 3
