"""Life in the simulated shop, one day at a time, for everyone at once.

A day goes: memories fade, tiers are reviewed, some die, some visit; a visit brings views, carts,
perhaps a purchase, perhaps a support ticket. At most one session a person and day. `live_a_day`
is the only place that knows the order, so the true probabilities (`chances`) are made by the very
same steps that made the events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.simulate.world import (
    CATEGORY_PRICE,
    CHANNELS,
    REVIEW_DAYS,
    TIER_SPEND,
    Causes,
    Flags,
    Floats,
    Ints,
    Traits,
    rows,
)

PRICES = np.array(CATEGORY_PRICE)


@dataclass
class State:
    """What changes in a life, one row a person. Memories are sums that halve every half-life.

    `last_visit` is a day, -1 = never; `died` the first day without the person, -1 = alive;
    `risk` the sum of daily death hazards lived through.
    """

    interest: Floats
    carts: Floats
    tickets: Floats
    orders: Floats
    spend: Floats
    tier: Ints
    last_visit: Ints
    died: Ints
    risk: Floats

    @classmethod
    def newborn(cls, people: int) -> State:
        """Return the state of `people` who have not arrived yet."""
        return cls(
            interest=np.zeros(people),
            carts=np.zeros(people),
            tickets=np.zeros(people),
            orders=np.zeros(people),
            spend=np.zeros(people),
            tier=np.zeros(people, dtype=np.int64),
            last_visit=np.full(people, -1, dtype=np.int64),
            died=np.full(people, -1, dtype=np.int64),
            risk=np.zeros(people),
        )


@dataclass(frozen=True)
class Sessions:
    """Sessions, one row each, in order of day.

    `chance` is the true probability that it ended in a purchase, `day` counts from the start,
    `channel` and `mobile` say how the person came.
    """

    person: Ints
    day: Ints
    channel: Ints
    mobile: Flags
    views: Ints
    carts: Ints
    searches: Ints
    pages: Ints
    ticket: Flags
    chance: Floats
    purchase: Flags


@dataclass(frozen=True)
class TierChange:
    """People whose loyalty tier a review changed on `day`."""

    day: int
    person: Ints
    tier: Ints


@dataclass(frozen=True)
class Lives:
    """Everything that happened: sessions in order of day, tier changes, the state at the end.

    `snapshot` is the state at the first instant of the snapshot day, before anything of that day.
    """

    sessions: Sessions
    tiers: tuple[TierChange, ...]
    final: State
    snapshot: State


def purchase_chance(
    causes: Causes, traits: Traits, state: State, channel: Ints, mobile: Flags
) -> Floats:
    """Return the probability that a session, its views and carts included, ends in a purchase."""
    log_odds = (
        causes.purchase_base
        + causes.purchase_inclination * traits.inclination
        + causes.purchase_views * np.log1p(state.interest)
        + causes.purchase_carts * np.log1p(state.carts)
        + causes.purchase_price_sensitivity * traits.price_sensitivity
        + causes.purchase_tickets * state.tickets
        + causes.purchase_mobile * mobile
        + np.array(causes.purchase_channel)[channel]
        + causes.purchase_guest * ~traits.registers
    )
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)))


def visit_hazard(causes: Causes, traits: Traits, state: State, day: int) -> Floats:
    """Return the hazard of a session on `day`."""
    raised = causes.visit_interest * np.log1p(state.interest)
    raised += causes.visit_carts * np.log1p(state.carts) + causes.visit_weekend * (day % 7 >= 5)
    return np.asarray(traits.visit_rate * np.exp(raised))


def death_hazard(causes: Causes, traits: Traits, state: State, day: int) -> Floats:
    """Return the hazard of never acting again from `day` on."""
    gap = np.minimum(day - state.last_visit, causes.death_gap_cap)
    raised = (
        causes.death_guest * ~traits.registers
        + causes.death_tickets * state.tickets
        + causes.death_gap * gap
        + causes.death_tier * state.tier
    )
    return np.asarray(causes.death_base * np.exp(raised))


def _fade(causes: Causes, state: State) -> None:
    for memory in ("interest", "carts", "tickets", "orders", "spend"):
        values = getattr(state, memory)
        values *= 0.5 ** (1.0 / getattr(causes, f"half_life_{memory}"))


def review(traits: Traits, state: State, day: int) -> Flags | None:
    """Set tiers by spend on review days; return who changed, or None on other days."""
    if day == 0 or day % REVIEW_DAYS:
        return None
    earned = np.searchsorted(np.array(TIER_SPEND), state.spend, side="right") * traits.registers
    changed = np.asarray(earned != state.tier)
    state.tier[:] = earned
    return changed


def _die(causes: Causes, traits: Traits, state: State, day: int, rng: np.random.Generator) -> Flags:
    """Let some die; return who lives on `day`: has come before and has not died."""
    alive = (traits.arrives < day) & (state.died < 0)
    hazard = np.where(alive, death_hazard(causes, traits, state, day), 0.0)
    state.risk += hazard
    dies = rng.random(len(traits)) < -np.expm1(-hazard)
    state.died[dies] = day
    return np.asarray(alive & ~dies)


def _visit(
    causes: Causes, traits: Traits, state: State, who: Ints, day: int, rng: np.random.Generator
) -> Sessions:
    """Draw the sessions of `who` up to the purchase, and remember their views and carts."""
    here, count = rows(traits, who), len(who)
    usual = rng.random(count) < 0.7
    channel = np.where(usual, here.channel, rng.integers(0, len(CHANNELS), count))
    mobile = here.mobile ^ (here.two_devices & (rng.random(count) < 0.35))
    views = rng.poisson(causes.views_mean * np.exp(0.2 * here.inclination))
    carts = rng.binomial(views, causes.cart_per_view)
    ticket_chance = causes.ticket_base + causes.ticket_after_order * np.minimum(
        state.orders[who], 2.0
    )
    ticket = rng.random(count) < ticket_chance
    state.interest[who] += views
    state.carts[who] += carts
    state.last_visit[who] = day
    chance = purchase_chance(causes, here, rows(state, who), channel, mobile)
    return Sessions(
        person=who,
        day=np.full(count, day, dtype=np.int64),
        channel=channel,
        mobile=mobile,
        views=views,
        carts=carts,
        searches=rng.poisson(causes.search_mean, count),
        pages=1 + rng.poisson(causes.pages_mean, count),
        ticket=ticket,
        chance=chance,
        purchase=rng.random(count) < chance,
    )


def _remember(causes: Causes, traits: Traits, state: State, visits: Sessions) -> None:
    """Let a ticket and a purchase work on the days after the session."""
    state.tickets[visits.person[visits.ticket]] += 1.0
    buyers = visits.person[visits.purchase]
    state.interest[buyers] *= causes.interest_kept_after_order
    state.carts[buyers] = 0.0
    state.orders[buyers] += 1.0
    # A tier follows the usual price of the favourite category, not the till: money is drawn later.
    state.spend[buyers] += PRICES[traits.favourite[buyers]] * 1.5


def live_a_day(
    causes: Causes, traits: Traits, state: State, day: int, rng: np.random.Generator,
    *, buying: bool = True,
) -> tuple[Sessions, Flags | None]:  # fmt: skip
    """Move `state` through one day; return its sessions and who changed tier.

    With `buying` False no session ends in a purchase, while `chance` stays what it was.
    """
    _fade(causes, state)
    changed = review(traits, state, day)
    alive = _die(causes, traits, state, day, rng)
    hazard = visit_hazard(causes, traits, state, day)
    visits = alive & (rng.random(len(traits)) < -np.expm1(-hazard))
    who = np.flatnonzero(visits | (traits.arrives == day))
    sessions = _visit(causes, traits, state, who, day, rng)
    if not buying:
        sessions.purchase[:] = False
    _remember(causes, traits, state, sessions)
    return sessions, changed


def live(
    causes: Causes, traits: Traits, days: int, snapshot_day: int, rng: np.random.Generator,
    progress: Callable[[float], None],
) -> Lives:  # fmt: skip
    """Live all days for all people; `progress` hears the share done."""
    state = State.newborn(len(traits))
    everyone, sessions, tiers = np.arange(len(traits)), [], []
    snapshot = state
    for day in range(days):
        if day == snapshot_day:
            snapshot = rows(state, everyone)
        visits, changed = live_a_day(causes, traits, state, day, rng)
        sessions.append(visits)
        if changed is not None:
            who = np.flatnonzero(changed)
            tiers.append(TierChange(day, who, state.tier[who]))
        progress((day + 1) / days)
    return Lives(_joined(sessions), tuple(tiers), state, snapshot)


def _joined(parts: list[Sessions]) -> Sessions:
    names = Sessions.__dataclass_fields__
    return Sessions(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def chances(
    causes: Causes, traits: Traits, state: State, day: int, horizons: tuple[int, ...],
    paths: int, rng: np.random.Generator,
) -> dict[int, Floats]:  # fmt: skip
    """Return, by horizon in days, the probability of a purchase in `[day, day + horizon)`.

    1 - E[∏ (1 - chance)] over `paths` lives drawn from `state` in which nobody buys. This is
    unbiased: until the first purchase, a life is distributed as one without purchases, weighted by
    the chances that it stayed so. Traits are known here, so it is the best any model could know.
    """
    copies = np.repeat(np.arange(len(traits)), paths)
    many, lives = rows(traits, copies), rows(state, copies)
    survival, result = np.ones(len(copies)), {}
    for ahead in range(max(horizons)):
        sessions, _ = live_a_day(causes, many, lives, day + ahead, rng, buying=False)
        survival[sessions.person] *= 1.0 - sessions.chance
        if ahead + 1 in horizons:
            result[ahead + 1] = 1.0 - survival.reshape(-1, paths).mean(axis=1)
    return result
