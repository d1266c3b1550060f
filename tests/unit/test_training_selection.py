"""Feature selection: what says nothing goes, with its reason; nothing that matters does."""

import csv
from dataclasses import replace

import numpy as np

from features.behavior.definitions import Count, DaysSince
from features.time import Window
from tests.unit.test_training_fit import DATASET, PARAMS, POPULATION, TASK
from training.bundle import Bundle
from training.dataset import Dataset
from training.fit import train
from training.selection import narrowed, select

QUICK = replace(PARAMS, max_rounds=80, early_stopping_rounds=20)
MORE = tuple(
    Count(event, Window.parse("30d")).feature for event in ("none", "one", "again", "noise")
)  # fmt: skip


def padded(data: Dataset) -> Dataset:
    """Add a column never known, one of a single value, a copy of the first, and noise."""
    rows = len(data.label)
    noise = np.random.default_rng(11).normal(size=rows)
    more = [np.full(rows, np.nan), np.ones(rows), data.matrix[:, 0], noise]
    matrix = np.column_stack([data.matrix, *more])
    return replace(data, features=(*data.features, *MORE), matrix=matrix)


DATA = padded(DATASET)
NEWEST = DATA.as_of == DATA.as_of.max()
FIT, LATER = (DATA.rows(~NEWEST & part) for part in (DATA.person % 2 == 0, DATA.person % 2 == 1))


def test_what_cannot_say_anything_goes_with_its_reason():
    found = select(FIT, LATER, QUICK)
    reasons = found.reasons
    assert reasons["none_count_30d"] == "never known"
    assert reasons["one_count_30d"] == "the same for everyone"
    assert reasons["again_count_30d"] == "equal to purchase_count_30d"
    kept = [FIT.names[place] for place in found.kept]
    assert "view_count_30d" in kept and DaysSince("purchase").feature.name in kept
    assert set(kept) | set(reasons) == set(DATA.names) and not set(kept) & set(reasons)
    assert found == select(FIT, LATER, QUICK)


def test_noise_goes_only_where_the_model_without_it_does_no_worse(monkeypatch):
    weak = narrowed(FIT, (0, 1, 2, 6)), narrowed(LATER, (0, 1, 2, 6))
    seen = []
    for verdict in (0.0, 1.0):
        losses = iter([0.5 + verdict, 0.5 + 0.5])
        monkeypatch.setattr("training.selection._loss", lambda *args, it=losses: next(it))
        monkeypatch.setattr("training.selection._weak", lambda fit, kept, params: {3: "noise"})
        seen.append(select(*weak, QUICK).kept)
    assert seen == [(0, 1, 2), (0, 1, 2, 3)]


def test_a_null_beside_one_value_says_something():
    matrix = FIT.matrix.copy()
    matrix[::2, 4] = np.nan
    assert "one_count_30d" not in {
        name for name, why in select(replace(FIT, matrix=matrix), LATER, QUICK).reasons.items()
        if why == "the same for everyone"
    }  # fmt: skip


def test_something_always_stays():
    empty = narrowed(FIT, (3, 4)), narrowed(LATER, (3, 4))
    found = select(*empty, QUICK)
    assert found.kept == (0,) and list(found.reasons) == ["one_count_30d"]


def test_poisoned_outcomes_of_the_evaluation_change_no_choice(tmp_path):
    poisoned = replace(DATA, label=np.where(NEWEST, 1 - DATA.label, DATA.label))
    people = DATA.matrix[-len(POPULATION) :]
    task = replace(TASK, definitions=list(range(7)), selecting=True)
    found, again = (train(data, people, task, QUICK) for data in (DATA, poisoned))
    assert found.selection is not None and found.selection == again.selection
    assert found.selection.sentence in found.summary
    bundle = found.bundle
    assert bundle.names == tuple(DATA.names[place] for place in found.selection.kept)
    assert bundle.definitions == list(found.selection.kept)
    assert bundle.dropped == found.selection.reasons
    bundle.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").dropped == bundle.dropped
    rows = list(csv.DictReader(found.pages["selection.csv"].splitlines()))
    assert {row["feature"]: row["why"] for row in rows} == bundle.dropped


def test_an_allowed_feature_may_be_dropped():
    known = list(range(7))
    task = replace(TASK, definitions=known, selecting=True, allow={"none_count_30d": "a test"})
    found = train(DATA, DATA.matrix[-400:], task, QUICK)
    assert "none_count_30d" in found.bundle.dropped


def test_without_being_asked_every_feature_stays():
    task = replace(TASK, definitions=list(range(7)))
    found = train(DATA, DATA.matrix[-400:], task, QUICK)
    assert found.selection is None and found.bundle.names == DATA.names
    assert found.bundle.dropped == {} and found.pages == {}
