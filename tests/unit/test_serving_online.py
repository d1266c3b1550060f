"""The online store gives back what was written, whole, and says so when it cannot."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.online import OnlineStoreError, ProfileRecord
from serving.online.lmdb import LmdbStore, key_of, write_generation
from tests.unit.serving_shop import ANN, PEOPLE, VISITOR, bundle, meta, vectors

META = meta([bundle("churn"), bundle("buys")])


def rows():
    return [(goal, person, vector) for (goal, person), vector in vectors().items()]


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
