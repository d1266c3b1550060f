"""A simulated shop with known truth: events, a CRM, a project file, and what is really so.

The same arguments give the same bytes. Nothing in the data is computed from what comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.errors import LikelierError
from features.time import MICROS_PER_DAY, parse_instant
from pipelines.simulate.crm import versions
from pipelines.simulate.files import instants, write_events
from pipelines.simulate.happenings import unroll
from pipelines.simulate.identities import cookie_names, customer_names, see
from pipelines.simulate.life import live
from pipelines.simulate.project_file import PROJECT_FILE
from pipelines.simulate.truth import World, write_truth
from pipelines.simulate.world import Causes, Ints, draw_traits

__all__ = ["SimulateError", "SimulatedShop", "simulate", "world_of"]

SNAPSHOT_BEFORE_END = 60
MIN_DAYS = 90
MIN_PEOPLE = 10
Progress = Callable[[str, float], None]


class SimulateError(LikelierError):
    """A shop that cannot be simulated as asked."""

    code = "cannot_simulate"


@dataclass(frozen=True)
class SimulatedShop:
    """What was written: counts, the span `[start, end)` in microseconds, and the files."""

    directory: Path
    people: int
    customers: int
    cookies: int
    sessions: int
    events: int
    purchases: int
    crm_rows: int
    start: int
    end: int
    snapshot: int
    files: tuple[Path, ...]


def simulate(
    directory: Path, *, people: int = 20_000, days: int = 240, seed: int = 7,
    end: str = "2026-06-30", causes: Causes | None = None, progress: Progress | None = None,
) -> SimulatedShop:  # fmt: skip
    """Simulate a shop of `people` people over the `days` days before `end` (exclusive, UTC).

    Writes `likelier.yaml`, `data/` and `truth/` into `directory`, replacing an earlier simulated
    shop there. About 50 events a person at the default length. `causes` plants effects of other
    sizes. `progress` hears the stage (`live`, `unroll`, `write`, `truth`) and the share of it done.

    Raises `SimulateError` when the folder holds another project or the size makes no shop, and
    `TimeError` when `end` is no date.
    """
    tell = progress or (lambda stage, share: None)
    last = parse_instant(end) // MICROS_PER_DAY * MICROS_PER_DAY
    _refuse(directory, people, days, last)
    streams = _streams(seed)
    world = _world(causes or Causes(), people, days, last, streams, tell)
    files = _write_data(directory, world, streams[3], tell)
    tell("truth", 0.0)
    files += write_truth(directory / "truth", world, streams[3])
    tell("truth", 1.0)
    return _summary(directory, world, files)


def world_of(
    *, people: int = 20_000, days: int = 240, seed: int = 7, end: str = "2026-06-30",
    causes: Causes | None = None,
) -> World:  # fmt: skip
    """Return all that `simulate` with these arguments makes and knows, and write nothing."""
    last = parse_instant(end) // MICROS_PER_DAY * MICROS_PER_DAY
    return _world(causes or Causes(), people, days, last, _streams(seed), lambda stage, share: None)


def _streams(seed: int) -> list[np.random.Generator]:
    """Return random numbers a stage: changing one stage leaves the others as they were."""
    return [np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(4)]


def _refuse(directory: Path, people: int, days: int, end: int) -> None:
    if people < MIN_PEOPLE or days < MIN_DAYS or end < days * MICROS_PER_DAY:
        raise SimulateError(
            f"{people} people over {days} days make no shop.",
            hint=f"Ask for at least {MIN_PEOPLE} people and {MIN_DAYS} days, all after 1970.",
            people=people,
            days=days,
        )
    ours = (directory / "truth" / "causes.json").exists()
    if directory.exists() and not ours and any(directory.iterdir()):
        raise SimulateError(
            f"{str(directory)!r} holds something else than a simulated shop.",
            hint="Name a new or empty folder.",
            directory=str(directory),
        )


def _world(
    causes: Causes,
    people: int,
    days: int,
    end: int,
    streams: list[np.random.Generator],
    tell: Progress,
) -> World:
    start = end - days * MICROS_PER_DAY
    traits = draw_traits(people, days, streams[0])
    snapshot_day = days - SNAPSHOT_BEFORE_END
    lives = live(causes, traits, days, snapshot_day, streams[1], lambda share: tell("live", share))
    tell("unroll", 0.0)
    seen = see(traits, lives.sessions, days, streams[2])
    events = unroll(traits, lives.sessions, seen, start, end, streams[2])
    tell("unroll", 1.0)
    # The first event after a login is when a customer id was first known.
    registered_at = np.full(people, -1, dtype=np.int64)
    joining = events.logged_in & seen.registers[events.session]
    person, first = np.unique(lives.sessions.person[events.session[joining]], return_index=True)
    registered_at[person] = events.ts[joining][first]
    return World(
        causes=causes,
        traits=traits,
        lives=lives,
        seen=seen,
        events=events,
        cookies=cookie_names(people, streams[2]),
        customers=customer_names(people, streams[2]),
        registered_at=registered_at,
        start=start,
        end=end,
        snapshot_day=snapshot_day,
    )


def _write_data(
    directory: Path, world: World, rng: np.random.Generator, tell: Progress
) -> list[Path]:
    folder = directory / "data" / "events"
    for stale in sorted(folder.glob("events-*.jsonl.gz")):
        stale.unlink()
    files = write_events(
        folder, world.events, world.lives.sessions, world.seen, world.cookies, world.customers,
        lambda share: tell("write", share),
    )  # fmt: skip
    crm = directory / "data" / "crm" / "customers.csv"
    crm.parent.mkdir(parents=True, exist_ok=True)
    table = versions(_customers(world), world.lives.tiers, world.start, world.end, rng)
    table["updated_at"] = instants(table["updated_at"].to_numpy(dtype=np.int64))
    table.to_csv(crm, index=False, lineterminator="\n")
    project = directory / "likelier.yaml"
    project.write_text(PROJECT_FILE, encoding="utf-8")
    return [*files, crm, project]


def _customers(world: World) -> pd.DataFrame:
    person: Ints = np.flatnonzero(world.registered_at >= 0)
    return pd.DataFrame(
        {
            "person": person,
            "customer": world.customers[person],
            "registered_at": world.registered_at[person],
        }
    )


def _summary(directory: Path, world: World, files: list[Path]) -> SimulatedShop:
    crm = directory / "data" / "crm" / "customers.csv"
    return SimulatedShop(
        directory=directory,
        people=len(world.traits),
        customers=int((world.registered_at >= 0).sum()),
        cookies=len(np.unique(world.seen.cookie)),
        sessions=len(world.lives.sessions.person),
        events=len(world.events),
        purchases=int(world.lives.sessions.purchase.sum()),
        crm_rows=crm.read_text(encoding="utf-8").count("\n") - 1,
        start=world.start,
        end=world.end,
        snapshot=world.start + world.snapshot_day * MICROS_PER_DAY,
        files=tuple(files),
    )
