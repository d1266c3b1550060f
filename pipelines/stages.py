"""The stages of a run, one function each: from what stands in the store to what comes next.

Every function returns the version of what it made, and does nothing when that version exists. A
version is named by all that it was made from, so the order of stages is the only state there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import time
from features.behavior.buckets import rendered
from features.behavior.catalogue import Behaviour, catalogue, from_json, observe, to_json
from features.behavior.definitions import Definition
from features.behavior.expiry import expired
from features.behavior.log import log_as_known, open_log, vocabulary_of
from features.behavior.scene import Log, People, scene_of
from features.behavior.table import matrix_of
from features.conditions import Vocabulary, uses
from features.conditions.table import matches, passing
from features.engine import Engine
from features.erasures import Erasures, open_erasures
from features.identity.graph import Graph, Resolution
from features.identity.overrides import TABLE as OVERRIDES
from features.identity.overrides import Overrides, applied, read_overrides
from features.measure_settings import Measure
from features.profiles.measures import with_attributes, with_measures
from features.settings import JOURNAL
from features.sources import ingest
from features.sources.files import SourceFile
from features.sources.purge import lags, purge_part
from features.sources.unite import TABLE as UNITED
from features.sources.unite import gather, unite, united_key
from features.store import Manifest, Store, key_of
from pipelines.journalled import files_of, offsets_of, watermark
from pipelines.renewal import Kept, kept_rows
from pipelines.workspace import Workspace
from training.goals import CompiledGoal, by_exclusion, canonical, compile_goal, excluded_text

FEATURES = "features"
FEATURES_VERSION = 5

Say = Callable[[str], None]
Measures = Sequence[Measure]
Mask = NDArray[np.bool_]


STAGES = ("ingest", "unify", "features", "train", "score", "segment", "export")


class Due(Exception):
    """Raised in a dry run at the first thing that would have to be made."""

    def __init__(self, stage: str, what: str) -> None:
        super().__init__(f"{stage}: {what}")
        self.stage, self.what = stage, what


@dataclass
class Bench:
    """What the stages of one run share: opened once, filled as the run proceeds.

    `again` names a stage to be done anew although nothing changed, and the run that is redone;
    `dry` makes nothing and raises `Due` instead; `made` counts what was made, by stage; `journal`
    is how much was read of each of its files, in bytes.
    """

    workspace: Workspace
    engine: Engine
    say: Say = lambda text: None
    again: tuple[str, str] = ("", "")
    dry: bool = False
    made: dict[str, int] = field(default_factory=dict)
    journal: dict[str, int] = field(default_factory=dict)
    united: str = ""
    overrides: Overrides = field(default_factory=Overrides)
    _erasures: Erasures | None = None
    _graph: Graph | None = None
    _graph_before: Graph | None = None
    _log: Log | None = None

    @property
    def store(self) -> Store:
        """The store of the project."""
        return self.workspace.store

    def salt(self, stage: str) -> str:
        """Return what makes a stage's versions new although nothing they depend on changed."""
        return self.again[1] if self.again[0] == stage else ""

    def due(self, stage: str, table: str, key: str, what: str) -> bool:
        """Say whether a version must be made, and tell the user that it is being made."""
        if self.store.has(table, key):
            return False
        self.must(stage, what)
        return True

    def must(self, stage: str, what: str) -> None:
        """Count what is made whether or not a version of it stands, and tell the user."""
        if self.dry:
            raise Due(stage, what)
        self.say(what)
        self.made[stage] = self.made.get(stage, 0) + 1

    @property
    def erasures(self) -> Erasures:
        """Who was erased from the store."""
        if self._erasures is None:
            self._erasures = Erasures.read(self.store.root)
        return self._erasures

    @property
    def leaving(self) -> Erasures:
        """Those of them whose erasure is not complete: whatever names them is to go."""
        return open_erasures(self.store.root, self.erasures)

    @property
    def graph(self) -> Graph:
        """The identity graph of the united tables, under the overrides of this run."""
        if self._graph is None:
            identity = self.workspace.project.identity
            self._graph = Graph(self.store, self.united, identity, self.overrides)
        return self._graph

    def graph_before(self, published: Manifest) -> Graph:
        """Return the graph of these united tables under the overrides of the published run."""
        if self._graph_before is None:
            identity, before = self.workspace.project.identity, applied(self.store, published)
            self._graph_before = Graph(self.store, self.united, identity, before)
        return self._graph_before

    @property
    def log(self) -> Log:
        """The event log of the united tables."""
        if self._log is None:
            project = self.workspace.project
            self._log = open_log(self.engine, self.store, self.united, project, self.graph)
        return self._log

    def log_of(self, goal: CompiledGoal) -> Log:
        """Return the event log without the events that do not count for a goal."""
        if not goal.excluded:
            return self.log
        events = self.log.events
        return replace(self.log, events=events.filter(~passing(goal.excluded, events)))

    def look_again(self) -> None:
        """Forget what was read of united tables: others stand there now."""
        self._graph = self._log = None

    def look_from(self, as_of: int) -> None:
        """Read attributes from here on as the kind of thing that they were known to be then."""
        self._log = None
        self._log = log_as_known(self.engine, self.log, as_of)


# Ingest and unify --------------------------------------------------------------------------------


def ingest_all(bench: Bench) -> dict[str, list[str]]:
    """Read every file that is new or changed; return the part versions by source."""
    workspace = bench.workspace
    keys: dict[str, list[str]] = {}
    for source in workspace.project.sources:
        files = files_of(workspace, source, bench.dry)
        if source.name == JOURNAL:
            bench.journal = offsets_of([file.path for file in files])
        keys[source.name] = []
        for number, file in enumerate(files, 1):
            what = f"{source.name} {number}/{len(files)}: {file.path.name}"
            keys[source.name].append(read_file(bench, file, what))
    return keys


def read_file(bench: Bench, file: SourceFile, what: str) -> str:
    """Read a file that is new or changed; return its part's version, without whom was erased."""
    project, store = bench.workspace.project, bench.store
    part = ingest.part_key(project, file, bench.salt("ingest"))
    if bench.due("ingest", ingest.TABLE, part, f"reading {what}"):
        ingest.ingest_file(bench.engine, store, project, file, part, bench.erasures)
    elif lags(store, part, bench.erasures):
        bench.must("ingest", f"erasing from {what}")
        purge_part(bench.engine, store, project, part, bench.erasures)
    return part


def unify(bench: Bench, parts: dict[str, list[str]]) -> str:
    """Unite the parts of all sources and read overrides; return the united tables' version."""
    project, store = bench.workspace.project, bench.store
    bench.overrides = read_overrides(
        project.identity, bench.workspace.folder, project.time_zone, bench.erasures.place
    )
    if bench.due("unify", OVERRIDES, bench.overrides.key, "reading overrides"):
        bench.overrides.write(store)
    gathered = gather(store, project, parts)
    bench.united = united_key(project, gathered, bench.salt("unify"))
    if bench.due("unify", UNITED, bench.united, "uniting sources"):
        unite(bench.engine, store, project, gathered, bench.united)
    bench.look_again()
    return bench.united


def idle_before(bench: Bench, as_of: int) -> int | None:
    """Return since when visitors must have been active to be kept at `as_of`; None for ever.

    Where more has been removed already, for a later as_of, that counts: of those who were idle by
    then only the ones who came back are left, and to look at them alone would mislead.
    """
    length = bench.workspace.project.identity.expire_anonymous
    removed = int(bench.store.facts(UNITED, bench.united)["expired_before"])
    if length is None:
        return removed or None
    return max(int(time.kept_from(as_of, length)), removed)


def unexpired(bench: Bench, people: People, as_of: int) -> People:
    """Return `people` without visitors who have expired at `as_of`, the run's own moment.

    Rows of earlier moments lose whoever would have expired by then had they never come back. Those
    who did not come back are gone already; learning from the others would teach that all do.
    """
    since = idle_before(bench, as_of)
    if since is None:
        return people
    settings = bench.workspace.project.identity
    return people.only(~expired(bench.engine, bench.log, people, settings, since))


def overrides_said(bench: Bench) -> dict[str, dict[str, Any]]:
    """Return, by table of overrides, what became of its rows, and how many wait for data."""
    waiting = bench.overrides.not_seen(bench.graph.named)
    judged = bench.overrides.judged.items()
    return {name: asdict(each) | {"not_seen": waiting[name]} for name, each in judged}


def everything_known(bench: Bench, measures: Measures | None = None) -> Vocabulary:
    """Return the names of all dated data, whenever known, with their kinds in the bench's log.

    `measures` are the project's by default; those made of undated attributes are left out.
    """
    log = bench.log
    return with_attributes(all_names(bench, measures), set(log.attribute_kinds) - log.undated)


def all_names(bench: Bench, measures: Measures | None = None) -> Vocabulary:
    """Return the names of everything known of people, undated attributes included."""
    log = bench.log
    schema = log.events.schema()
    events: dict[str, dict[str, str]] = {}
    for found in bench.store.facts(UNITED, bench.united)["events"].values():
        for event, names in found.items():
            numbers = [name for name in names if schema[f"attr_{name}"].is_decimal()]
            kinds = {name: "number" if name in numbers else "text" for name in names}
            events.setdefault(event, {}).update(kinds)
    project = bench.workspace.project
    found = vocabulary_of(project, events, log.attribute_kinds)
    return with_measures(found, project.measures if measures is None else measures)


def default_as_of(bench: Bench) -> int:
    """Return the moment just after the watermark.

    The watermark is the least, over the sources that the goals draw on, of the newest time known,
    as `watermark` says.
    """
    facts = bench.store.facts(UNITED, bench.united)
    vocabulary = everything_known(bench)
    used: set[str] = set()
    ends: set[str] = set()
    for goal in bench.workspace.project.goals:
        compiled = compile_goal(goal, vocabulary)
        used |= uses(compiled.outcome).events | uses(compiled.eligible).events
        ends |= uses(compiled.outcome).attributes
    return int(time.just_after(watermark(bench.workspace.project, facts, used, ends)))


def earliest_event(bench: Bench, as_of: int | None = None) -> int:
    """Return the time of the first event, in microseconds: of those known at `as_of`, if given.

    Where none was known, history is as long as nothing: `as_of` itself.
    """
    events = bench.log.events
    if as_of is not None:
        events = events.filter(time.known_before(events.known_at, as_of))
    first = bench.engine.arrow(events.event_time.min().as_table()).column(0)[0].as_py()
    return int(as_of or 0) if first is None else int(first)


# Features ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """What is measured in a run: the catalogue as known at its as_of, and the goals read."""

    as_of: int
    behaviour: Behaviour
    definitions: tuple[Definition, ...]
    goals: tuple[CompiledGoal, ...]

    @property
    def manifest(self) -> list[dict[str, Any]]:
        """The definitions as JSON, in column order."""
        return [to_json(definition) for definition in self.definitions]


def plan_features(bench: Bench, as_of: int, goals: Sequence[str] | None = None) -> Plan:
    """Look at the data as known at `as_of` and say what will be measured of it."""
    project = bench.workspace.project
    bench.look_from(as_of)
    behaviour = observe(bench.engine, bench.log, project.features, as_of)
    definitions = catalogue(behaviour, project.features, project.identity.namespaces)
    vocabulary = everything_known(bench)
    compiled = tuple(
        compile_goal(goal, vocabulary)
        for goal in project.goals
        if goals is None or goal.name in goals
    )
    return Plan(as_of, behaviour, definitions, compiled)


def plan_as_before(
    bench: Bench, as_of: int, goals: Sequence[str], manifest: Sequence[dict[str, Any]]
) -> Plan:
    """Return the plan of a run that measures what an earlier one did, whatever the data hold now.

    `manifest` is that plan's, as a model bundle has it: its columns, in its order.
    """
    bench.look_from(as_of)
    project, vocabulary = bench.workspace.project, everything_known(bench)
    compiled = tuple(compile_goal(g, vocabulary) for g in project.goals if g.name in goals)
    behaviour = observe(bench.engine, bench.log, project.features, as_of)
    return Plan(as_of, behaviour, tuple(from_json(each) for each in manifest), compiled)


def feature_table(bench: Bench, plan: Plan, moment: int, goals: Sequence[CompiledGoal]) -> str:
    """Write the features at `moment` of everyone eligible then for one of `goals`.

    Columns: profile_key, as_of, `eligible_<goal>`, and the catalogue. Goals that leave out other
    events have a file of their own in the same version (`file_of`). Returns the version.
    """
    asked = [[goal.name, canonical(goal)["eligible"], excluded_text(goal)] for goal in goals]
    basis = key_of(
        FEATURES, FEATURES_VERSION, bench.united, people_settings(bench), moment, plan.manifest,
        asked, idle_before(bench, plan.as_of), bench.salt("features"),
    )  # fmt: skip
    key = key_of(basis, bench.overrides.version)
    if bench.due("features", FEATURES, key, f"features at {time.format_instant(moment)[:16]}"):
        with bench.store.writing(FEATURES, key) as (folder, facts):
            resolution = bench.graph.at(moment)
            facts |= {"files": {}, "rows": 0, "left_out": 0, "rendered": 0, "expired": []}
            for number, alike in enumerate(by_exclusion(goals)):
                kept = (
                    _kept(bench, basis, resolution) if not any(g.excluded for g in goals) else None
                )
                people = People.everyone(resolution, kept.others if kept else None)
                made, expired = _of_eligible(bench, plan, people, alike)
                table = kept.and_made(made) if kept else made
                name = f"features_{number}.parquet" if number else "features.parquet"
                pq.write_table(table, folder / name, compression="zstd")
                gone = sorted([*(kept.expired if kept else ()), *expired])
                facts["files"] |= {goal.name: name for goal in alike}
                facts["rows"] += table.num_rows
                facts["left_out"] += len(gone)
                facts["rendered"] += len(people)
                facts["expired"] = gone
    return key


def people_settings(bench: Bench) -> list[Any]:
    """Return the settings of who people are and what is known of them, for names of versions.

    What overrides say is named beside them.
    """
    identity = bench.workspace.project.identity.model_dump(mode="json", exclude={"overrides"})
    return [identity, [asdict(policy) for policy in bench.log.policies]]


def _kept(bench: Bench, basis: str, resolution: Resolution) -> Kept | None:
    """Return what overrides have not touched of the published table of the same basis."""
    published = bench.store.current()
    before = key_of(basis, applied(bench.store, published).version) if published else ""
    if not published or before not in published.tables.get(FEATURES, "").split("+"):
        return None
    table = pq.read_table(bench.store.folder(FEATURES, before) / "features.parquet")
    gone = bench.store.facts(FEATURES, before)["expired"]
    kept = kept_rows(table, gone, bench.graph_before(published), bench.graph, resolution)
    moment = time.format_instant(resolution.as_of)[:16]
    of = f"{len(kept.others):,} of {len(resolution.profiles()):,}"
    bench.say(f"features at {moment}: {of} people recomputed")
    return kept


def _of_eligible(
    bench: Bench, plan: Plan, people: People, goals: Sequence[CompiledGoal]
) -> tuple[pa.Table, list[int]]:
    """Return the features of those of `people` who are eligible for any of `goals`.

    And the profile keys of those who would have expired, of whom there is no row.
    """
    masks = eligibility(bench, goals, people)
    everyone = people.only(np.logical_or.reduce(list(masks.values())))
    lasting = unexpired(bench, everyone, plan.as_of)
    stays = np.isin(people.profile_key, lasting.profile_key)
    eligible = {name: mask[stays] for name, mask in masks.items()}
    gone = np.setdiff1d(everyone.profile_key, lasting.profile_key)
    log = bench.log_of(goals[0])
    return _described(bench, plan, log, lasting, eligible), gone.tolist()


def eligibility(bench: Bench, goals: Sequence[CompiledGoal], people: People) -> dict[str, Mask]:
    """Return, by goal, which of `people` are eligible at their own as_of.

    `goals` leave out the same events.
    """
    scene = scene_of(bench.engine, bench.log_of(goals[0]), people)
    masks = {}
    for goal in goals:
        found = matches(goal.eligible, scene.spine, scene.history).order_by("row_id")
        column = bench.engine.arrow(found)["matches"]
        masks[goal.name] = np.asarray(column.to_numpy(zero_copy_only=False), dtype=bool)
    scene.close()
    return masks


def _described(
    bench: Bench, plan: Plan, log: Log, people: People, eligible: dict[str, Mask]
) -> pa.Table:
    buckets = [*rendered(bench.engine, log, people, plan.definitions)]
    features = pa.concat_tables(buckets)
    columns: dict[str, Any] = {"profile_key": people.profile_key, "as_of": people.as_of}
    columns |= {f"eligible_{name}": mask for name, mask in eligible.items()}
    return pa.table(columns | {name: features[name] for name in features.column_names})


def eligible_rows(store: Store, key: str, goal: str) -> pa.Table:
    """Return the rows of a feature table that are eligible for `goal`, in order of profile."""
    name = store.facts(FEATURES, key).get("files", {}).get(goal, "features.parquet")
    table = pq.read_table(store.folder(FEATURES, key) / name)
    return table.filter(table[f"eligible_{goal}"])


@dataclass(frozen=True)
class Described:
    """Rows of one feature table that are eligible for one goal."""

    profile_key: NDArray[np.int64]
    as_of: NDArray[np.int64]
    matrix: NDArray[np.float64]


def described(store: Store, key: str, plan: Plan, goal: str) -> Described:
    """Return the rows of a feature table that are eligible for `goal`, in order of profile."""
    table = eligible_rows(store, key, goal)
    names = [definition.feature.name for definition in plan.definitions]
    return Described(
        table["profile_key"].to_numpy().astype(np.int64),
        table["as_of"].to_numpy().astype(np.int64),
        matrix_of(table.select(names)),
    )


def event_feature_table(
    bench: Bench,
    plan: Plan,
    goal: CompiledGoal,
    visits: Callable[[], People],
    moments: Sequence[int],
) -> str:
    """Write the features of an at_events spine, each of `visits` at its own moment."""
    key = key_of(
        FEATURES, FEATURES_VERSION, "at_events", bench.united, people_settings(bench),
        bench.overrides.version,
        list(moments), plan.manifest, canonical(goal), bench.workspace.project.training.seed,
        idle_before(bench, plan.as_of), bench.salt("features"),
    )  # fmt: skip
    if bench.due("features", FEATURES, key, f"features of visits for {goal.name}"):
        with bench.store.writing(FEATURES, key) as (folder, facts):
            people = visits()
            mask = eligibility(bench, [goal], people)[goal.name]
            everyone = people.only(mask)
            kept = unexpired(bench, everyone, plan.as_of)
            mask = np.ones(len(kept), dtype=bool)
            table = _described(bench, plan, bench.log_of(goal), kept, {goal.name: mask})
            pq.write_table(table, folder / "features.parquet", compression="zstd")
            facts |= {"rows": table.num_rows, "left_out": len(everyone) - len(kept)}
    return key
