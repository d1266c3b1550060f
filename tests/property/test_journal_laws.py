"""A live event is what a file would have made of it; whatever else is sent is refused by a code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import Engine
from features.settings import Project
from features.time import MICROS_PER_DAY, format_instant, parse_instant
from serving.journal.errors import RefusedEvent
from serving.journal.event import LiveEvent, event_of, line_of, read_event
from tests.unit.source_files import Folder, source

NOW = parse_instant("2026-03-01T12:00:00.123456Z")
NAMESPACES = [
    {"name": "customer", "type": "person", "unique": True},
    {"name": "email", "type": "email", "pii": True},
    {"name": "phone", "type": "phone", "pii": True, "region": "GB"},
    {"name": "cookie", "type": "cookie"},
]
SPACES = {space["name"]: space["name"] for space in NAMESPACES}
FILE = source(
    path="log.jsonl",
    event_id="id",
    event_time="time",
    event_type="type",
    identities={name: f"identities.{name}" for name in SPACES},
    attributes={name: f"attributes.{name}" for name in ("amount", "product")},
    profile={"country": "profile.country"},
)
PROJECT = Project.model_validate(
    {"project": "shop", "sources": [FILE], "identity": {"namespaces": NAMESPACES}}
)
# Characters which lines, JSON, trimming and lower case may trip over.
TEXTS = st.text('aZ0 \t\n\u00a0\u3000\u2028\u0130\u212a\u00e9"\\{}.\x00\U0001f600', max_size=8)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**53), 2**53), TEXTS,
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12),
)  # fmt: skip
WHO = st.one_of(
    TEXTS,
    st.integers(0, 2**40),
    st.sampled_from(["17850.0", "Ann@Mail.Example", "020 7946 0018", "null", "1E5", "c1"]),
)
TIMES = st.integers(0, NOW + MICROS_PER_DAY - 1).map(format_instant)
EVENTS = st.fixed_dictionaries(
    {
        "id": st.text("ab \u00e9-", min_size=1, max_size=5).filter(str.strip),
        "type": TEXTS.map(lambda text: f"{text}x"),
        "time": TIMES,
        "identities": st.fixed_dictionaries({}, optional=dict.fromkeys(SPACES, WHO)),
    },
    optional={
        "attributes": st.dictionaries(st.sampled_from(["amount", "product"]), SCALARS),
        "profile": st.dictionaries(st.just("country"), SCALARS),
    },
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
EVENT = {"id": "1", "type": "visit", "identities": {"cookie": "c1"}}
KEYS = ("id", "type", "time", "identities", "attributes", "profile", "cookie", "amount", "")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


def taken(said: list[dict[str, Any]]) -> list[LiveEvent]:
    """Return the events that the service would take, each id once."""
    found: dict[str, LiveEvent] = {}
    for each in said:
        try:
            event = read_event(each, PROJECT, NOW)
        except RefusedEvent:
            continue
        found.setdefault(event.id, event)
    return list(found.values())


@settings(max_examples=10)
@given(said=st.lists(EVENTS, min_size=1, max_size=20, unique_by=lambda event: event["id"].strip()))
def test_the_service_and_a_file_read_one_event_alike(
    engine: Engine, tmp_path_factory: pytest.TempPathFactory, said: list[dict[str, Any]]
) -> None:
    live = taken(said)
    if not live:
        return
    folder = tmp_path_factory.mktemp("log")
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(json.dumps(each).encode() + b"\n" for each in said))
    rows = rows_of(engine, folder)
    assert sorted(rows) == sorted(event.id for event in live)
    for event in live:
        row = rows[event.id]
        assert row["event_type"] == event.event_type
        assert row["event_time"] == event.event_time
        identities = [row[f"id_{name}"] for name in SPACES]
        assert tuple(filter(None, identities)) == event.identities
        for name, column in (("amount", "attr_amount"), ("product", "attr_product")):
            assert same(row[column], event.attributes.get(name)), name
        assert same(row["profile_country"], event.profile.get("country"))


def same(in_file: str | None, live: str | None) -> bool:
    """Say whether two texts are one value: of numbers, JSON has several ways of writing each."""
    if in_file == live:
        return True
    return in_file is not None and live is not None and float(in_file) == float(live)


def rows_of(engine: Engine, folder: Path) -> dict[str, dict[str, Any]]:
    """Return the accepted rows of the log in `folder`, by event id."""
    read = Folder(folder, engine, [FILE], NAMESPACES)
    return {row["event_id"]: row for row in read.part()}


@given(said=EVENTS)
def test_a_line_reads_back_to_the_same_event(said: dict[str, Any]) -> None:
    for event in taken([said]):
        line = line_of(event)
        assert (event_of(line), line.count(b"\n")) == (event, 1)


@settings(max_examples=100)
@given(said=JSON | st.dictionaries(st.sampled_from(KEYS), JSON) | EVENTS, broken=JSON)
def test_anything_else_is_refused_by_a_code(said: Any, broken: Any) -> None:
    for body in (said, EVENT | said if isinstance(said, dict) else said, EVENT | {"time": broken}):
        try:
            read_event(body, PROJECT, NOW)
        except RefusedEvent as refused:
            assert refused.code
            assert refused.hint
