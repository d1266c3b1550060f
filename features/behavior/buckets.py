"""People in buckets: features of however many rows, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from features.behavior.definitions import Definition
from features.behavior.scene import AnyEngine, Log, People, scene_of
from features.behavior.table import render

AT_ONCE = 100_000
"""Rows of the spine in a bucket: what is held of them fits into the engine's memory."""


def rendered(
    engine: AnyEngine,
    log: Log,
    people: People,
    definitions: Sequence[Definition],
    at_once: int = AT_ONCE,
) -> Iterator[pa.Table]:
    """Yield the features of `people` as `render` has them: buckets of rows, in their order.

    Events are first sorted into files by bucket, so that the log is read once. Rows of one person
    at several moments are best beside each other: then their events are in one bucket.
    """
    buckets = people.member_row // at_once
    if len(people) <= at_once:
        yield _of_bucket(engine, log, people, definitions)
        return
    pairs = np.unique(np.stack([buckets, people.member_key]), axis=1)
    listed = engine.table(pa.table({"bucket": pairs[0], "identity_key": pairs[1]}))
    sorted_events = log.events.inner_join(listed, "identity_key")
    with engine.split(sorted_events, "bucket") as parts:
        for first in range(0, len(people), at_once):
            events = parts.get(first // at_once, log.events.limit(0))
            some = people.span(first, first + at_once)
            yield _of_bucket(engine, replace(log, events=events), some, definitions)


def _of_bucket(
    engine: AnyEngine, log: Log, people: People, definitions: Sequence[Definition]
) -> pa.Table:
    scene = scene_of(engine, log, people)
    features = render(scene, definitions)
    scene.close()
    return features
