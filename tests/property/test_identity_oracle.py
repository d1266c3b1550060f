"""The graph says what a slow replay of the rows says, at every moment and in every order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.identity import graph
from features.identity.graph import NOBODY, Graph
from features.settings import Identity
from features.sources.unite import NAMES
from features.sources.unite import TABLE as UNITED
from pipelines.stages import Bench
from tests.oracles.identity import Name, people
from tests.worlds import NAMESPACES, START, Row, world

STRICT = {"max_fan_out": 2, "max_identities": 4}
IDENTITY = Identity.model_validate({"namespaces": NAMESPACES, **STRICT})
SECOND = 1_000_000
MOMENTS = [START + second * SECOND + after for second in (2, 5, 9) for after in (0, 1)]
VALUES = {"customer": 3, "login": 3, "email": 2, "device": 2, "cookie": 3, "session": 3,
          "household": 1}  # fmt: skip
HISTORIES = 300


def history(rng: random.Random, name: str) -> list[Row]:
    """Draw a few rows about a few identities of their own, some of them known late."""
    rows = []
    for _ in range(rng.randint(1, 12)):
        spaces = rng.sample(list(VALUES), rng.choice([1, 2, 2, 2, 3, 4]))
        who = {space: f"{name}_{rng.randrange(VALUES[space])}" for space in spaces}
        moment = START + rng.randrange(8) * SECOND
        late = rng.choice([None, None, None, moment + SECOND, moment + 4 * SECOND, START])
        rows.append(Row(who, moment, received_at=late))
    return rows


def oracle(histories: Sequence[Sequence[Row]], as_of: int) -> dict[str, str]:
    found: dict[Name, Name] = {}
    for rows in histories:
        found |= people(rows, IDENTITY, as_of)
    return {name: anchor for (_, name), (_, anchor) in found.items()}


def resolved(known: Graph, as_of: int) -> dict[str, str]:
    anchor = known.at(as_of).anchor
    return {known.identities[k]: known.identities[anchor[k]] for k in np.flatnonzero(anchor >= 0)}


def row_by_row(known: Graph, as_of: Sequence[int]) -> list[dict[str, str]]:
    """Resolve every identity at every moment with `at_rows`; return identity to anchor."""
    keys = np.tile(np.arange(len(known.identities)), len(as_of))
    moments = np.repeat(np.array(as_of), len(known.identities))
    found = known.at_rows(keys, moments)
    said: list[dict[str, str]] = [{} for _ in as_of]
    for row in np.flatnonzero(found.anchor != NOBODY):
        place = said[row // len(known.identities)]
        place[known.identities[keys[row]]] = known.identities[found.anchor[row]]
    return said


@pytest.fixture(scope="module", params=range(5))
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Bench, Any]]:
    rng, folder = random.Random(request.param), tmp_path_factory.mktemp("many")
    histories = [history(rng, f"h{number}") for number in range(HISTORIES)]
    rows = [row for some in histories for row in some]
    rng.shuffle(rows)
    with world(folder, rows, identity=STRICT) as bench:
        yield bench, histories


def test_1500_histories_resolve_as_the_oracle_says(many: tuple[Bench, Any]) -> None:
    bench, histories = many
    for moment in MOMENTS:
        assert resolved(bench.graph, moment) == oracle(histories, moment)


def test_every_row_alone_resolves_as_everyone_together(
    many: tuple[Bench, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, _ = many
    together = [bench.graph.at(moment) for moment in MOMENTS]
    assert row_by_row(bench.graph, MOMENTS) == [resolved(bench.graph, m) for m in MOMENTS]
    monkeypatch.setattr(graph, "MOST_COPIES", 1_000)
    assert row_by_row(bench.graph, MOMENTS[:2]) == [resolved(bench.graph, m) for m in MOMENTS[:2]]
    keys = np.arange(len(bench.graph.identities))
    for resolution in together:
        alone = bench.graph.at_rows(keys, np.full(len(keys), resolution.as_of))
        held = {(k, resolution.anchor[k]) for k in keys if resolution.anchor[k] != NOBODY}
        assert {(k, alone.anchor[r]) for r, k in zip(alone.row, alone.identity_key, strict=True)
                if keys[r] == alone.anchor[r]} == held  # fmt: skip


def test_order_of_rows_is_no_fact(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [row for number in range(HISTORIES) for row in history(rng, f"h{number}")]
    tables = []
    for folder, order in (("drawn", rows), ("shuffled", rng.sample(rows, len(rows)))):
        with world(tmp_path / folder, order, identity=STRICT) as bench:
            place = bench.store.folder(UNITED, bench.united)
            tables.append({name: pq.read_table(place / f"{name}.parquet") for name in NAMES})
    for name in NAMES:
        assert tables[0][name].equals(tables[1][name]), name
