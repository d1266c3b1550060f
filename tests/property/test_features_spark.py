"""Features on Spark are those of DuckDB and of the live renderer, to the bit.

Spark takes its time to plan a query, so that many random worlds are asked about in one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from features.behavior.buckets import rendered
from features.behavior.live import Live
from features.behavior.log import open_log
from features.behavior.scene import Log, scene_of
from features.behavior.table import matrix_of, render
from features.engine import Engine
from features.spark import SparkEngine
from tests.property import test_live_laws as laws
from tests.property.test_features_oracle import Drawn, drawn
from tests.spark import ON_SPARK, examples_of, spark

__all__ = ["drawn"]
pytestmark = ON_SPARK
WORLDS = 150
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spark")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[SparkEngine]:
    with spark(folder) as started:
        yield started


def beside_each_other(worlds: Sequence[tuple[Rows, Rows]]) -> tuple[Rows, Rows]:
    """Worlds as one: identities and rows of each are numbered on from those of the one before."""
    events: Rows = []
    rows: Rows = []
    for number, (happened, asked) in enumerate(worlds):
        for row in happened:
            events.append(row | {"identity_key": row["identity_key"] + 3 * number})
        for row in asked:
            moved = {"identity_key": row["identity_key"] + 3 * number, "row_id": len(rows)}
            rows.append(row | moved)
    return events, rows


@pytest.fixture(scope="module")
def worlds() -> list[tuple[Rows, Rows]]:
    return examples_of(laws.worlds(), WORLDS)


def test_random_histories_are_measured_as_on_duckdb_and_live(
    engine: SparkEngine, folder: Path, worlds: list[tuple[Rows, Rows]]
) -> None:
    assert any(not events for events, _ in worlds)
    events, rows = beside_each_other(worlds)
    found = laws.in_table(engine, events, rows)
    with Engine(threads=1, temporary=folder) as duckdb:
        expected = laws.in_table(duckdb, events, rows)
    assert found.tobytes() == expected.tobytes()
    laws.assert_alike(found, Live(laws.DEFINITIONS), events, rows)


def test_where_nothing_happened_nothing_is_measured(
    engine: SparkEngine, worlds: list[tuple[Rows, Rows]]
) -> None:
    rows = worlds[0][1]
    laws.assert_alike(laws.in_table(engine, [], rows), Live(laws.DEFINITIONS), [], rows)


def test_the_session_of_the_caller_keeps_its_settings(engine: SparkEngine) -> None:
    theirs = pytest.importorskip("pyspark.sql").SparkSession.builder.getOrCreate()
    for name in ("spark.sql.ansi.enabled", "spark.sql.session.timeZone"):
        assert theirs.conf.get(name) != engine.session.conf.get(name)


def united(engine: SparkEngine, world: Drawn) -> Log:
    """The united tables of a world as Spark reads them."""
    bench = world.bench
    return open_log(engine, bench.store, bench.united, bench.workspace.project, bench.graph)


@pytest.mark.parametrize("drawn", [0], indirect=True)
def test_the_tables_of_a_project_are_measured_on_spark(engine: SparkEngine, drawn: Drawn) -> None:
    scene = scene_of(engine, united(engine, drawn), drawn.people)
    found = matrix_of(render(scene, drawn.definitions))
    scene.close()
    assert found.tobytes() == drawn.matrix.tobytes()


@pytest.mark.parametrize("drawn", [0], indirect=True)
def test_in_buckets_features_are_the_same_on_spark(
    engine: SparkEngine, folder: Path, drawn: Drawn
) -> None:
    log = united(engine, drawn)
    buckets = [*rendered(engine, log, drawn.people, drawn.definitions, at_once=30)]
    assert len(buckets) > 1
    assert matrix_of(pa.concat_tables(buckets)).tobytes() == drawn.matrix.tobytes()
    assert not [*folder.rglob("bucket=*")]
