"""Profile ids of the previous run as they are called now.

A profile id is its anchor identity, so it moves when a visitor becomes known and two ids become
one when people merge. Whatever is kept from run to run is moved first and compared afterwards.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def moved(profile_ids: pa.ChunkedArray, changes: pa.Table) -> pa.ChunkedArray:
    """Return, for ids of the previous run, the profile that holds each one's anchor now.

    `changes` is `profile_changes` (old, new, kind), one row an `old`; an id it does not list is
    still called so, or belongs to nobody any more. One hop: call it once a run.
    """
    old = changes["old"].cast(pa.string()).combine_chunks()
    place = pc.index_in(profile_ids, value_set=old)
    new = changes["new"].cast(pa.string()).combine_chunks()
    return pc.coalesce(new.take(place), profile_ids)
