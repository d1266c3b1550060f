"""What today's identities would have changed about rows of the past: the leak that is avoided.

A training row of a past moment joins the identities that were one person then. Joined by today's
graph instead, it would hold visits that nobody could have tied to that person at the time.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features import time
from features.identity.graph import NOBODY, Graph, Resolution
from features.identity.moments import RowMembers
from features.identity.spellings import first_known

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def rewritten(graph: Graph, then: RowMembers, as_of: Ints, today: Resolution) -> Flags:
    """Say which rows would have had other identities, had `today` been asked.

    `then` holds each row's profile at the row's own `as_of`. Compared are the identities known by
    that moment: those of the profile then, with those that are one person with its anchor today.
    A row whose profile exists no more today is not said to differ.
    """
    count = len(graph.rank)
    first = first_known(np.arange(count), graph.seen_key, graph.seen_known, count)
    now = np.where(then.anchor == NOBODY, NOBODY, today.anchor[then.anchor])
    known = time.known_before(first[then.identity_key], as_of[then.row])
    row, key = then.row[known], then.identity_key[known]
    had = np.bincount(row, minlength=len(as_of))
    kept = np.bincount(row[today.anchor[key] == now[row]], minlength=len(as_of))
    would_have = _sizes(today.anchor, first, now, as_of)
    differs: Flags = (now != NOBODY) & ((kept != had) | (would_have != had))
    return differs


def _sizes(anchor: Ints, first: Ints, now: Ints, as_of: Ints) -> Ints:
    """Return how many identities of each row's profile of today were known at its as_of."""
    # Identities in order of profile, then of when they were known: a profile's are one slice,
    # and those known by a moment are its beginning.
    moments = np.sort(first)
    place = np.searchsorted(moments, first)
    width = len(first) + 1
    ordered = np.sort(anchor * width + place)
    start = np.searchsorted(ordered, now * width)
    end = np.searchsorted(ordered, now * width + np.searchsorted(moments, as_of))
    return (end - start).astype(np.int64)
