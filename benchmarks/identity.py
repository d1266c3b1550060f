"""Ten million identities into people, beside a plain chain without rules and Splink's clustering.

    python benchmarks/identity.py

12 million sightings of pairs, written as text to Parquet; one person in a hundred is in a component
that breaks a rule. Every way runs in a process of its own, turn by turn, on two threads, and its
fastest turn counts (other work on the machine can only slow it):

- plain: read the texts, number them in DuckDB, find components with SciPy, write Parquet. No order,
  no time, no rules.
- ours: the same rows through what a run does: index, links and appearances into the store, the
  graph as of a moment under all linking rules, and who is who, by key, as Parquet beside the index.

Splink 5's clustering is timed at a tenth of the size beside both, from an environment of its own:

    python -m venv benchmarks/.splink && benchmarks/.splink/bin/pip install 'splink>=5'

Last, a generated project in which 100,000 people share one e-mail, and the same rows where each has
one of their own: uniting, resolving everyone, and 200,000 rows each at a moment of its own, turn by
turn in one process. Ratios are of wall clock and, as `_cpu`, of processor time, which other work on
the machine disturbs less. The last line is JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
SPLINK = CHECKOUT / "benchmarks" / ".splink" / "bin" / "python"
CUSTOMERS, EMAILS, COOKIES, SIGHTINGS, SHARED = 4_000_000, 1_000_000, 5_000_000, 12_000_000, 20_000
"""Every shared cookie makes one person of two, and so breaks a rule."""
TENTH, TURNS, JUNK_TURNS, THREADS = 10, 2, 4, 2
SPACES = ("customer", "email", "cookie")
PEOPLE, JUNK, VISITS, ASKED = 300_000, 100_000, 4, 200_000

Seconds = dict[str, float]


def main() -> None:
    """Run every part in turn and print seconds by step, then one line of JSON."""
    figures: dict[str, Any] = {"benchmark": "identity", "machine": platform.machine()}
    figures["cores"] = os.cpu_count()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child("generate", folder, "1")
        best = fastest("plain", "ours", folder)
        figures["ratio_plain"] = round(best["ours"]["total"] / best["plain"]["total"], 2)
        figures["ratio_plain_cpu"] = round(best["ours"]["cpu"] / best["plain"]["cpu"], 2)
        figures["peak_mb"] = int(best["ours"]["peak_mb"])
        figures["peak_plain_mb"] = int(best["plain"]["peak_mb"])
        figures["refused_links"] = int(best["ours"]["refused"])
        child("generate", folder, str(TENTH))
        if SPLINK.exists():
            small = fastest("plain", "ours", folder)
            splink = child("splink", folder, python=SPLINK)
            figures["ratio_splink_tenth"] = round(splink["total"] / small["ours"]["total"], 2)
        else:
            print(f"splink: skipped, {SPLINK.relative_to(CHECKOUT)} is not there")
        figures |= child("junk", folder)
    print(json.dumps(figures))


def fastest(first: str, second: str, folder: Path) -> dict[str, Seconds]:
    """Run two parts turn by turn; return the fastest turn of each, with the largest peak."""
    found: dict[str, list[Seconds]] = {first: [], second: []}
    for _ in range(TURNS):
        for part, turns in found.items():
            turns.append(child(part, folder))
    best = {part: min(turns, key=lambda turn: turn["total"]) for part, turns in found.items()}
    return {part: turn | {"peak_mb": max(t["peak_mb"] for t in found[part])}
            for part, turn in best.items()}  # fmt: skip


def child(part: str, folder: Path, *more: str, python: Path | None = None) -> Seconds:
    """Run one part in a process of its own; print and return its figures."""
    command = [str(python or sys.executable), __file__, part, str(folder), *more]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Seconds = json.loads(done.stdout.splitlines()[-1])
    said = "  ".join(f"{name} {value:,.2f}" for name, value in found.items())
    print(f"{part:>8}: {said}", flush=True)
    return found


class Clock:
    """Seconds by step, in the order of the steps."""

    def __init__(self) -> None:
        self.found: Seconds = {}
        self.cpu: Seconds = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start, used = perf_counter(), process_time()
        yield
        self.found[name] = perf_counter() - start
        self.cpu[name] = process_time() - used

    def total(self) -> Seconds:
        """Return all steps, their sum, this process's CPU seconds and its peak of memory."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        total, cpu = sum(self.found.values()), sum(self.cpu.values())
        more = {"total": total, "cpu": cpu, "peak_mb": peak}
        return self.found | more


def generate(folder: Path, divisor: str) -> Seconds:
    """Write the sightings: wide rows with two identities each, in no order, a tenth known late."""
    import duckdb

    people, emails, cookies = (n // int(divisor) for n in (CUSTOMERS, EMAILS, COOKIES))
    count, shared = SIGHTINGS // int(divisor), SHARED // int(divisor)
    every = cookies + emails
    clock = Clock()
    with clock.step("rows"):
        duckdb.sql(f"set threads = {THREADS}")
        duckdb.sql(f"""
            copy (
                with pair as (
                    select i, case when i >= {count} - {shared} then null
                                   when i < {every} then i else hash(i * 7919) % {every} end as j
                    from range({count}) as numbers(i)
                ), owned as (
                    select i,
                        case when j is null then (i - {count} + {shared}) * 97
                             when j < {cookies} then j else (j - {cookies}) * 4 end as customer,
                        case when j >= {cookies} then j - {cookies} end as email,
                        case when j is null then (i - {count} + {shared}) * 53 + 1
                             when j < {cookies} then j end as cookie,
                        (1700000000 + (hash(i + 3) % 10000000)::bigint) * 1000000 as event_time,
                        (hash(i + 6) % 259200)::bigint * 1000000 as delay
                    from pair
                )
                select
                    'customer:' || lpad((customer % {people} * 2654435761 % 10000000000)::varchar,
                                        10, '0') as id_customer,
                    'email:' || sha256(email::varchar) as id_email,
                    'cookie:' || md5(cookie::varchar) as id_cookie,
                    event_time,
                    event_time + case when hash(i + 5) % 10 = 0 then delay else 0 end as known_at
                from owned order by hash(i)
            ) to '{folder / "sightings.parquet"}' (format parquet, compression zstd)
        """)
    return clock.total()


def plain(folder: Path) -> Seconds:
    """Texts to components and nothing else."""
    import duckdb
    import numpy as np
    import pyarrow as pa
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    clock, database = Clock(), duckdb.connect()
    database.execute(f"set threads = {THREADS}")
    with clock.step("read"):
        database.execute(
            "create table pair as select id_customer as a, coalesce(id_email, id_cookie) as b "
            f"from '{folder / 'sightings.parquet'}'"
        )
    with clock.step("number"):
        database.execute(
            "create table numbered as select identity, row_number() over () - 1 as number from "
            "(select distinct identity from "
            "(select a as identity from pair union all select b from pair))"
        )
        found = database.sql(
            "select x.number as a, y.number as b from pair "
            "join numbered as x on a = x.identity join numbered as y on b = y.identity"
        ).fetchnumpy()
        count = database.sql("select count(*) from numbered").fetchall()[0][0]
    with clock.step("components"):
        ones = np.ones(len(found["a"]), dtype=np.int8)
        graph = coo_array((ones, (found["a"], found["b"])), (count, count))
        label = connected_components(graph, directed=False)[1]
    with clock.step("write"):
        database.register("labels", pa.table({"number": np.arange(count), "component": label}))
        database.execute(
            "copy (select identity, component from numbered join labels using (number)) "
            f"to '{folder / 'plain.parquet'}' (format parquet, compression zstd)"
        )
    return clock.total()


def ours(folder: Path) -> Seconds:
    """Texts to people, as a run does it."""
    import features.identity.laying  # noqa: F401  (libraries load before the clock, as in `plain`)
    from features.engine import Engine
    from features.identity.graph import Graph
    from features.settings import Identity
    from features.sources.keys import Keys, links
    from features.sources.unite import TABLE as UNITED
    from features.store import Store
    from features.time import LATEST

    spaces = ({"name": "customer", "type": "person", "unique": True},
              {"name": "email", "type": "email"}, {"name": "cookie", "type": "cookie"})  # fmt: skip
    identity = Identity.model_validate({"namespaces": spaces})
    clock, store = Clock(), Store(folder / "store")
    with (
        tempfile.TemporaryDirectory(dir=folder) as temporary,
        Engine(threads=THREADS, memory_limit="4GB", temporary=Path(temporary)) as engine,
    ):
        with store.writing(UNITED, "all", replace=True) as (place, _):
            with clock.step("read"):
                rows = engine.hold(engine.read_parquet([folder / "sightings.parquet"]))
            with clock.step("number"):
                keys = Keys(engine, identity.namespaces, [rows])
                keyed = engine.hold(keys.keyed(rows))
                engine.drop(rows)
            with clock.step("index"):
                keys.write(place / "identity_index.parquet")
            with clock.step("appearances"):
                engine.write(keys.appearances([keyed]), place / "appearances.parquet")
                keys.close()
            with clock.step("links"):
                engine.write(links([keyed], identity.namespaces), place / "links.parquet")
                engine.drop(keyed)
        with clock.step("load"):
            graph = Graph(store, "all", identity)
        with clock.step("resolve"):
            found = graph.at(LATEST)
        with clock.step("write"):
            engine.write(engine.table(found.members()), folder / "ours.parquet")
    return clock.total() | {"refused": len(found.refused)}


def splink(folder: Path) -> Seconds:
    """Find components as Splink does: by joins in DuckDB."""
    import duckdb
    from splink import DuckDBAPI
    from splink.clustering import cluster_pairwise_predictions_at_threshold

    clock, database = Clock(), duckdb.connect()
    database.execute(f"set threads = {THREADS}")
    with clock.step("read"):
        edges = database.sql(
            "select distinct id_customer as unique_id_l, coalesce(id_email, id_cookie) as "
            f"unique_id_r from '{folder / 'sightings.parquet'}'"
        ).to_arrow_table()
        nodes = database.sql(
            "select distinct unique_id from (select unique_id_l as unique_id from edges "
            "union all select unique_id_r from edges)"
        ).to_arrow_table()
    with clock.step("clusters"):
        api = DuckDBAPI(connection=database)
        found = cluster_pairwise_predictions_at_threshold(
            api.register(nodes), api.register(edges), api, "unique_id"
        )
    with clock.step("write"):
        relation = found.as_duckdbpyrelation()
        relation.write_parquet(str(folder / "splink.parquet"), compression="zstd")
    return clock.total()


def junk(folder: Path) -> dict[str, Any]:
    """One e-mail on many people: what it costs to unite, to resolve everyone, and to ask by row."""
    import numpy as np

    from features.time import LATEST

    clocks: dict[str, list[Clock]] = {"with": [], "without": []}
    places = {name: project(folder / name, junk=name == "with") for name in clocks}
    refused = 0
    rng = np.random.default_rng(7)
    for _ in range(JUNK_TURNS):
        for name, place in places.items():
            clocks[name].append(clock := Clock())
            with united(place, clock) as graph:
                rows = np.sort(rng.integers(0, len(graph.identities), ASKED))
                moments = np.full(ASKED, 1_700_000_000_000_000) + rng.integers(0, 10**13, ASKED)
                with clock.step("everyone"):
                    resolution = graph.at(LATEST)
                with clock.step("rows"):
                    graph.at_rows(rows, moments)
                if name == "with":
                    [(widest, refused)] = resolution.widest(1)
                    print(f"{graph.identities[widest]}: {refused:,} links refused", file=sys.stderr)
    wall, cpu = (
        {name: least([getattr(clock, kind) for clock in turns]) for name, turns in clocks.items()}
        for kind in ("found", "cpu")
    )
    steps = {f"{name}_{step}": t for name, steps in wall.items() for step, t in steps.items()}
    return steps | {
        "ratio_junk": round(sum(wall["with"].values()) / sum(wall["without"].values()), 3),
        "ratio_junk_cpu": round(sum(cpu["with"].values()) / sum(cpu["without"].values()), 3),
        "junk_links_refused": refused,
    }


def least(turns: list[Seconds]) -> Seconds:
    """Return the fastest of each step."""
    return {step: min(turn[step] for turn in turns) for step in turns[0]}


def project(folder: Path, *, junk: bool) -> Path:
    """Write a project of visits: everyone has a cookie, and some an e-mail, theirs or shared."""
    import duckdb

    folder.mkdir()
    duckdb.sql(f"""
        copy (
            select i % {PEOPLE} as customer, hash(i % {PEOPLE}) as cookie, 'visit' as event_type,
                case when i >= {JUNK} then null when {junk} then 'post@bakery.org'
                     else 'mail' || i || '@bakery.org' end as email,
                make_timestamp((1700000000 + (hash(i) % 10000000)::bigint) * 1000000) as event_time
            from range({PEOPLE * VISITS}) as numbers(i)
        ) to '{folder / "visits.parquet"}' (format parquet)
    """)
    spaces = [{"name": "customer", "type": "person"}, {"name": "email", "type": "email"},
              {"name": "cookie", "type": "cookie"}]  # fmt: skip
    source = {
        "name": "visits", "kind": "events", "path": "visits.parquet", "event_type": "event_type",
        "event_time": "event_time", "identities": {name: name for name in SPACES},
    }  # fmt: skip
    settings = {"project": "junk", "sources": [source], "identity": {"namespaces": spaces},
                "engine": {"threads": THREADS, "memory_limit": "2GB"}}  # fmt: skip
    (folder / "likelier.yaml").write_text(json.dumps(settings))
    return folder


@contextlib.contextmanager
def united(folder: Path, clock: Clock) -> Iterator[Any]:
    """Unite a project's sources anew and yield its graph."""
    from pipelines.stages import Bench, ingest_all, unify
    from pipelines.workspace import Workspace

    workspace = Workspace.open(folder)
    with workspace.engine() as engine:
        bench = Bench(workspace, engine, again=("unify", str(perf_counter())))
        parts = ingest_all(bench)
        with clock.step("unite"):
            unify(bench, parts)
        with clock.step("load"):
            graph = bench.graph
        yield graph


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "generate": generate, "plain": plain, "ours": ours, "splink": splink, "junk": junk,
}  # fmt: skip


if __name__ == "__main__":
    sys.path.insert(0, str(CHECKOUT))
    if len(sys.argv) > 1:
        part, place, *more = sys.argv[1:]
        print(json.dumps(PARTS[part](Path(place), *more)))
    else:
        main()
