"""`likelier goals`: what moves each bucket, held to the published reasons of every person."""

import lightgbm
import numpy as np
import pytest

from pipelines.changing import Scored
from pipelines.workspace import Workspace
from tests.end_to_end.shops import likelier, store_of, table
from training.bundle import Bundle


@pytest.mark.parametrize("goal", ["churn", "conversion"])
def test_what_moves_a_bucket_is_what_its_people_were_told(shop, goal):
    found = likelier("-p", shop, "goals", "factors", goal, "--json").json
    scores, factors = table(shop, "scores", "scores"), table(shop, "scores", "factors")
    scores, factors = scores[scores["goal"] == goal], factors[factors["goal"] == goal]
    assert found["people"] == len(scores)
    told = factors.merge(scores[["profile_id", "bucket"]], on="profile_id")
    for bucket in found["buckets"]:
        mine = told[told["bucket"] == bucket["bucket"]]
        assert bucket["people"] == (scores["bucket"] == bucket["bucket"]).sum()
        assert [each["rank"] for each in bucket["factors"]] == list(
            range(1, len(bucket["factors"]) + 1)
        )
        strongest = mine[mine["rank"] <= 3].groupby("code").size()
        for each in bucket["factors"]:
            covered = strongest.get(each["code"], 0) / bucket["people"]
            assert each["coverage"] == pytest.approx(covered)
            # The ten reasons told of a person leave some out, never with a larger share.
            heard = mine[mine["code"] == each["code"]]["importance_share"].sum()
            assert each["importance_share"] >= heard / bucket["people"] - 1e-12
            assert "everyone" in each["values"]


def test_it_is_printed_and_drawn(shop, tmp_path):
    page = tmp_path / "churn.html"
    ended = likelier("-p", shop, "goals", "factors", "churn", "--html", page)
    assert "High: " in ended.out
    assert "coverage" in ended.out
    moved = likelier("-p", shop, "goals", "factors", "churn", "--json").json["buckets"]
    drawn = [f'id="chart-reasons_{each["bucket"]}"' for each in moved if each["factors"]]
    assert drawn
    assert all(chart in page.read_text("utf-8") for chart in drawn)


def test_a_goal_there_is_not(shop):
    ended = likelier("-p", shop, "goals", "factors", "chrun", "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "unknown_goal"
    assert "churn" in ended.json["error"]["hint"]


@pytest.mark.parametrize("goal", ["churn", "conversion"])
def test_published_reasons_are_lightgbms_own(shop, goal):
    store = store_of(shop)
    manifest = store.require_current()
    bundle = Bundle.load(store.root / "models" / goal / manifest.models[goal])
    run = Scored.read(Workspace.open(shop), manifest, goal)
    matrix, missing = run.matrix(bundle)
    assert missing == []
    wanted = lightgbm.Booster(model_str=bundle.trees.text).predict(matrix, pred_contrib=True)
    assert bundle.trees.explained_by is not None
    found = bundle.trees.contributions(matrix)
    assert np.abs(found - wanted).max() < 1e-9
    published = table(shop, "scores", "scores").query("goal == @goal").sort_values("profile_key")
    assert np.abs(found.sum(axis=1) - published["margin"].to_numpy()).max() < 1e-9


# Why did it change --------------------------------------------------------------------------------


def margins(folder, goal):
    """Return the published margins of a goal by profile."""
    scores = table(folder, "scores", "scores")
    return scores[scores["goal"] == goal].set_index("profile_id")["margin"]


def changed(folder, *arguments):
    return likelier("-p", folder, "goals", "change", *arguments, "--json").json


def check_adds_up(found):
    """Hold an answer to what it promises: parts add up to the change, and to both margins."""
    moved = found["after"]["margin"] - found["before"]["margin"]
    parts = found["change"]
    assert parts["margin"] == moved
    assert parts["data"] + parts["model"] == pytest.approx(moved, abs=1e-9)
    for side in ("before", "after"):
        total = sum(each[side] for each in found["reasons"])
        assert total == pytest.approx(found[side]["margin"], abs=1e-9)
    for each in found["reasons"]:
        assert each["data"] + each["model"] == pytest.approx(each["change"], abs=1e-12)


@pytest.mark.parametrize("goal", ["churn", "conversion"])
def test_the_mean_of_everyone_changed_by_what_the_runs_published(shop, july, goal):
    folder, _ = july
    found = changed(folder, goal)
    check_adds_up(found)
    before, after = margins(shop, goal), margins(folder, goal)
    assert found["before"]["margin"] == pytest.approx(before.mean(), abs=1e-9)
    assert found["after"]["margin"] == pytest.approx(after.mean(), abs=1e-9)
    assert (found["before"]["people"], found["after"]["people"]) == (len(before), len(after))
    assert found["not_measured"] == []


def test_a_persons_score_changed_by_what_the_runs_published(shop, july):
    folder, _ = july
    before, after = margins(shop, "conversion"), margins(folder, "conversion")
    someone = sorted(before.index.intersection(after.index))[0]
    found = changed(folder, "conversion", someone)
    check_adds_up(found)
    assert found["profile_id"] == someone
    assert found["before"]["margin"] == pytest.approx(before[someone], abs=1e-9)
    assert found["after"]["margin"] == pytest.approx(after[someone], abs=1e-9)
    lines = {each["code"]: each for each in found["reasons"]}
    assert "value_before" not in lines["base"]
    seen = lines["days_since_page_view"]
    assert (seen["value_before"], seen["value_after"]) != ("", "")
    said = likelier("-p", folder, "goals", "change", "conversion", someone).out
    assert "by the data" in said
    assert someone in said


def test_who_was_not_scored_then_is_told_so(shop, july):
    folder, _ = july
    before, after = margins(shop, "conversion"), margins(folder, "conversion")
    newcomer = sorted(after.index.difference(before.index))
    gone = sorted(before.index.difference(after.index))
    for who in [*newcomer[:1], *gone[:1]]:
        answer = changed(folder, "conversion", who)
        assert answer["error"]["code"] in ("not_scored", "unknown_identity")


def test_a_first_run_has_nothing_to_compare_with(shop):
    answer = changed(shop, "churn")
    assert answer["error"]["code"] == "nothing_to_compare"
    assert "run once more" in answer["error"]["hint"]
