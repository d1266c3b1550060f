"""What can be wrong with a source as a whole. Single bad rows are quarantined, not errors."""

from __future__ import annotations

from features.errors import SourceError


class NoFiles(SourceError):
    """A path that names no readable file."""

    code = "no_files"


class BadMapping(SourceError):
    """A mapping expression that is not one scalar SQL expression over the source's columns."""

    code = "bad_mapping"


class MissingColumn(SourceError):
    """A mapping expression naming a column that the file lacks."""

    code = "missing_column"


class NoRows(SourceError):
    """A source of which no row could be used."""

    code = "no_rows"
