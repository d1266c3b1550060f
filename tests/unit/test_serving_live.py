"""What a person did a moment ago counts in their scores: sent with the question or before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from features.behavior.catalogue import from_json, to_json
from features.behavior.definitions import CategoryIs
from features.errors import LikelierError
from features.time import MICROS_PER_DAY, format_instant
from serving.api import bodies
from serving.journal.event import Allowed, LiveEvent
from serving.live import LiveGoals
from serving.scorer import Asked, Scorer
from tests.unit.serving_shop import AS_OF, PEOPLE, bundle, meta, place_in, publish, purchases, shop

NOW = AS_OF + MICROS_PER_DAY
DAYS = MICROS_PER_DAY


def event(id: str, who: str = "cookie:c1", at: int = NOW, **changes: Any) -> LiveEvent:
    plain = LiveEvent(id, "purchase", at, max(at, NOW), (who,), {}, {}, {})
    return replace(plain, **changes)


@pytest.fixture
def scorer(tmp_path, online_url):
    store = publish(tmp_path, url=online_url)
    return Scorer.load(store, store.require_current(), place_in(tmp_path, online_url))


def told(scorer: Scorer, who: str, *events: LiveEvent, goal: str = "churn") -> Any:
    """Return the score of one person and the vector it was made of."""
    (answer,) = scorer.answer([Asked(who, who)], [goal], events=events)
    return answer.body["scores"][goal], answer.vectors.get(goal)


def test_without_recent_events_the_stored_vector_answers(scorer):
    score, vector = told(scorer, "customer:ann")
    assert vector.tobytes() == scorer.online.vector("customer:ann", "churn").tobytes()
    assert score["as_of"] == format_instant(AS_OF)


def test_an_event_of_the_question_moves_features_and_the_moment(scorer):
    score, vector = told(scorer, "customer:ann", event("1", at=NOW - DAYS // 2))
    # Known when it arrived, half a day after it happened. In 7 days: it, and the one 4 days ago.
    assert vector.tolist() == [2, 3, 0.5 + 1 / DAYS]
    assert score["as_of"] == format_instant(NOW + 1)
    assert score["expires_at"] == format_instant(NOW + 1 + 7 * DAYS)
    expected = bundle("churn").score(vector[None])
    assert score["probability"] == expected.probability[0]
    assert score["percentile"] == expected.percentile[0]


def test_an_event_of_the_question_is_not_kept(scorer):
    told(scorer, "customer:ann", event("1"))
    assert told(scorer, "customer:ann")[0]["as_of"] == format_instant(AS_OF)


@pytest.mark.parametrize("asked", ["customer:ann", "cookie:c1", "cookie:a/b?c d:e"])
def test_an_event_received_before_counts_under_every_identity_of_the_person(scorer, asked):
    scorer.recent.add([event("1", "cookie:c1")])
    score, vector = told(scorer, asked)
    assert vector.tolist() == [2, 3, 1 / DAYS]
    assert score["as_of"] == format_instant(NOW + 1)
    assert told(scorer, "customer:5")[0]["as_of"] == format_instant(AS_OF)


def test_an_event_counts_once_however_often_it_is_told(scorer):
    scorer.recent.add([event("1"), event("1"), event("2", at=NOW - 5, received_at=NOW)])
    scorer.recent.add([event("1")])
    again = event("1", at=NOW + 9)
    once = told(scorer, "customer:ann")
    twice = told(scorer, "customer:ann", again, again)
    assert once[1].tolist() == twice[1].tolist() == [3, 4, 1 / DAYS]
    assert once[0] == twice[0]


def test_an_event_ahead_of_the_clock_counts_when_it_has_happened(scorer):
    ahead = event("1", at=NOW + 1_000, received_at=NOW)
    score, vector = told(scorer, "customer:ann", ahead)
    assert score["as_of"] == format_instant(NOW + 1_001)
    assert vector.tolist() == [2, 3, 1 / DAYS]


def test_a_late_event_counts_from_its_arrival_and_never_moves_the_moment_back(scorer):
    early = event("1", at=AS_OF - 2 * DAYS, received_at=AS_OF - DAYS)
    score, vector = told(scorer, "customer:ann", early)
    assert score["as_of"] == format_instant(AS_OF)
    assert vector.tolist() == [2, 3, 2]


def test_the_order_of_arrival_changes_nothing(scorer):
    some = [event(str(n), at=NOW - n * DAYS // 3, received_at=NOW) for n in range(6)]
    first = told(scorer, "customer:ann", *some)
    assert told(scorer, "customer:ann", *reversed(some))[0] == first[0]
    scorer.recent.add(some[3:])
    assert told(scorer, "customer:ann", *some[:3])[0] == first[0]


def test_somebody_new_is_scored_by_what_they_did(scorer):
    (answer,) = scorer.answer([Asked("x", "cookie:new")], events=[event("1", "cookie:new")])
    assert (answer.body["profile_id"], answer.body["known"]) == ("cookie:new", False)
    assert answer.body["scores"]["churn"]["status"] == "scored"
    assert answer.vectors["churn"].tolist() == [1, 1, 1 / DAYS]
    (answer,) = scorer.answer([Asked("x", "customer:new")], events=[event("1", "customer:new")])
    assert answer.body["known"] is True


def test_somebody_new_who_did_something_else_is_not_eligible(scorer):
    visit = event("1", "cookie:new", event_type="visit")
    score, vector = told(scorer, "cookie:new", visit)
    assert (score["status"], score["as_of"], vector) == (
        "not_eligible", format_instant(NOW + 1), None,
    )  # fmt: skip
    assert told(scorer, "cookie:other")[0]["status"] == "no_history"


def test_a_person_becomes_eligible_by_an_event(scorer):
    assert told(scorer, "cookie:c2")[0]["status"] == "not_eligible"
    assert told(scorer, "cookie:c2", event("1", "cookie:c2"))[0]["status"] == "scored"


def test_somebody_whose_history_is_not_kept_is_answered_as_of_the_run(scorer):
    assert scorer.online.history("customer:7") is None
    score, vector = told(scorer, "customer:7", event("1", "customer:7"))
    assert score["as_of"] == format_instant(AS_OF)
    assert vector.tobytes() == scorer.online.vector("customer:7", "churn").tobytes()


def test_histories_come_back_as_they_were_written(scorer):
    found = scorer.online.history("customer:ann").events["purchase"]
    expected = purchases(3, 20).events["purchase"]
    assert found.event_time.tolist() == expected.event_time.tolist()
    assert scorer.online.history("customer:never") is None


def test_many_are_answered_each_at_a_moment_of_their_own(scorer):
    scorer.recent.add([event("1"), event("2", "customer:5", at=NOW + DAYS, received_at=NOW)])
    asked = [Asked(person.profile_id, person.profile_id) for person in PEOPLE]
    together = scorer.answer(asked, factors=2)
    for each, answer in zip(asked, together, strict=True):
        assert answer.body == scorer.answer([each], factors=2)[0].body
    moments = {answer.body["scores"]["churn"]["as_of"] for answer in together}
    assert moments == {format_instant(at) for at in (AS_OF, NOW + 1, NOW + DAYS + 1)}


def test_people_of_other_generations_share_no_recent_events(tmp_path):
    store = publish(tmp_path)
    one, other = (Scorer.load(store, store.require_current()) for _ in range(2))
    one.recent.add([event("1")])
    assert told(other, "customer:ann")[0]["as_of"] == format_instant(AS_OF)
    assert not list((tmp_path / ".likelier" / "recent").iterdir())


# Goals that differ -------------------------------------------------------------------------------


def goals_of(facts: dict[str, dict[str, Any]]) -> LiveGoals:
    """Return the shop's goals, live, with these facts changed and the columns they then have."""
    changed = meta([bundle("churn"), bundle("buys")])
    for name, some in facts.items():
        changed["goals"][name] |= some
    columns = {
        name: [from_json(each).feature.name for each in goal["definitions"]]
        for name, goal in changed["goals"].items()
    }
    return LiveGoals(changed, columns)


def test_events_that_one_goal_leaves_out_count_for_the_other():
    goals = goals_of({"churn": {"excluded": ["any(purchase where amount < 0)"]}})
    some = [
        goals.read(event("1", attributes={"amount": "-5"})),
        goals.read(event("2", attributes={"amount": "5"}, at=NOW - DAYS)),
    ]
    history = purchases(20)
    found = goals.vectors(history, some, NOW + 1, ["churn", "buys"])
    # The newest is a return; what states no amount stays.
    assert found["churn"].tolist() == [1, 2, 1 + 1 / DAYS]
    assert found["buys"].tolist() == [2, 3, 1 / DAYS]


def test_goals_of_which_nothing_is_left_are_not_eligible():
    goals = goals_of({"churn": {"excluded": ["any(purchase where amount < 0)"]}})
    some = [goals.read(event("1", attributes={"amount": "-5"}))]
    found = goals.vectors(goals.newcomer(["cookie:x"]), some, NOW + 1, ["churn", "buys"])
    assert found.keys() == {"buys"}


def test_lists_of_values_of_different_models_are_kept_apart():
    def listed(value: str) -> dict[str, Any]:
        some = (CategoryIs("country", value, 1), CategoryIs("country", None, 0))
        return {"definitions": [to_json(each) for each in some]}

    goals = goals_of({"churn": listed("FR"), "buys": listed("DE")})
    history = replace(purchases(3), attributes={"country": "FR"})
    found = goals.vectors(history, [], AS_OF, ["churn", "buys"])
    assert found["churn"].tolist() == [1, 0]
    assert found["buys"].tolist() == [0, 1]


# In a request ------------------------------------------------------------------------------------


@pytest.fixture
def allowed(tmp_path):
    return Allowed.by(shop(tmp_path / "project"))


def asked(allowed, events, identity="cookie:c1"):
    return bodies.one({"identity": identity, "events": events}, allowed, NOW)


def test_an_event_of_a_request_is_of_the_identity_asked_about_by_default(allowed):
    told_events = [{"id": "1", "type": "Purchase"}]
    (found,) = asked(allowed, told_events).events
    assert (found.identities, found.event_type) == (("cookie:c1",), "purchase")
    assert (found.event_time, found.received_at) == (NOW, NOW)
    other = {"id": "1", "type": "purchase", "identities": {"customer": "9", "cookie": "x"}}
    (found,) = asked(allowed, [other]).events
    assert found.identities == ("customer:9", "cookie:x")
    assert asked(allowed, None).events == asked(allowed, []).events == ()


@pytest.mark.parametrize(
    ("events", "code", "place", "says"),
    [
        ([{"id": "1", "type": "x", "time": "soon"}], "bad_event_time", "events[0].time", "time"),
        ([{"id": "1", "type": "x"}, 5], "invalid_event", "events[1]", "a number"),
        ([{"type": "x"}], "no_event_id", "events[0].id", "no id"),
        ([{"id": "1", "type": "x", "identities": {}}], "no_identity", "events[0].identities",
         "no identity"),
        ([{"id": "1", "type": "x", "time": format_instant(NOW + 2 * DAYS)}], "future_time",
         "events[0].time", "ahead"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_event_names_its_place(allowed, events, code, place, says):
    with pytest.raises(LikelierError, match=says) as refused:
        asked(allowed, events)
    assert refused.value.code == code
    assert refused.value.details["place"] == place
    assert refused.value.message.startswith(f"events[{place[7]}]: ")


@pytest.mark.parametrize("events", ["x", {}, 5, [{"id": "1", "type": "x"}] * 101])
def test_events_are_a_list_of_at_most_100(allowed, events):
    with pytest.raises(LikelierError, match=r"events (is|holds)") as refused:
        asked(allowed, events)
    assert (refused.value.code, refused.value.details["key"]) == ("invalid_value", "events")


def login(id: str, *identities: str) -> LiveEvent:
    return event(id, event_type="visit", identities=identities)


@pytest.mark.parametrize("asked", ["cookie:new", "customer:ann", "cookie:c1"])
def test_a_visitor_who_logs_in_is_who_they_say(scorer, asked):
    """With what they did before as a visitor, and all that was known of their profile."""
    scorer.recent.add([event("1", "cookie:new")])
    assert told(scorer, "cookie:new")[1].tolist() == [1, 1, 1 / DAYS]
    scorer.recent.add([login("2", "customer:ann", "cookie:new")])
    (answer,) = scorer.answer([Asked(asked, asked)], ["churn"])
    assert (answer.body["profile_id"], answer.body["known"]) == ("customer:ann", True)
    assert answer.body["segments"] == ["win_back"]
    assert answer.vectors["churn"].tolist() == [2, 3, 1 / DAYS]
    assert not answer.body["provisional"]


def test_a_cookie_goes_to_who_logged_in_last_with_what_was_done_there(scorer):
    scorer.recent.add([login("1", "customer:5", "cookie:c1")])
    (new,) = scorer.answer([Asked("x", "cookie:c1")], ["churn"])
    (old,) = scorer.answer([Asked("x", "customer:ann")], ["churn"])
    assert new.body["profile_id"] == "customer:5"
    assert new.vectors["churn"][1] == 2
    assert old.body["profile_id"] == "customer:ann"
    assert old.vectors["churn"][1] == 1
    assert {s["as_of"] for each in (new, old) for s in each.body["scores"].values()} == {
        format_instant(NOW + 1)
    }


def test_a_login_that_says_nothing_new_of_somebody_else_changes_nothing(scorer):
    scorer.recent.add([login("1", "customer:7", "cookie:other")])
    assert told(scorer, "customer:ann")[0]["as_of"] == format_instant(AS_OF)
