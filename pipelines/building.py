"""The stages that put scores to use: profiles, segments and exports.

Nothing here is seen by a reader before the run publishes its manifest; files are delivered after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.behavior.scene import People, Scene, scene_of
from features.conditions import Vocabulary
from features.conditions.text import formula_text
from features.profiles.measures import measured_rows
from features.sources.unite import TABLE as UNITED
from features.store import Manifest, Store, key_of, write_whole
from features.time import MICROS_PER_DAY
from pipelines.crowd import counted, events_of
from pipelines.people import attribute_sources, consents_now, profile_changes, profiles_table
from pipelines.scoring import SCORES
from pipelines.stages import (
    Bench,
    Measures,
    Plan,
    all_names,
    people_settings,
    unexpired,
)
from serving.exports.columns import fields_of
from serving.exports.deliveries import carried, unerased
from serving.exports.files import Origin, deliver, stage, staged_in
from serving.exports.rows import Export, Published
from serving.exports.rows import build as build_export
from serving.segments.definitions import CompiledSegment, compile_segments
from serving.segments.diff import build as build_memberships
from serving.segments.membership import evaluate, opted_out, without

PROFILES, LISTS = "profiles", "lists"
UNIFICATION = "unification.json"
"""File beside the profiles: what the unification report says of everyone."""
PROFILES_VERSION = 6
WIDEST = 10
"""Identities that fan out which a run names."""
LISTS_VERSION = 3


def write_profiles(bench: Bench, plan: Plan) -> str:
    """Write profiles, what made their attributes, consents and the counts of all of it.

    All is as known at the run's as_of. `profiles` has a column `measure_<name>` for each measure.
    Returns their version.
    """
    project, store = bench.workspace.project, bench.store
    measures = list(all_names(bench).measures.values())
    made_of = [[measure.name, formula_text(measure.formula)] for measure in measures]
    said = (people_settings(bench), bench.overrides.version)
    key = key_of(PROFILES, PROFILES_VERSION, bench.united, *said, plan.as_of, made_of)
    key = key_of(key, bench.salt("segment")) if bench.salt("segment") else key
    if not bench.due("segment", PROFILES, key, "writing profiles"):
        return key
    with store.writing(PROFILES, key) as (folder, facts):
        resolution = bench.graph.at(plan.as_of)
        people = unexpired(bench, People.everyone(resolution), plan.as_of)
        scene = scene_of(bench.engine, bench.log, people, undated=True)
        table = profiles_table(bench.engine, bench.graph, project.identity, people, scene)
        for name, column in measured_rows(scene, measures).items():
            table = table.append_column(name, column)
        origins = attribute_sources(bench.engine, bench.log, people, scene)
        events = events_of(scene, len(people))
        scene.close()
        crowd = counted(bench.graph, project.identity, resolution, people, table, events)
        write_whole(folder / UNIFICATION, json.dumps(crowd, indent=1).encode())
        consents = pq.read_table(store.folder(UNITED, bench.united) / "consents.parquet")
        stated = consents_now(consents, people, plan.as_of)
        pq.write_table(table, folder / "profiles.parquet", compression="zstd")
        pq.write_table(stated, folder / "consents.parquet", compression="zstd")
        pq.write_table(origins, folder / "attribute_sources.parquet", compression="zstd")
        known = int(np.sum(table["known"].to_numpy(zero_copy_only=False)))
        facts |= {"profiles": len(people), "known": known, "anonymous": len(people) - known}
        facts["refused_links"] = resolution.refused.counts()
        facts["wide_identities"] = {
            bench.graph.identities[key]: count for key, count in resolution.widest(WIDEST)
        }
    return key


def segment_vocabulary(bench: Bench, measures: Measures | None = None) -> Vocabulary:
    """Return the names that segments may use: all there is, undated attributes included."""
    goals = frozenset(goal.name for goal in bench.workspace.project.goals)
    return replace(all_names(bench, measures), goals=goals)


@dataclass(frozen=True)
class Inputs:
    """Versions of what lists are built from."""

    profiles: str
    scores: str
    models: Mapping[str, str]


def write_lists(bench: Bench, plan: Plan, inputs: Inputs, run_id: str) -> str:
    """Write changes, memberships, deliveries and staged exports; return their version.

    They follow the published run: who has stayed, and who was held out, is read from it.
    """
    store, previous = bench.store, bench.store.current()
    before = previous.tables[LISTS] if previous else ""
    segments = compile_segments(bench.workspace.project.segments, segment_vocabulary(bench))
    key = key_of(LISTS, LISTS_VERSION, run_id, before)
    if not bench.due("segment", LISTS, key, "building segments"):
        return key
    with store.writing(LISTS, key) as (folder, facts):
        _Lists(bench, plan, inputs, segments, previous).write(run_id, folder, facts)
    return key


class _Lists:
    """One build of all lists: what its steps share."""

    def __init__(
        self,
        bench: Bench,
        plan: Plan,
        inputs: Inputs,
        segments: tuple[CompiledSegment, ...],
        previous: Manifest | None,
    ) -> None:
        self.bench, self.plan, self.inputs = bench, plan, inputs
        self.segments, self.previous = segments, previous
        store = bench.store
        scores, profiles = (
            store.folder(SCORES, inputs.scores),
            store.folder(PROFILES, inputs.profiles),
        )
        united = store.folder(UNITED, bench.united)
        self.scores = pq.read_table(scores / "scores.parquet")
        self.factors = pq.read_table(scores / "factors.parquet")
        self.profiles = pq.read_table(profiles / "profiles.parquet")
        self.consents = pq.read_table(profiles / "consents.parquet")
        self.index = pq.read_table(united / "identity_index.parquet")
        self.contacts = pq.read_table(united / "contacts.parquet")

    def write(self, run_id: str, folder: Path, facts: dict[str, Any]) -> None:
        """Write every list, and the counts into `facts`."""
        resolution = self.bench.graph.at(self.plan.as_of)
        changes = profile_changes(self._before(PROFILES, "profiles"), self.bench.graph, resolution)
        people = unexpired(self.bench, People.everyone(resolution), self.plan.as_of)
        scene = scene_of(self.bench.engine, self.bench.log, people, undated=True)
        found = self._members(scene, people.profile_key)
        scene.close()
        now, refusing = without(found, opted_out(self.consents))
        memberships, counts = build_memberships(
            now, self.profiles, self._before(LISTS, "memberships"), changes, self.plan.as_of
        )
        deliveries = unerased(
            carried(self._before(LISTS, "deliveries"), changes), self.bench.leaving
        )
        facts["segments"] = {
            name: asdict(count) | {"opted_out": refusing[name]} for name, count in counts.items()
        }
        facts["exports"] = []
        for export in self._exports(memberships, deliveries, run_id, folder):
            deliveries = pa.concat_tables([deliveries, export.deliveries])
            facts["exports"].append(_export_facts(export))
        facts["changes"] = changes.num_rows
        for name, table in (
            ("profile_changes", changes), ("memberships", memberships), ("deliveries", deliveries),
        ):  # fmt: skip
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")

    def _before(self, table: str, file: str) -> pa.Table | None:
        if self.previous is None:
            return None
        folder = self.bench.store.folder(table, self.previous.tables[table])
        return pq.read_table(folder / f"{file}.parquet")

    def _members(self, scene: Scene, keys: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        return evaluate(scene, self.segments, self.scores, self.factors, keys)

    def _exports(
        self, memberships: pa.Table, deliveries: pa.Table, run_id: str, folder: Path
    ) -> Iterator[Export]:
        project = self.bench.workspace.project
        run = Published(
            memberships, self.profiles, self.scores, self.factors, self.consents, self.index,
            self.contacts,
        )  # fmt: skip
        versions = {
            goal: model_version(self.bench, key) for goal, key in self.inputs.models.items()
        }
        origin = Origin(run_id, versions)
        destinations = {destination.name: destination for destination in project.destinations}
        for segment in project.segments:
            for name in segment.export:
                destination = destinations[name]
                fields = fields_of(destination, project)
                export = build_export(
                    segment, destination, fields, run, deliveries, self.plan.as_of
                )
                stage(export, fields, origin, folder / "exports")
                yield export


def _export_facts(export: Export) -> dict[str, Any]:
    return {
        "segment": export.segment.name,
        "destination": export.destination.name,
        "members": export.members,
        "rows": export.rows.num_rows,
        "left_out": dict(export.left_out),
    }


def model_version(bench: Bench, trained: str) -> str:
    """Return the bundle version that a trained version names."""
    version: str = bench.store.facts("trained", trained)["version"]
    return version


def deliver_files(bench_store: Store, folder: Path, manifest: Manifest, project: Any) -> list[Path]:
    """Put every staged file of the published run where its receiver looks; return the files."""
    staging = bench_store.folder(LISTS, manifest.tables[LISTS]) / "exports"
    return [
        deliver(staged, folder / destination.path)
        for destination in project.destinations
        for staged in staged_in(staging, destination.name)
    ]


def measures_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures of a row of `profiles` by name, JSON-ready."""
    return {
        name.removeprefix("measure_"): plain(value, "number")
        for name, value in row.items()
        if name.startswith("measure_")
    }


def plain(value: Any, kind: str) -> Any:
    """Return an attribute's value as JSON has it: dates as ISO text, decimals as numbers."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if kind == "date" and isinstance(value, int):
        return date.fromordinal(date(1970, 1, 1).toordinal() + value // MICROS_PER_DAY).isoformat()
    return value.isoformat() if isinstance(value, date | datetime) else value
