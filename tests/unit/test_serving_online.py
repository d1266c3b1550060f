"""The online store gives back what was written, whole, and says so when it cannot."""

from __future__ import annotations

import gc
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.online import OnlineStoreError, ProfileRecord
from serving.online.lmdb import LmdbStore, key_of, write_generation
from tests.unit.serving_shop import ANN, ANNS, PARTS, PEOPLE, VISITOR, bundle, meta, vectors

META = meta([bundle("churn"), bundle("buys")])


def rows():
    return [(goal, person, vector) for (goal, person), vector in vectors().items()]


@pytest.fixture
def store(tmp_path):
    write_generation(tmp_path, META, PEOPLE, rows())
    with_closing = LmdbStore(tmp_path)
    yield with_closing
    with_closing.close()


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


def test_there_is_no_sample_of_a_goal_nobody_is_eligible_for(tmp_path):
    write_generation(tmp_path, META, PEOPLE, [])
    assert LmdbStore(tmp_path).sample("churn") is None


@pytest.mark.parametrize("length", [510, 511, 512, 1_024])
def test_an_identity_of_any_length_is_found(tmp_path, length):
    long = "cookie:" + "é" * length
    twin = long[:-1] + "x"
    people = [ProfileRecord(each, False, (each,)) for each in (long, twin)]
    write_generation(tmp_path, META, people, [])
    store = LmdbStore(tmp_path)
    assert [store.profile_id_of(each) for each in (long, twin)] == [long, twin]
    assert store.profile(long) == people[0]


@given(st.text(min_size=1), st.text(min_size=1))
def test_keys_fit_and_differ_when_the_texts_do(one, other):
    one, other = f"n:{one}", f"n:{other}" * 200
    assert max(len(key_of(one)), len(key_of(other))) <= 511
    assert (key_of(one) == key_of(other)) == (one == other)


def test_a_full_map_grows_and_order_does_not_matter(tmp_path):
    people = [ProfileRecord(f"c:{n}", False, (f"c:{n}",), {"x": "y" * 99}) for n in range(50_000)]
    rng = np.random.default_rng(0)
    shuffled = [people[n] for n in rng.permutation(len(people))]
    write_generation(tmp_path, META, shuffled, [], map_bytes=1_000_000)
    store = LmdbStore(tmp_path)
    assert (tmp_path / "data.mdb").stat().st_size > 4_000_000
    assert all(store.profile(person.profile_id) == person for person in people[::501])
    assert store.profile_id_of("c:49999") == "c:49999"


def test_components_are_found_by_any_of_their_identities_and_spellings(tmp_path):
    spelt = replace(ANNS, aliases=(("cookie:C1", 3),), apart=(("customer:ann", "customer:bob"),))
    write_generation(tmp_path, META, PEOPLE, [], [], PARTS, [spelt])
    store = LmdbStore(tmp_path)
    for identity in (*ANNS.identities, "cookie:C1"):
        assert astuple(store.component(identity)) == astuple(spelt)
    assert store.component("customer:bob") is None
    assert store.part("customer:ann").events.keys() == {"purchase"}
    assert store.part("cookie:c2") is None
    store.close()


def test_two_stores_of_one_folder_share_it_until_the_last_closes(tmp_path):
    write_generation(tmp_path, META, PEOPLE, [])
    first, second = LmdbStore(tmp_path), LmdbStore(tmp_path)
    first.close()
    assert second.profile("customer:ann") == ANN
    with pytest.raises(OnlineStoreError, match="is closed"):
        first.profile("customer:ann")
    second.close()
    assert LmdbStore(tmp_path).profile("customer:ann") == ANN


def test_a_forgotten_store_is_closed(tmp_path):
    write_generation(tmp_path, META, PEOPLE, [])
    LmdbStore(tmp_path)
    gc.collect()
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    write_generation(tmp_path_again(tmp_path), META, [VISITOR], [])
    # An environment still open under this path would be shared, and answer for the old folder.
    assert LmdbStore(tmp_path).profile("customer:ann") is None


def tmp_path_again(path):
    path.mkdir()
    return path


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
def test_rows_that_make_no_generation_are_refused(tmp_path, people, rows, says):
    with pytest.raises(OnlineStoreError, match=says):
        write_generation(tmp_path, META, people, rows)


def test_a_generation_is_never_written_over(tmp_path):
    write_generation(tmp_path, META, PEOPLE, [])
    with pytest.raises(OnlineStoreError, match="already"):
        write_generation(tmp_path, META, PEOPLE, [])


def test_what_is_no_generation_is_refused(tmp_path):
    with pytest.raises(OnlineStoreError, match=r"no data\.mdb"):
        LmdbStore(tmp_path)
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1_000)
    with pytest.raises(OnlineStoreError, match="cannot be read"):
        LmdbStore(tmp_path)


def test_an_older_form_is_refused(tmp_path):
    write_generation(tmp_path, META | {"format": 0}, [], [])
    with pytest.raises(OnlineStoreError, match="not of format 4"):
        LmdbStore(tmp_path)
