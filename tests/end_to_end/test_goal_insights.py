"""`likelier goals`: what moves each bucket, held to the published reasons of every person."""

import pytest

from tests.end_to_end.shops import likelier, table


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
    assert "reasons_high" in page.read_text("utf-8")


def test_a_goal_there_is_not(shop):
    ended = likelier("-p", shop, "goals", "factors", "chrun", "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "unknown_goal"
    assert "churn" in ended.json["error"]["hint"]
