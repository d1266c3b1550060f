"""The served log keeps a share of the answers, whole lines, and never makes a request wait."""

from __future__ import annotations

import json
import time

import pytest

from features.erasures import Erasure, Erasures
from features.time import parse_instant
from serving.scorer import Asked, Scorer
from serving.served import ServedLog, purge_served
from tests.unit.serving_shop import bundle, publish, vectors


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    store = publish(tmp_path_factory.mktemp("shop"))
    return Scorer.load(store, store.require_current())


def lines(folder):
    return [
        json.loads(line)
        for file in folder.glob("*.jsonl")
        for line in file.read_text().splitlines()
    ]


def log_all(folder, answers, share, seed=0):
    log = ServedLog(folder, share, seed)
    log.start()
    for answer in answers:
        log.offer(answer)
    log.stop()
    return log


def test_a_line_holds_what_the_scorecard_needs(scorer, tmp_path):
    asked = [Asked("email:Ann@x.org", "customer:ann"), Asked("cookie:null", None)]
    log = log_all(tmp_path / "served", scorer.answer(asked, ["churn"]), 1.0)
    assert (log.written, log.dropped) == (2, 0)
    first, second = lines(tmp_path / "served")
    score = scorer.score("customer:ann")["scores"]["churn"]
    assert parse_instant(first.pop("time")) > parse_instant("2020-01-01")
    assert first == {
        "identity": "customer:ann",
        "profile_id": "customer:ann",
        "goal": "churn",
        "status": "scored",
        "model_version": bundle("churn").version,
        "as_of": "2011-10-01T00:00:00Z",
        "probability": score["probability"],
        "score": score["score"],
        "features": vectors()["churn", "customer:ann"].tolist(),
    }
    assert (second["status"], second["identity"], second["features"]) == ("no_history", None, None)


def test_a_null_feature_is_null(scorer, tmp_path):
    log_all(tmp_path, scorer.answer([Asked("customer:3", "customer:3")], ["churn"]), 1.0)
    assert lines(tmp_path)[0]["features"][2] is None


def test_one_line_a_goal(scorer, tmp_path):
    log_all(tmp_path, scorer.answer([Asked("customer:ann", "customer:ann")]), 1.0)
    assert [line["goal"] for line in lines(tmp_path)] == ["churn", "buys"]


def test_a_share_is_kept_and_the_same_one_again(scorer, tmp_path):
    answers = scorer.answer([Asked(f"cookie:{n}", f"cookie:{n}") for n in range(1_000)], ["churn"])
    for run in ("first", "second"):
        log_all(tmp_path / run, answers, 0.25)
    log_all(tmp_path / "other", answers, 0.25, seed=1)
    kept = {
        run: [line["identity"] for line in lines(tmp_path / run)]
        for run in ("first", "second", "other")
    }
    # 250 of 1,000: four standard deviations are 55.
    assert 195 <= len(kept["first"]) <= 305
    assert kept["first"] == kept["second"] != kept["other"]


def test_nothing_is_kept_and_no_file_made_at_share_zero(scorer, tmp_path):
    log_all(tmp_path / "served", scorer.answer([Asked("customer:ann", "customer:ann")]), 0.0)
    assert not (tmp_path / "served").exists()


def test_a_full_queue_drops_and_counts(scorer, tmp_path):
    log = ServedLog(tmp_path, 1.0, most_waiting=3)
    (answer,) = scorer.answer([Asked("customer:ann", "customer:ann")], ["churn"])
    for _ in range(5):
        log.offer(answer)
    assert log.dropped == 2
    log.start()
    log.stop()
    assert log.written == len(lines(tmp_path)) == 3


def test_a_folder_that_cannot_be_written_is_counted_not_raised(scorer, tmp_path, caplog):
    (tmp_path / "served").write_text("a file where the folder should be")
    log = log_all(tmp_path / "served", scorer.answer([Asked("a:b", "a:b")] * 3, ["churn"]), 1.0)
    assert (log.written, log.dropped) == (0, 3)
    assert caplog.text.count("cannot be written") == 1


def test_lines_of_the_erased_go_and_the_log_goes_on_in_a_new_file(scorer, tmp_path):
    log = ServedLog(tmp_path, 1.0)
    log.start()
    asked = [Asked(who, who) for who in ("customer:ann", "customer:3", "cookie:c1")]
    for answer in scorer.answer(asked, ["churn"]):
        log.offer(answer)
    while log.written < 3:
        time.sleep(0.01)
    (tmp_path / "0-1.jsonl").write_bytes(b'{"time":"2024-01-01T00:00:00Z","identity":"customer:an')
    keyed = Erasures(b"key")
    one = Erasure("x", time.time_ns() // 1_000, (keyed.hash("customer:ann"),))
    erasures = Erasures(b"key", (one,))
    assert purge_served(tmp_path, erasures, dry=True) == 2
    assert purge_served(tmp_path, erasures) == 2
    assert not any("ann" in file.read_text() for file in tmp_path.glob("*.jsonl"))
    for answer in scorer.answer(asked[1:2], ["churn"]):
        log.offer(answer)
    log.stop()
    assert [line["identity"] for line in lines(tmp_path)] == ["customer:3", "customer:3"]
