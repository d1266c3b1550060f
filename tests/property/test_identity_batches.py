"""People do not depend on how their rows came: in which files, in which runs, in which order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from features.identity import moments
from features.sources.unite import TABLE as UNITED
from tests.property.test_identity_oracle import STRICT, history
from tests.worlds import DAY, START, Row, bench_of, project, seen, world, write

TABLES = ("identity_index", "links", "appearances")


@pytest.mark.parametrize("seed", range(2))
def test_any_batches_are_one_rebuild(tmp_path: Path, seed: int) -> None:
    """Files come one after the other, each followed by a run in the same store."""
    rng = random.Random(seed)
    rows = [row for number in range(30) for row in history(rng, f"h{number}")]
    settings = project(rows, path="log*.jsonl", identity=STRICT)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    write(whole / "log.jsonl", rows, settings)
    shuffled = rng.sample(rows, len(rows))
    cuts = sorted(rng.sample(range(1, len(rows)), 3))
    starts, ends = [0, *cuts], [*cuts, len(rows)]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        write(parts / f"log{number}.jsonl", shuffled[start:end], settings)
        with bench_of(parts, settings) as last:
            after = last.store.folder(UNITED, last.united)
            found = last.graph.at(START + 5 * DAY)
    with bench_of(whole, settings) as bench:
        before = bench.store.folder(UNITED, bench.united)
        expected = bench.graph.at(START + 5 * DAY)
    for table in TABLES:
        one, two = (pq.read_table(folder / f"{table}.parquet") for folder in (before, after))
        assert one.equals(two), table
    assert np.array_equal(found.anchor, expected.anchor)
    assert found.refused.reasons() == expected.refused.reasons()


def junk(rng: random.Random) -> list[Row]:
    """Draw forty people with two cookies each and values that too many of them share."""
    rows = []
    for number in range(40):
        for cookie in (f"a{number}", f"b{number}", rng.choice(["junk", "rare", f"a{number}"])):
            moment = START + rng.randrange(40) * DAY
            late = rng.choice([None, moment + rng.randrange(9) * DAY])
            who = {"login": f"p{number}", "cookie": cookie}
            rows.append(Row(who, moment, received_at=late))
    return [*rows, seen(START + 3 * DAY, cookie="junk"), seen(START, cookie="rare")]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("large", [2, 1_000])
def test_junk_joins_the_same_people_asked_one_by_one(
    tmp_path: Path, seed: int, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, at and after each moment at which something became known."""
    monkeypatch.setattr(moments, "LARGE", large)
    rows = junk(random.Random(seed))
    with world(tmp_path, rows, identity={"max_fan_out": 4, "max_identities": 9}) as bench:
        graph = bench.graph
        keys = np.arange(len(graph.identities))
        known = sorted({row.known_at + after for row in rows for after in (0, 1)})
        alone = graph.at_rows(np.tile(keys, len(known)), np.repeat(known, len(keys)))
        people = alone.anchor.reshape(len(known), len(keys))
        for place, as_of in enumerate(known):
            assert np.array_equal(people[place], graph.at(as_of).anchor), as_of
        [(widest, links), *_] = graph.at(known[-1]).widest(10)
    assert graph.identities[widest] in ("cookie:junk", "cookie:rare")
    assert links > 4
