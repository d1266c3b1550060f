"""The formulas of the simulated life: each planted cause moves what it should by its size."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.simulate.life import State, chances, death_hazard, live_a_day, purchase_chance
from pipelines.simulate.world import Causes, Traits, draw_traits, rows


def person(**changed: object) -> tuple[Traits, State]:
    """One average registered person on the eve of day 10, last seen on day 9."""
    traits = rows(draw_traits(2, 100, np.random.default_rng(0)), slice(0, 1))
    traits.registers[:], traits.inclination[:], traits.price_sensitivity[:] = True, 0.0, 0.0
    traits.arrives[:] = 0
    state = State.newborn(1)
    state.last_visit[:] = 9
    for name, value in changed.items():
        getattr(traits if hasattr(traits, name) else state, name)[:] = value
    return traits, state


@pytest.mark.parametrize(
    ("changed", "ratio"),
    [
        ({"interest": np.e - 1}, Causes().purchase_views),
        ({"carts": np.e - 1}, Causes().purchase_carts),
        ({"price_sensitivity": 1.0}, Causes().purchase_price_sensitivity),
        ({"tickets": 1.0}, Causes().purchase_tickets),
        ({"registers": False}, Causes().purchase_guest),
    ],
)
def test_purchase_log_odds_move_by_the_planted_size(
    changed: dict[str, float], ratio: float
) -> None:
    direct, desktop = np.array([1]), np.array([False])
    odds = [
        chance / (1 - chance)
        for chance in (
            purchase_chance(Causes(), *person(**who), direct, desktop)[0] for who in (changed, {})
        )
    ]
    assert np.log(odds[0] / odds[1]) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("changed", "ratio"),
    [
        ({"tickets": 1.0}, Causes().death_tickets),
        ({"last_visit": 8}, Causes().death_gap),
        ({"last_visit": -90}, (Causes().death_gap_cap - 1) * Causes().death_gap),
        ({"tier": 2}, 2 * Causes().death_tier),
        ({"registers": False}, Causes().death_guest),
    ],
)
def test_death_hazard_moves_by_the_planted_size(changed: dict[str, float], ratio: float) -> None:
    raised, usual = (death_hazard(Causes(), *person(**who), 10)[0] for who in (changed, {}))
    assert np.log(raised / usual) == pytest.approx(ratio)


def test_true_probability_is_the_frequency_of_buying_in_free_lives() -> None:
    """The suppressed-purchase estimate against its slow twin: live on and count the buyers."""
    copies = 4_000
    traits, state = person(interest=4.0, carts=1.0, inclination=1.0, visit_rate=0.3)
    rng = np.random.default_rng(3)
    (estimate,) = chances(Causes(), traits, state, 10, (14,), 2_000, rng)[14]
    one = np.zeros(copies, dtype=int)
    many, lives = rows(traits, one), rows(state, one)
    bought = np.zeros(copies, dtype=bool)
    for day in range(10, 24):
        sessions, _ = live_a_day(Causes(), many, lives, day, rng)
        bought[sessions.person[sessions.purchase]] = True
    assert 0.1 < estimate < 0.9
    assert bought.mean() == pytest.approx(estimate, abs=4 * 0.5 / np.sqrt(copies))


# --- what a model will find ----------------------------------------------------------------------
