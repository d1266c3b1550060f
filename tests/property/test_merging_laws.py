"""What a person is said to be: every merge rule is what sorted lists say, whatever the order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.engine import Engine
from features.profiles.merging import Policy, winners
from tests.oracles.profiles import Said, merged

AS_OF = 5
VALUES = {
    "street": ("High St", "low st", "Élan"),
    "city": ("Paris", "Rome"),
    "age": ("7", "41.5", "-0.1", "41.50", "7.00001"),
    "born": ("1970-01-01", "2001-12-31"),
    "vip": ("true", "False", "TRUE"),
}
KINDS = {"street": "text", "city": "text", "age": "number", "born": "date", "vip": "boolean"}
SOURCES = ("crm", "shop", "web")
SCHEMA = pa.schema(
    [("identity_key", pa.int64()), ("attribute", pa.string()), ("value", pa.string()),
     ("event_time", pa.int64()), ("known_at", pa.int64()), ("dated", pa.bool_()),
     ("source", pa.string()), ("row", pa.int64())]
)  # fmt: skip
FEWER = settings(max_examples=settings().max_examples // 3)
PEOPLE = {0: 0, 1: 0, 2: 1, 3: 1}
"""Identity to person; identity 4 is somebody else."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(threads=1, temporary=tmp_path_factory.mktemp("engine")) as engine:
        yield engine


@st.composite
def rows(draw: st.DrawFn) -> list[Said]:
    """Draw rows of a few sources, each of one identity, that say some of the attributes."""
    found = []
    for number in range(draw(st.integers(1, 9))):
        identity, happened = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        late, source = draw(st.sampled_from([0, 0, 1, 6])), draw(st.sampled_from(SOURCES))
        dated = draw(st.sampled_from([True, True, False]))
        for name in draw(st.sets(st.sampled_from(sorted(VALUES)), min_size=1)):
            value = draw(st.sampled_from(VALUES[name]))
            always = name == "born" and draw(st.booleans())
            known_at = 0 if always else happened + late
            found.append(
                Said(identity, name, value, happened, known_at, dated or always, source, number)
            )
    return found


@st.composite
def policies(draw: st.DrawFn) -> tuple[Policy, ...]:
    """Draw a way of merging for every attribute, some of them in groups."""
    names = draw(st.permutations(sorted(VALUES)))
    sizes = draw(st.sampled_from([(1, 1, 1, 1, 1), (2, 1, 1, 1), (2, 3), (5,)]))
    found = []
    for size in sizes:
        members, names = tuple(names[:size]), names[size:]
        by_row = ["most_recent", "source_order", "most_filled"]
        merge = draw(st.sampled_from(by_row if size > 1 else [*by_row, "min", "max"]))
        order = tuple(draw(st.permutations(SOURCES))) if merge == "source_order" else ()
        found.append(Policy(members, merge, order))
    return tuple(found)


def won(
    engine: Engine, said: Sequence[Said], ways: Sequence[Policy], undated: bool
) -> dict[int, dict[str, Said]]:
    """Return what won, by person and attribute, as the house computes it."""
    stated = [{"identity_key": row.pop("identity"), **row} for row in map(asdict, said)]
    observations = engine.table(pa.Table.from_pylist(stated, SCHEMA))
    members = engine.table(
        pa.table({"row_id": list(PEOPLE.values()), "identity_key": list(PEOPLE),
                  "as_of": [AS_OF] * len(PEOPLE)})
    )  # fmt: skip
    whole = {(each.source, each.row, each.attribute): each for each in said}
    found: dict[int, dict[str, Said]] = {person: {} for person in PEOPLE.values()}
    table = engine.arrow(winners(observations, members, ways, KINDS, undated=undated))
    for row in table.to_pylist():
        each = whole[row["source"], row["row"], row["attribute"]]
        assert (each.value, each.event_time) == (row["value"], row["event_time"])
        assert row["attribute"] not in found[row["row_id"]]
        found[row["row_id"]][row["attribute"]] = each
    return found


def of(said: Sequence[Said], person: int, undated: bool) -> list[Said]:
    """Return what is known of a person at the moment asked about."""
    return [
        each
        for each in said
        if PEOPLE.get(each.identity) == person and each.known_at < AS_OF and (undated or each.dated)
    ]


@given(said=rows(), ways=policies(), undated=st.booleans(), seed=st.integers(0, 99))
def test_every_attribute_is_what_sorted_lists_say_in_any_order_of_rows(
    engine: Engine, said: list[Said], ways: tuple[Policy, ...], undated: bool, seed: int
) -> None:
    found = won(engine, random.Random(seed).sample(said, len(said)), ways, undated)
    assert found == {p: merged(of(said, p, undated), ways, KINDS) for p in PEOPLE.values()}
    for each in found.values():
        for policy in ways:
            origins = {(each[n].source, each[n].row) for n in policy.attributes if n in each}
            assert len(origins) <= 1, "a group holds values of two rows"


@FEWER
@given(said=rows(), ways=policies(), later=rows())
def test_what_is_said_later_changes_nothing(
    engine: Engine, said: list[Said], ways: tuple[Policy, ...], later: list[Said]
) -> None:
    poison = [replace(each, known_at=AS_OF, row=each.row + 100) for each in later]
    assert won(engine, [*said, *poison], ways, True) == won(engine, said, ways, True)


@FEWER
@given(said=rows(), ways=policies())
def test_who_may_not_see_the_undated_sees_no_other_value(
    engine: Engine, said: list[Said], ways: tuple[Policy, ...]
) -> None:
    everything = won(engine, said, ways, undated=True)
    for person, dated in won(engine, said, ways, undated=False).items():
        assert dated == {name: everything[person].get(name) for name in dated}
