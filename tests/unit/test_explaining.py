"""Explaining everyone in chunks: the same reasons, at the cost that was announced."""

import tracemalloc

import numpy as np
import pytest

from features.behavior.definitions import NumberAttribute
from pipelines import explaining
from pipelines.explaining import Estimate, estimate, explained
from training.booster import BoosterParams, Trees
from training.bucket_factors import BucketSums
from training.bundle import Bundle
from training.calibration import Calibrator
from training.errors import NotAdditive
from training.factors import explain
from training.reference import Reference

PEOPLE, WIDTH = 3_000, 12
FEATURES = tuple(NumberAttribute(f"number_{place}").feature for place in range(WIDTH))


def people(count=PEOPLE):
    rng = np.random.default_rng(5)
    return np.where(rng.random((count, WIDTH)) < 0.1, np.nan, rng.normal(size=(count, WIDTH)))


@pytest.fixture(scope="module")
def bundle():
    matrix = people()
    label = (np.nan_to_num(matrix[:, :3]).sum(axis=1) > 0).astype(np.int8)
    names = [feature.name for feature in FEATURES]
    trees = Trees.fit(matrix, label, names, BoosterParams(num_threads=1), 60)
    margin = trees.margin(matrix)
    calibrator = Calibrator.of(margin, label)
    return Bundle(
        goal="buy", kind="conversion", basis="calendar", as_of=0, outcome_window="30d", gap="",
        trees=trees, calibrator=calibrator, features=FEATURES, definitions=[], categories=None,
        reference=Reference.of(margin, calibrator.probability(margin)), base_rate=0.5,
        serves="model", metrics={}, data_fingerprint="",
    )  # fmt: skip


def test_chunks_give_the_reasons_of_all_at_once(bundle, monkeypatch):
    monkeypatch.setattr(explaining, "CHUNK", 700)
    matrix = people(2_000)
    scored, said = bundle.score(matrix), []
    sums = BucketSums(bundle.features)
    parts = list(explained(bundle, matrix, scored, sums, said.append))
    whole = explain(bundle.trees.contributions(matrix), matrix, FEATURES)
    lines = [
        {**line, "row": line["row"] + rows.start}
        for rows, table, _ in parts
        for line in table.to_pylist()
    ]
    assert lines == whole.table().to_pylist()
    base_and_rest = np.concatenate([part for _, _, part in parts])
    assert (base_and_rest == np.column_stack([whole.base, whole.rest])).all()
    assert sums.people.sum() == len(matrix)
    assert said[0].startswith("reasons of buy: 2,000 people x 60 trees up to ")
    assert [text.split(" people")[0] for text in said[1:]] == [
        f"reasons of buy: {done} of 2,000" for done in ("700", "1,400", "2,000")
    ]


def test_nobody_is_explained_without_a_word(bundle):
    said = []
    nobody = people(0)
    sums = BucketSums(bundle.features)
    assert list(explained(bundle, nobody, bundle.score(nobody), sums, said.append)) == []
    assert said == []


def test_what_does_not_add_up_is_refused_before_it_is_written(bundle):
    matrix = people(50)
    other = bundle.score(matrix[::-1])
    sums = BucketSums(bundle.features)
    with pytest.raises(NotAdditive, match="do not add up to the margin"):
        next(explained(bundle, matrix, other, sums, print))


def test_the_memory_announced_is_about_what_it_takes(bundle):
    matrix = people(20_000)
    announced = estimate(bundle, matrix)
    scored, sums = bundle.score(matrix), BucketSums(bundle.features)
    tracemalloc.start()
    for _ in explained(bundle, matrix, scored, sums, lambda text: None):
        pass
    taken = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    assert taken / 2 < announced.megabytes < 2 * taken


def test_time_grows_with_the_people_and_work_is_read_from_the_tables(bundle):
    found = estimate(bundle, people(2_000))
    assert (found.people, found.trees) == (2_000, 60)
    assert 1 <= found.deepest <= BoosterParams().max_depth
    assert found.additions >= found.trees
    assert found.seconds > 0


def test_an_estimate_says_what_it_counts():
    found = Estimate(200_000, 300, 6, 9_000, 12.34, 480.2)
    assert found.words == "200,000 people x 300 trees up to 6 deep: about 12.3 s, 480 MB"
