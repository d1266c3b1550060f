"""The leak lint says nothing of honest projects."""

from __future__ import annotations

import pytest

from tests.end_to_end.shops import store_of


def suspicions(folder) -> list[str]:
    """Return what the lint said of the models of the current run."""
    store = store_of(folder)
    keys = store.require_current().tables["trained"].split("+")
    warnings = [text for key in keys for text in store.facts("trained", key)["warnings"]]
    return [text for text in warnings if "leans on" in text or "alone tells" in text]


def test_the_simulated_shop_is_clean(shop):
    assert suspicions(shop) == []


@pytest.mark.slow
def test_online_retail_is_clean(retail):
    folder, _ = retail
    assert suspicions(folder) == []
