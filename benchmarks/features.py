"""Features of a million people from twenty million events, beside plain DuckDB, pandas and others.

    python benchmarks/features.py            # half an hour on two idle cores, 8 GB, 30 GB of disk
    python benchmarks/features.py 100000     # as many people: a quick look

A generated log: 20 events a person over 180 days, two identities each, five event types, a number
and a text; one event in twenty is known an hour late. 161 features of six windows, written as
Parquet. Every way runs in a process of its own, turn by turn, on two threads; medians count.

- ours: what a run does: who was known then, the table renderer in buckets.
- joins: by hand in DuckDB's SQL: one grouping a measure, distinct values by their latest time, then
  a left join an event type. As good as we can write it.
- filters: by hand, one query of FILTER aggregates. Timed at a tenth of the size: sets of distinct
  values stay in memory, so the whole size is only tried, once, and what comes of it is said.
- monthly, weekly: ours, at six moments thirty or seven days apart, in one spine.
- pandas and Featuretools: time an event of the counts and sums alone, at a size they finish.

Featuretools comes from an environment of its own, since it needs an older pandas:

    python -m venv benchmarks/.featuretools
    benchmarks/.featuretools/bin/pip install featuretools pyarrow 'pandas<3'

Ratios are of wall clock and, as `_cpu`, of processor time, which other work on the machine disturbs
less. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
FEATURETOOLS = CHECKOUT / "benchmarks" / ".featuretools" / "bin" / "python"
PEOPLE, EVENTS_EACH, TURNS, THREADS = 1_000_000, 20, 3, 2
TENTH = 10
PATIENCE = 900
"""Seconds that a way may take which is only tried."""
SMALL = 20_000
"""People whose features pandas and Featuretools compute."""
TYPES = ("cart", "email_open", "purchase", "search", "view")
WINDOWS = (7, 14, 30, 60, 90, 180)
DAY = 86_400_000_000
AS_OF = 1_782_777_600_000_000
"""2026-06-30."""

Figures = dict[str, float]


def main(people: int) -> None:
    """Run every part in turn and print its figures, then one line of JSON."""
    sys.path.insert(0, str(CHECKOUT))
    figures: dict[str, Any] = {"benchmark": "features", "machine": platform.machine()}
    figures |= {"cores": os.cpu_count(), "people": people, "events": people * EVENTS_EACH}
    figures["features"] = len(definitions())
    with tempfile.TemporaryDirectory() as name:
        folder, tenth_folder = Path(name) / "whole", Path(name) / "tenth"
        say(f"a tenth of the size: {people // TENTH:,} people")
        child("generate", tenth_folder, people // TENTH)
        tenth = turns(["ours", "joins", "filters"], tenth_folder, people // TENTH)
        figures |= ratios("tenth_", tenth, {"joins": "joins", "filters": "filters"})
        shutil.rmtree(tenth_folder)
        say(f"the whole size: {people:,} people, {people * EVENTS_EACH:,} events")
        child("generate", folder, people)
        whole = turns(["ours", "joins", "monthly", "weekly"], folder, people)
        figures |= ratios("", whole, {"joins": "joins"})
        for several in ("monthly", "weekly"):
            for kind, suffix in (("total", ""), ("cpu", "_cpu")):
                found = whole[several][kind] / whole["ours"][kind]
                figures[f"ratio_{several}{suffix}"] = round(found, 2)
        for part in ("ours", "monthly", "weekly", "joins"):
            figures[f"seconds_{part}"] = round(whole[part]["total"], 1)
            figures[f"peak_{part}_mb"] = int(whole[part]["peak_mb"])
        figures["differing_cells"] = differing(folder, people)
        figures["filters_whole"] = tried("filters", folder, people)
        figures |= others(folder, whole["ours"]["total"] / (people * EVENTS_EACH))
    say("done")
    print(json.dumps(figures))


STARTED = perf_counter()


def say(text: str) -> None:
    """Print a line of progress with the time since the start."""
    minutes, seconds = divmod(int(perf_counter() - STARTED), 60)
    print(f"{minutes:02}:{seconds:02}  {text}", flush=True)


def turns(parts: list[str], folder: Path, people: int) -> dict[str, Figures]:
    """Run parts turn by turn; return the median of each figure, and the largest peak."""
    found: dict[str, list[Figures]] = {part: [] for part in parts}
    for turn in range(1, TURNS + 1):
        for part in parts:
            found[part].append(child(part, folder, people, f" (turn {turn} of {TURNS})"))
    return {
        part: {name: statistics.median(turn[name] for turn in some) for name in some[0]}
        | {"peak_mb": max(turn["peak_mb"] for turn in some)}
        for part, some in found.items()
    }


def ratios(prefix: str, found: dict[str, Figures], names: dict[str, str]) -> Figures:
    """Return ours over each of the others, by wall clock and by processor time."""
    return {
        f"{prefix}ratio_{name}{suffix}": round(found["ours"][kind] / found[part][kind], 2)
        for name, part in names.items()
        for kind, suffix in (("total", ""), ("cpu", "_cpu"))
    }


def child(
    part: str, folder: Path, people: int, turn: str = "", python: str = sys.executable
) -> Figures:
    """Run one part in a process of its own; print and return its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [python, "-W", "ignore", __file__, part, str(folder), str(people)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    say(f"{part}{turn}: " + "  ".join(f"{name} {value:,.1f}" for name, value in found.items()))
    return found


def tried(part: str, folder: Path, people: int) -> Figures | str:
    """Run one part that may not finish; return what came of it."""
    command = [sys.executable, __file__, part, str(folder), str(people)]
    say(f"{part}: tried at the whole size, for {PATIENCE} s at most")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"did not end within {PATIENCE} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
    found: Figures = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(start: tuple[float, float]) -> Figures:
    """Return seconds since `start`, by both clocks, and the most memory held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    seconds, used = perf_counter() - start[0], process_time() - start[1]
    return {"total": seconds, "cpu": used, "peak_mb": peak}


def clocks() -> tuple[float, float]:
    """Return what both clocks show."""
    return perf_counter(), process_time()


# The log -----------------------------------------------------------------------------------------


def generate(folder: Path, people: int) -> Figures:
    """Write the events as a united table has them: in order of identity and time."""
    import duckdb

    rows = people * EVENTS_EACH
    at = f"{AS_OF} - 1 - (hash(i + 7000000000) % (180 * {DAY}))::bigint"
    start = clocks()
    duckdb.connect(
        config={
            "threads": THREADS,
            "memory_limit": "4GB",
            "temp_directory": str(folder / "temporary"),
        }
    ).execute(
        f"""copy (
        with numbers as (select range as i, hash(range) as h, hash(range + 9000000000) as k
                         from range({rows})),
        drawn as (select *, {at} as event_time,
                  (pow((h % 1000000) / 1e6, 1.5) * {people})::bigint % {people} as person
                  from numbers)
        select case when k % 10 < 7 then person else {people} + person end as identity_key,
               event_time,
               event_time + case when h % 20 = 0 then 3600000000 else 0 end as known_at,
               (event_time // {DAY})::integer as local_day,
               (event_time // 3600000000 % 24)::tinyint as local_hour,
               ['view', 'view', 'view', 'view', 'search', 'search', 'cart', 'cart', 'purchase',
                'email_open'][(1 + k // 10 % 10)::bigint] as event_type,
               case when k // 100 % 5 > 0
                 then ((k // 1000 % 100000)::bigint / 100)::decimal(18, 4) end as attr_amount,
               'p' || (k // 77777 % 2000) as attr_product
        from drawn order by 1, 2
        ) to '{folder}/events.parquet' (format parquet, compression zstd, row_group_size 250000)"""
    )
    return measured(start)


# Ours --------------------------------------------------------------------------------------------


def definitions() -> tuple[Any, ...]:
    """Return the features that are compared."""
    from features.behavior import definitions as d
    from features.time import Window

    windows = [Window.parse(f"{days}d") for days in WINDOWS]
    listed: list[Any] = [d.Tenure()]
    for event in TYPES:
        listed += [d.DaysSince(event), d.DaysSinceFirst(event)]
        for window in windows:
            listed += [d.Count(event, window), d.ActiveDays(event, window),
                       d.Sum(event, "amount", window), d.Distinct(event, "product", window),
                       d.Statistic(event, "amount", "mean", window)]  # fmt: skip
    return tuple(listed)


def ours(folder: Path, people: int, name: str = "ours", dates: int = 1, step: int = 30) -> Figures:
    """Render everyone at `dates` moments, the newest first, into the Parquet file `name`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from features.behavior.buckets import rendered
    from features.behavior.scene import Log, People
    from features.engine import Engine
    from features.identity.spellings import Spellings

    listed = definitions()
    nothing = np.zeros(0, np.int64)
    keys = np.repeat(np.arange(people), dates)
    rows = np.arange(len(keys))
    everyone = People(
        keys,
        np.tile(AS_OF - step * DAY * np.arange(dates), people),
        np.concatenate([rows, rows]),
        np.concatenate([keys, keys + people]),
    )
    start = clocks()
    with Engine(threads=THREADS, memory_limit="2GB", temporary=folder / "temporary") as engine:
        events = engine.read_parquet([folder / "events.parquet"])
        spellings = Spellings(nothing, nothing, nothing, nothing, nothing)
        log = Log(events, events, np.zeros(2 * people, np.int64), spellings, (), {})
        schema = pa.schema([(x.feature.name, pa.float64()) for x in listed])
        with pq.ParquetWriter(folder / f"{name}.parquet", schema, compression="zstd",
                              compression_level=1, use_dictionary=False) as file:  # fmt: skip
            for table in rendered(engine, log, everyone, listed):
                file.write_table(table)
    return measured(start)


# By hand -----------------------------------------------------------------------------------------


def by_hand(folder: Path, people: int) -> Any:
    """Return a connection in which `e` are the events known, by person."""
    import duckdb

    connection = duckdb.connect(config={
        "threads": THREADS, "memory_limit": "8GB", "preserve_insertion_order": "false",
        "temp_directory": str(folder / "temporary"),
    })  # fmt: skip
    connection.execute("set enable_progress_bar = false")
    connection.execute(
        f"create table members as select range % {people} as row_id, range as identity_key "
        f"from range({2 * people})"
    )
    connection.execute(f"create table spine as select range as row_id from range({people})")
    connection.execute(
        f"create table e as select row_id, event_type, event_time, local_day, attr_amount, "
        f"attr_product from read_parquet('{folder}/events.parquet') join members using "
        f"(identity_key) where known_at < {AS_OF}"
    )
    return connection


def since(days: int) -> int:
    """Return the first moment of a window."""
    return AS_OF - days * DAY


MEAN = "round({total}::double * 10000) / ({number} * 10000)::double"
"""One division of whole 1/10000s: sums this small are exact as rounded float64s."""


def joins(folder: Path, people: int) -> Figures:
    """Latest-time pre-aggregates by event type, and a left join a type."""
    start = clocks()
    connection = by_hand(folder, people)
    sums = ", ".join(
        f"count(*) filter (event_time >= {since(w)}) as c{w}, "
        f"sum(attr_amount) filter (event_time >= {since(w)}) as s{w}, "
        f"count(attr_amount) filter (event_time >= {since(w)}) as n{w}"
        for w in WINDOWS
    )
    connection.execute(
        f"create table base as select row_id, event_type, min(event_time) as first, "
        f"max(event_time) as last, {sums} from e group by 1, 2"
    )
    for name, column in (("d", "attr_product"), ("a", "local_day")):
        counts = ", ".join(f"count(*) filter (latest >= {since(w)}) as {name}{w}" for w in WINDOWS)
        connection.execute(
            f"create table {name} as select row_id, event_type, {counts} from (select row_id, "
            f"event_type, {column}, max(event_time) as latest from e where {column} is not null "
            f"and event_time >= {since(max(WINDOWS))} group by 1, 2, 3) group by 1, 2"
        )
    columns, joined = [], ""
    for place, event in enumerate(TYPES):
        t = f"t{place}"
        joined += f" left join (select * from m where event_type = '{event}') {t} using (row_id)"
        columns += [f"({AS_OF} - {t}.last) / {DAY} as days_since_{event}",
                    f"({AS_OF} - {t}.first) / {DAY} as days_since_first_{event}"]  # fmt: skip
        for w in WINDOWS:
            mean = MEAN.format(total=f"{t}.s{w}", number=f"{t}.n{w}")
            columns += [f"coalesce({t}.c{w}, 0)::double as {event}_count_{w}d",
                        f"coalesce({t}.a{w}, 0)::double as {event}_active_days_{w}d",
                        f"coalesce({t}.s{w}, 0)::double as {event}_amount_sum_{w}d",
                        f"coalesce({t}.d{w}, 0)::double as {event}_product_distinct_{w}d",
                        f"{mean} as {event}_amount_mean_{w}d"]  # fmt: skip
    connection.execute(
        f"copy (with m as (select * from base left join d using (row_id, event_type) "
        f"left join a using (row_id, event_type)), "
        f"f as (select row_id, min(first) as first from base group by 1) "
        f"select row_id, ({AS_OF} - f.first) / {DAY} as tenure_days, {', '.join(columns)} "
        f"from spine left join f using (row_id) {joined}) to '{folder}/joins.parquet' "
        f"(format parquet, compression zstd, compression_level 1)"
    )
    return measured(start)


def filters(folder: Path, people: int) -> Figures:
    """One query of FILTER aggregates."""
    start = clocks()
    connection = by_hand(folder, people)
    columns = [f"({AS_OF} - min(event_time)) / {DAY} as tenure_days"]
    for event in TYPES:
        of = f"event_type = '{event}'"
        columns += [
            f"({AS_OF} - max(event_time) filter ({of})) / {DAY} as days_since_{event}",
            f"({AS_OF} - min(event_time) filter ({of})) / {DAY} as days_since_first_{event}",
        ]
        for w in WINDOWS:
            where = f"filter ({of} and event_time >= {since(w)})"
            mean = MEAN.format(total=f"sum(attr_amount) {where}",
                               number=f"nullif(count(attr_amount) {where}, 0)")  # fmt: skip
            columns += [f"(count(*) {where})::double as {event}_count_{w}d",
                        f"(count(distinct local_day) {where})::double as {event}_active_days_{w}d",
                        f"coalesce(sum(attr_amount) {where}, 0)::double as {event}_amount_sum_{w}d",
                        f"(count(distinct attr_product) {where})::double"
                        f" as {event}_product_distinct_{w}d",
                        f"{mean} as {event}_amount_mean_{w}d"]  # fmt: skip
    connection.execute(
        f"copy (select row_id, f.* exclude (row_id) from spine left join (select row_id, "
        f"{', '.join(columns)} from e group by 1) f using (row_id)) to '{folder}/filters.parquet' "
        f"(format parquet, compression zstd, compression_level 1)"
    )
    return measured(start)


def differing(folder: Path, people: int) -> int:
    """Return how many cells differ to the bit: none.

    Compared with ours are the joins, and the newest of six dates: people's rows lie side by side,
    the newest first.
    """
    import duckdb

    def newest(name: str, dates: int) -> str:
        return (
            f"(select *, file_row_number // {dates} as row_id from read_parquet('{folder}/{name}"
            f".parquet', file_row_number = true) where file_row_number % {dates} = 0)"
        )

    say("comparing every cell of ours with joins, monthly and weekly")
    connection = duckdb.connect(config={
        "threads": THREADS, "memory_limit": "6GB", "temp_directory": str(folder / "temporary"),
    })  # fmt: skip
    names = [x.feature.name for x in definitions()]
    different = " + ".join(f"(o.{n} is distinct from t.{n})::bigint" for n in names)
    count = 0
    for theirs in (f"'{folder}/joins.parquet'", newest("monthly", 6), newest("weekly", 6)):
        found = connection.execute(
            f"select sum({different}), count(*) from {newest('ours', 1)} o "
            f"join {theirs} t using (row_id)"
        ).fetchall()
        assert found[0][1] == people, f"{found[0][1]:,} rows of {people:,} are compared"
        count += int(found[0][0])
    return count


# Others ------------------------------------------------------------------------------------------


def others(folder: Path, ours_each: float) -> Figures:
    """Return the time an event of pandas and Featuretools over ours, at a size they finish."""
    small = folder.with_name("small")
    child("generate", small, SMALL)
    found = {"pandas": child("by_pandas", small, SMALL)}
    if FEATURETOOLS.exists():
        found["featuretools"] = child("by_featuretools", small, SMALL, python=str(FEATURETOOLS))
    else:
        say(f"featuretools: skipped, {FEATURETOOLS.relative_to(CHECKOUT)} is not there")
    each = {name: one["total"] / (SMALL * EVENTS_EACH) for name, one in found.items()}
    return {f"times_faster_than_{name}": round(one / ours_each, 1) for name, one in each.items()}


def by_pandas(folder: Path, people: int) -> Figures:
    """Compute the same columns by group-by, window after window."""
    import pandas as pd

    start = clocks()
    events = pd.read_parquet(folder / "events.parquet")
    events = events[events["known_at"] < AS_OF]
    events["row_id"] = events["identity_key"] % people
    events["attr_amount"] = events["attr_amount"].astype(float)
    parts = [events.groupby("row_id")["event_time"].min().rename("tenure")]
    for event, some in events.groupby("event_type"):
        times = some.groupby("row_id")["event_time"].agg(["min", "max"])
        parts.append(times.add_prefix(f"{event}_"))
        for days in WINDOWS:
            recent = some[some["event_time"] >= since(days)].groupby("row_id")
            parts.append(recent.agg(
                count=("event_time", "size"), days=("local_day", "nunique"),
                total=("attr_amount", "sum"), mean=("attr_amount", "mean"),
                distinct=("attr_product", "nunique"),
            ).add_prefix(f"{event}_{days}_"))  # fmt: skip
    pd.concat(parts, axis=1).reindex(range(people)).to_parquet(folder / "pandas.parquet")
    return measured(start)


def by_featuretools(folder: Path, people: int) -> Figures:
    """Compute count, sum, mean and distinct values of each event type and window."""
    import featuretools as ft
    import pandas as pd

    events = pd.read_parquet(folder / "events.parquet")
    events = events[events["known_at"] < AS_OF].reset_index(drop=True)
    events["row_id"] = events["identity_key"] % people
    events["attr_amount"] = events["attr_amount"].astype(float)
    events["at"] = pd.to_datetime(events["event_time"], unit="us")
    events = events[["row_id", "event_type", "at", "attr_amount", "attr_product"]]
    start = clocks()
    data = ft.EntitySet("log")
    data.add_dataframe(events, "events", index="number", make_index=True, time_index="at")
    data.normalize_dataframe("events", "people", "row_id", make_time_index=False)
    data.add_interesting_values(dataframe_name="events", values={"event_type": list(TYPES)})
    for days in WINDOWS:
        ft.dfs(
            entityset=data, target_dataframe_name="people", trans_primitives=[],
            agg_primitives=["count", "sum", "mean", "num_unique"],
            where_primitives=["count", "sum", "mean", "num_unique"],
            cutoff_time=pd.Timestamp(AS_OF, unit="us"), training_window=f"{days} days",
        )  # fmt: skip
    return measured(start)


PARTS = {
    "generate": generate,
    "ours": ours,
    "monthly": lambda folder, people: ours(folder, people, "monthly", dates=6, step=30),
    "weekly": lambda folder, people: ours(folder, people, "weekly", dates=6, step=7),
    "joins": joins,
    "filters": filters,
    "by_pandas": by_pandas,
    "by_featuretools": by_featuretools,
}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in PARTS:
        sys.path.insert(0, str(CHECKOUT))
        print(json.dumps(PARTS[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE)
