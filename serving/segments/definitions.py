"""Segment definitions read into typed conditions, in an order in which they can be built.

A segment may be made of others (`in_segment(win_back)`), so those come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter

from features.conditions import Condition, ConditionError, Vocabulary, parse, uses, words
from features.settings import Segment
from serving.segments.errors import SegmentCycle


@dataclass(frozen=True)
class CompiledSegment:
    """A segment whose condition has been read. `where` is the text as it stands in the project."""

    name: str
    title: str
    where: str
    condition: Condition

    @property
    def words(self) -> str:
        """The condition as a person says it."""
        return words(self.condition)

    @property
    def parts(self) -> frozenset[str]:
        """Names of the segments this one is made of, by one step."""
        return uses(self.condition).segments


def compile_segments(
    segments: tuple[Segment, ...], vocabulary: Vocabulary
) -> tuple[CompiledSegment, ...]:
    """Return all segments, each after those it is made of.

    Names of segments are those of `segments`, whatever `vocabulary` lists. Raises `ConditionError`
    naming the segment (`unknown_name` for a segment that is not there), or `SegmentCycle`.
    """
    known = replace(vocabulary, segments=frozenset(segment.name for segment in segments))
    compiled = {segment.name: _compiled(segment, known) for segment in segments}
    return tuple(compiled[name] for name in _ordered(compiled))


def _compiled(segment: Segment, vocabulary: Vocabulary) -> CompiledSegment:
    try:
        condition = parse(segment.where, vocabulary)
    except ConditionError as error:
        error.message = f"segments.{segment.name}.where: {error.message}"
        error.details["segment"] = segment.name
        raise
    return CompiledSegment(segment.name, segment.title or segment.name, segment.where, condition)


def _ordered(compiled: Mapping[str, CompiledSegment]) -> tuple[str, ...]:
    graph = {name: sorted(segment.parts) for name, segment in compiled.items()}
    try:
        return tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        # graphlib lists what must come first, first; we say who uses whom.
        raise SegmentCycle.through(error.args[1][::-1]) from None
