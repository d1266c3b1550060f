"""The engine that computes tables: the only module that imports a database.

Tables are described by Ibis expressions; the engine reads files into them, runs them, and writes
Parquet. Text formats are read as text only: what a column means is decided by the mapping, never
by a guess from the first rows.
"""

from __future__ import annotations

import collections
import contextlib
import csv
import gzip
import io
import itertools
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SourceError

ROW_GROUP = 250_000
LINE = "__line"
"""Position of a row in its file, from 1: the first row of data."""
MAX_LINE = 10_000_000
"""Bytes a line of a text file may have."""
LINES_AT_ONCE = 10_000


class DuplicateColumns(SourceError):
    """A file with several columns of one name: an expression could not say which is meant."""

    code = "duplicate_columns"


class Engine:
    """A DuckDB connection inside this process, bounded in threads and memory.

    Use it as a context manager: temporary files and the connection go when it closes.
    """

    def __init__(self, *, threads: int = 2, memory_limit: str = "2GB", temporary: Path) -> None:
        temporary.mkdir(parents=True, exist_ok=True)
        self.backend = ibis.duckdb.connect(
            threads=threads, memory_limit=memory_limit, temp_directory=str(temporary)
        )
        self._temporary = temporary
        # In a notebook without widgets there is none, and turning it off is refused.
        if self.backend.raw_sql("select current_setting('enable_progress_bar')").fetchone()[0]:
            self.run("set enable_progress_bar = false")
        self.run("set TimeZone = 'UTC'")
        self._views = 0
        self._held: set[str] = set()
        self._taught: set[str] = set()
        self._compiled: dict[Hashable, str] = {}
        self._refused: list[dict[str, Any]] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.disconnect()

    def run(self, statement: str) -> None:
        """Execute a statement of the engine's own (settings); never text from outside."""
        self.backend.raw_sql(statement)

    # Reading -----------------------------------------------------------------------------------

    def read_csv(self, path: Path, delimiter: str) -> ir.Table:
        """Return the rows of a CSV file: every column as text, and its position.

        Rows that do not fit the header are left out here and returned by `rejected`. Blank lines
        are no rows. The dialect is stated, never guessed: a guess changes with the rows it sees.
        """
        columns = csv_columns(path, delimiter)
        stated = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in columns)
        relation = (
            f"read_csv({_text(str(path))}, delim={_text(delimiter)}, quote='\"', escape='\"', "
            f"header=true, auto_detect=false, columns={{{stated}}}, ignore_errors=true, "
            f"store_rejects=true, rejects_limit=0, null_padding=false, max_line_size={MAX_LINE})"
        )
        rows = self._numbered(path, relation)
        # The header is line 1 of the file and has no number here.
        refused = [(line - 1, message.splitlines()[0]) for line, message in self._csv_errors()]
        self._refused = [{"row": row, "message": message} for row, message in refused]
        return self._make_room(rows, [row for row, _ in refused]) if refused else rows

    def _csv_errors(self) -> list[tuple[int, str]]:
        with contextlib.suppress(duckdb.CatalogException):
            rows = self.backend.con.execute(
                "select line, min(error_message) from reject_errors group by line order by line"
            ).fetchall()
            self.run("drop table reject_errors; drop table reject_scans")
            return [(int(line), str(message)) for line, message in rows]
        return []

    def _make_room(self, rows: ir.Table, refused: list[int]) -> ir.Table:
        """Move the positions of rows past those of the refused rows between them."""
        name, moved = rows.get_name(), self._name("rows")
        edges = {row - before: before + 1 for before, row in enumerate(refused)}
        listed = ", ".join(f"({edge}, {shift})" for edge, shift in edges.items())
        self.run(
            f"create temp table {moved} as select {name}.{LINE} + coalesce(shift, 0) as {LINE}, "
            f"{name}.* exclude ({LINE}) from {name} asof left join (values {listed}) "
            f"as room(edge, shift) on {name}.{LINE} >= edge"
        )
        self.drop(rows)
        return self.backend.table(moved)

    def read_lines(self, path: Path) -> ir.Table:
        """Return a text file as one text column `line`, and its position. Empty lines are kept.

        Lines that are not UTF-8 are left out here and returned by `rejected`.
        """
        name = self._name("rows")
        self._refused = []
        schema = pa.schema([(LINE, pa.int64()), ("line", pa.string())])
        reader = pa.RecordBatchReader.from_batches(schema, self._line_batches(path, schema))
        connection = self.backend.con
        connection.register("arriving_lines", reader)
        try:
            connection.execute(f"create temp table {name} as select * from arriving_lines")
        except (duckdb.Error, EOFError, OSError) as error:
            raise _unreadable(path, error) from error
        finally:
            connection.unregister("arriving_lines")
        return self.backend.table(name)

    def _line_batches(self, path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with _opened(path) as stream:
            numbered = enumerate(stream, 1)
            while some := list(itertools.islice(numbered, LINES_AT_ONCE)):
                numbers, lines = [], []
                for number, raw in some:
                    try:
                        line = raw.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8")
                    except UnicodeDecodeError:
                        self._refused.append({"row": number, "message": "The line is not UTF-8."})
                        continue
                    numbers.append(number)
                    lines.append(line)
                yield pa.record_batch([pa.array(numbers, pa.int64()), pa.array(lines)], schema)

    def read_parquet(self, paths: Sequence[Path]) -> ir.Table:
        """Return the rows of Parquet files; a column of several types is of the widest."""
        listed = [str(path) for path in paths]
        return self.backend.read_parquet(
            listed, table_name=self._name("parquet"), union_by_name=len(listed) > 1
        )

    def read_numbered_parquet(self, path: Path) -> ir.Table:
        """Return the rows of one foreign Parquet file, and their positions."""
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        _refuse_duplicates(path, names)
        return self._numbered(path, f"read_parquet({_text(str(path))})")

    def rejected(self) -> list[dict[str, Any]]:
        """Return and forget the rows that the last reading left out: `row` and `message`."""
        refused, self._refused = self._refused, []
        return refused

    def _numbered(self, path: Path, relation: str) -> ir.Table:
        name = self._name("rows")
        try:
            # A table, not a view: the file is read once, and its rows keep their order.
            self.run(
                f"create temp table {name} as "
                f"select row_number() over () as {LINE}, * from {relation}"
            )
        except duckdb.Error as error:
            raise _unreadable(path, error) from error
        return self.backend.table(name)

    # Computing ---------------------------------------------------------------------------------

    def teach(self, functions: Mapping[str, Callable[[str], str | None]]) -> None:
        """Let SQL call functions of one text, by name; null stays null.

        They are asked in batches, once for each distinct text of a batch.
        """
        for name in functions.keys() - self._taught:
            self.backend.con.create_function(
                name, _over_column(functions[name]), ["VARCHAR"], "VARCHAR",
                type="arrow", null_handling="special",
            )  # fmt: skip
            self._taught.add(name)

    def select(self, table: ir.Table, columns: Mapping[str, str]) -> ir.Table:
        """Return `table` with `columns` computed by SQL expressions (DuckDB dialect).

        Raises `duckdb`'s own error text as `SourceError` when an expression does not compile.
        """
        return self._described(f"select {_columns(columns)} from ({self.backend.compile(table)})")

    def extend(self, table: ir.Table, *selects: Mapping[str, str]) -> ir.Table:
        """Return `table` with columns added by SQL, those of each select over the ones before."""
        query = str(self.backend.compile(table))
        for columns in selects:
            query = f"select *, {_columns(columns)} from ({query})"
        return self._described(query)

    def _described(self, query: str) -> ir.Table:
        try:
            # Described here: left to itself, ibis 12 asks by a call that duckdb 1.5 deprecates.
            described = self.backend.con.execute(f"describe {query}").fetchall()
            types = {name: self.backend.compiler.type_mapper.from_string(kind)
                     for name, kind, *_ in described}  # fmt: skip
            return self.backend.sql(query, schema=ibis.schema(types), dialect="duckdb")
        except (duckdb.Error, ibis.IbisError) as error:
            raise SourceError(f"The expression does not compile: {_first_line(error)}") from error

    def table(self, rows: pa.Table) -> ir.Table:
        """Return rows held in memory as a table of this engine."""
        return ibis.memtable(rows)

    def sql(self, key: Hashable, build: Callable[[], ir.Table]) -> str:
        """Return the SQL of an expression; one key is built and compiled once.

        A wide expression takes longer to compile than to run on few rows. The key must name all
        that the SQL depends on, tables included: `hold` uses the names of dropped tables again.
        """
        if key not in self._compiled:
            self._compiled[key] = str(self.backend.compile(build()))
        return self._compiled[key]

    def hold(self, table: ir.Table | str) -> ir.Table:
        """Compute a table, or its SQL, now and keep it, for use by several expressions."""
        name = next(n for i in itertools.count() if (n := f"held_{i}") not in self._held)
        try:
            if isinstance(table, str):
                self.run(f"create temp table {name} as {table}")
            else:
                self.backend.create_table(name, table, temp=True)
        except duckdb.Error as error:
            self.backend.drop_table(name, force=True)
            raise SourceError(f"The rows cannot be computed: {_first_line(error)}") from error
        self._held.add(name)
        return self.backend.table(name)

    @contextlib.contextmanager
    def split(self, table: ir.Table, column: str) -> Iterator[dict[int, ir.Table]]:
        """Yield a table in parts by a whole number, as files that go when the context ends.

        Computed once; no part is held in memory, and a number without rows has none.
        """
        with tempfile.TemporaryDirectory(dir=self._temporary) as name:
            folder = Path(name) / "parts"
            self.backend.to_parquet(table, folder, partition_by=column)
            parts = {int(part.name.partition("=")[2]): sorted(part.glob("*.parquet"))
                     for part in folder.glob(f"{column}=*")}  # fmt: skip
            yield {number: self.read_parquet(files) for number, files in parts.items()}

    def drop(self, *tables: ir.Table) -> None:
        """Forget tables made by `hold` or `read_csv`."""
        for table in tables:
            # Not get_name(), which is qualified for some tables, and then names none.
            self.backend.drop_table(table.op().name, force=True)
            self._held.discard(table.op().name)

    def arrow(self, table: ir.Table | str) -> pa.Table:
        """Compute a table, or its SQL, and return its rows."""
        try:
            if isinstance(table, str):
                return self.backend.con.sql(table).to_arrow_table()
            return self.backend.to_pyarrow(table)
        except duckdb.Error as error:
            raise SourceError(f"The rows cannot be computed: {_first_line(error)}") from error

    def write(self, table: ir.Table, path: Path) -> int:
        """Compute `table` into one Parquet file and return its number of rows."""
        try:
            options = {"compression": "zstd", "compression_level": 1, "row_group_size": ROW_GROUP}
            if not any(kind.is_string() for kind in table.schema().types):
                options["dictionary_size_limit"] = 1  # Not worth a try: keys and times vary.
            self.backend.to_parquet(table, path, **options)
        except duckdb.Error as error:
            raise SourceError(f"The rows cannot be computed: {_first_line(error)}") from error
        return int(pq.read_metadata(path).num_rows)

    def _name(self, prefix: str) -> str:
        self._views += 1
        return f"{prefix}_{self._views}"


def _over_column(function: Callable[[str], str | None]) -> Callable[[pa.ChunkedArray], pa.Array]:
    """Return `function` over a column of texts."""

    def column(texts: pa.ChunkedArray) -> pa.Array:
        coded = texts.combine_chunks().dictionary_encode()
        answers = [function(text) for text in coded.dictionary.to_pylist()]
        return pa.array(answers, pa.string()).take(coded.indices)

    return column


def json_has(path: str) -> str:
    """Return SQL saying whether the JSON in column `line` has a key; null if it is not JSON."""
    return f"case when json_valid(line) then json_exists(line, {_json_path(path)}) end"


def json_values(paths: Sequence[str]) -> str:
    """Return SQL for the texts at `paths` (`a.b`) of the JSON in column `line`, as one list.

    All keys come out of a single parse of the line; a line that is not JSON gives null.
    """
    listed = ", ".join(_json_path(path) for path in paths)
    return f"case when json_valid(line) then json_extract_string(line, [{listed}]) end"


def keyed_sha256(sql: str, key: bytes) -> str:
    """Return SQL for the HMAC-SHA256 of a text, in hex digits (RFC 2104; a key of <= 64 bytes)."""
    padded = key.ljust(64, b"\0")
    inner, outer = (_bytes(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    return f"sha256({outer} || unhex(sha256({inner} || encode({sql}))))"


def csv_columns(path: Path, delimiter: str) -> list[str]:
    """Return the column names of a CSV file's first record, none of them empty.

    Raises `DuplicateColumns`, and `SourceError` when there is no header or the file cannot be read.
    """
    try:
        with _opened(path) as stream:
            # Line by line: a byte that is not UTF-8 further down spoils its row, not the file.
            lines = (raw.decode("utf-8-sig") for raw in stream)
            header = next(csv.reader(lines, delimiter=delimiter), [])
            if path.suffix == ".gz":
                # The engine takes a file cut short for a whole one; reading to the end does not.
                while stream.read(1 << 20):
                    pass
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error
    if not header:
        raise SourceError(
            f"{path.name} is empty.", hint="Write a header line, or take the file away.",
            file=path.name,
        )  # fmt: skip
    stated = [name.strip() for name in header]
    _refuse_duplicates(path, [name for name in stated if name])
    known = {name.casefold() for name in stated}
    return [name or _unnamed(position, known) for position, name in enumerate(stated)]


def _unnamed(position: int, known: set[str]) -> str:
    stem = f"column{position}"
    tries = itertools.chain([stem], (f"{stem}_{copy}" for copy in itertools.count(1)))
    return next(name for name in tries if name not in known)


def _refuse_duplicates(path: Path, names: Sequence[str]) -> None:
    """Raise `DuplicateColumns`. SQL does not tell large letters from small ones."""
    counts = collections.Counter(name.casefold() for name in names)
    twice = [name for name in names if counts[name.casefold()] > 1]
    if twice:
        raise DuplicateColumns(
            f"{path.name} has several columns called {twice[0]!r}: "
            f"{', '.join(repr(name) for name in twice[:10])}.",
            hint="Give each column a name of its own; large and small letters are the same.",
            file=path.name,
            columns=twice,
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the uncompressed bytes of a file, by its ending."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            yield stream
    elif path.suffix == ".zst":
        with pa.input_stream(str(path), compression="zstd") as stream:
            yield io.BufferedReader(stream)
    else:
        with path.open("rb") as stream:
            yield stream


def _unreadable(path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path.name} cannot be read: {_first_line(error)}",
        hint="Check that the file is whole, in UTF-8 with one kind of line ending, and that "
        "`format` and `delimiter` fit it.",
        file=path.name,
    )


def instant_of_text(sql: str, time_zone: str) -> str:
    """Return SQL reading text as UTC microseconds; naive text is read in `time_zone`.

    Whatever follows the time of day (`Z`, `+01:00`, ` -0500`, ` UTC`, ` Europe/London`) says its
    zone. Text that does not start with a year is no time.
    """
    text = f"trim({sql})"
    aware = rf"regexp_replace(regexp_replace({text}, 'z$', 'Z'), ' +([+-][0-9:]+)$', '\1')"
    return (
        f"case when left({text}, 1) not between '0' and '9' then null "
        rf"when regexp_matches({text}, '[0-9]:[0-9]{{2}}[0-9:.]* *[A-Za-z+-]') "
        f"then epoch_us(try_cast({aware} as timestamptz)) "
        f"else {instant_of_naive(text, time_zone)} end"
    )


def instant_of_naive(sql: str, time_zone: str) -> str:
    """Return SQL reading a naive timestamp, date or text as UTC microseconds.

    An hour that comes twice is read as the later one, in standard time.
    """
    naive = f"try_cast({sql} as timestamp)"
    if time_zone == "UTC":
        return f"epoch_us({naive})"
    return f"epoch_us(timezone({_text(time_zone)}, {naive}))"


def local_day(sql: str, time_zone: str) -> str:
    """Return SQL for the day number (days since 1970-01-01) of UTC microseconds in `time_zone`.

    Null outside of [1900, 2300), where zones are not computed.
    """
    # The engine's // goes towards zero; a day starts at its midnight on both sides of 1970.
    return _on_the_clock(sql, time_zone, "floor({local} / 86400000000)::integer")


def local_hour(sql: str, time_zone: str) -> str:
    """Return SQL for the hour on the clock, 0 to 23, of UTC microseconds in `time_zone`.

    Null outside of [1900, 2300), where zones are not computed.
    """
    hours = "floor({local} / 3600000000)::integer"
    return _on_the_clock(sql, time_zone, f"((({hours}) % 24 + 24) % 24)::tinyint")


def _on_the_clock(sql: str, time_zone: str, counted: str) -> str:
    within = f"({sql}) between -2208988800000000 and 10413792000000000"
    local = sql
    if time_zone != "UTC":
        local = f"epoch_us(timezone({_text(time_zone)}, make_timestamptz({sql})))"
    return f"case when {within} then {counted.format(local=local)} end"


def _json_path(path: str) -> str:
    return _text("$." + ".".join(f'"{key}"' for key in path.split(".")))


def _columns(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{sql} as {_name(name)}" for name, sql in columns.items())


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _bytes(value: bytes) -> str:
    return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::blob"


def _name(value: str) -> str:
    return '"' + value.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
