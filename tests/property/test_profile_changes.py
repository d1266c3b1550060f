"""Laws of successors over random histories: nobody of an earlier run is lost or told apart wrongly.

Between two runs rows arrive, late ones too, and stewards find things out: people are joined, taken
apart, spelt otherwise.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.behavior.scene import People
from features.identity.graph import NOBODY, Graph
from features.identity.overrides import Overrides
from features.settings import Identity
from features.time import EARLIEST
from pipelines.people import profile_changes
from serving.segments.diff import build
from tests.oracles.changes import changes
from tests.worlds import Row, days, world

SPACES = [
    {"name": "customer", "type": "person", "unique": True},
    {"name": "login", "type": "person"},
    {"name": "cookie", "type": "cookie"},
]
IDENTITY = Identity.model_validate({"namespaces": SPACES, "max_identities": 6})
SEEDS = range(12)
PARTS = 25
"""Groups of identities that have nothing to do with each other, in each world."""


def rows_of(rng: random.Random, since: int) -> list[Row]:
    drawn = []
    for part in range(PARTS):
        for _ in range(rng.randint(0, 4)):
            spaces = rng.sample(["customer", "login", "cookie"], rng.choice([1, 2, 2]))
            who = {space: f"{part}x{rng.randint(1, 3)}" for space in spaces}
            happened = days(since - rng.choice([0, 0, 3]) + rng.random())
            drawn.append(Row(who, happened, received_at=days(since + 0.9)))
    return drawn


def found_out(rng: random.Random) -> Overrides:
    """Draw overrides that are well formed: no contradictions, no chains."""
    always: dict[tuple[str, str], int] = {}
    never: dict[tuple[str, str], int] = {}
    aliases = {}
    for part in range(PARTS):
        logins = [f"login:{part}x{n}" for n in (1, 2, 3)]
        one, two = sorted(rng.sample(logins, 2))
        match rng.randrange(6):
            case 0:
                always[one, two] = EARLIEST
            case 1:
                never[one, two] = EARLIEST
            case 2:
                never[f"customer:{part}x1", one] = EARLIEST
            case 3:
                aliases[two] = one
    return Overrides(always=always, never=never, aliases=aliases)


@contextmanager
def three_runs(folder: Path, seed: int) -> Iterator[list[tuple[Graph, int]]]:
    """Yield the graphs of three runs and their as_of; files only grow, overrides are redrawn."""
    rng = random.Random(seed)
    rows: list[Row] = []
    with ExitStack() as stack:
        graphs = []
        for number in (1, 2, 3):
            rows = [*rows, *rows_of(rng, 10 * number)]
            spaces = {"namespaces": SPACES}
            bench = stack.enter_context(world(folder / str(number), rows, identity=spaces))
            graphs.append((Graph(bench.store, bench.united, IDENTITY, found_out(rng)),
                           days(10 * number + 5)))  # fmt: skip
        yield graphs


def anchors(graph: Graph, as_of: int) -> dict[str, str]:
    anchor, names = graph.at(as_of).anchor, list(graph.identities)
    return {names[key]: names[anchor[key]] for key in np.flatnonzero(anchor != NOBODY)}


def published(graph: Graph, as_of: int) -> pa.Table:
    """Return what `profiles` says of who people are: each with all identities, however spelt."""
    held: dict[str, list[str]] = {}
    for identity, anchor in anchors(graph, as_of).items():
        held.setdefault(anchor, []).append(identity)
    keys = graph.identities.keys_of(held)
    return pa.table({"profile_id": list(held), "identities": list(held.values()),
                     "aliases": pa.array([[]] * len(held), pa.list_(pa.string())),
                     "profile_key": [keys[name] for name in held]})  # fmt: skip


def changed(before: tuple[Graph, int], now: tuple[Graph, int]) -> list[dict[str, Any]]:
    graph, as_of = now
    rows: list[dict[str, Any]] = profile_changes(
        published(*before), graph, graph.at(as_of)
    ).to_pylist()
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_successors_hold_over_random_histories(tmp_path: Path, seed: int) -> None:
    with three_runs(tmp_path, seed) as runs:
        people = [anchors(*run) for run in runs]
        steps = [changed(runs[0], runs[1]), changed(runs[1], runs[2]), changed(runs[0], runs[2])]
        pairs = [(0, 1), (1, 2), (0, 2)]
        for rows, (earlier, later) in zip(steps, pairs, strict=True):
            _said_right(rows, people[earlier], people[later])
        _composed(*steps, people)
        _counted(runs[0], runs[1], random.Random(seed))
    assert {row["kind"] for rows in steps for row in rows} == {"split", "merged", "renamed"}


def _said_right(
    rows: Sequence[dict[str, Any]], before: dict[str, str], now: dict[str, str]
) -> None:
    said = {row["old"]: (row["new"], row["kind"],
                         {each["identity"]: each["profile_id"] for each in row["moved"]})
            for row in rows}  # fmt: skip
    assert len(said) == len(rows)
    assert said == changes(before, now)
    for old in set(before.values()):
        # The successor is the profile holding the anchor later; else nobody holds it: it is gone.
        successor = said[old][0] if old in said else old
        assert now.get(old, successor) == successor
        if old not in said and old in now:
            held = {each for each, anchor in before.items() if anchor == old}
            assert {now[each] for each in held if each in now} == {old}


def _composed(
    first: list[dict[str, Any]], then: list[dict[str, Any]], once: list[dict[str, Any]],
    people: list[dict[str, str]],
) -> None:  # fmt: skip
    """Following two runs is looking once, unless somebody was split in between."""
    hops = [{row["old"]: row["new"] for row in rows} for rows in (first, then, once)]
    splits = {row["old"] for row in then if row["kind"] == "split"}
    for old in set(people[0].values()):
        middle = hops[0].get(old, old)
        if old in people[1] and old in people[2] and middle not in splits and middle in people[2]:
            assert hops[1].get(middle, middle) == hops[2].get(old, old)


def _counted(before: tuple[Graph, int], now: tuple[Graph, int], rng: random.Random) -> None:
    """Members of a segment follow their successors: nobody is lost or counted twice."""
    graph, as_of = now
    old, new = published(*before), published(graph, as_of)
    then = old.filter(pa.array([rng.random() < 0.5 for _ in range(len(old))]))
    here = new.filter(pa.array([rng.random() < 0.5 for _ in range(len(new))]))
    stood, _ = build({"s": then["profile_key"].to_numpy()}, old, None,
                     profile_changes(None, graph, graph.at(as_of)), before[1])  # fmt: skip
    rows = profile_changes(old, graph, graph.at(as_of))
    _, counts = build({"s": here["profile_key"].to_numpy()}, new, stood, rows, as_of)
    count, after = counts["s"], anchors(graph, as_of)
    today = {after.get(each, each) for each in then["profile_id"].to_pylist()}
    members = set(here["profile_id"].to_pylist())
    assert (count.stayed, count.entered) == (len(members & today), len(members - today))
    assert count.left == len(today - members)
    assert count.absorbed == len(then) - len(today)


def test_people_of_a_resolution_are_all_its_profiles(tmp_path: Path) -> None:
    with three_runs(tmp_path, 0) as runs:
        for graph, as_of in runs:
            everyone = People.everyone(graph.at(as_of))
            names = graph.identities.take(everyone.profile_key).to_pylist()
            assert sorted(names) == sorted(published(graph, as_of)["profile_id"].to_pylist())
