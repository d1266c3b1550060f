"""The engine that computes tables: the only module that imports a database.

Tables are described by Ibis expressions; the engine reads files into them, runs them, and writes
Parquet. Text formats are read as text only: what a column means is decided by the mapping, never
by a guess from the first rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SourceError

ROW_GROUP = 250_000
LINE = "line_number"
"""Position of a row in its file, from 1: the first row of data."""


class Engine:
    """A DuckDB connection inside this process, bounded in threads and memory.

    Use it as a context manager: temporary files and the connection go when it closes.
    """

    def __init__(self, *, threads: int = 2, memory_limit: str = "2GB", temporary: Path) -> None:
        temporary.mkdir(parents=True, exist_ok=True)
        self.backend = ibis.duckdb.connect(
            threads=threads, memory_limit=memory_limit, temp_directory=str(temporary)
        )
        self.run("set enable_progress_bar = false")
        self.run("set TimeZone = 'UTC'")
        self._views = 0

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.disconnect()

    def run(self, statement: str) -> None:
        """Execute a statement of the engine's own (settings); never text from outside."""
        self.backend.raw_sql(statement)

    # Reading -----------------------------------------------------------------------------------

    def read_csv(self, path: Path, delimiter: str) -> ir.Table:
        """Return the rows of a CSV file: every column as text, and `line_number`.

        Rows that do not fit the header are left out here and returned by `rejected`.
        """
        relation = (
            f"read_csv({_text(str(path))}, delim={_text(delimiter)}, header=true, "
            "all_varchar=true, ignore_errors=true, store_rejects=true, "
            "rejects_limit=0, strict_mode=true, null_padding=false)"
        )
        return self._numbered(path, relation)

    def read_lines(self, path: Path) -> ir.Table:
        """Return a text file as one text column `line`, and `line_number`. Empty lines are kept."""
        relation = (
            f"read_csv({_text(str(path))}, delim='\\x00', quote='', escape='', header=false, "
            "auto_detect=false, columns={'line': 'VARCHAR'}, ignore_errors=true, "
            "max_line_size=10000000)"
        )
        return self._numbered(path, relation)

    def read_parquet(self, paths: Sequence[Path]) -> ir.Table:
        """Return the rows of Parquet files of one schema."""
        listed = [str(path) for path in paths]
        return self.backend.read_parquet(listed, table_name=self._name("parquet"))

    def read_numbered_parquet(self, path: Path) -> ir.Table:
        """Return the rows of one foreign Parquet file, and `line_number`."""
        return self._numbered(path, f"read_parquet({_text(str(path))})")

    def rejected(self) -> list[dict[str, Any]]:
        """Return and forget the CSV rows refused since the last call: line and what was wrong."""
        connection = self.backend.con
        with contextlib.suppress(duckdb.CatalogException):
            rows = connection.execute(
                "select line, min(error_message) from reject_errors group by line order by line"
            ).fetchall()
            connection.execute("drop table reject_errors; drop table reject_scans")
            return [{"line": line, "message": message.splitlines()[0]} for line, message in rows]
        return []

    def _numbered(self, path: Path, relation: str) -> ir.Table:
        name = self._name("rows")
        try:
            # A table, not a view: the file is read once, and its rows keep their order.
            self.run(
                f"create temp table {name} as "
                f"select row_number() over () as {LINE}, * from {relation}"
            )
        except (duckdb.InvalidInputException, duckdb.IOException, duckdb.BinderException) as error:
            raise SourceError(
                f"{path.name} cannot be read: {str(error).splitlines()[0]}",
                hint="Check that the file is whole and that `format` and `delimiter` fit it.",
                file=path.name,
            ) from error
        return self.backend.table(name)

    # Computing ---------------------------------------------------------------------------------

    def select(self, table: ir.Table, columns: Mapping[str, str]) -> ir.Table:
        """Return `table` with `columns` computed by SQL expressions (DuckDB dialect).

        Raises `duckdb`'s own error text as `SourceError` when an expression does not compile.
        """
        listed = ", ".join(f"{sql} as {_name(name)}" for name, sql in columns.items())
        alias = self._name("src")
        try:
            return table.alias(alias).sql(f"select {listed} from {alias}", dialect="duckdb")
        except (duckdb.Error, ibis.IbisError) as error:
            raise SourceError(f"The expression does not compile: {_first_line(error)}") from error

    def table(self, rows: pa.Table) -> ir.Table:
        """Return rows held in memory as a table of this engine."""
        return ibis.memtable(rows)

    def hold(self, table: ir.Table) -> ir.Table:
        """Compute `table` now and keep it in the engine, for use by several expressions."""
        name = self._name("held")
        return self.backend.create_table(name, table, temp=True)

    def drop(self, *tables: ir.Table) -> None:
        """Forget tables made by `hold` or `read_csv`."""
        for table in tables:
            self.backend.drop_table(table.get_name(), force=True)

    def arrow(self, table: ir.Table) -> pa.Table:
        """Compute `table` and return its rows."""
        try:
            return self.backend.to_pyarrow(table)
        except duckdb.Error as error:
            raise SourceError(f"The rows cannot be computed: {_first_line(error)}") from error

    def write(self, table: ir.Table, path: Path) -> int:
        """Compute `table` into one Parquet file and return its number of rows."""
        try:
            self.backend.to_parquet(table, path, compression="zstd", row_group_size=ROW_GROUP)
        except duckdb.Error as error:
            raise SourceError(f"The rows cannot be computed: {_first_line(error)}") from error
        return int(pq.read_metadata(path).num_rows)

    def _name(self, prefix: str) -> str:
        self._views += 1
        return f"{prefix}_{self._views}"


def json_values(paths: Sequence[str]) -> str:
    """Return SQL for the texts at `paths` (`a.b`) of the JSON in column `line`, as one list.

    All keys come out of a single parse of the line; a line that is not JSON gives null.
    """
    listed = ", ".join(_text("$." + ".".join(f'"{k}"' for k in p.split("."))) for p in paths)
    return f"case when json_valid(line) then json_extract_string(line, [{listed}]) end"


def instant_of_text(sql: str, time_zone: str) -> str:
    """Return SQL reading text as UTC microseconds; naive text is read in `time_zone`."""
    offset = rf"regexp_matches({sql}, '[0-9]:[0-9]{{2}}.*(Z|z|[+-][0-9]{{2}}(:?[0-9]{{2}})?)$')"
    aware = f"epoch_us(try_cast({sql} as timestamptz))"
    return f"case when {offset} then {aware} else {instant_of_naive(sql, time_zone)} end"


def instant_of_naive(sql: str, time_zone: str) -> str:
    """Return SQL reading a naive timestamp, date or text as UTC microseconds."""
    naive = f"try_cast({sql} as timestamp)"
    if time_zone == "UTC":
        return f"epoch_us({naive})"
    return f"epoch_us(timezone({_text(time_zone)}, {naive}))"


def local_day(sql: str, time_zone: str) -> str:
    """Return SQL for the day number (days since 1970-01-01) of UTC microseconds in `time_zone`."""
    if time_zone == "UTC":
        return f"({sql} // 86400000000)::integer"
    local = f"timezone({_text(time_zone)}, make_timestamptz({sql}))"
    return f"(epoch_us({local}) // 86400000000)::integer"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def batches(table: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield consecutive slices of at most `rows` rows."""
    for start in range(0, table.num_rows, rows):
        yield table.slice(start, rows)
