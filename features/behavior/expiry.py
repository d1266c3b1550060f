"""Visitors who have expired: nobody knows them, and they have been idle for too long.

A person is idle since their newest event, or since the last statement about them arrived; being put
into a segment is no activity. Known people never expire. Whether somebody has expired at a moment
is a pure function of what was known then.
"""

from __future__ import annotations

import ibis
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.behavior.scene import Ints, Log, People
from features.engine import Engine
from features.settings import KNOWN_TYPES, Identity


def expired(
    engine: Engine, log: Log, people: People, identity: Identity, kept: int
) -> NDArray[np.bool_]:
    """Say, by row of `people`, whether it is a visitor who was idle since before `kept`.

    Only what was known at the row's own as_of counts. `kept` (microseconds) is the first instant of
    activity that is enough. With `kept` of a later day than the row's this tells who would be gone
    by that day had they never come back, so it does not depend on whether they did.
    """
    named = np.array([space.type in KNOWN_TYPES for space in identity.namespaces])
    known = np.zeros(len(people), dtype=bool)
    known[people.member_row[named[log.namespace_rank[people.member_key]]]] = True
    last = _last_active(engine, log, people, ~known)
    idle: NDArray[np.bool_] = time.has_expired(last, kept)
    return ~known & idle


def _last_active(engine: Engine, log: Log, people: People, asked: NDArray[np.bool_]) -> Ints:
    """Return when each row was active last, as known at its as_of; the earliest time for never."""
    some = asked[people.member_row]
    row = people.member_row[some]
    member = {"row_id": row, "identity_key": people.member_key[some], "as_of": people.as_of[row]}
    members = engine.hold(engine.table(pa.table(member)))
    events, stated = log.events, log.observations
    activity = ibis.union(
        events.select("identity_key", "known_at", moment=events.event_time),
        stated.select("identity_key", "known_at", moment=stated.known_at),
    )
    joined = activity.inner_join(members, "identity_key")
    known = joined.filter(time.known_before(joined.known_at, joined.as_of))
    found = engine.arrow(known.group_by("row_id").aggregate(last=known.moment.max()))
    engine.drop(members)
    last = np.full(len(people), time.EARLIEST)
    last[found["row_id"].to_numpy()] = found["last"].to_numpy()
    return last
