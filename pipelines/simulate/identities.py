"""Who the shop can see: cookies, registrations, logins, and what goes wrong with them.

A visitor has a cookie a device, and a new one after clearing them. A customer id exists from
registration on, and is on the rows of a session only from the login on. A few people use someone
else's device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulate.life import Sessions
from pipelines.simulate.world import Flags, Floats, Ints, Texts, Traits

SLOTS = 3
"""Cookies a person can have: usual device, other device, usual device after clearing cookies."""
NEVER = -1
SHARED = 0.012
CLEARED = 0.08
LOGS_IN = 0.7


@dataclass(frozen=True)
class Seen:
    """How sessions were seen, one row a session in the order of `Sessions`.

    `cookie` is a cookie number (`person * SLOTS + slot`); `login_at` is the share of the session's
    events before the login, 0 = logged in throughout, 2 = never; `registers` marks the session in
    which the person became a customer. `host` has a row a person: who lends a device, -1 = nobody.
    """

    cookie: Ints
    login_at: Floats
    registers: Flags
    host: Ints


def see(traits: Traits, sessions: Sessions, days: int, rng: np.random.Generator) -> Seen:
    """Give every session its cookie and its login."""
    host = _hosts(traits, rng)
    registration = _registration(traits, sessions)
    after = np.arange(len(sessions.person)) > registration[sessions.person]
    known = registration[sessions.person] != NEVER
    registers = np.arange(len(sessions.person)) == registration[sessions.person]
    draws = rng.random((3, len(sessions.person)))
    logged_in = known & after & ((draws[0] < LOGS_IN) | sessions.purchase)
    login_at = np.where(logged_in, np.where(draws[1] < 0.6, 0.0, draws[1] - 0.5), 2.0)
    login_at = np.where(registers, 0.3 + 0.6 * draws[2], login_at)
    return Seen(_cookies(traits, sessions, host, days, rng), login_at, registers, host)


def _registration(traits: Traits, sessions: Sessions) -> Ints:
    """Return, by person, the position of the session in which they register, or -1."""
    order = np.argsort(sessions.person, kind="stable")
    person = sessions.person[order]
    first = np.searchsorted(person, person, side="left")
    number = np.arange(len(person)) - first + 1
    ready = traits.registers[person] & (
        (number >= traits.registers_at[person]) | sessions.purchase[order]
    )
    who, at = np.unique(person[ready], return_index=True)
    position = np.full(len(traits), NEVER, dtype=np.int64)
    position[who] = order[ready][at]
    return position


def _hosts(traits: Traits, rng: np.random.Generator) -> Ints:
    members = np.flatnonzero(traits.registers)
    guests = members[rng.random(len(members)) < SHARED]
    host = np.full(len(traits), NEVER, dtype=np.int64)
    if len(guests):
        host[guests] = rng.permutation(members)[: len(guests)]
        host[host == np.arange(len(traits))] = NEVER
    return host


def _cookies(
    traits: Traits, sessions: Sessions, host: Ints, days: int, rng: np.random.Generator
) -> Ints:
    cleared_on = np.where(
        rng.random(len(traits)) < CLEARED, rng.integers(0, days, len(traits)), days
    )
    person = sessions.person
    other = sessions.mobile != traits.mobile[person]
    slot = np.where(other, 1, np.where(sessions.day >= cleared_on[person], 2, 0))
    borrows = (host[person] != NEVER) & ~other & (rng.random(len(person)) < 0.35)
    return np.asarray(np.where(borrows, host[person] * SLOTS, person * SLOTS + slot))


def cookie_names(people: int, rng: np.random.Generator) -> Texts:
    """Return a name for every possible cookie number."""
    words = rng.integers(0, 2**63, people * SLOTS, dtype=np.int64)
    return np.array([f"ck_{word:016x}" for word in words.tolist()])


def customer_names(people: int, rng: np.random.Generator) -> Texts:
    """Return a customer id for every person, in no order that means anything."""
    return np.array([f"C{number:06d}" for number in (100_000 + rng.permutation(people)).tolist()])
