"""Parity after publish: a sample of people computed live from what the store gives back.

What the service will compute must be what the run computed, to the bit: from the packed bytes, by
the conditions and definitions as the generation keeps them, at the run's own as_of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.errors import LikelierError
from serving.live import LiveGoals
from serving.online import Floats, OnlineStore

SAMPLE = 200
"""People compared of everyone, and of those eligible for each goal."""


class ParityFailed(LikelierError):
    """A person's feature that is one value in the table and another one live."""

    code = "parity_failed"


def check_parity(
    online: OnlineStore, columns: Mapping[str, Sequence[str]], people: Sequence[str]
) -> dict[str, int]:
    """Compare what `online` holds of `people` with what is computed live at its as_of.

    `columns`: by goal, the features of its model. Returns how many people and values were equal;
    people whose history is not kept are left out. Raises `ParityFailed`.
    """
    live, goals = LiveGoals(online.meta, columns), [*columns]
    compared = values = 0
    for profile_id in people:
        history = online.history(profile_id)
        if history is None:
            continue
        found = live.vectors(history, [], live.as_of, goals)
        for goal in goals:
            stored = online.vector(profile_id, goal)
            _compare(profile_id, goal, columns[goal], stored, found.get(goal))
            values += 0 if stored is None else len(stored)
        compared += 1
    return {"people": compared, "values": values}


def _compare(
    profile_id: str, goal: str, names: Sequence[str], stored: Floats | None, live: Floats | None
) -> None:
    if stored is None or live is None:
        if (stored is None) != (live is None):
            raise _failed(profile_id, goal, "eligible", stored is not None, live is not None)
        return
    same = (stored.view(np.int64) == live.view(np.int64)) | (np.isnan(stored) & np.isnan(live))
    for place in np.flatnonzero(~same)[:1]:
        raise _failed(profile_id, goal, names[place], _plain(stored[place]), _plain(live[place]))


def _plain(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _failed(profile_id: str, goal: str, feature: str, table: object, live: object) -> ParityFailed:
    return ParityFailed(
        f"{feature} of {goal} is {table!r} in the table and {live!r} live, for one of the people "
        "compared. Nothing was published; the run before still serves.",
        hint="This is a defect: please report it with the feature and both values.",
        profile_id=profile_id,
        goal=goal,
        feature=feature,
        table=table,
        live=live,
    )
