"""The second engine: the same expressions on a Spark that the caller has started.

It renders features, conditions and measures of tables that Spark reads: all that renderers ask of
an engine, and nothing of reading sources or running a project, which is DuckDB's.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

NAME = "likelier"
"""What the names of its views begin with."""


class SparkEngine:
    """A session of its own on a Spark; the caller's keeps its settings, and stays open.

    There, days and casts are UTC's, and what cannot be computed is null (`spark.sql.ansi.enabled`
    is false), as DuckDB has it: a quotient by zero fails no query. `temporary` is a folder that
    driver and workers share; only `split` needs it.
    """

    def __init__(self, session: Any, *, temporary: Path | None = None) -> None:
        self.session = session.newSession()
        self.session.conf.set("spark.sql.ansi.enabled", "false")
        self.session.conf.set("spark.sql.session.timeZone", "UTC")
        self.backend = ibis.pyspark.connect(self.session)
        self._temporary = temporary
        self._held: dict[str, Any] = {}
        self._compiled: dict[Hashable, str] = {}

    def read_parquet(self, paths: Sequence[Path]) -> ir.Table:
        """Return the rows of Parquet files."""
        frame = self.session.read.option("mergeSchema", "true").parquet(*map(str, paths))
        return self._view(frame)

    def table(self, rows: pa.Table) -> ir.Table:
        """Return rows held in memory as a table of this engine."""
        return self._view(self.session.createDataFrame(rows))

    def sql(self, key: Hashable, build: Callable[[], ir.Table]) -> str:
        """Return the SQL of an expression; one key is built and compiled once.

        The key must name all that the SQL depends on, tables included: `hold` uses the names of
        dropped tables again.
        """
        if key not in self._compiled:
            self._compiled[key] = str(self.backend.compile(build()))
        return self._compiled[key]

    def hold(self, table: ir.Table | str) -> ir.Table:
        """Compute a table, or its SQL, now and keep it, for use by several expressions."""
        frame = self._frame(table).persist()
        frame.count()
        return self._view(frame)

    @contextlib.contextmanager
    def split(self, table: ir.Table, column: str) -> Iterator[dict[int, ir.Table]]:
        """Yield a table in parts by a whole number, as files that go when the context ends."""
        with tempfile.TemporaryDirectory(dir=self._temporary) as name:
            folder = Path(name) / "parts"
            self._frame(table).write.partitionBy(column).parquet(str(folder))
            parts = {int(part.name.partition("=")[2]): part for part in folder.glob(f"{column}=*")}
            yield {number: self.read_parquet([part]) for number, part in parts.items()}

    def drop(self, *tables: ir.Table) -> None:
        """Forget tables made by `hold`."""
        for table in tables:
            name = table.op().name
            self.session.catalog.dropTempView(name)
            self._held.pop(name).unpersist()

    def arrow(self, table: ir.Table | str) -> pa.Table:
        """Compute a table, or its SQL, and return its rows."""
        return self._frame(table).toArrow()

    def _frame(self, table: ir.Table | str) -> Any:
        sql = table if isinstance(table, str) else str(self.backend.compile(table))
        return self.session.sql(sql)

    def _view(self, frame: Any) -> ir.Table:
        name = next(n for i in itertools.count() if (n := f"{NAME}_{i}") not in self._held)
        frame.createOrReplaceTempView(name)
        self._held[name] = frame
        return self.backend.table(name)
