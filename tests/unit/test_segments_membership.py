"""Who is in a segment: four people, and every sort of thing a condition may ask of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from features.behavior.scene import Scene
from features.conditions import Vocabulary
from features.engine import Engine
from features.settings import Segment
from features.time import MICROS_PER_DAY
from serving.segments.definitions import compile_segments
from serving.segments.membership import evaluate, opted_out, without

AS_OF = 20_000 * MICROS_PER_DAY
VOCABULARY = Vocabulary(
    events={"purchase": {"amount": "number"}},
    attributes={"country": "text"},
    identities=frozenset({"email"}),
    goals=frozenset({"churn", "conversion"}),
)

ANN, BEN, CAT, DAN = 3, 5, 8, 13
PROFILE_KEYS = np.array([ANN, BEN, CAT, DAN])
SPINE = pa.table(
    {
        "row_id": [0, 1, 2, 3],
        "as_of": [AS_OF] * 4,
        "profile_country": ["France", "France", None, "Spain"],
        "identity_email": [True, False, True, False],
    }
)
HISTORY = pa.table(
    {
        "row_id": [0, 0, 2],
        "as_of": [AS_OF] * 3,
        "event_time": [AS_OF - 5 * MICROS_PER_DAY, AS_OF - MICROS_PER_DAY, AS_OF - 1],
        "local_day": pa.array([19_995, 19_999, 19_999], pa.int32()),
        "event_type": ["purchase"] * 3,
        "attr_amount": pa.array(["12.50", "30", "4.25"]).cast(pa.decimal128(18, 4)),
    }
)
# Dan was not eligible; a score of somebody who is no longer a profile is of nobody here.
SCORES = pa.table(
    {
        "goal": ["churn", "conversion", "churn", "churn", "churn"],
        "profile_key": [BEN, ANN, ANN, CAT, 99],
        "score": [80.0, 99.0, 10.0, 50.0, 100.0],
        "probability": [0.5, 0.9, 0.05, 0.2, 1.0],
        "percentile": pa.array([90, 99, 5, 50, 100], pa.int32()),
        "bucket": ["high", "high", "low", "medium", "high"],
    }
)
FACTORS = pa.table(
    {
        "goal": ["churn"] * 4 + ["conversion"],
        "profile_key": [ANN, ANN, BEN, CAT, BEN],
        "code": ["days_since_purchase", "country", "days_since_purchase", "country", "country"],
        "direction": ["lowers", "raises", "raises", "raises", "raises"],
    }
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("engine")
    with Engine(temporary=folder) as engine:
        spine, history = engine.hold(engine.table(SPINE)), engine.hold(engine.table(HISTORY))
        yield Scene(engine, spine, spine, history)


def members(scene: Scene, **where: str) -> dict[str, list[int]]:
    segments = tuple(Segment(name=name, where=text) for name, text in where.items())
    found = evaluate(scene, compile_segments(segments, VOCABULARY), SCORES, FACTORS, PROFILE_KEYS)
    return {name: keys.tolist() for name, keys in found.items()}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('country = "France"', [ANN, BEN]),
        ("identity(email) exists", [ANN, CAT]),
        ("count(purchase in last 3d) >= 1", [ANN, CAT]),
        ("sum(purchase.amount) > 40", [ANN]),
        ("churn.score >= 50", [BEN, CAT]),
        ("not churn.score >= 50", [ANN, DAN]),
        ("churn.score exists", [ANN, BEN, CAT]),
        ("churn.probability < 0.2", [ANN]),
        ("churn.percentile = 50", [CAT]),
        ('churn.bucket in ("low", "high")', [ANN, BEN]),
        ('conversion.bucket = "high" and churn.bucket = "low"', [ANN]),
        ("factor(churn, days_since_purchase) = raises", [BEN]),
        ("factor(churn, days_since_purchase) = lowers", [ANN]),
        ("factor(churn, country) = raises", [ANN, CAT]),
        ("factor(conversion, country) = raises", [BEN]),
        ("factor(churn, never_heard_of) = raises", []),
        ("churn.score > 1000", []),
    ],
)
def test_a_condition_finds_its_people(scene: Scene, where: str, expected: list[int]) -> None:
    assert members(scene, asked=where) == {"asked": expected}


def test_segments_are_made_of_segments(scene: Scene) -> None:
    found = members(
        scene,
        offer="in_segment(buyers) and not in_segment(french)",
        rest="not in_segment(offer) and not in_segment(nobody)",
        buyers="any(purchase)",
        french='country = "France"',
        nobody="churn.score > 100",
    )
    assert found == {
        "buyers": [ANN, CAT],
        "french": [ANN, BEN],
        "nobody": [],
        "offer": [CAT],
        "rest": [ANN, BEN, DAN],
    }


def test_a_goal_nobody_was_scored_for_matches_nobody(scene: Scene) -> None:
    segment = Segment(name="high", where='churn.bucket = "high" or factor(churn, x) = raises')
    compiled = compile_segments((segment,), VOCABULARY)
    found = evaluate(scene, compiled, SCORES.slice(0, 0), FACTORS.slice(0, 0), PROFILE_KEYS)
    assert found["high"].tolist() == []


def test_keys_come_ascending_whatever_the_order_of_rows(scene: Scene) -> None:
    compiled = compile_segments((Segment(name="french", where='country = "France"'),), VOCABULARY)
    found = evaluate(scene, compiled, SCORES, FACTORS, np.array([9, 2, 4, 1]))
    assert found["french"].tolist() == [2, 9]


def test_whoever_refuses_everything_is_in_no_segment_and_counted():
    said = pa.table(
        {
            "profile_key": pa.array([1, 1, 2, 3], pa.int64()),
            "purpose": ["all", "ads", "all", "ads"],
            "allowed": [False, True, True, False],
        }
    )
    members = {"hot": np.array([1, 2, 3]), "cold": np.array([2]), "none": np.array([], np.int64)}
    left, counts = without(members, opted_out(said))
    assert {name: people.tolist() for name, people in left.items()} == {
        "hot": [2, 3], "cold": [2], "none": [],
    }  # fmt: skip
    assert counts == {"hot": 1, "cold": 0, "none": 0}
