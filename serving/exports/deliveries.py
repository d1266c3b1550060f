"""The log of deliveries: for every export and member, sent, held out or left out.

Rows are only added, and taken away only when a person is erased. The ids of earlier rows are moved
to their successors once a run, so a person is found under the id they have now; the files
themselves keep the ids of their day.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from features.erasures import Erasures
from features.settings import Destination
from features.time import MICROS_PER_SECOND
from serving.segments.successors import moved

DELIVERIES = pa.schema(
    {
        "segment": pa.string(),
        "destination": pa.string(),
        "profile_id": pa.string(),
        "status": pa.string(),
        "reason": pa.string(),
        "as_of": pa.int64(),
        "first_assigned": pa.int64(),
        "file": pa.string(),
    }
)
"""One row an export and member. `status`: sent, held_out, left_out. `reason`: opted_out or
no_identity, null unless left out. `first_assigned`: as_of of the export at which it was decided
whether the person is held out; null for those left out, of whom nothing is decided."""


def carried(previous: pa.Table | None, changes: pa.Table) -> pa.Table:
    """Return the deliveries of earlier runs under the ids of this run.

    Call it once in every run, also in one that exports nothing: `changes` spans one run only.
    """
    if previous is None:
        return DELIVERIES.empty_table()
    place = previous.schema.get_field_index("profile_id")
    return previous.set_column(place, "profile_id", moved(previous["profile_id"], changes))


def unerased(deliveries: pa.Table, erasures: Erasures) -> pa.Table:
    """Return the deliveries without those of erased people."""
    if not len(erasures):
        return deliveries
    ids = deliveries["profile_id"].unique().to_pylist()
    kept = pa.array([who for who in ids if not erasures.place(who)], pa.string())
    return deliveries.filter(pc.is_in(deliveries["profile_id"], kept))


def file_name(segment: str, destination: Destination, as_of: int) -> str:
    """Return the name of an exported file: `win_back-20111001T000000Z.csv`."""
    moment = datetime.fromtimestamp(as_of // MICROS_PER_SECOND, UTC)
    return f"{segment}-{moment:%Y%m%dT%H%M%SZ}.{destination.format}"
