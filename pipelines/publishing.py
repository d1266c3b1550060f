"""The online generation of a run: what the service answers from until the next one.

It holds what the run found out about everyone, and what an answer a moment later is made of: the
events that features and conditions of the goals read, and how to read new ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.behavior.buckets import packed
from features.behavior.catalogue import to_json
from features.behavior.definitions import Definition
from features.behavior.packed import Wanted
from features.behavior.scene import Log, People
from features.conditions import uses, words
from features.conditions.parts import to_parts
from features.conditions.tree import AnyEvent, Condition, any_of
from features.identity.live import components_at
from features.settings import JOURNAL, KNOWN_TYPES
from features.sources.unite import TABLE as UNITED
from features.store import key_of
from features.time import Window
from pipelines.building import LISTS, PROFILES, Inputs, measures_of, plain
from pipelines.champions import Shipped, definitions_of
from pipelines.learning import TRAINED, bundle_of
from pipelines.parity import SAMPLE, check_parity
from pipelines.scoring import columns_of
from pipelines.stages import Bench, Plan, described, eligible_rows, everything_known, unexpired
from serving.online import ProfileRecord
from serving.online.places import TABLE as ONLINE
from serving.online.places import Place
from training.goals import CompiledGoal

ONLINE_VERSION = 9


def write_online(
    bench: Bench, plan: Plan, inputs: Inputs, lists: str, shipped: Mapping[str, Shipped]
) -> str:
    """Write the online generation of this run; return its version."""
    place = place_of(bench)
    key = key_of(
        ONLINE, ONLINE_VERSION, inputs.profiles, inputs.scores, sorted(inputs.models.items()),
        lists, sorted(each.everyone for each in shipped.values()),
        *([place.name] if place.remote else []),
    )  # fmt: skip
    if place.has(key):
        return key
    bench.must("export", "publishing the online store")
    everyone = unexpired(bench, People.everyone(bench.graph.at(plan.as_of)), plan.as_of)
    log, wanted = _unreplayed(bench.log, plan.as_of), wanted_by(bench, shipped)
    with bench.store.writing(ONLINE, key) as (folder, facts):
        online = place.write(
            folder,
            key,
            _meta(bench, plan, inputs, shipped),
            _records(bench, inputs, lists),
            _vectors(bench, shipped),
            _histories(bench, everyone, log, wanted),
            _parts(bench, everyone, log, wanted, plan.as_of),
            components_at(bench.graph, plan.as_of),
        )
        facts["parity"] = check_parity(online, *_sampled(bench, inputs, shipped))
        online.close()
    return key


def place_of(bench: Bench) -> Place:
    """Return where the project's generations are."""
    return Place.of(bench.workspace.project, bench.store)


def _sampled(
    bench: Bench, inputs: Inputs, shipped: Mapping[str, Shipped]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Return the columns of each goal, and some people: of everyone, and of those it scores."""
    rng = np.random.default_rng(bench.workspace.project.training.seed)
    folder, columns = bench.store.folder(PROFILES, inputs.profiles), {}
    listed = [pq.read_table(folder / "profiles.parquet", columns=["profile_key"])["profile_key"]]
    for name, goal in shipped.items():
        columns[name] = bundle_of(bench, name, goal.trained).names
        listed.append(eligible_rows(bench.store, goal.everyone, name)["profile_key"])
    keys = [np.sort(each.to_numpy()) for each in listed]
    some = [rng.choice(each, min(SAMPLE, len(each)), replace=False) for each in keys]
    return columns, [bench.graph.identities[key] for key in np.unique(np.concatenate(some))]


def _meta(
    bench: Bench, plan: Plan, inputs: Inputs, shipped: Mapping[str, Shipped]
) -> dict[str, Any]:
    interval = bench.workspace.project.scoring_interval
    goals = {}
    for goal in plan.goals:
        bundle = bundle_of(bench, goal.name, inputs.models[goal.name])
        life = min(Window.parse(bundle.outcome_window).micros, interval.micros)
        goals[goal.name] = {
            "version": bundle.version,
            "kind": bundle.kind,
            "basis": bundle.basis,
            "base_rate": bundle.base_rate,
            "eligible_words": words(goal.eligible),
            "expires_at": plan.as_of + life,
            "definitions": [to_json(each) for each in _definitions(bench, shipped[goal.name])],
            "eligible": to_parts(goal.eligible),
            "excluded": [to_parts(AnyEvent(events)) for events in goal.excluded],
        }
    return {
        "project": bench.workspace.project.project,
        "as_of": plan.as_of,
        "goals": goals,
        "erasures": bench.store.facts(UNITED, bench.united)["erasures"],
        "live": _live(bench, shipped),
        "journal": bench.journal,
    }


def _live(bench: Bench, shipped: Mapping[str, Shipped]) -> dict[str, Any]:
    """Return how events that arrive later are read: the names there are, and their kinds."""
    vocabulary, schema = everything_known(bench), bench.log.events.schema()
    namespaces = bench.workspace.project.identity.namespaces
    used = {name for each in shipped.values() for name in uses(each.goal.eligible).measures}
    measures = [each for each in bench.workspace.project.measures if each.name in used]
    return {
        "events": vocabulary.events,
        "attributes": vocabulary.attributes,
        "identities": sorted(vocabulary.identities),
        "measures": [each.model_dump(mode="json", exclude_none=True) for each in measures],
        "naming": [each.name for each in namespaces if each.type in KNOWN_TYPES],
        "linking": bench.workspace.project.identity.model_dump(
            mode="json", include={"namespaces", "max_fan_out", "max_identities"}
        ),
        "time_zone": vocabulary.time_zone,
        "kinds": {
            name.removeprefix("attr_"): "number" if schema[name].is_decimal() else "text"
            for name in bench.log.event_attributes
        },
    }


def _definitions(bench: Bench, goal: Shipped) -> Sequence[Definition]:
    """Return the definitions of a goal's columns, and of values that are listed beside them."""
    bundle = bundle_of(bench, goal.goal.name, goal.trained)
    return definitions_of(bundle, bench.store.facts(TRAINED, goal.trained))


def wanted_by(bench: Bench, shipped: Mapping[str, Shipped]) -> Wanted:
    """Return what live features and populations of the goals read."""
    definitions = [x for goal in shipped.values() for x in _definitions(bench, goal)]
    return Wanted.by(definitions, [x for goal in shipped.values() for x in _conditions(goal.goal)])


def _conditions(goal: CompiledGoal) -> Iterator[Condition]:
    yield goal.eligible
    if goal.excluded:
        yield any_of(map(AnyEvent, goal.excluded))


def _unreplayed(log: Log, as_of: int) -> Log:
    """Return the log without those events of the journal that the service reads there itself."""
    events = log.events
    known = time.known_before(events.known_at, as_of)
    return replace(log, events=events.filter((events.source != JOURNAL) | known))


def _histories(
    bench: Bench, people: People, log: Log, wanted: Wanted
) -> Iterator[tuple[str, bytes]]:
    raws = packed(bench.engine, log, people, wanted)
    for key, raw in zip(people.profile_key.tolist(), raws, strict=True):
        if raw is not None:
            yield bench.graph.identities[key], raw


def _parts(
    bench: Bench, people: People, log: Log, wanted: Wanted, as_of: int
) -> Iterator[tuple[str, bytes]]:
    """Yield the history of every identity of people with several: a login may part them."""
    several = np.bincount(people.member_row, minlength=len(people)) > 1
    keys = people.member_key[several[people.member_row]]
    alone = People(keys, np.full(len(keys), as_of), np.arange(len(keys)), keys)
    for key, raw in zip(keys.tolist(), packed(bench.engine, log, alone, wanted), strict=True):
        if raw is not None:
            yield bench.graph.identities[key], raw


def _records(bench: Bench, inputs: Inputs, lists: str) -> Iterator[ProfileRecord]:
    store = bench.store
    profiles = pq.read_table(store.folder(PROFILES, inputs.profiles) / "profiles.parquet")
    memberships = pq.read_table(store.folder(LISTS, lists) / "memberships.parquet")
    kinds = {f"profile_{name}": kind for name, kind in bench.log.attribute_kinds.items()}
    segments: dict[str, list[dict[str, Any]]] = {}
    for row in memberships.to_pylist():
        found = {"segment": row["segment"], "since": row["since"]}
        segments.setdefault(row["profile_id"], []).append(found)
    for batch in profiles.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            yield ProfileRecord(
                profile_id=row["profile_id"],
                known=row["known"],
                identities=tuple(row["identities"]),
                aliases=bench.overrides.other_spellings(row["identities"]),
                attributes={
                    name.removeprefix("profile_"): plain(value, kinds.get(name, "text"))
                    for name, value in row.items()
                    if name.startswith("profile_") and name not in ("profile_id", "profile_key")
                },
                segments=tuple(segments.get(row["profile_id"], ())),
                measures=measures_of(row),
                first_seen=row["first_seen"],
                last_seen=row["last_seen"],
            )


def _vectors(
    bench: Bench, shipped: Mapping[str, Shipped]
) -> Iterator[tuple[str, str, NDArray[np.float64]]]:
    for name, goal in shipped.items():
        bundle = bundle_of(bench, name, goal.trained)
        rows = described(bench.store, goal.everyone, goal.plan, name)
        matrix = np.ascontiguousarray(rows.matrix[:, columns_of(bundle, goal.plan)])
        for key, vector in zip(rows.profile_key, matrix, strict=True):
            yield name, bench.graph.identities[key], vector
