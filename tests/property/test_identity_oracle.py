"""The graph says what a slow replay of the rows says, at every moment and in every order."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from features import settings
from features.identity import moments
from features.identity.graph import NOBODY, Graph
from features.identity.overrides import Overrides, read_overrides
from features.settings import Identity
from features.sources.unite import NAMES
from features.sources.unite import TABLE as UNITED
from features.time import format_instant
from tests.oracles.overrides import overridden
from tests.worlds import NAMESPACES, START, Row, world

STRICT = {"max_fan_out": 2, "max_identities": 4}
IDENTITY = Identity.model_validate({"namespaces": NAMESPACES, **STRICT})
SECOND = 1_000_000
MOMENTS = [START + second * SECOND + after for second in (2, 5, 9) for after in (0, 1)]
VALUES = {"customer": 3, "login": 3, "email": 2, "device": 2, "cookie": 3, "session": 3,
          "household": 1}  # fmt: skip
WORLDS, HISTORIES = 10, 600


def value(space: str, name: str, number: int) -> str:
    """Return a value as its namespace would have it."""
    return f"{name}_{number}@m.org" if space == "email" else f"{name}_{number}"


def history(rng: random.Random, name: str) -> list[Row]:
    """Draw a few rows about a few identities of their own, some of them known late."""
    rows = []
    for _ in range(rng.randint(1, 12)):
        spaces = rng.sample(list(VALUES), rng.choice([1, 2, 2, 2, 3, 4]))
        who = {space: value(space, name, rng.randrange(VALUES[space])) for space in spaces}
        moment = START + rng.randrange(8) * SECOND
        late = rng.choice([None, None, None, moment + SECOND, moment + 4 * SECOND, START])
        rows.append(Row(who, moment, received_at=late))
    return rows


def stated(rng: random.Random, name: str) -> dict[str, list[str]]:
    """Draw rows of overrides of one history, most of which contradict what was seen.

    Some name identities that no row has; some contradict each other, and are refused.
    """

    def one(space: str | None = None) -> str:
        space = space or rng.choice(list(VALUES))
        return f"{space}:{value(space, name, rng.randrange(VALUES[space] + 1))}"

    def since() -> str:
        moment = START + rng.randrange(9) * SECOND
        return rng.choice(["", "", format_instant(moment)])

    def some(*counts: int) -> range:
        return range(rng.choice(counts))

    spelt = [rng.choice(list(VALUES)) for _ in some(0, 0, 1, 2)]
    return {
        "always": [f"{one()},{one()},{since()}" for _ in some(0, 0, 1, 2)],
        "never": [f"{one()},{one()},{since()}" for _ in some(0, 0, 1, 2)],
        "bypass": [f"{one()},{since()}" for _ in some(0, 0, 0, 1)],
        "aliases": [f"{one(space)},{one(space)}" for space in spelt],
    }


HEADERS = {
    "always": "a,b,known_from", "never": "a,b,known_from", "bypass": "identity,known_from",
    "aliases": "alias,identity",
}  # fmt: skip


def read(folder: Path, said: Sequence[Mapping[str, list[str]]]) -> Overrides:
    """Write overrides as tables, and read them as a project does."""
    for table, header in HEADERS.items():
        rows = [row for some in said for row in some[table]]
        (folder / f"{table}.csv").write_text("\n".join([header, *rows]))
    paths = {table: f"{table}.csv" for table in HEADERS}
    identity = IDENTITY.model_copy(update={"overrides": settings.Overrides(**paths)})
    return read_overrides(identity, folder, "UTC")


Said = dict[str, str]
"""Identity to the anchor of its profile, or a refused link, `a b`, to its reason."""


def oracle(
    histories: Mapping[str, Sequence[Row]], overrides: Overrides, as_of: int
) -> tuple[Said, Said]:
    anchors, reasons = {}, {}
    parts = by_history(overrides)
    for name, rows in histories.items():
        part = parts.get(name, Overrides())
        found, refused = overridden(rows, IDENTITY, as_of, part)
        anchors |= {name: anchor for (_, name), (_, anchor) in found.items()}
        reasons |= {f"{a} {b}": why for ((_, a), (_, b)), why in refused.items()}
    return anchors, reasons


def by_history(overrides: Overrides) -> dict[str, Overrides]:
    """Overrides by the history they are about, which stands in every value."""
    found: dict[str, dict[str, dict[Any, Any]]] = {}
    for table in HEADERS:
        for said, value in getattr(overrides, table).items():
            identity = said if isinstance(said, str) else said[0]
            name = identity.partition(":")[2].partition("_")[0]
            found.setdefault(name, {}).setdefault(table, {})[said] = value
    return {name: Overrides(**tables) for name, tables in found.items()}


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


@pytest.fixture(scope="module", params=range(WORLDS))
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Graph, Any, Overrides]]:
    """A graph of many histories; in every other world there are overrides."""
    rng, folder = random.Random(request.param), tmp_path_factory.mktemp("many")
    histories = {f"h{n}": history(rng, f"h{n}") for n in range(HISTORIES)}
    overrides = Overrides()
    if request.param % 2:
        overrides = read(folder, [stated(rng, name) for name in histories])
        assert min(len(getattr(overrides, table)) for table in HEADERS) > HISTORIES / 10
    rows = [row for some in histories.values() for row in some]
    rng.shuffle(rows)
    with world(folder, rows, identity=STRICT) as bench:
        yield Graph(bench.store, bench.united, IDENTITY, overrides), histories, overrides


def test_6000_histories_resolve_as_the_oracle_says(many: tuple[Graph, Any, Overrides]) -> None:
    known, histories, overrides = many
    for moment in MOMENTS:
        assert resolved(known, moment) == oracle(histories, overrides, moment)


def test_every_row_alone_resolves_as_everyone_together(
    many: tuple[Graph, Any, Overrides], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, *_ = many
    together = [known.at(moment) for moment in MOMENTS]
    assert row_by_row(known, MOMENTS) == [resolved(known, m)[0] for m in MOMENTS]
    monkeypatch.setattr(moments, "MOST_COPIES", 1_000)
    monkeypatch.setattr(moments, "LARGE", 2)
    assert row_by_row(known, MOMENTS[:2]) == [resolved(known, m)[0] for m in MOMENTS[:2]]
    keys = np.arange(len(known.identities))
    for resolution in together:
        alone = known.at_rows(keys, np.full(len(keys), resolution.as_of))
        held = {(k, resolution.anchor[k]) for k in keys if resolution.anchor[k] != NOBODY}
        assert {(k, alone.anchor[r]) for r, k in zip(alone.row, alone.identity_key, strict=True)
                if keys[r] == alone.anchor[r]} == held  # fmt: skip


def test_order_of_rows_is_no_fact(tmp_path: Path) -> None:
    rng = random.Random(0)
    rows = [row for number in range(300) for row in history(rng, f"h{number}")]
    tables = []
    for folder, order in (("drawn", rows), ("shuffled", rng.sample(rows, len(rows)))):
        with world(tmp_path / folder, order, identity=STRICT) as bench:
            place = bench.store.folder(UNITED, bench.united)
            tables.append({name: pq.read_table(place / f"{name}.parquet") for name in NAMES})
    for name in NAMES:
        assert tables[0][name].equals(tables[1][name]), name
