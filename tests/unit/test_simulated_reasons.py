"""True reasons in the simulated shop: by its formulas, person by person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.simulate import simulate, world_of
from pipelines.simulate.life import death_hazard
from pipelines.simulate.planted import PLANTED, part_told
from pipelines.simulate.reasons import PARTS, _value, left_for_tickets, true_reasons
from pipelines.simulate.truth import World, people_table
from pipelines.simulate.world import rows


@pytest.fixture(scope="module")
def world() -> World:
    return world_of(people=600, days=120, seed=5, causes=PLANTED)


def values(world: World, asked: list[int], horizon: int = 14) -> dict[str, np.ndarray]:
    everyone = np.flatnonzero(world.traits.arrives < world.snapshot_day)
    traits, state = rows(world.traits, everyone), rows(world.lives.snapshot, everyone)
    places = np.searchsorted(everyone, asked)
    rng = np.random.default_rng(2)
    return true_reasons(PLANTED, traits, state, places, world.snapshot_day, horizon, rng)


def living_by_carts(world: World) -> np.ndarray:
    """Return people who are there at the snapshot, the emptiest cart first."""
    state = world.lives.snapshot
    alive = (world.traits.arrives < world.snapshot_day) & (state.died < 0)
    order = np.argsort(state.carts, kind="stable")
    return order[alive[order]]


def test_a_full_cart_is_why_somebody_buys(world):
    found = values(world, list(living_by_carts(world)[-5:]))
    for name in PARTS:
        assert (found["carts"] >= found[name]).all()
    assert (found["carts"] > 1).all()


def test_having_left_is_why_somebody_does_not_buy(world):
    gone = np.flatnonzero(world.lives.snapshot.died >= 0)[:5]
    found = values(world, list(gone))
    for name in PARTS:
        assert (found["gone"] <= found[name]).all()


def test_what_does_nothing_in_the_planted_shop_is_nobodys_reason(world):
    found = values(world, list(living_by_carts(world)[::40]), horizon=30)
    assert np.abs(found["silence"]).mean() < 0.15 < np.abs(found["visits"]).mean()


def test_values_of_a_known_game_are_shapleys():
    """A left glove and two right ones: 2/3 and 1/6 each (Shapley's game of gloves)."""
    names = ["left", "right", "other"]
    pairs = {("left", "right"), ("left", "other"), ("left", "right", "other")}
    subsets = [(), *((n,) for n in names), *pairs, ("right", "other")]
    worths = {chosen: np.array([float(chosen in pairs)]) for chosen in subsets}
    found = [_value(name, names, worths)[0] for name in names]
    assert found == pytest.approx([2 / 3, 1 / 6, 1 / 6])


def test_they_left_for_their_tickets_when_these_doubled_the_hazard_of_that_day(world):
    """The tickets of that day are those of the snapshot, before they faded."""
    state, day = world.lives.snapshot, world.snapshot_day
    found = left_for_tickets(PLANTED, state, day)
    assert 0 < found.sum() < (state.died >= 0).sum() and not found[state.died < 0].any()
    faded = 0.5 ** ((day - 1 - state.died) / PLANTED.half_life_tickets)
    then = replace(state, tickets=state.tickets / np.where(state.died >= 0, faded, 1))
    hazard = death_hazard(PLANTED, world.traits, then, day)
    without = death_hazard(PLANTED, world.traits, replace(then, tickets=0 * then.tickets), day)
    left = state.died >= 0
    assert (found[left] == (hazard > 2 * without)[left]).all()
    # Half of what kills is known to be tickets: nearly everyone who left did so for them.
    assert found[left].mean() > 0.5


def test_every_world_told_is_the_one_written(world, tmp_path):
    import pyarrow.parquet as pq

    simulate(tmp_path, people=600, days=120, seed=5, causes=PLANTED)
    written = pq.read_table(tmp_path / "truth" / "people.parquet")
    assert written.equals(people_table(world).cast(written.schema))


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("add_to_cart_gap_mean", "carts"),
        ("days_since_support_ticket", "tickets"),
        ("page_view_active_days", "visits"),
        ("days_since_page_view", "gone"),
        ("purchase_amount", "orders"),
        ("loyalty_tier", "orders"),
        ("product_view_count", "taste"),
        ("days_since_first_seen", None),
    ],
)
def test_a_reason_is_the_trace_of_one_part(code, part):
    assert part_told(code) == part
    assert part is None or part in PARTS
