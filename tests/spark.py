"""A Spark of this machine for tests, as small as it goes; it needs the extra `spark` and Java."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.spark import SparkEngine

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.session.timeZone": "Asia/Tokyo",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

ON_SPARK = [
    pytest.mark.slow,
    # pyspark leaves its socket to Python.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
"""The marks of a test module on Spark."""


@contextmanager
def spark(folder: Path) -> Iterator[SparkEngine]:
    """Yield the engine over a Spark; skip the test, and say why, where it cannot run."""
    sql = pytest.importorskip("pyspark.sql", reason="Spark is an extra: pip install '.[spark]'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, and there is no java here.")
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.config("spark.sql.warehouse.dir", str(folder / "warehouse")).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield SparkEngine(session, temporary=folder)
    finally:
        session.stop()


def examples_of(strategy: st.SearchStrategy[Any], number: int) -> list[Any]:
    """Some random values, always the same: a query on Spark costs too much to look for a least."""
    found: list[Any] = []

    @settings(
        max_examples=number, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found
