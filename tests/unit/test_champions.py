"""What a champion scores people with: its own columns, whatever the data hold now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.behavior.catalogue import to_json
from features.behavior.definitions import (
    CategoryIs,
    Count,
    Definition,
    IdentityCount,
    NumberAttribute,
    Sum,
    ValueShare,
)
from features.time import Window
from pipelines.champions import definitions_of, of_champion, plan_for, unmeasurable
from pipelines.learning import dataset_of, lessons
from pipelines.stages import Plan, plan_features
from tests.unit.test_provenance import GOAL, VISITS, T, visits
from tests.worlds import DAY, START, Row, world

TEN = Window.parse("10d")
COUNT, SUM, AGE = Count("buy", TEN), Sum("buy", "amount", TEN), NumberAttribute("age")


def listed(*values: str, rest: bool = True) -> list[Definition]:
    found: list[Definition] = [CategoryIs("city", v, i) for i, v in enumerate(values, 1)]
    return [*found, CategoryIs("city", None, 0)] if rest else found


def bundle(definitions: Sequence[Definition]) -> Any:
    """Return the part of a bundle that says what it measures."""
    return SimpleNamespace(definitions=[to_json(each) for each in definitions])


def trained(catalogue: Sequence[Definition]) -> dict[str, Any]:
    """Return the facts of a training that measured all of a catalogue."""
    return {"catalogue": [to_json(each) for each in catalogue]}


def plan(*definitions: Definition) -> Plan:
    return Plan(START, SimpleNamespace(), definitions, ())  # type: ignore[arg-type]


def test_the_runs_own_plan_is_used_where_it_has_the_columns():
    now = plan(AGE, COUNT, SUM, *listed("Rome", "Oslo"))
    assert plan_for(now, bundle([COUNT, AGE]), {}) is now
    cities = listed("Rome", "Oslo")
    assert plan_for(now, bundle(cities), trained(cities)) is now


@pytest.mark.parametrize(
    "then", [("Rome",), ("Oslo", "Rome"), ("Rome", "Oslo", "Bonn")],
    ids=["fewer values", "another order", "more values"],
)  # fmt: skip
def test_other_means_what_lay_outside_the_list_of_then(then):
    now = plan(COUNT, *listed("Rome", "Oslo"))
    facts = trained([AGE, COUNT, *listed(*then)])
    own = plan_for(now, bundle([COUNT, CategoryIs("city", None, 0)]), facts)
    assert own is not now
    assert set(own.definitions) == {COUNT, *listed(*then)}


def test_a_bundle_that_lacks_some_values_lists_them_all_beside_other():
    facts = trained([AGE, *listed("Rome", "Oslo"), *mix("web", "shop")])
    found = definitions_of(bundle([CategoryIs("city", None, 0)]), facts)
    assert set(found) == set(listed("Rome", "Oslo"))
    found = definitions_of(bundle([ValueShare("buy", "way", None, 0, TEN)]), facts)
    assert set(found) == set(mix("web", "shop"))
    # Without `other` the value alone says what it is.
    alone = CategoryIs("city", "Oslo", 2)
    assert definitions_of(bundle([alone]), facts) == (alone,)


def mix(*values: str) -> list[Definition]:
    found = [ValueShare("buy", "way", value, place, TEN) for place, value in enumerate(values, 1)]
    return [*found, ValueShare("buy", "way", None, 0, TEN)]


def rows() -> list[Row]:
    return [
        Row({"customer": "p1"}, START + DAY, "buy", attributes={"amount": "5"},
            profile={"age": 30, "city": "Rome"})
    ]  # fmt: skip


def test_what_the_project_measures_is_measurable(tmp_path):
    with world(tmp_path / "world", rows()) as bench:
        wanted = [COUNT, SUM, AGE, *listed("Rome"), IdentityCount("email"), Count("gone", TEN)]
        # An event type that no longer happens is measured: it is seen to have stopped.
        assert unmeasurable(bench, bundle(wanted), trained(wanted)) == []


def test_an_attribute_that_was_taken_out_of_the_features_is_measured_no_longer(tmp_path):
    aside = {"windows": ["10d"], "without": ["age"]}
    with world(tmp_path / "world", rows(), features=aside) as bench:
        assert unmeasurable(bench, bundle([AGE, COUNT]), {}) == [AGE.feature.name]


@pytest.mark.parametrize(
    "wanted",
    [Sum("buy", "weight", TEN), NumberAttribute("city"), NumberAttribute("height"),
     IdentityCount("badge"), CategoryIs("age", "30", 1)],
    ids=["no such event attribute", "a text now", "no such attribute", "no such namespace",
         "a number now"],
)  # fmt: skip
def test_what_the_project_measures_no_longer_is_named(tmp_path, wanted):
    with world(tmp_path / "world", rows()) as bench:
        assert unmeasurable(bench, bundle([COUNT, wanted]), {}) == [wanted.feature.name]


def test_an_event_type_that_was_taken_out_of_the_features_is_measured_no_longer(tmp_path):
    chosen = {"windows": ["10d"], "events": ["visit"]}
    with world(tmp_path / "world", rows(), features=chosen) as bench:
        assert unmeasurable(bench, bundle([COUNT]), {}) == [COUNT.feature.name]


# On the rows of a challenger ---------------------------------------------------------------------


@pytest.mark.parametrize("goal", [GOAL, VISITS], ids=["calendar", "at_events"])
def test_columns_of_its_own_are_measured_on_the_very_rows_of_the_challenger(tmp_path, goal):
    """The catalogue of now lacks half of the columns; measured for it, they are what they were."""
    training = {"max_snapshots": 3}
    features = {"windows": ["10d", "60d"], "events": ["view", "purchase"]}
    with world(tmp_path, visits(), goals=[goal], features=features, training=training) as bench:
        whole = plan_features(bench, T)
        (lesson,) = lessons(bench, whole)
        expected = dataset_of(bench, whole, lesson)
        named = [each.feature.name for each in whole.definitions]
        twin = SimpleNamespace(
            names=tuple(named[::2]),
            definitions=[to_json(each) for each in whole.definitions[::2]],
        )
        now = replace(whole, definitions=whole.definitions[1::2])
        (later,) = lessons(bench, now)
        data = dataset_of(bench, now, later)
        assert (data.as_of == expected.as_of).all() and (data.label == expected.label).all()
        rows = (data.as_of > np.median(data.as_of)) & (data.person % 3 != 0)
        assert 20 < rows.sum() < len(rows)
        own = plan_for(now, twin, trained(whole.definitions))  # type: ignore[arg-type]
        assert own is not now
        found = of_champion(bench, now, own, later, data, rows, twin)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, expected.matrix[rows][:, ::2])
        # Where the catalogue has them all, they are taken from the challenger's rows.
        same = of_champion(bench, whole, whole, lesson, expected, rows, twin)  # type: ignore[arg-type]
        np.testing.assert_array_equal(same, found)
