"""What is true of the simulated shop, written down for whoever wants to be proved right or wrong.

Nothing in `truth/` is a source of the project: a model never sees it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.time import MICROS_PER_DAY, format_instant
from pipelines.simulate.files import event_ids
from pipelines.simulate.happenings import Events
from pipelines.simulate.identities import SLOTS, Seen
from pipelines.simulate.life import (
    Lives,
    chances,
    death_hazard,
    visit_hazard,
)
from pipelines.simulate.truth_page import README
from pipelines.simulate.world import (
    CATEGORIES,
    TIERS,
    Causes,
    Flags,
    Floats,
    Ints,
    Texts,
    Traits,
    rows,
)

INSTANT = pa.timestamp("us", tz="UTC")
HORIZONS = (14, 30)
PATHS = 48


@dataclass(frozen=True)
class World:
    """Everything that was simulated, before it is written."""

    causes: Causes
    traits: Traits
    lives: Lives
    seen: Seen
    events: Events
    cookies: Texts
    customers: Texts
    registered_at: Ints
    start: int
    end: int
    snapshot_day: int

    def instant(self, day: Ints) -> Any:
        """Return the first instant of `day`, null where it is negative."""
        return pa.array(self.start + day * MICROS_PER_DAY, mask=day < 0).cast(INSTANT)


def write_truth(folder: Path, world: World, rng: np.random.Generator) -> list[Path]:
    """Write the truth tables, `causes.json` and `README.md`; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "people": people_table(world),
        "cookies": cookies_table(world),
        "sessions": sessions_table(world),
        "events": events_table(world),
        "snapshot": snapshot_table(world, rng),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
    causes = folder / "causes.json"
    causes.write_text(json.dumps(asdict(world.causes), indent=2) + "\n", encoding="utf-8")
    readme = folder / "README.md"
    as_of = format_instant(world.start + world.snapshot_day * MICROS_PER_DAY)
    settings = "\n".join(f"| `{k}` | {v} |" for k, v in asdict(world.causes).items())
    text = README.format(as_of=as_of, paths=PATHS, causes=settings)
    readme.write_text(text, encoding="utf-8")
    return [*(folder / f"{name}.parquet" for name in tables), causes, readme]


def _table(columns: dict[str, Any]) -> pa.Table:
    return pa.table(columns)


def _lists(offsets: Any, values: Any) -> Any:
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def people_table(world: World) -> pa.Table:
    """Return a row a person."""
    traits, final = world.traits, world.lives.final
    known = world.registered_at >= 0
    used = np.unique(np.stack([world.lives.sessions.person, world.seen.cookie]), axis=1)
    offsets = np.searchsorted(used[0], np.arange(len(traits) + 1)).astype(np.int32)
    names = pa.array(world.cookies[used[1]])
    host = world.seen.host
    return _table(
        {
            "person": np.arange(len(traits)),
            "customer": pa.array(world.customers, mask=~known),
            "cookies": _lists(offsets, names),
            "borrows_device_of": pa.array(host, mask=host < 0),
            "registered_at": pa.array(world.registered_at, mask=~known).cast(INSTANT),
            "arrives": world.instant(traits.arrives),
            "death_time": world.instant(final.died),
            "death_risk": final.risk,
            "sessions": np.bincount(world.lives.sessions.person, minlength=len(traits)),
            "purchases": _purchases(world, 0, world.end),
            "tier": np.array(TIERS)[final.tier],
            "registers": traits.registers,
            "visit_rate": traits.visit_rate,
            "inclination": traits.inclination,
            "price_sensitivity": traits.price_sensitivity,
            "favourite": np.array(CATEGORIES)[traits.favourite],
            "two_devices": traits.two_devices,
        }
    )


def cookies_table(world: World) -> pa.Table:
    """Return a row a cookie that was used: its owner, and how many people used it."""
    person, cookie = world.lives.sessions.person, world.seen.cookie
    users = np.unique(np.stack([cookie, person]), axis=1)[0]
    number, count = np.unique(users, return_counts=True)
    return _table({"cookie": world.cookies[number], "owner": number // SLOTS, "people": count})


def sessions_table(world: World) -> pa.Table:
    """Return a row a session, numbered as in the events table."""
    sessions = world.lives.sessions
    return _table(
        {
            "session": np.arange(len(sessions.person)),
            "person": sessions.person,
            "day": world.instant(sessions.day),
            "cookie": world.cookies[world.seen.cookie],
            "purchase_chance": sessions.chance,
            "purchase": sessions.purchase,
            "ticket": sessions.ticket,
        }
    )


def events_table(world: World) -> pa.Table:
    """Return a row an event: who it really was."""
    session = world.events.session
    return _table(
        {
            "id": event_ids(world.events),
            "session": session,
            "person": world.lives.sessions.person[session],
        }
    )


def snapshot_table(world: World, rng: np.random.Generator) -> pa.Table:
    """Return a row a person who had arrived: hazards, true probabilities, and what happened."""
    day, state = world.snapshot_day, world.lives.snapshot
    arrived = np.flatnonzero(world.traits.arrives < day)
    traits, then = rows(world.traits, arrived), rows(state, arrived)
    alive = then.died < 0
    as_of = np.full(len(arrived), day, dtype=np.int64)
    columns: dict[str, Any] = {
        "person": arrived,
        "as_of": world.instant(as_of),
        "alive": alive,
        "visit_hazard": _if(alive, visit_hazard(world.causes, traits, then, day)),
        "death_hazard": _if(alive, death_hazard(world.causes, traits, then, day)),
        "tier": np.array(TIERS)[then.tier],
        "recent_views": then.interest,
        "recent_carts": then.carts,
        "recent_tickets": then.tickets,
    }
    living = np.flatnonzero(alive)
    true = chances(
        world.causes, rows(traits, living), rows(then, living), day, HORIZONS, PATHS, rng
    )
    for horizon, chance in true.items():
        whole = np.zeros(len(arrived))
        whole[living] = chance
        columns[f"purchase_probability_{horizon}d"] = whole
        columns[f"purchased_{horizon}d"] = _purchases(world, day, day + horizon)[arrived] > 0
    table = _table(columns)
    return table.append_column("customer", _customers(world, arrived))


def _if(condition: Flags, values: Floats) -> Floats:
    return np.where(condition, values, 0.0)


def _purchases(world: World, first_day: int, last_day: int) -> Ints:
    sessions = world.lives.sessions
    chosen = sessions.purchase & (sessions.day >= first_day) & (sessions.day < last_day)
    return np.bincount(sessions.person[chosen], minlength=len(world.traits))


def _customers(world: World, person: Ints) -> Any:
    """Return the customer id of those who had registered by the snapshot, else null."""
    as_of = world.start + world.snapshot_day * MICROS_PER_DAY
    at = world.registered_at[person]
    names = pa.array(world.customers[person])
    return pc.if_else(pa.array((at >= 0) & (at < as_of)), names, pa.scalar(None, pa.string()))
