"""The CRM of the simulated shop: versions of customers, each dated when it became known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.time import MICROS_PER_DAY, MICROS_PER_SECOND
from pipelines.simulate.life import TierChange
from pipelines.simulate.world import TIERS, Ints, Texts

COUNTRIES = ("France", "Germany", "Spain", "Italy", "Belgium", "Portugal")
FIRST_NAMES = ("ana", "ben", "chloe", "david", "emma", "felix", "greta", "hugo", "ines", "jonas")
LAST_NAMES = ("martin", "schmidt", "garcia", "rossi", "peeters", "silva", "dubois", "weber")
OPTED_OUT = 0.15
OPTS_OUT_LATER = 0.2
MOVES = 0.03
COLUMNS = (
    "customer", "email", "country", "loyalty_tier", "birth_date", "marketing_opt_in", "updated_at",
)  # fmt: skip


def versions(
    customers: pd.DataFrame, tiers: tuple[TierChange, ...], start: int, end: int,
    rng: np.random.Generator,
) -> pd.DataFrame:  # fmt: skip
    """Return a row a version, in order of (updated_at, customer), with `COLUMNS`.

    `customers` has a row a customer: person, customer, registered_at (microseconds). The first
    version follows registration within minutes; later ones come with a move, an opt-out, or a
    change of loyalty tier, at 03:00 of the review day. `updated_at` is microseconds, before `end`.
    """
    frame = _first_versions(customers, end, rng)
    changes = [_moves(frame, end, rng), _opt_outs(frame, end, rng), _reviews(frame, tiers, start)]
    table = pd.concat([frame, *changes], ignore_index=True)
    table = table.sort_values(["customer", "updated_at"], kind="stable")
    known = ["email", "country", "loyalty_tier", "birth_date", "marketing_opt_in"]
    table[known] = table.groupby("customer", sort=False)[known].ffill()
    table = table.drop_duplicates(["customer", "updated_at"], keep="last")
    table = table.sort_values(["updated_at", "customer"], kind="stable", ignore_index=True)
    return table[list(COLUMNS)]


def _first_versions(customers: pd.DataFrame, end: int, rng: np.random.Generator) -> pd.DataFrame:
    count = len(customers)
    first = np.array(FIRST_NAMES)[rng.integers(0, len(FIRST_NAMES), count)]
    last = np.array(LAST_NAMES)[rng.integers(0, len(LAST_NAMES), count)]
    number = customers["customer"].str[1:].to_numpy(dtype=str)
    born = np.datetime64("1945-01-01") + rng.integers(0, 22_000, count)
    wants = _opt_in_at_first(count, rng)
    delay = rng.integers(20, 600, count) * MICROS_PER_SECOND
    registered_at = customers["registered_at"].to_numpy(dtype=np.int64)
    return pd.DataFrame(
        {
            "person": customers["person"].to_numpy(),
            "customer": customers["customer"].to_numpy(dtype=object),
            "email": [
                f"{f}.{s}{n}@mail.example" for f, s, n in zip(first, last, number, strict=True)
            ],
            "country": _countries(count, rng),
            "loyalty_tier": np.full(count, TIERS[0], dtype=object),
            "birth_date": np.datetime_as_string(born, unit="D").astype(object),
            "marketing_opt_in": wants.astype(object),
            "updated_at": np.minimum(registered_at + delay, end - MICROS_PER_SECOND),
        }
    )


def _countries(count: int, rng: np.random.Generator) -> Texts:
    drawn = rng.choice(len(COUNTRIES), count, p=(0.4, 0.2, 0.15, 0.12, 0.08, 0.05))
    return np.array(COUNTRIES, dtype=object)[drawn]


def _opt_in_at_first(count: int, rng: np.random.Generator) -> Texts:
    return np.where(rng.random(count) < OPTED_OUT * (1 - OPTS_OUT_LATER), "false", "true")


def _later(first: Ints, end: int, rng: np.random.Generator) -> Ints:
    """Return a moment after each first version and before the end, in whole seconds of delay."""
    room = np.maximum((end - first) // MICROS_PER_SECOND, 2)
    later = first + (1 + rng.integers(0, room - 1)) * MICROS_PER_SECOND
    return np.asarray(np.minimum(later, end - MICROS_PER_SECOND))


def _changed(frame: pd.DataFrame, chosen: Ints, column: str, values: Any, at: Ints) -> pd.DataFrame:
    change = pd.DataFrame({"customer": frame["customer"].to_numpy()[chosen], "updated_at": at})
    return change.assign(**{column: values})


def _moves(frame: pd.DataFrame, end: int, rng: np.random.Generator) -> pd.DataFrame:
    chosen = np.flatnonzero(rng.random(len(frame)) < MOVES)
    at = _later(frame["updated_at"].to_numpy()[chosen], end, rng)
    return _changed(frame, chosen, "country", _countries(len(chosen), rng), at)


def _opt_outs(frame: pd.DataFrame, end: int, rng: np.random.Generator) -> pd.DataFrame:
    willing = frame["marketing_opt_in"].to_numpy() == "true"
    share = OPTED_OUT * OPTS_OUT_LATER / (1 - OPTED_OUT * (1 - OPTS_OUT_LATER))
    chosen = np.flatnonzero(willing & (rng.random(len(frame)) < share))
    at = _later(frame["updated_at"].to_numpy()[chosen], end, rng)
    return _changed(frame, chosen, "marketing_opt_in", "false", at)


def _reviews(frame: pd.DataFrame, tiers: tuple[TierChange, ...], start: int) -> pd.DataFrame:
    row_of = pd.Series(np.arange(len(frame)), index=frame["person"].to_numpy())
    parts = []
    for change in tiers:
        at = start + change.day * MICROS_PER_DAY + 3 * 3_600 * MICROS_PER_SECOND
        chosen = row_of.reindex(change.person).to_numpy()
        moment = np.full(len(chosen), at, dtype=np.int64)
        names = np.array(TIERS, dtype=object)[change.tier]
        parts.append(_changed(frame, chosen, "loyalty_tier", names, moment))
    return pd.concat(parts, ignore_index=True) if parts else frame.head(0)
