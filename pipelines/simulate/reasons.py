"""Why each person of the simulated shop will, or will not, buy: by the formulas that made the shop.

What a person is and remembers is taken in seven parts (`PARTS`). Each has its Shapley value in the
game whose worth of some parts is the log-odds of buying when these are the person's own and the
others those of people drawn from all asked about. So the values of a person add up to how far
their log-odds lie from those of everyone, as the reasons of a model do, but nothing is learnt.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import combinations
from math import factorial

import numpy as np

from pipelines.simulate.life import State, chances
from pipelines.simulate.world import Causes, Columns, Flags, Floats, Ints, Traits, rows

PARTS: dict[str, tuple[str, ...]] = {
    "carts": ("carts",),
    "tickets": ("tickets",),
    "visits": ("visit_rate",),
    "gone": ("died",),
    "silence": ("last_visit",),
    "orders": ("orders", "spend", "tier"),
    "taste": (
        "interest", "inclination", "price_sensitivity", "favourite", "mobile", "two_devices",
        "channel", "registers",
    ),
}  # fmt: skip
"""Fields of `State` and `Traits` by what they are: what lies in carts; tickets; how often somebody
comes by nature; having left for good; the days since the last visit as such; what was bought and
the tier it earned; and what somebody likes, looks at, uses, and whether they register."""
DRAWN = 64
"""People drawn, for each person, to stand for everyone; one life is lived with each."""
SURE = 1e-3
"""The least chance that is told from none: those who have left have none at all."""


def true_reasons(
    causes: Causes, traits: Traits, state: State, asked: Ints, day: int, horizon: int,
    rng: np.random.Generator,
) -> dict[str, Floats]:  # fmt: skip
    """Return, by part, what it adds to each asked person's log-odds of buying in the horizon.

    `traits` and `state` (at the first instant of `day`) are of everyone the asked, by place, are
    compared with; the horizon is in days. An error of some tenths, since lives are drawn.
    """
    own = np.repeat(asked, DRAWN)
    other = rng.integers(0, len(traits), len(own))
    names = list(PARTS)

    def worth(chosen: tuple[str, ...]) -> Floats:
        like, then = _mixed(traits, own, other, chosen), _mixed(state, own, other, chosen)
        found = chances(causes, like, then, day, (horizon,), 1, rng)[horizon]
        mean = np.clip(found.reshape(-1, DRAWN).mean(axis=1), SURE, 1 - SURE)
        return np.asarray(np.log(mean / (1 - mean)))

    worths = {
        chosen: worth(chosen)
        for size in range(len(names) + 1)
        for chosen in combinations(names, size)
    }
    return {name: _value(name, names, worths) for name in names}


def _mixed(table: Columns, own: Ints, other: Ints, chosen: tuple[str, ...]) -> Columns:
    """Return other people who have the chosen parts of their own."""
    kept = {name for part in chosen for name in PARTS[part]}
    here, there = rows(table, own), rows(table, other)
    columns = {each.name for each in fields(table)} & kept
    return replace(there, **{name: getattr(here, name) for name in columns})


def _value(name: str, names: list[str], worths: dict[tuple[str, ...], Floats]) -> Floats:
    """Return the Shapley value of one part: its mean gain over all orders of joining."""
    total = np.zeros_like(worths[()])
    for before in (each for each in worths if name not in each):
        after = tuple(each for each in names if each in before or each == name)
        weight = factorial(len(before)) * factorial(len(names) - len(before) - 1)
        total += weight / factorial(len(names)) * (worths[after] - worths[before])
    return total


def left_for_tickets(causes: Causes, state: State, day: int) -> Flags:
    """Return who has left and would as soon have stayed, that day, but for their tickets.

    More than half of the hazard of the day they left came of them: exp(death_tickets * tickets) > 2
    with the tickets as they were then. `state` is that of the first instant of `day`.
    """
    left = state.died >= 0
    faded = np.where(left, day - 1 - state.died, 0) / causes.half_life_tickets
    return np.asarray(left & (causes.death_tickets * state.tickets * 2.0**faded > np.log(2.0)))
