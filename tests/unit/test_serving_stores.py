"""Every online store gives back what was written, whole, and says so when it cannot."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import count

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.behavior.arriving import Arrived, Reader
from features.behavior.packed import Wanted, pack
from serving.journal.event import LiveEvent
from serving.online import OnlineStoreError, ProfileRecord
from serving.online.rows import ROWS_A_COMMIT
from tests.unit.serving_shop import (
    ANN,
    ANNS,
    AS_OF,
    HISTORIES,
    LIVE,
    PARTS,
    PEOPLE,
    VISITOR,
    bundle,
    meta,
    place_in,
    vectors,
)

VERSIONS = count()


class LiveReader:
    """Reads events as the shop's generations do."""

    def __init__(self) -> None:
        self._reader = Reader(Wanted({"purchase": frozenset({"amount"})}), LIVE["kinds"], "UTC")

    def read_live(self, event: LiveEvent) -> Arrived:
        return self._reader.read(
            event.id, event.event_type, event.event_time, event.known_at, event.attributes
        )


READER = LiveReader()
META = meta([bundle("churn"), bundle("buys")])


def rows():
    return [(goal, person, vector) for (goal, person), vector in vectors().items()]


@pytest.fixture
def place(tmp_path, online_url):
    return place_in(tmp_path, online_url)


def written(place, meta=META, people=PEOPLE, vectors=(), version="v1", **more):
    histories = more.pop("histories", ())
    with place.store.writing("online", version) as (folder, _):
        place.write(folder, version, meta, people, vectors, histories, **more).close()
    return place.open(version)


@pytest.fixture
def store(place):
    packed = [(who, pack(history)) for who, history in HISTORIES.items()]
    return written(place, vectors=rows(), histories=packed)


def test_a_generation_gives_back_what_was_written(store):
    assert store.meta == META
    for person in PEOPLE:
        assert store.profile(person.profile_id) == person
        for identity in person.identities:
            assert store.profile_id_of(identity) == person.profile_id
    for (goal, person), vector in vectors().items():
        assert store.vector(person, goal).tobytes() == vector.tobytes()


def test_what_is_not_there_is_none(store):
    assert store.profile_id_of("cookie:other") is None
    assert store.profile("customer:other") is None
    assert store.vector(VISITOR.profile_id, "churn") is None


def test_a_sample_is_somebodys_vector(store):
    assert store.sample("buys").tobytes() == vectors()["buys", "customer:ann"].tobytes()


def test_there_is_no_sample_of_a_goal_nobody_is_eligible_for(place):
    assert written(place).sample("churn") is None


@pytest.mark.parametrize("length", [510, 511, 512, 1_024])
def test_an_identity_of_any_length_is_found(place, length):
    long = "cookie:" + "é" * length
    twin = long[:-1] + "x"
    people = [ProfileRecord(each, False, (each,)) for each in (long, twin)]
    store = written(place, people=people)
    assert [store.profile_id_of(each) for each in (long, twin)] == [long, twin]
    assert store.profile(long) == people[0]


@pytest.mark.parametrize(
    ("people", "rows", "says"),
    [
        ([ANN, ANN], [], "1 keys come twice in profiles"),
        ([ANN, ProfileRecord("cookie:c9", False, ("cookie:c1",))], [], "twice in identities"),
        ([], [("churn", "a", np.zeros(3)), ("churn", "b", np.zeros(4))], r"shape \(4,\), .*\(3,\)"),
        ([], [("churn", "a", np.zeros((1, 3)))], r"shape \(1, 3\)"),
        ([], [("chrun", "a", np.zeros(3))], "'chrun'.*Did you mean 'churn'"),
        ([], [("churn", "a", np.zeros(3))] * 2, "twice in vectors:churn"),
    ],
)
def test_rows_that_make_no_generation_are_refused(place, people, rows, says):
    with pytest.raises(OnlineStoreError, match=says):
        written(place, people=people, vectors=rows)


def test_an_older_form_is_refused(place):
    with pytest.raises(OnlineStoreError, match="not of format 4"):
        written(place, META | {"format": 0})


def test_histories_come_back(store):
    found = store.history("customer:ann")
    assert pack(found) == pack(HISTORIES["customer:ann"])
    assert store.history("customer:never") is None


def test_components_are_found_by_any_of_their_identities_and_spellings(place):
    spelt = replace(ANNS, aliases=(("cookie:C1", 3),), apart=(("customer:ann", "customer:bob"),))
    store = written(place, parts=PARTS, components=[spelt])
    for identity in (*ANNS.identities, "cookie:C1"):
        assert astuple(store.component(identity)) == astuple(spelt)
    assert store.component("customer:bob") is None
    assert store.part("customer:ann").events.keys() == {"purchase"}
    assert store.part("cookie:c2") is None


def test_a_closed_generation_answers_no_more(store):
    store.close()
    with pytest.raises(OnlineStoreError, match="is closed"):
        store.profile("customer:ann")


def test_more_rows_than_are_put_in_at_once(place):
    people = [ProfileRecord(f"c:{n}", False, (f"c:{n}",)) for n in range(ROWS_A_COMMIT + 3)]
    store = written(place, people=people)
    assert all(store.profile(person.profile_id) == person for person in people[::997])


def test_a_generation_is_there_once_it_is_whole(place):
    assert not place.has("v1")
    with pytest.raises(OnlineStoreError, match="come twice"):
        written(place, people=[ANN, ANN])
    assert not place.has("v1")
    written(place).close()
    assert place.has("v1")
    assert not place.has("v2")


def test_generations_are_apart_and_the_last_ones_are_kept(place):
    first = written(place, people=[ANN], version="v1")
    second = written(place, people=[VISITOR], version="v2")
    assert first.profile(ANN.profile_id) == ANN
    assert second.profile(ANN.profile_id) is None
    place.keep({"v2"})
    assert second.profile(VISITOR.profile_id) == VISITOR
    assert place.remote != place.has("v1")


# Recent events -----------------------------------------------------------------------------------


def event(id: str, *identities: str, at: int = AS_OF) -> LiveEvent:
    return LiveEvent(id, "purchase", at, at + 1, identities, {"amount": "1.5"}, {}, {})


@pytest.fixture
def recent(place):
    return place.recent("v1", READER.read_live)


def ids(recent, *identities: str) -> list[str]:
    return sorted(each.id for each in recent.of(identities))


def test_recent_events_come_back_as_they_were_read(recent):
    some = [event("1", "cookie:a"), event("2", "cookie:a", at=AS_OF + 5)]
    recent.add(some)
    found = sorted(recent.of(["cookie:a"]))
    assert found == [READER.read_live(each) for each in some]
    assert found[0].attributes == {"amount": 15_000}


def test_an_event_is_kept_once_and_as_it_came_first(recent):
    recent.add([event("1", "cookie:a"), event("1", "cookie:a", at=AS_OF + 9)])
    recent.add([event("1", "cookie:a", at=AS_OF + 7)])
    (found,) = recent.of(["cookie:a", "cookie:a"])
    assert found.event_time == AS_OF


def test_nobody_has_the_events_of_another(recent):
    recent.add([event("1", "cookie:a", "cookie:b"), event("2", "cookie:a*"), event("3", "c:o:o")])
    assert ids(recent, "cookie:a") == ["1"]
    assert ids(recent, "cookie:b") == ["1"]
    assert ids(recent, "cookie:*") == ids(recent) == []
    assert sorted(set(ids(recent, "cookie:a*", "c:o:o", "cookie:a", "cookie:b"))) == list("123")
    recent.add([])


def test_recent_events_are_of_one_generation(place):
    one, other = (place.recent(version, READER.read_live) for version in ("v1", "v2"))
    one.add([event("1", "cookie:a")])
    assert ids(other, "cookie:a") == []
    place.keep({"v2"})
    other.add([event("2", "cookie:a")])
    assert ids(other, "cookie:a") == ["2"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=30))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_recent_events_are_a_map_by_identity_and_id(place, added):
    recent = place.recent(f"v{next(VERSIONS)}", READER.read_live)
    expected: dict[str, set[str]] = {}
    for id, who in added:
        recent.add([event(str(id), f"cookie:{who}")])
        expected.setdefault(f"cookie:{who}", set()).add(str(id))
    for who in range(4):
        assert ids(recent, f"cookie:{who}") == sorted(expected.get(f"cookie:{who}", ()))
