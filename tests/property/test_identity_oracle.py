"""The graph says what a slow replay of the rows says, at every moment and in every order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.identity import graph
from features.identity.graph import NOBODY, Graph
from features.identity.linking import Demands, Pairs
from features.settings import Identity
from features.sources.unite import NAMES
from features.sources.unite import TABLE as UNITED
from tests.oracles.identity import Name, Pair, names, people
from tests.worlds import NAMESPACES, START, Row, world

STRICT = {"max_fan_out": 2, "max_identities": 4}
IDENTITY = Identity.model_validate({"namespaces": NAMESPACES, **STRICT})
SECOND = 1_000_000
MOMENTS = [START + second * SECOND + after for second in (2, 5, 9) for after in (0, 1)]
VALUES = {"customer": 3, "login": 3, "email": 2, "device": 2, "cookie": 3, "session": 3,
          "household": 1}  # fmt: skip
WORLDS, HISTORIES = 10, 600


@dataclass(frozen=True)
class History:
    """A few rows about a few identities of their own, and what a steward demands of those."""

    rows: list[Row]
    always: list[Pair]
    never: list[Pair]
    bypassed: list[Name]


def history(rng: random.Random, name: str, demands: bool) -> History:
    """Draw rows, some of them known late, and demands, most of which contradict them."""
    rows = []
    for _ in range(rng.randint(1, 12)):
        spaces = rng.sample(list(VALUES), rng.choice([1, 2, 2, 2, 3, 4]))
        who = {space: f"{name}_{rng.randrange(VALUES[space])}" for space in spaces}
        moment = START + rng.randrange(8) * SECOND
        late = rng.choice([None, None, None, moment + SECOND, moment + 4 * SECOND, START])
        rows.append(Row(who, moment, received_at=late))
    seen = sorted({name for row in rows for name in names(row, IDENTITY)})
    if not demands or len(seen) < 2:
        return History(rows, [], [], [])

    def pairs() -> list[Pair]:
        drawn = [sorted(rng.sample(seen, 2)) for _ in range(rng.choice([0, 0, 1, 2]))]
        return [(a, b) for a, b in drawn]

    return History(rows, pairs(), pairs(), rng.sample(seen, rng.choice([0, 0, 0, 1])))


Said = dict[str, str]
"""Identity to the anchor of its profile, or a refused link, `a b`, to its reason."""


def oracle(histories: Sequence[History], as_of: int) -> tuple[Said, Said]:
    anchors, reasons = {}, {}
    for some in histories:
        found, refused = people(some.rows, IDENTITY, as_of, some.always, some.never, some.bypassed)
        anchors |= {name: anchor for (_, name), (_, anchor) in found.items()}
        reasons |= {f"{a} {b}": why for ((_, a), (_, b)), why in refused.items()}
    return anchors, reasons


def resolved(known: Graph, as_of: int) -> tuple[Said, Said]:
    said, found = known.identities, known.at(as_of)
    anchors = {said[k]: said[found.anchor[k]] for k in np.flatnonzero(found.anchor >= 0)}
    return anchors, {f"{said[a]} {said[b]}": w for (a, b), w in found.refused.reasons().items()}


def row_by_row(known: Graph, as_of: Sequence[int]) -> list[Said]:
    """Resolve every identity at every moment with `at_rows`; return identity to anchor."""
    keys = np.tile(np.arange(len(known.identities)), len(as_of))
    moments = np.repeat(np.array(as_of), len(known.identities))
    found = known.at_rows(keys, moments)
    said: list[Said] = [{} for _ in as_of]
    for row in np.flatnonzero(found.anchor != NOBODY):
        place = said[row // len(known.identities)]
        place[known.identities[keys[row]]] = known.identities[found.anchor[row]]
    return said


def demanded(known: Graph, histories: Sequence[History]) -> Demands:
    """What the histories demand, by key."""
    key = {name: place for place, name in enumerate(known.identities)}

    def keys(pairs: list[Pair]) -> Pairs:
        ends = np.array([(key[a], key[b]) for (_, a), (_, b) in pairs], dtype=np.int64)
        return Pairs(*ends.reshape(-1, 2).T)

    return Demands(
        keys([pair for some in histories for pair in some.always]),
        keys([pair for some in histories for pair in some.never]),
        np.array([key[name] for h in histories for _, name in h.bypassed], dtype=np.int64),
    )


@pytest.fixture(scope="module", params=range(WORLDS))
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Graph, Any]]:
    """A graph of many histories; in every other world stewards demand things."""
    rng, folder = random.Random(request.param), tmp_path_factory.mktemp("many")
    histories = [history(rng, f"h{n}", request.param % 2 == 1) for n in range(HISTORIES)]
    rows = [row for some in histories for row in some.rows]
    rng.shuffle(rows)
    with world(folder, rows, identity=STRICT) as bench:
        demands = demanded(bench.graph, histories)
        yield Graph(bench.store, bench.united, IDENTITY, demands), histories


def test_6000_histories_resolve_as_the_oracle_says(many: tuple[Graph, Any]) -> None:
    known, histories = many
    for moment in MOMENTS:
        assert resolved(known, moment) == oracle(histories, moment)


def test_every_row_alone_resolves_as_everyone_together(
    many: tuple[Graph, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, _ = many
    together = [known.at(moment) for moment in MOMENTS]
    assert row_by_row(known, MOMENTS) == [resolved(known, m)[0] for m in MOMENTS]
    monkeypatch.setattr(graph, "MOST_COPIES", 1_000)
    assert row_by_row(known, MOMENTS[:2]) == [resolved(known, m)[0] for m in MOMENTS[:2]]
    keys = np.arange(len(known.identities))
    for resolution in together:
        alone = known.at_rows(keys, np.full(len(keys), resolution.as_of))
        held = {(k, resolution.anchor[k]) for k in keys if resolution.anchor[k] != NOBODY}
        assert {(k, alone.anchor[r]) for r, k in zip(alone.row, alone.identity_key, strict=True)
                if keys[r] == alone.anchor[r]} == held  # fmt: skip


def test_order_of_rows_is_no_fact(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [row for number in range(300) for row in history(rng, f"h{number}", False).rows]
    tables = []
    for folder, order in (("drawn", rows), ("shuffled", rng.sample(rows, len(rows)))):
        with world(tmp_path / folder, order, identity=STRICT) as bench:
            place = bench.store.folder(UNITED, bench.united)
            tables.append({name: pq.read_table(place / f"{name}.parquet") for name in NAMES})
    for name in NAMES:
        assert tables[0][name].equals(tables[1][name]), name
