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


class EmptyColumn(SourceError):
    """A column that is to be used, and in which no row holds a value."""

    code = "empty_column"


class InfiniteValues(SourceError):
    """A column of numbers some of which are infinite."""

    code = "infinite_values"


class TooManyValues(SourceError):
    """A column of categories with so many different values that they cannot be categories."""

    code = "too_many_values"


MOST_VALUES = 10_000
"""Different values that a column of categories, or event types, may have."""
INFINITE = ("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity")
"""Texts, in lower case, that databases and programs write for an infinite number."""
