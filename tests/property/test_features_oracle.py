"""Every feature of every row is what nested loops say, to the bit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from features.behavior import definitions as d
from features.behavior.buckets import rendered
from features.behavior.catalogue import catalogue, observe
from features.behavior.history import histories_of
from features.behavior.live import Live
from features.behavior.scene import People, scene_of
from features.behavior.table import matrix_of, render
from features.feature_settings import Family
from features.identity.graph import NOBODY
from features.time import parse_instant
from pipelines.stages import Bench
from tests.oracles.features import person, value
from tests.worlds import DAY, NAMESPACES, Row, world

BERLIN = "Europe/Berlin"
SPRING = parse_instant("2024-03-30", BERLIN)
"""Midnight in Berlin; the day after has 23 hours."""
HOUR = DAY // 24
AMOUNTS = ["0", "0.1", "-2.5", "19.99", "0.00005", "1234567890123.4567", None]
FAMILIES = list(get_args(Family))
WINDOWS = ["1d", "2d", "10d"]
PROFILE = {"country": ["FR", "DE", "NL", "de"], "age": ["7", "41.5", "-0.1"],
           "born": ["1970-01-01", "2001-12-31"], "vip": ["true", "False", "TRUE"]}  # fmt: skip


def history(rng: random.Random) -> list[Row]:
    """Draw a crowd of six, each with a few identities, seen in ten days around a clock change."""
    rows = []
    for _ in range(70):
        someone = str(rng.randrange(6))
        who = {"cookie": f"{someone}{rng.choice('ab')}"}
        if rng.random() < 0.4:
            who[rng.choice(["customer", "device", "login"])] = f"x{someone}"
        moment = SPRING + rng.randrange(60) * 4 * HOUR + rng.choice([0, 0, 1, 2_500_000])
        late = rng.choice([None, None, None, moment + DAY, moment + 3 * DAY])
        what = rng.choice(["view", "view", "purchase"])
        drawn = {"amount": rng.choice(AMOUNTS), "item": rng.choice(["a", "b", "c", None])}
        stated = {n: rng.choice(some) for n, some in PROFILE.items() if rng.random() < 0.2}
        rows.append(Row(who, moment, what, late, drawn, stated))
    return rows


def edges(rng: random.Random, rows: list[Row]) -> int:
    """Draw a moment at which something is just in, or just out."""
    row = rng.choice(rows)
    near = rng.choice([row.event_time, row.known_at])
    return near + rng.choice([0, DAY, 2 * DAY, 10 * DAY]) + rng.choice([0, 1])


@dataclass(frozen=True)
class Drawn:
    """A world, rows of people in it, and their features."""

    bench: Bench
    rows: list[Row]
    people: People
    definitions: tuple[d.Definition, ...]
    matrix: NDArray[np.float64]


def measured(bench: Bench, people: People, listed: tuple[d.Definition, ...]) -> NDArray[np.float64]:
    scene = scene_of(bench.engine, bench.log, people)
    matrix = matrix_of(render(scene, listed))
    scene.close()
    return matrix


@pytest.fixture(scope="module", params=range(3))
def drawn(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Drawn]:
    rng = random.Random(request.param)
    rows = history(rng)
    measured_of = {"windows": WINDOWS, "categories": 2, "families": FAMILIES, "session_gap": "4h",
                   "identity_known": True}  # fmt: skip
    settings = {"time_zone": BERLIN, "features": measured_of}
    with world(tmp_path_factory.mktemp("drawn"), rows, **settings) as bench:
        asked = [(rng.randrange(len(bench.graph.identities)), edges(rng, rows)) for _ in range(60)]
        keys, moments = (np.array(column) for column in zip(*asked, strict=True))
        everyone = People.at_rows(bench.graph.at_rows(keys, moments), moments)
        people = everyone.only(everyone.profile_key != NOBODY)
        project = bench.workspace.project
        seen = observe(bench.engine, bench.log, project.features, SPRING + 100 * DAY)
        listed = catalogue(seen, project.features, project.identity.namespaces)
        yield Drawn(bench, rows, people, listed, measured(bench, people, listed))


def test_every_feature_is_what_nested_loops_say(drawn: Drawn) -> None:
    identity = drawn.bench.workspace.project.identity
    assert {type(x) for x in drawn.definitions} == set(d.Definition.__args__)
    for row, key in enumerate(drawn.people.profile_key):
        as_of = int(drawn.people.as_of[row])
        who = person(drawn.rows, identity, drawn.bench.graph.identities[key], as_of, BERLIN)
        expected = {x.feature.name: value(x, who, drawn.definitions) for x in drawn.definitions}
        found = dict(zip(expected, drawn.matrix[row].tolist(), strict=True))
        nulls = {name for name, number in found.items() if np.isnan(number)}
        assert nulls == {name for name, number in expected.items() if number is None}
        assert {n: x for n, x in found.items() if n not in nulls} == {
            n: x for n, x in expected.items() if n not in nulls
        }


def test_one_person_live_is_the_same(drawn: Drawn) -> None:
    histories = histories_of(drawn.bench.engine, drawn.bench.log, drawn.people)
    renderer = Live(drawn.definitions)
    for history, as_of, expected in zip(
        histories, drawn.people.as_of.tolist(), drawn.matrix, strict=True
    ):
        np.testing.assert_array_equal(renderer.features(history, as_of), expected)


def test_a_person_alone_is_measured_as_in_a_crowd(drawn: Drawn) -> None:
    for row in (0, len(drawn.people) // 2):
        alone = drawn.people.only(np.arange(len(drawn.people)) == row)
        found = measured(drawn.bench, alone, drawn.definitions)
        assert found.tobytes() == drawn.matrix[row : row + 1].tobytes()


@pytest.mark.parametrize("at_once", [7, 40])
def test_in_buckets_of_any_size_features_are_the_same(drawn: Drawn, at_once: int) -> None:
    bench = drawn.bench
    buckets = [*rendered(bench.engine, bench.log, drawn.people, drawn.definitions, at_once)]
    assert [bucket.num_rows for bucket in buckets[:-1]] == [at_once] * (len(buckets) - 1)
    assert matrix_of(pa.concat_tables(buckets)).tobytes() == drawn.matrix.tobytes()
    assert not [*bench.workspace.store.root.rglob("bucket=*")]


def test_the_world_holds_what_is_worth_a_test(drawn: Drawn) -> None:
    """Nulls, several identities a person, rows in and out of windows, late rows: all are drawn."""
    assert len(drawn.people) > 30
    assert np.isnan(drawn.matrix).any()
    assert np.bincount(drawn.people.member_row).max() > 2
    assert any(row.known_at > row.event_time for row in drawn.rows)
    assert len(NAMESPACES) == sum(isinstance(x, d.IdentityCount) for x in drawn.definitions)
