"""Errors of the exports room."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping

from features.errors import LikelierError

SHAPES = (
    "profile_id, identity.NAMESPACE, profile.ATTRIBUTE, measure.NAME, GOAL.score, "
    "GOAL.factors.1.label, segment, as_of"
)


class UnknownField(LikelierError):
    """A column of a destination that asks for something the project does not have."""

    code = "unknown_field"

    @classmethod
    def at(cls, where: str, field: str, available: Collection[str]) -> UnknownField:
        """Build the error for `field` at key `where`, naming the nearest field there is."""
        near = difflib.get_close_matches(field, available, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"A column may hold: {SHAPES}."
        return cls(f"{where}: there is no field {field!r}.", hint=hint, key=where, field=field)


class SameFile(LikelierError):
    """Two destinations of one segment that would write the same file."""

    code = "same_file"

    @classmethod
    def between(cls, segment: str, first: str, second: str, path: str) -> SameFile:
        """Build the error for two destinations that both write to `path`."""
        return cls(
            f"segments.{segment}.export: {first} and {second} would write the same file in "
            f"{path!r}.",
            hint=f"Give destinations.{second} a `path` or a `format` of its own.",
            segment=segment,
            destinations=[first, second],
        )


class DoesNotAddUp(LikelierError):
    """An export in which somebody is lost or counted twice; nothing of it is written."""

    code = "export_does_not_add_up"
    status = 500

    @classmethod
    def of(
        cls, segment: str, destination: str, rows: int, members: int, left_out: Mapping[str, int]
    ) -> DoesNotAddUp:
        """Build the error from the counts that disagree."""
        return cls(
            f"The export of {segment} to {destination} does not add up: {members} members, "
            f"{sum(left_out.values())} left out, but {rows} rows.",
            hint="Nothing was written. Run again with --from segment, and report this.",
            rows=rows,
            members=members,
            left_out=dict(left_out),
        )


class DamagedExport(LikelierError):
    """A staged file that is not, to the byte, what its manifest says."""

    code = "damaged_export"
    status = 503
