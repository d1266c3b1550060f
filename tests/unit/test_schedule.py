"""Which training of a goal is the newest, whatever its version is called."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from features.store import Manifest, Store
from pipelines.schedule import last_training


@pytest.mark.parametrize("newest", ["a", "b"])
def test_of_one_as_of_the_training_registered_last_is_the_newest(tmp_path, newest):
    """Settings that were changed would else train again or not by how versions are called."""
    store = Store(tmp_path)
    for key in ("a", "b"):
        with store.writing("trained", key) as (_, facts):
            registered = {"version": "10" if key == newest else "9"}
            facts |= {"goal": "buys", "as_of": 5, "registered": registered}
    store.publish(Manifest("run", 5, {"trained": "a+b"}, {}))
    found = last_training(SimpleNamespace(store=store), "buys")
    assert found is not None
    assert found[0] == newest
    assert last_training(SimpleNamespace(store=store), "churn") is None
