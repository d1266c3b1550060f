"""Roles by time, blocks of moments, and the fall back to people."""

import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from features.behavior.definitions import Count
from features.time import MICROS_PER_DAY, Window
from training.dataset import Dataset
from training.errors import DatasetError, UnknownFeature
from training.split import person_fraction, snapshots, split

DAYS_30 = Window.parse("30d")
FEATURES = (Count("purchase", DAYS_30).feature, Count("view", DAYS_30).feature)


def dataset(days: list[float], each: int = 40) -> Dataset:
    """Return `each` rows per day, people 0.. on every one, every second with the outcome."""
    rows = len(days) * each
    return Dataset(
        FEATURES,
        np.arange(rows * 2, dtype=np.float64).reshape(rows, 2),
        np.tile([0, 1], rows // 2).astype(np.int8),
        np.repeat([int(day * MICROS_PER_DAY) for day in days], each),
        np.tile(np.arange(each), len(days)),
    )


def days_of(data: Dataset, mask: np.ndarray) -> list[float]:
    return sorted({int(moment) / MICROS_PER_DAY for moment in data.as_of[mask]})


@pytest.mark.parametrize(
    ("days", "gap", "fit", "calibrate", "evaluate"),
    [
        ([0, 30, 60], None, [0], [30], [60]),
        ([0, 30, 60, 90], None, [0, 30], [60], [90]),
        ([0, 15, 30, 45, 60], None, [0], [30], [60]),
        ([0, 20, 40, 60, 80, 100], None, [0, 20], [60], [100]),
        ([0, 30, 60, 90, 120], "1d", [0], [60], [120]),
    ],
    ids=["three", "four", "half-windows purged", "overlaps purged", "a gap purges more"],
)
def test_roles_stand_one_closed_outcome_apart(days, gap, fit, calibrate, evaluate):
    data = dataset(days)
    roles = split(data, DAYS_30, Window.parse(gap) if gap else None)
    found = [days_of(data, mask) for mask in (roles.fit, roles.calibrate, roles.evaluate)]
    assert found == [fit, calibrate, evaluate]
    assert roles.protocol == "out_of_time"
    assert roles.persons_in_fit_and_evaluate == 40


@pytest.mark.parametrize("days", [[0], [0, 30], [0, 29, 58]])
def test_too_little_time_splits_people_and_says_so(days):
    data = dataset(days, each=1_000)
    roles = split(data, DAYS_30, None)
    assert roles.protocol == "person_hash"
    assert "people rather than dates were split" in roles.note
    assert roles.persons_in_fit_and_evaluate == 0
    shares = [mask.mean() for mask in (roles.fit, roles.calibrate, roles.evaluate)]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.04)


def test_a_snapshot_with_hardly_an_outcome_splits_people_instead():
    data = dataset([0, 30, 60])
    label = np.where(data.as_of == data.as_of.max(), 0, data.label).astype(np.int8)
    roles = split(replace(data, label=label), DAYS_30, None)
    assert roles.protocol == "person_hash"
    assert "too few outcomes of one kind" in roles.note


def test_moments_that_differ_one_by_one_are_taken_in_blocks():
    days = [float(day) for day in np.linspace(0.5, 150, 300)]
    data = dataset(days, each=2)
    roles = split(data, DAYS_30, None, width=DAYS_30)
    assert roles.protocol == "out_of_time"
    fit, calibrate, evaluate = (
        days_of(data, mask) for mask in (roles.fit, roles.calibrate, roles.evaluate)
    )
    assert evaluate[0] > 120 and evaluate[-1] == 150
    assert calibrate[-1] + 30 <= evaluate[0]
    assert fit[-1] + 30 <= calibrate[0]


def test_blocks_step_back_from_the_newest_moment():
    found = snapshots(np.array([5, 0, 9, 10]) * MICROS_PER_DAY, Window.parse("5d"))
    spans = [(each.first // MICROS_PER_DAY, each.last // MICROS_PER_DAY) for each in found]
    assert spans == [(0, 0), (5, 5), (9, 10)]


def test_the_hash_of_a_person_is_stable_even_and_independent_by_salt():
    people = np.arange(20_000)
    first, second = person_fraction(people, salt=0), person_fraction(people, salt=1)
    assert (person_fraction(people[::-1], salt=0)[::-1] == first).all()
    assert np.histogram(first, 10, (0, 1))[0] == pytest.approx(2_000, rel=0.1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.03
    # 0xe220a8397b1dcdaf: first output for seed 0 of the authors' splitmix64.c
    assert person_fraction(np.array([0]), salt=0)[0] == (0xE220A8397B1DCDAF >> 11) / 2**53


def test_rows_keep_their_order_and_columns_are_found_by_name():
    data = dataset([0, 30], each=2)
    part = data.rows(np.array([False, True, True, False]))
    assert part.column("view_count_30d").tolist() == [3.0, 5.0]
    with pytest.raises(UnknownFeature, match="Did you mean 'view_count_30d'"):
        data.column("views_count_30d")


@pytest.mark.parametrize("kept", ["", "0", "012", "45", "0245", "012345"])
def test_rows_are_those_of_the_mask_and_shared_where_they_stand_together(kept):
    data = dataset([1, 2, 3], each=2)
    mask = np.array([str(place) in kept for place in range(6)])
    part = data.rows(mask)
    assert (part.matrix == data.matrix[mask]).all()
    assert (part.label == data.label[mask]).all()
    assert (part.as_of == data.as_of[mask]).all() and (part.person == data.person[mask]).all()
    assert np.shares_memory(part.matrix, data.matrix) == (kept not in ("", "0245"))


def test_joined_parts_are_rows_one_after_the_other():
    data = dataset([1, 2, 3])
    parts = [data.rows(data.as_of == moment) for moment in np.unique(data.as_of)]
    assert Dataset.joined(FEATURES, parts).fingerprint() == data.fingerprint()
    assert Dataset.joined(FEATURES, []).matrix.shape == (0, 2)


def test_the_fingerprint_is_of_all_bytes_however_many_are_made_plain_at_a_time(monkeypatch):
    data = dataset([1, 2, 3])
    matrix = data.matrix.copy()
    matrix[::7, 1], matrix[::5, 0] = np.nan, -0.0
    data = replace(data, matrix=matrix)
    digest = hashlib.sha256("\n".join(data.names).encode() + b"(120, 2)")
    plain = np.where(np.isnan(matrix), np.nan, matrix + 0.0)
    for values, width in ((plain, "<f8"), (data.label, "<i1"), (data.as_of, "<i8")):
        digest.update(values.astype(width).tobytes())
    digest.update(data.person.astype("<i8").tobytes())
    assert data.fingerprint() == digest.hexdigest()
    monkeypatch.setattr("training.dataset.BLOCK", 7)
    assert data.fingerprint() == digest.hexdigest()


def test_the_fingerprint_follows_content_and_names_not_the_kind_of_null():
    data = dataset([0], each=2)
    negative_zero, other_null = data.matrix.copy(), data.matrix.copy()
    negative_zero[0, 0] = -0.0
    assert replace(data, matrix=negative_zero).fingerprint() == data.fingerprint()
    changed = [
        replace(data, label=1 - data.label),
        replace(data, features=FEATURES[::-1]),
        replace(data, person=data.person + 1),
        replace(data, as_of=data.as_of + 1),
        replace(data, matrix=data.matrix + 1),
    ]
    assert len({each.fingerprint() for each in [data, *changed]}) == 6
    other_null[1, 1] = np.nan
    payload = other_null.copy()
    payload.view(np.uint64)[1, 1] |= 1
    assert payload.tobytes() != other_null.tobytes()
    same = replace(data, matrix=payload).fingerprint()
    assert same == replace(data, matrix=other_null).fingerprint()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": np.zeros((2, 3))}, "The matrix is (2, 3), expected (2, 2)."),
        ({"person": np.zeros(1, np.int64)}, "2 labels, 2 as_of and 1 persons."),
        ({"label": np.array([0, 2], np.int8)}, "A label is neither 0 nor 1."),
    ],
)
def test_parts_that_disagree_are_refused(change, message):
    with pytest.raises(DatasetError, match=re.escape(message)):
        replace(dataset([0], each=2), **change)
