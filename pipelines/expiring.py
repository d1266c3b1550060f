"""What has expired is removed from the parts, so that nothing of it is kept.

It is judged by all that is known, at the moment just after the watermark, whatever as_of a run is
asked for: a run that looks back must not remove visitors who have come back since.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features import time
from features.behavior.expiry import expired
from features.behavior.scene import People
from features.conditions import Condition
from features.conditions.tree import Aggregate, event_filters, leaves
from features.sources.purge import Gone, expire_part
from features.sources.unite import TABLE as UNITED
from features.time import Window
from pipelines.building import segment_vocabulary
from pipelines.stages import Bench, all_names, default_as_of, everything_known, unify
from serving.segments.definitions import compile_segments
from training.goals import compile_goal


def expire(bench: Bench, parts: dict[str, list[str]]) -> None:
    """Remove what has expired from the parts of all sources, and unite them again, until all is."""
    project = bench.workspace.project
    if not project.identity.expire_anonymous and not any(s.keep for s in project.sources):
        return
    while _removed(bench, parts):
        unify(bench, parts)


def _removed(bench: Bench, parts: dict[str, list[str]]) -> bool:
    project, now = bench.workspace.project, default_as_of(bench)
    length = project.identity.expire_anonymous
    since = time.kept_from(now, length) if length else time.EARLIEST
    visitors = _expired_identities(bench, since) if length else pa.array([], pa.string())
    touched = False
    for source in project.sources:
        older = time.kept_from(now, source.keep) if source.keep else time.EARLIEST
        gone = Gone(visitors, since, older)
        for key in dict.fromkeys(parts[source.name]):
            if expire_part(bench.engine, bench.store, project, key, gone, bench.dry):
                bench.must("ingest", f"removing what has expired from {source.name}")
                touched = True
    return touched


def _expired_identities(bench: Bench, since: int) -> pa.Array:
    people = People.everyone(bench.graph.at(time.LATEST))
    gone = expired(bench.engine, bench.log, people, bench.workspace.project.identity, since)
    members = people.member_key[gone[people.member_row]]
    return pa.array([bench.graph.identities[key] for key in np.unique(members)], pa.string())


def look_backs(bench: Bench) -> list[tuple[str, str]]:
    """Return (key, what is wrong) for every window that looks further back than events are kept."""
    project = bench.workspace.project
    found = []
    for source in project.sources:
        if source.keep is None:
            continue
        events = bench.store.facts(UNITED, bench.united)["events"][source.name]
        wanted = {"features.windows": max(project.features.windows)} if events else {}
        wanted |= _windows(bench, set(events))
        for where, window in wanted.items():
            if source.keep < window:
                what = (
                    f"A window looks back {window.words}, and sources.{source.name} keeps "
                    f"{source.keep.words}: it sees no further than that."
                )
                found.append((where, what))
    return found


def _windows(bench: Bench, events: set[str]) -> dict[str, Window]:
    """Return the longest look-back on `events` of every condition and measure that has one."""
    filters = {where: event_filters(condition) for where, condition in _conditions(bench).items()}
    for name, measure in all_names(bench).measures.items():
        made_of = (leaf for leaf in leaves(measure) if isinstance(leaf, Aggregate))
        filters[f"measures.{name}"] = tuple(aggregate.events for aggregate in made_of)
    found = {}
    for where, listed in filters.items():
        if windows := [f.window for f in listed if f.window and f.event in events]:
            found[where] = max(windows)
    return found


def _conditions(bench: Bench) -> dict[str, Condition]:
    project, vocabulary = bench.workspace.project, everything_known(bench)
    found: dict[str, Condition] = {}
    for goal in project.goals:
        compiled = compile_goal(goal, vocabulary)
        found[f"goals.{goal.name}.eligible"] = compiled.eligible
        found[f"goals.{goal.name}.outcome"] = compiled.outcome
    for segment in compile_segments(project.segments, segment_vocabulary(bench)):
        found[f"segments.{segment.name}.where"] = segment.condition
    return found
