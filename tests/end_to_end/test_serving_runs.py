"""The service over what a run published: the same bits, and the next run without a restart."""

from __future__ import annotations

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pandas as pd

from features.time import format_instant
from tests.end_to_end.shops import (
    COMMAND,
    add_july,
    current,
    environment,
    serving,
    table,
)

AT_ONCE = 1000
SWAP_SECONDS = 20


def answers(client, identities, factors=10):
    """Ask for many people at once; return the answers by identity."""
    found = {}
    for start in range(0, len(identities), AT_ONCE):
        some = identities[start : start + AT_ONCE]
        response = client.post("/score/batch", json={"identities": some, "factors": factors})
        assert response.status_code == 200, response.text
        body = response.json()
        assert [each["identity"] for each in body["results"]] == some
        found |= {each["identity"]: each for each in body["results"]}
    return found


def assert_the_tables_say_so(folder, client) -> None:
    """Compare every score and every reason of the tables with the service's, to the bit."""
    manifest = current(folder)
    scores, factors = table(folder, "scores", "scores"), table(folder, "scores", "factors")
    reasons = {who: rows for who, rows in factors.groupby(["goal", "profile_id"])}
    people = scores["profile_id"].unique().tolist()
    assert len(people) >= 200
    found = answers(client, people)
    for row in scores.to_dict("records"):
        said = found[row["profile_id"]]["scores"][row["goal"]]
        assert said["status"] == "scored"
        for name in ("probability", "score", "percentile", "bucket", "model_version", "kind"):
            assert said[name] == row[name], name
        assert said["as_of"] == format_instant(row["as_of"]) == format_instant(manifest.as_of)
        assert said["expires_at"] == format_instant(row["expires_at"])
        expected = reasons[row["goal"], row["profile_id"]].sort_values("rank")
        names = ["code", "label", "value", "direction", "contribution", "importance"]
        listed = expected[names].astype(object).where(expected[names].notna(), None)
        assert [{n: r[n] for n in names} for r in said["factors"]] == listed.to_dict("records")


def test_what_the_service_says_is_what_the_tables_hold(shop, free_port):
    with serving(shop, free_port) as client:
        assert_the_tables_say_so(shop, client)
        members = table(shop, "lists", "memberships")
        people = table(shop, "profiles", "profiles").set_index("profile_id")
        scores = table(shop, "scores", "scores")
        scored = {goal: set(rows["profile_id"]) for goal, rows in scores.groupby("goal")}

        # A visitor who never logged in is scored for conversion.
        visitors = people.index[~people["known"]]
        visitor = next(who for who in visitors if who in scored["conversion"])
        found = answers(client, [visitor])[visitor]
        assert visitor.startswith("cookie:")
        assert found["known"] is False
        assert found["scores"]["conversion"]["status"] == "scored"

        # Somebody known of whom a goal says nothing, and in words why.
        other = next(iter(scored["conversion"] - scored["churn"]))
        said = answers(client, [other])[other]["scores"]["churn"]
        assert said["status"] == "not_eligible"
        assert "purchase" in said["why"]
        for name in ("probability", "score", "percentile", "bucket"):
            assert said[name] is None
        assert said["factors"] == []

        # Nobody.
        said = answers(client, ["cookie:never-seen"])["cookie:never-seen"]
        assert said["profile_id"] is None
        for score in said["scores"].values():
            assert score["status"] == "no_history"
            assert 0 < score["probability"] < 1
            assert score["score"] is None

        # Segments, by any identity of the person.
        mine = members.groupby("profile_id")["segment"].agg(sorted)
        for who in mine.index[:50]:
            said = answers(client, list(people.loc[who, "identities"])[:20], factors=0)
            for each in said.values():
                assert each["profile_id"] == who
                assert sorted(each["segments"]) == mine[who]


@dataclass
class Crowd:
    """Visitors who ask without a pause until they are told to stop."""

    address: str
    identities: list[str]
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, number: int) -> list[tuple[str, str, str]]:
        """Return (as_of, versions, identity) of every answer; fails on any that fails."""
        seen = []
        with httpx.Client(base_url=self.address, timeout=30) as client:
            while not self.stop.is_set():
                who = self.identities[(number + 7 * len(seen)) % len(self.identities)]
                response = client.post("/score", json={"identity": who, "factors": 1})
                assert response.status_code == 200, response.text
                scores = response.json()["scores"].values()
                (as_of,) = {score["as_of"] for score in scores}
                seen.append((as_of, "+".join(score["model_version"] for score in scores), who))
        return seen


def test_a_run_while_serving_takes_over_without_a_failed_or_mixed_answer(a_copy, free_port):
    before = current(a_copy)
    people = table(a_copy, "scores", "scores")["profile_id"].unique().tolist()
    with serving(a_copy, free_port) as client, ThreadPoolExecutor(3) as pool:
        crowd = Crowd(f"http://127.0.0.1:{free_port}", people[:60])
        asking = [pool.submit(crowd.ask, number) for number in range(2)]
        try:
            add_july(a_copy)
            ran = subprocess.run(
                [*COMMAND, "-p", str(a_copy), "run"], env=environment(), cwd="/",
                capture_output=True, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stderr
            after = current(a_copy)
            assert after.run_id != before.run_id
            end = time.monotonic() + SWAP_SECONDS
            while served_as_of(client, people[0]) != format_instant(after.as_of):
                assert time.monotonic() < end, "The new run was not picked up"
                time.sleep(0.1)
            time.sleep(0.5)
        finally:
            crowd.stop.set()
        seen = [each.result() for each in asking]
        assert_the_tables_say_so(a_copy, client)
    runs = {
        (format_instant(run.as_of), "+".join(run.models[goal] for goal in ("churn", "conversion")))
        for run in (before, after)
    }
    for answers_of_one in seen:
        assert len(answers_of_one) > 100
        # One run whole in every answer, and never back to the older one.
        found = pd.Series([(as_of, versions) for as_of, versions, _ in answers_of_one])
        assert set(found) == runs
        assert (found != found.shift()).sum() == 2


def served_as_of(client, who) -> str:
    response = client.post("/score", json={"identity": who, "goals": ["conversion"]})
    as_of: str = response.json()["scores"]["conversion"]["as_of"]
    return as_of
