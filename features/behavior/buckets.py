"""People in buckets: features and histories of however many rows, in memory that stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from features.behavior.definitions import Definition
from features.behavior.history import histories_of
from features.behavior.packed import LongHistory, Wanted, pack
from features.behavior.scene import AnyEngine, Log, People, scene_of
from features.behavior.table import render

AT_ONCE = 100_000
"""Rows of the spine in a bucket: what is held of them fits into the engine's memory."""
HISTORIES_AT_ONCE = 5_000
"""People whose histories are held at once."""


def rendered(
    engine: AnyEngine,
    log: Log,
    people: People,
    definitions: Sequence[Definition],
    at_once: int = AT_ONCE,
) -> Iterator[pa.Table]:
    """Yield the features of `people` as `render` has them: buckets of rows, in their order."""
    for events, some in in_buckets(engine, log, people, at_once):
        yield _of_bucket(engine, events, some, definitions)


def in_buckets(
    engine: AnyEngine, log: Log, people: People, at_once: int
) -> Iterator[tuple[Log, People]]:
    """Yield `people`, so many rows at once, in their order, each time with the log of their events.

    Events are first sorted into files by bucket, so that the log is read once. Rows of one person
    at several moments are best beside each other: then their events are in one bucket.
    """
    if len(people) <= at_once:
        yield log, people
        return
    buckets = people.member_row // at_once
    pairs = np.unique(np.stack([buckets, people.member_key]), axis=1)
    listed = engine.table(pa.table({"bucket": pairs[0], "identity_key": pairs[1]}))
    sorted_events = log.events.inner_join(listed, "identity_key")
    with engine.split(sorted_events, "bucket") as parts:
        for first in range(0, len(people), at_once):
            events = parts.get(first // at_once, log.events.limit(0))
            yield replace(log, events=events), people.span(first, first + at_once)


def _of_bucket(
    engine: AnyEngine, log: Log, people: People, definitions: Sequence[Definition]
) -> pa.Table:
    scene = scene_of(engine, log, people)
    features = render(scene, definitions)
    scene.close()
    return features


def packed(
    engine: AnyEngine, log: Log, people: People, wanted: Wanted, at_once: int = HISTORIES_AT_ONCE
) -> Iterator[bytes | None]:
    """Yield the packed history of every row of `people`, in order: of it, what is `wanted`.

    All events of the row's identities, known or not. None where there are too many of them.
    """
    for events, some in in_buckets(engine, log, people, at_once):
        for history in histories_of(engine, events, some):
            try:
                yield pack(wanted.of(history))
            except LongHistory:
                yield None
