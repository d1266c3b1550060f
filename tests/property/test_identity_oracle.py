"""The graph says what a slow replay of the rows says, at every moment and in every order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.identity.graph import NOBODY, Graph
from features.settings import Identity
from pipelines.stages import Bench
from tests.oracles.identity import Name, people
from tests.worlds import NAMESPACES, RANK, START, Row, world

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


def resolved(graph: Graph, as_of: int) -> dict[str, str]:
    anchor = graph.at(as_of).anchor
    return {graph.identities[k]: graph.identities[anchor[k]] for k in np.flatnonzero(anchor >= 0)}


def row_by_row(graph: Graph, as_of: Sequence[int]) -> list[dict[str, str]]:
    """Resolve every identity at every moment with `at_rows`; return identity to anchor."""
    keys = np.tile(np.arange(len(graph.identities)), len(as_of))
    moments = np.repeat(np.array(as_of), len(graph.identities))
    found = graph.at_rows(keys, moments)
    said: list[dict[str, str]] = [{} for _ in as_of]
    for row in np.flatnonzero(found.anchor != NOBODY):
        place = said[row // len(graph.identities)]
        place[graph.identities[keys[row]]] = graph.identities[found.anchor[row]]
    return said


@pytest.fixture(params=range(8))
def many(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Bench, Any]]:
    rng = random.Random(request.param)
    histories = [history(rng, f"h{number}") for number in range(HISTORIES)]
    rows = [row for some in histories for row in some]
    rng.shuffle(rows)
    with world(tmp_path, rows, identity=STRICT) as bench:
        yield bench, histories


def test_2400_histories_resolve_as_the_oracle_says(many: tuple[Bench, Any]) -> None:
    bench, histories = many
    for moment in MOMENTS:
        assert resolved(bench.graph, moment) == oracle(histories, moment)


def test_every_row_alone_resolves_as_everyone_together(many: tuple[Bench, Any]) -> None:
    bench, _ = many
    together = [bench.graph.at(moment) for moment in MOMENTS]
    assert row_by_row(bench.graph, MOMENTS) == [resolved(bench.graph, m) for m in MOMENTS]
    keys = np.arange(len(bench.graph.identities))
    for resolution in together:
        alone = bench.graph.at_rows(keys, np.full(len(keys), resolution.as_of))
        held = {(k, resolution.anchor[k]) for k in keys if resolution.anchor[k] != NOBODY}
        assert {(k, alone.anchor[r]) for r, k in zip(alone.row, alone.identity_key, strict=True)
                if keys[r] == alone.anchor[r]} == held  # fmt: skip


rows_of_one = st.lists(
    st.builds(
        Row,
        who=st.dictionaries(st.sampled_from(list(RANK)), st.sampled_from("ab"), min_size=1),
        event_time=st.sampled_from([START + second * SECOND for second in range(4)]),
        received_at=st.none() | st.sampled_from([START + second * SECOND for second in (2, 6)]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows_of_one, seed=st.integers(0, 9))
def test_order_of_rows_is_no_fact(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], seed: int
) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    moments = [START + second * SECOND + 1 for second in (1, 3, 9)]
    found = []
    for order in (rows, shuffled):
        with world(tmp_path_factory.mktemp("w"), order, identity=STRICT) as bench:
            found.append([resolved(bench.graph, moment) for moment in moments])
    assert found[0] == found[1] == [oracle([rows], moment) for moment in moments]
