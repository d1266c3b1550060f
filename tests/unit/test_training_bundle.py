"""A bundle loads whole and unchanged, or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from features.behavior.definitions import Count, DaysSince
from features.time import Window, parse_instant
from training.booster import BoosterParams, Trees
from training.bundle import Bundle
from training.calibration import Calibrator
from training.errors import BrokenBundle, ColumnsDiffer
from training.reference import Reference

FEATURES = (Count("purchase", Window.parse("30d")).feature, DaysSince("purchase").feature)
FILES = ["calibrator.json", "features.json", "manifest.json", "model.txt", "reference.json"]


def made() -> Bundle:
    rng = np.random.default_rng(1)
    matrix = rng.poisson(3, (400, 2)).astype(np.float64)
    label = (rng.random(400) < 1 / (1 + matrix[:, 0])).astype(np.int8)
    names = [feature.name for feature in FEATURES]
    trees = Trees.fit(matrix, label, names, BoosterParams(num_threads=1), 30)
    margin = trees.margin(matrix)
    calibrator = Calibrator.of(margin, label)
    return Bundle(
        goal="churn",
        kind="churn",
        basis="calendar",
        as_of=parse_instant("2011-10-01"),
        outcome_window="30d",
        gap="",
        trees=trees,
        calibrator=calibrator,
        features=FEATURES,
        definitions=[{"kind": "Count", "z": 1, "a": None}, {"kind": "DaysSince"}],
        categories={"country": ["Österreich", "France"]},
        reference=Reference.of(margin, calibrator.probability(margin)),
        base_rate=float(label.mean()),
        serves="model",
        metrics={"auc": 0.1 + 0.2},
        data_fingerprint="f" * 64,
        trained_on={"rows": 400},
    )


BUNDLE = made()
ROWS = np.array([[0.0, 3.0], [5.0, np.nan], [np.inf, -np.inf], [2.0, 2.0]])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    BUNDLE.save(tmp_path / "churn")
    return tmp_path / "churn"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_bundle_comes_back_as_it_was(saved):
    again = Bundle.load(saved)
    before, after = BUNDLE.score(ROWS), again.score(ROWS)
    for name in ("margin", "probability", "score", "percentile", "bucket"):
        assert (getattr(after, name) == getattr(before, name)).all()
    for name in ("goal", "features", "definitions", "categories", "metrics", "version", "as_of"):
        assert getattr(again, name) == getattr(BUNDLE, name)
    assert list(again.definitions[0]) == ["kind", "z", "a"]


def test_the_same_content_is_the_same_bytes(saved, tmp_path):
    made().save(tmp_path / "again")
    assert contents(tmp_path / "again") == contents(saved)
    assert list(contents(saved)) == FILES


def test_the_version_is_the_date_and_the_content():
    assert BUNDLE.version == f"2011-10-01-{BUNDLE.fingerprint[:8]}"
    others = [
        replace(BUNDLE, goal="other"),
        replace(BUNDLE, base_rate=0.5),
        replace(BUNDLE, definitions=[]),
        replace(BUNDLE, calibrator=Calibrator("identity")),
        replace(BUNDLE, reference=Reference(0.5, np.array([0.0]))),
        replace(BUNDLE, metrics={"auc": 0.3}),
    ]
    assert len({each.fingerprint for each in [BUNDLE, *others]}) == 7


def test_one_row_scores_as_in_the_batch():
    many = BUNDLE.score(ROWS)
    for row in range(len(ROWS)):
        one = BUNDLE.score(ROWS[row : row + 1])
        assert one.margin[0] == many.margin[row]
        parts = many.probability, many.score, many.percentile, many.bucket
        assert BUNDLE.score_one(ROWS[row]) == tuple(part[row] for part in parts)
        assert one.score[0] == many.score[row]
        assert one.percentile[0] == many.percentile[row]


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_noticed(saved, name):
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(BrokenBundle, match="cannot be used"):
        Bundle.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(saved, name):
    (saved / name).unlink()
    with pytest.raises(BrokenBundle, match=f"{name} is missing") as caught:
        Bundle.load(saved)
    assert caught.value.code == "broken_bundle"


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["facts"].update(goal="conversion"),
        lambda manifest: manifest["facts"].update(surprise=1),
        lambda manifest: manifest["facts"].pop("kind"),
        lambda manifest: manifest["sha256"].pop("calibrator.json"),
        lambda manifest: manifest.update(version="2011-10-01-00000000"),
        lambda manifest: manifest.update(format=2),
    ],
    ids=["fact", "extra fact", "lost fact", "lost checksum", "version", "format"],
)
def test_a_changed_manifest_is_noticed(saved, change):
    manifest = json.loads((saved / "manifest.json").read_bytes())
    change(manifest)
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BrokenBundle, match=r"manifest\.json"):
        Bundle.load(saved)


def test_saving_again_leaves_the_folder_alone_and_nothing_beside_it(saved):
    before = (saved / "manifest.json").stat().st_ino
    BUNDLE.save(saved)
    assert (saved / "manifest.json").stat().st_ino == before
    assert os.listdir(saved.parent) == ["churn"]  # noqa: PTH208


def test_another_bundle_or_a_broken_one_is_replaced_whole(saved):
    (saved / "model.txt").unlink()
    other = replace(BUNDLE, base_rate=0.5)
    other.save(saved)
    assert Bundle.load(saved).base_rate == 0.5
    assert os.listdir(saved.parent) == ["churn"]  # noqa: PTH208


def test_a_save_that_fails_leaves_what_was_there(saved):
    unwritable = replace(BUNDLE, definitions=[object()])
    with pytest.raises(TypeError, match="not JSON serializable"):
        unwritable.save(saved)
    assert Bundle.load(saved).fingerprint == BUNDLE.fingerprint


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["days_since_purchase", "purchase_count_30d"], "column 0 is 'days_since_purchase'"),
        (["purchase_count_30d"], r"missing \['days_since_purchase'\]"),
        (["purchase_count_30d", "x"], r"missing \['days_since_purchase'\]; extra \['x'\]"),
    ],
    ids=["order", "missing", "extra"],
)
def test_other_columns_are_refused_with_the_difference(names, message):
    with pytest.raises(ColumnsDiffer, match=message):
        BUNDLE.score(ROWS, names)


def test_a_matrix_of_another_width_is_refused():
    with pytest.raises(ColumnsDiffer, match="expected 2 columns"):
        BUNDLE.score(np.zeros((1, 3)))
    assert len(BUNDLE.score(ROWS, list(BUNDLE.names)).margin) == 4
