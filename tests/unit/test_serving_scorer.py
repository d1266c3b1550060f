"""A score for one request is, to the bit, the score of the batch, and carries the contract."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest

from features.store import Manifest, Store
from features.time import MICROS_PER_DAY
from serving.generations import Generations, NothingPublished
from serving.online.lmdb import write_generation
from serving.scorer import Asked, BrokenGeneration, Scorer, UnknownGoal
from tests.unit.serving_shop import (
    AS_OF,
    CROWD,
    FEATURES,
    PEOPLE,
    VISITOR,
    bundle,
    meta,
    publish,
    vectors,
)
from training.errors import BrokenBundle, ColumnsDiffer
from training.factors import explain

CONTRACT = {
    "goal", "kind", "basis", "status", "why", "probability", "score", "percentile", "bucket",
    "factors", "model_version", "as_of", "expires_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    store = publish(tmp_path_factory.mktemp("shop"))
    return Scorer.load(store, store.require_current())


def test_a_request_has_the_bits_of_the_batch(scorer):
    everyone = ["customer:ann", *(person.profile_id for person in CROWD)]
    matrix = np.stack([vectors()["churn", person] for person in everyone])
    batch = bundle("churn").score(matrix)
    together = scorer.answer([Asked(person, person) for person in everyone], ["churn"], 3)
    for row, person in enumerate(everyone):
        score = scorer.score(person, ["churn"], 3)["scores"]["churn"]
        assert score["status"] == "scored"
        assert score["probability"] == batch.probability[row]
        assert score["score"] == batch.score[row]
        assert score["percentile"] == batch.percentile[row]
        assert score["bucket"] == batch.bucket[row]
        assert score == together[row].body["scores"]["churn"]


def test_all_reasons_and_the_base_make_the_margin(scorer):
    vector = vectors()["churn", "customer:ann"][None]
    factors = scorer.score("customer:ann", ["churn"], 10)["scores"]["churn"]["factors"]
    base = bundle("churn").trees.contributions(vector)[0, -1]
    total = base + sum(factor["contribution"] for factor in factors)
    assert total == pytest.approx(bundle("churn").trees.margin(vector)[0], abs=1e-9)


def test_as_many_reasons_as_asked_for(scorer):
    trees = bundle("churn").trees
    vector = vectors()["churn", "customer:ann"][None]
    expected = explain(trees.contributions(vector), vector, FEATURES, 1).of(0)
    assert scorer.score("customer:ann", ["churn"], 1)["scores"]["churn"]["factors"] == expected
    assert scorer.score("customer:ann", ["churn"])["scores"]["churn"]["factors"] == []


@pytest.mark.parametrize(
    ("identity", "status", "known", "profile_id", "probability"),
    [
        ("cookie:c1", "scored", True, "customer:ann", float),
        ("cookie:c2", "not_eligible", False, "cookie:c2", None),
        ("customer:5", "not_eligible", True, "customer:5", None),
        ("cookie:never", "no_history", False, None, bundle("buys").base_rate),
    ],
)
def test_every_status_has_the_whole_contract(
    scorer, identity, status, known, profile_id, probability
):
    body = scorer.score(identity)
    score = body["scores"]["buys"]
    assert (body["identity"], body["known"], body["profile_id"]) == (identity, known, profile_id)
    assert set(score) == CONTRACT
    assert score["status"] == status
    assert score["as_of"] == "2011-10-01T00:00:00Z"
    assert score["expires_at"] == "2011-10-08T00:00:00Z"
    assert score["model_version"] == bundle("buys").version
    assert (score["why"] is not None) == (status == "not_eligible")
    if probability is float:
        assert 0 < score["probability"] < 1
    else:
        assert score["probability"] == probability
        assert [score[key] for key in ("score", "percentile", "bucket")] == [None] * 3
        assert score["factors"] == []


def test_not_eligible_says_why_in_words(scorer):
    score = scorer.score(VISITOR.profile_id)["scores"]["churn"]
    assert score["why"] == "Not among those scored: any purchase in the last 365 days."


def test_goals_come_as_asked(scorer):
    assert list(scorer.score("customer:ann")["scores"]) == ["churn", "buys"]
    assert list(scorer.score("customer:ann", ["buys", "buys"])["scores"]) == ["buys"]
    assert scorer.score("customer:ann", [])["scores"] == {}


def test_an_unknown_goal_names_the_nearest(scorer):
    with pytest.raises(UnknownGoal, match="Did you mean 'churn'"):
        scorer.score("customer:ann", ["chrun"])


def test_one_thread_serves_each_model_and_its_version_stays(scorer):
    goal = scorer.goals["churn"]
    assert goal.bundle.trees.threads == 1
    assert goal.model_version == bundle("churn").version


def test_nothing_is_served_before_the_first_run(tmp_path):
    generations = Generations(Store(tmp_path / ".likelier"))
    generations.look()
    assert not generations.ready
    with pytest.raises(NothingPublished, match="likelier run"):
        generations.current()


def test_a_new_run_takes_over_while_the_old_one_finishes(tmp_path):
    store = publish(tmp_path, "run-1")
    generations = Generations(store, every_seconds=0.01)
    generations.start()
    old = generations.current()
    before = old.score("customer:ann")
    publish(tmp_path, "run-2", AS_OF + MICROS_PER_DAY, seed=1)
    wait_for(lambda: generations.current().run_id == "run-2")
    assert generations.current().score("customer:ann") != before
    shutil.rmtree(store.folder("online", "run-1"))
    assert old.score("customer:ann") == before
    generations.stop()
    assert not generations.ready
    assert (generations.loaded, generations.failed) == (2, 0)


def test_before_the_first_run_serves_and_not_again_the_process_is_told(tmp_path):
    ready = []
    generations = Generations(
        Store(tmp_path / ".likelier"), before_ready=lambda: ready.append(generations.ready)
    )
    generations.look()
    assert ready == []
    publish(tmp_path, "run-1")
    generations.look()
    publish(tmp_path, "run-2", AS_OF + MICROS_PER_DAY)
    generations.look()
    assert (ready, generations.loaded) == ([False], 2)


def lost_model(store):
    model = bundle("churn")
    (store.root / "models" / "churn" / model.version / "model.txt").unlink()


def other_columns(store):
    folder = store.folder("online", "bad")
    shutil.rmtree(folder)
    folder.mkdir()
    rows = [("churn", "customer:ann", np.zeros(2))]
    write_generation(folder, meta([bundle("churn"), bundle("buys")]), PEOPLE, rows)


def other_model(store):
    wrong = bundle("buys")
    folder = store.root / "models" / "churn" / bundle("churn").version
    shutil.rmtree(folder)
    wrong.save(folder)


def no_online_store(store):
    store.publish(Manifest("bad", AS_OF, {}))


@pytest.mark.parametrize(
    ("breaks", "error", "says"),
    [
        (lost_model, BrokenBundle, r"model\.txt is missing"),
        (other_columns, ColumnsDiffer, "expected 3 columns"),
        (other_model, BrokenGeneration, "holds buys"),
        (no_online_store, BrokenGeneration, "no online store"),
    ],
)
def test_a_broken_run_changes_nothing_and_is_counted(tmp_path, caplog, breaks, error, says):
    store = publish(tmp_path, "good")
    generations = Generations(store)
    generations.look()
    publish(tmp_path, "bad")
    breaks(store)
    with pytest.raises(error, match=says):
        Scorer.load(store, store.require_current())
    generations.look()
    generations.look()
    assert generations.current().run_id == "good"
    assert (generations.loaded, generations.failed) == (1, 1)
    assert error.__name__ in caplog.text
    publish(tmp_path, "mended", as_of=AS_OF + 1)
    generations.look()
    assert generations.current().run_id == "mended"


def test_a_pointer_to_a_run_that_is_gone_changes_nothing(tmp_path):
    store = publish(tmp_path, "good")
    generations = Generations(store)
    generations.look()
    (store.root / "CURRENT").write_text("lost")
    generations.look()
    assert (generations.current().run_id, generations.failed) == ("good", 1)


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen in time"
        time.sleep(0.01)
