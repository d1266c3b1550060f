"""Drift of a run: how far its people and their scores are from those its models were made for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from features.store import Store
from pipelines.scoring import DRIFT, SCORES
from training.drift import SCORE

Moved = Mapping[str, Sequence[Mapping[str, Any]]]
"""By goal: every feature and the score, the most moved first, as `training.drift.Drift.body`."""


def drift_of_scores(store: Store, scores: str) -> Moved:
    """Return the drift that a version of the scores was written with; older ones have none."""
    try:
        found: Moved = json.loads((store.folder(SCORES, scores) / DRIFT).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def drift_figures(moved: Moved) -> dict[str, Any]:
    """Return what a run tells of drift, by goal: PSI of the score, and who moved by code."""
    return {
        goal: {
            "score": next((each["psi"] for each in found if each["code"] == SCORE), None),
            "features": len([each for each in found if each["code"] != SCORE]),
            "moved": [each["code"] for each in found if each["level"] == "moved"],
            "shifted": [each["code"] for each in found if each["level"] == "shifted"],
            "nulls_jumped": [each["code"] for each in found if each["nulls_jumped"]],
        }
        for goal, found in moved.items()
    }


def drift_metrics(found: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures of one goal's drift that are kept in MLflow; none of nobody."""
    if not found:
        return {}
    features = [each for each in found if each["code"] != SCORE]
    levels = [each["level"] for each in features]
    return {
        "drift_score": next(each["psi"] for each in found if each["code"] == SCORE),
        "drift_most": max((each["psi"] for each in features), default=0.0),
        "drift_moved": float(levels.count("moved")),
        "drift_shifted": float(levels.count("shifted")),
    }


def drift_alarms(moved: Moved, models: Mapping[str, str], as_of: str) -> list[dict[str, Any]]:
    """Return an alarm for every feature, and the score, that shifted or whose nulls jumped.

    `of` is its code; `bins`, `before` and `now` are people by bin, then and now. JSON-ready.
    """
    alarms = []
    for goal, found in moved.items():
        for each in found:
            said = {"goal": goal, "version": models[goal], "of": each["code"], "as_of": as_of}
            both = {name: each[name] for name in ("bins", "before", "now")}
            if each["level"] == "shifted":
                what = f"{each['label']}: PSI {each['psi']:.2f}; {largest_move(each)}"
                alarms.append({"code": "drifted", **said, "what": what, **both})
            if each["nulls_jumped"]:
                what = (
                    f"{each['label']}: null for {each['nulls_now']:.1%}, and for "
                    f"{each['nulls_before']:.1%} when the model was made"
                )
                alarms.append({"code": "nulls_jumped", **said, "what": what, **both})
    return alarms


def largest_move(drift: Mapping[str, Any]) -> str:
    """Say which bin of a feature gained or lost most, in shares of people."""
    before, now = (shares(drift[name]) for name in ("before", "now"))
    place = max(range(len(before)), key=lambda at: abs(now[at] - before[at]))
    return f"{drift['bins'][place]} was {before[place]:.1%} and is {now[place]:.1%}"


def shares(counts: Sequence[int]) -> list[float]:
    """Return counts as shares of their sum."""
    return [count / sum(counts) for count in counts]
