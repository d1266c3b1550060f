"""Errors of the segments room."""

from __future__ import annotations

from collections.abc import Sequence

from features.errors import LikelierError


class SegmentCycle(LikelierError):
    """Segments that are made of each other in a circle, so that none can be built first."""

    code = "segment_cycle"

    @classmethod
    def through(cls, cycle: Sequence[str]) -> SegmentCycle:
        """Build the error for `cycle`: each name uses the next one, and the last is the first."""
        return cls(
            f"segments.{cycle[0]}.where: the segments use each other in a circle: "
            f"{' uses '.join(cycle)}.",
            hint=f"Write the condition of one of them without in_segment({cycle[1]}).",
            cycle=list(cycle),
        )
