"""Probabilities against the true hazards of the simulated shop, as the benchmark measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.truth import GOALS, distance, line, measured, persons
from pipelines.simulate import SimulatedShop, simulate

PROMISED = 0.03


def test_the_truth_is_at_no_distance_from_itself():
    truth = np.random.default_rng(1).random(1_000)
    assert distance(truth, truth) == 0
    assert distance(truth, truth - 0.1) == pytest.approx(0.1)
    # Off by .2 one way below the middle and the other way above, and right on average.
    turned = np.where(truth < np.median(truth), truth + 0.2, truth - 0.2)
    assert abs(turned.mean() - truth.mean()) < 1e-9
    assert distance(truth, turned) == pytest.approx(0.2)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> SimulatedShop:
    return simulate(tmp_path_factory.mktemp("shop"), people=8_000)


@pytest.mark.slow
def test_a_profile_is_traced_to_its_person(shop: SimulatedShop):
    import pandas as pd

    people = pd.read_parquet(shop.directory / "truth" / "people.parquet")
    known = people.dropna(subset=["customer"]).iloc[:50]
    cookies = [f"cookie:{each[0]}" for each in people["cookies"].iloc[:50]]
    customers = [f"customer:{each}" for each in known["customer"]]
    assert persons(Path(shop.directory), customers).tolist() == known["person"].tolist()
    owners = persons(Path(shop.directory), cookies)
    # A first cookie may be a borrowed one: then its owner is another person.
    assert (owners == people["person"].iloc[:50].to_numpy()).mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("goal", GOALS)
def test_what_serves_is_near_the_true_probability(shop: SimulatedShop, goal: str):
    found = measured(shop, goal)
    print(line(7, goal, found))
    assert found["people"] > 1_000
    assert found["left_out"] < 0.05 * found["people"]
    assert found["ece"] <= PROMISED
    assert abs(found["mean"] - found["true_mean"]) <= PROMISED
    # The truth knows latent traits and who has died, so no model ranks as well.
    assert 0.75 < found["auc"] < found["true_auc"]
