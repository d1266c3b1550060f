"""A Spark of this machine for tests, as small as it goes; it needs the extra `spark` and Java."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SETTINGS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "1g",
    "spark.sql.ansi.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "1",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


@contextmanager
def spark(folder: Path) -> Iterator[ibis.BaseBackend]:
    """Yield Spark behind Ibis; skip the test, and say why, where it cannot run."""
    sql = pytest.importorskip("pyspark.sql", reason="Spark is an extra: pip install '.[spark]'")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java 17, and there is no java here.")
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    session = builder.config("spark.sql.warehouse.dir", str(folder / "warehouse")).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    try:
        yield ibis.pyspark.connect(session)
    finally:
        session.stop()


def stored(connection: ibis.BaseBackend, folder: Path, name: str, rows: pa.Table) -> ir.Table:
    """Return rows as a table that Spark reads from a file."""
    pq.write_table(rows, folder / f"{name}.parquet")
    return connection.read_parquet(folder / f"{name}.parquet", table_name=name)
