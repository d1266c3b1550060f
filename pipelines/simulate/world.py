"""The people of the simulated shop and the causes planted in it.

Everything a model could hope to find is a number in `Causes`; everything that differs between
people is a column of `Traits`. Nothing here has seen an event.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Texts = NDArray[Any]
"""Texts, as NumPy strings or objects."""

Columns = TypeVar("Columns", bound=Any)

CATEGORIES = ("beauty", "garden", "kitchen", "kids", "sport", "office", "pets", "books")
CATEGORY_PRICE = (14.0, 22.0, 28.0, 18.0, 35.0, 20.0, 12.0, 9.0)
"""Median price by category, in the shop's currency."""
CHANNELS = ("direct", "organic", "email", "paid", "social")
DEVICES = ("desktop", "mobile")
TOPICS = ("delivery", "return", "product", "account")
TIERS = ("basic", "bronze", "silver", "gold")
TIER_SPEND = (30.0, 70.0, 130.0)
"""Decayed spend from which a review grants bronze, silver and gold."""
REVIEW_DAYS = 30
"""Loyalty tiers are reviewed at 03:00 of every thirtieth day."""


@dataclass(frozen=True)
class Causes:
    """The planted effects. `log_*` are natural logs of odds or hazard ratios; half-lives in days.

    Purchase: the log odds that a session ends in a purchase. Visit: the daily hazard of a session.
    Death: the daily hazard that a person never acts again. Ticket: the chance a session brings one.
    """

    purchase_base: float = -4.15
    purchase_inclination: float = 1.4
    purchase_views: float = 0.55
    purchase_carts: float = 0.95
    purchase_price_sensitivity: float = -0.75
    purchase_tickets: float = -0.6
    purchase_mobile: float = -0.3
    purchase_channel: tuple[float, ...] = (0.15, 0.0, 0.35, -0.25, -0.45)
    purchase_guest: float = -1.9

    visit_interest: float = 0.22
    visit_carts: float = 0.15
    visit_weekend: float = 0.2

    death_base: float = 0.001
    death_guest: float = 1.7
    death_tickets: float = 1.1
    death_gap: float = 0.045
    death_gap_cap: float = 40.0
    death_tier: float = -0.4

    ticket_base: float = 0.008
    ticket_after_order: float = 0.09

    half_life_interest: float = 5.0
    half_life_carts: float = 6.0
    half_life_tickets: float = 10.0
    half_life_orders: float = 10.0
    half_life_spend: float = 60.0

    views_mean: float = 1.4
    cart_per_view: float = 0.2
    search_mean: float = 0.4
    pages_mean: float = 0.35
    interest_kept_after_order: float = 0.5


@dataclass(frozen=True)
class Traits:
    """What a person is like, one row a person, fixed for life.

    `visit_rate` is sessions a day; `inclination` (partly shared with the visit rate) and
    `price_sensitivity` are close to standard normal; `registers` says whether the person will ever
    log in, at session number `registers_at` or at the first purchase; `mobile` is the usual device,
    `two_devices` owns the other kind too; `arrives` is the day of the first session, counted from
    the start; `channel` is the usual one.
    """

    arrives: Ints
    registers: Flags
    registers_at: Ints
    visit_rate: Floats
    inclination: Floats
    price_sensitivity: Floats
    favourite: Ints
    mobile: Flags
    two_devices: Flags
    channel: Ints

    def __len__(self) -> int:
        return len(self.arrives)


def rows(table: Columns, chosen: Any) -> Columns:
    """Return the chosen rows of a dataclass of equally long arrays, as a copy."""
    columns = {field.name: getattr(table, field.name)[chosen] for field in fields(table)}
    return type(table)(**columns)  # type: ignore[no-any-return]


def draw_traits(people: int, days: int, rng: np.random.Generator) -> Traits:
    """Draw `people` people who arrive over `days` days: a third of them in the first month."""
    early = rng.random(people) < 0.35
    arrives = np.where(early, rng.integers(0, min(30, days), people), rng.integers(0, days, people))
    registers = rng.random(people) < 0.63
    engagement = rng.normal(0.0, 1.0, people)
    usual_rate = np.where(registers, 0.088, 0.065)
    return Traits(
        arrives=arrives.astype(np.int64),
        registers=registers,
        registers_at=1 + rng.poisson(0.6, people).astype(np.int64),
        visit_rate=usual_rate * np.exp(0.6 * engagement),
        inclination=0.6 * engagement + 0.8 * rng.normal(0.0, 1.0, people),
        price_sensitivity=rng.normal(0.0, 1.0, people),
        favourite=rng.integers(0, len(CATEGORIES), people),
        mobile=rng.random(people) < 0.55,
        two_devices=rng.random(people) < np.where(registers, 0.3, 0.05),
        channel=rng.choice(len(CHANNELS), people, p=(0.3, 0.3, 0.15, 0.15, 0.1)),
    )
