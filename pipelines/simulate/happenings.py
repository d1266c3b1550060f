"""Sessions unrolled into events: what was clicked, when, at which price.

Attributes are drawn from what the person is like and from the session itself, never from what
comes later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.time import MICROS_PER_DAY, MICROS_PER_SECOND
from pipelines.simulate.identities import Seen
from pipelines.simulate.life import Sessions
from pipelines.simulate.world import CATEGORIES, CATEGORY_PRICE, TOPICS, Flags, Floats, Ints, Traits

TYPES = ("page_view", "product_view", "search", "add_to_cart", "purchase", "support_ticket")
PAGE, VIEW, SEARCH, CART, PURCHASE, TICKET = range(6)
TERMS = (
    "face cream", "lipstick", "garden hose", "rose seeds", "frying pan", "chef knife",
    "toy train", "baby blanket", "running shoe", "yoga mat", "desk lamp", "notebook",
    "dog food", "cat tree", "crime novel", "atlas",
)  # fmt: skip
"""Two search terms a category, in the order of `CATEGORIES`."""
NONE = -1
JUNK_SHARE = 0.002
"""Of the rows without a login (a page writes what its script held): 0.1% of all rows."""
LATE_SHARE = 0.005
HOURS = np.array(
    [1, 0.6, 0.4, 0.3, 0.3, 0.6, 1.5, 3, 4, 4.5, 5, 5.5, 6.5, 6, 5, 4.5, 5, 5.5, 6.5, 8, 9, 8, 5]
)
"""Weight of each hour (UTC) of starting a session. None starts at 23: it ends the same day."""
LONGEST_SESSION = 3_000.0


@dataclass(frozen=True)
class Events:
    """Events in order of time, one row each; times in microseconds, money in cents, -1 = absent.

    `junk` is 0, or the number of a junk value that stands where a customer id should.
    """

    session: Ints
    kind: Ints
    ts: Ints
    received_at: Ints
    logged_in: Flags
    junk: Ints
    category: Ints
    cents: Ints
    items: Ints
    term: Ints
    topic: Ints

    def __len__(self) -> int:
        return len(self.session)


def unroll(
    traits: Traits, sessions: Sessions, seen: Seen, start: int, end: int, rng: np.random.Generator
) -> Events:
    """Return the events of all sessions; `start` and `end` (exclusive) bound their times."""
    table = _columns(traits, sessions, rng)
    table = table[:, np.lexsort((table[6], table[0].astype(np.int64)))]
    session, kind = table[0].astype(np.int64), table[1].astype(np.int64)
    ts = start + _times(sessions, session, rng)
    received = _received(ts, end, rng)
    logged_in = _logged_in(session, seen)
    junk = np.where(~logged_in & (rng.random(len(ts)) < JUNK_SHARE), rng.integers(1, 3, len(ts)), 0)
    columns = {
        "session": session,
        "kind": kind,
        "ts": ts,
        "received_at": received,
        "logged_in": logged_in,
        "junk": junk,
        "category": table[2].astype(np.int64),
        "cents": table[3].astype(np.int64),
        "items": table[4].astype(np.int64),
        "term": np.where(kind == SEARCH, table[5], NONE).astype(np.int64),
        "topic": np.where(kind == TICKET, table[5], NONE).astype(np.int64),
    }
    order = np.argsort(ts, kind="stable")
    return Events(**{name: column[order] for name, column in columns.items()})


def _columns(traits: Traits, sessions: Sessions, rng: np.random.Generator) -> Floats:
    """Return rows session, kind, category, cents, items, choice, place; one column an event."""
    everyone = np.arange(len(sessions.person))
    views = np.repeat(everyone, sessions.views)
    view_category = _categories(traits, sessions, views, rng)
    view_cents = _cents(traits, sessions, views, view_category, rng)
    # The first views of a session are the ones put in the cart.
    place = np.arange(len(views)) - np.repeat(
        np.cumsum(sessions.views) - sessions.views, sessions.views
    )
    carted = place < sessions.carts[views]
    parts = [
        _pages(sessions, everyone, rng),
        _part(views, VIEW, 0.1 + 0.9 * rng.random(len(views)), view_category, view_cents),
        _searches(traits, sessions, everyone, rng),
        _part(
            views[carted], CART, 1.0 + rng.random(int(carted.sum())),
            view_category[carted], view_cents[carted],
        ),
        _tickets(everyone[sessions.ticket], rng),
        _purchases(
            traits, sessions, views[carted], view_category[carted], view_cents[carted], rng
        ),
    ]  # fmt: skip
    return np.concatenate(parts, axis=1)


def _part(
    session: Ints, kind: int, place: Floats, category: Ints | int = NONE, cents: Ints | int = NONE,
    items: Ints | int = NONE, choice: Ints | int = NONE,
) -> Floats:  # fmt: skip
    # float64 holds every one of these whole numbers exactly (all are far below 2**53).
    columns = np.broadcast_arrays(session, kind, category, cents, items, choice, place)
    return np.stack(columns).astype(np.float64)


def _pages(sessions: Sessions, everyone: Ints, rng: np.random.Generator) -> Floats:
    pages = np.repeat(everyone, sessions.pages)
    landing = np.diff(pages, prepend=NONE) != 0
    return _part(pages, PAGE, np.where(landing, -1.0, rng.random(len(pages))))


def _searches(
    traits: Traits, sessions: Sessions, everyone: Ints, rng: np.random.Generator
) -> Floats:
    searches = np.repeat(everyone, sessions.searches)
    term = 2 * _categories(traits, sessions, searches, rng) + rng.integers(0, 2, len(searches))
    return _part(searches, SEARCH, 0.6 * rng.random(len(searches)), choice=term)


def _tickets(session: Ints, rng: np.random.Generator) -> Floats:
    topic = rng.choice(len(TOPICS), len(session), p=(0.45, 0.25, 0.2, 0.1))
    return _part(session, TICKET, np.full(len(session), 3.0), choice=topic)


def _purchases(
    traits: Traits, sessions: Sessions, carts: Ints, category: Ints, cents: Ints,
    rng: np.random.Generator,
) -> Floats:  # fmt: skip
    """Return purchases: what was put in the cart in this session, else a reorder of favourites."""
    bought = np.flatnonzero(sessions.purchase)
    total = np.bincount(carts, weights=cents, minlength=len(sessions.person))[bought]
    first = np.full(len(sessions.person), NONE, dtype=np.int64)
    first[carts[::-1]] = category[::-1]
    favourite = traits.favourite[sessions.person[bought]]
    reorder = 1 + rng.poisson(0.4, len(bought))
    again = reorder * _cents(traits, sessions, bought, favourite, rng)
    has_cart = sessions.carts[bought] > 0
    return _part(
        bought, PURCHASE, np.full(len(bought), 4.0),
        np.where(has_cart, first[bought], favourite), np.where(has_cart, total, again),
        np.where(has_cart, sessions.carts[bought], reorder),
    )  # fmt: skip


def _categories(
    traits: Traits, sessions: Sessions, session: Ints, rng: np.random.Generator
) -> Ints:
    usual = rng.random(len(session)) < 0.6
    elsewhere = rng.integers(0, len(CATEGORIES), len(session))
    return np.asarray(np.where(usual, traits.favourite[sessions.person[session]], elsewhere))


def _cents(
    traits: Traits, sessions: Sessions, session: Ints, category: Ints, rng: np.random.Generator
) -> Ints:
    """Draw prices: the price sensitive look at cheaper things."""
    level = 0.4 * rng.standard_normal(len(session))
    level -= 0.35 * traits.price_sensitivity[sessions.person[session]]
    price = np.array(CATEGORY_PRICE)[category] * np.exp(level)
    return np.asarray(np.rint(100.0 * np.maximum(price, 1.0)), dtype=np.int64)


def _times(sessions: Sessions, session: Ints, rng: np.random.Generator) -> Ints:
    """Return microseconds since the start, whole milliseconds, rising within a session."""
    count = np.bincount(session, minlength=len(sessions.person))
    hour = rng.choice(len(HOURS), len(count), p=HOURS / HOURS.sum())
    begin = 3_600.0 * (hour + rng.random(len(count)))
    gaps = 1.0 + rng.exponential(40.0, len(session))
    first = np.cumsum(count) - count
    elapsed = np.cumsum(gaps) - gaps
    elapsed -= np.repeat(elapsed[first], count)
    length = np.maximum.reduceat(elapsed, first)
    elapsed *= np.repeat(np.minimum(1.0, LONGEST_SESSION / np.maximum(length, 1.0)), count)
    millis = np.floor(1_000.0 * (np.repeat(begin, count) + elapsed)).astype(np.int64)
    return np.asarray(sessions.day[session] * MICROS_PER_DAY + 1_000 * millis)


def _received(ts: Ints, end: int, rng: np.random.Generator) -> Ints:
    """Return arrival: seconds later, rarely hours or days; never after the extract was taken."""
    late = rng.random(len(ts)) < LATE_SHARE
    seconds = 0.2 + rng.exponential(1.5, len(ts))
    hours = np.clip(rng.lognormal(np.log(6.0), 1.3, len(ts)), 1.0, 240.0)
    delay = np.where(late, 3_600.0 * hours, seconds)
    millis = np.rint(1_000.0 * delay).astype(np.int64)
    return np.asarray(np.minimum(ts + 1_000 * millis, end - MICROS_PER_SECOND // 1_000))


def _logged_in(session: Ints, seen: Seen) -> Flags:
    """Say which events follow the login; the last event of a logged-in session always does."""
    count = np.bincount(session)
    place = np.arange(len(session)) - np.repeat(np.cumsum(count) - count, count)
    cut = np.minimum(np.floor(seen.login_at * count), count - 1)
    cut = np.where(seen.login_at > 1.0, count, cut)
    return np.asarray(place >= cut[session])
