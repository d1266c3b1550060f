"""Who serves: the champion of every goal, found by its alias, and what it scores people with.

A champion may be older than the run. Its columns are then those of its own time, whatever the data
hold now, and are measured for it alone where the run's catalogue has others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features import time
from features.behavior import definitions as d
from features.behavior.catalogue import from_json
from features.behavior.definitions import Definition
from features.store import key_of, write_whole
from pipelines.learning import TRAINED, Lesson, bundle_of, event_lesson, people_of
from pipelines.promotions import last_champion
from pipelines.stages import Bench, Plan, described, feature_table
from pipelines.workspace import Workspace
from training.bundle import Bundle
from training.challenge import Verdict, duel, verdict_of
from training.dataset import Dataset
from training.errors import BrokenBundle, MlflowUnreachable, UnknownVersion
from training.fit import Trained
from training.goals import CompiledGoal
from training.labels import labels
from training.registry import FACTS_FILE, JUDGED_FOLDER, Registry

ALIASES = "aliases.json"


@dataclass(frozen=True)
class Champion:
    """The version of a goal that serves: `trained` is its version of the table of that name."""

    goal: str
    version: str
    trained: str
    facts: Mapping[str, Any]

    @property
    def as_of(self) -> int:
        """The moment it was trained at, in microseconds."""
        return int(self.facts["as_of"])


@dataclass(frozen=True)
class Standing:
    """The champions of a run, by goal. `moved`: where the alias was moved by hand, and from what.

    `warnings` say what could not be looked at.
    """

    champions: Mapping[str, Champion]
    moved: Mapping[str, str | None]
    warnings: tuple[str, ...] = ()
    reachable: bool = True


def registry_of(workspace: Workspace) -> Registry:
    """Return where the models of a project are registered."""
    return Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)


def standing(bench: Bench, goals: Sequence[str]) -> Standing:
    """Return who serves each of `goals`: whom MLflow calls champion, else the last one known.

    A version that is not in the store is fetched. Without MLflow the last local copy serves.
    """
    store = bench.store
    logged = {goal: last_champion(store, goal) for goal in goals}
    warnings, reachable = [], True
    try:
        aliased = champion_versions(bench.workspace)
    except MlflowUnreachable as error:
        aliased, reachable = {}, False
        warnings.append(f"{error.code}: {error.message} The last local copies serve.")
    found: dict[str, Champion] = {}
    for goal in goals:
        version = aliased.get(goal) or logged[goal]
        if version is None:
            continue
        if reachable and goal not in aliased:
            warnings.append(
                f"MLflow knows no champion of {goal}: {version}, the last one, goes on serving"
            )
        try:
            found[goal] = champion_of(bench, goal, version)
        except (MlflowUnreachable, UnknownVersion, BrokenBundle) as error:
            warnings.append(f"{error.code}: {error.message}")
    moved = {
        goal: logged[goal] for goal, version in aliased.items()
        if version != logged[goal] and goal in found
    }  # fmt: skip
    return Standing(found, moved, tuple(warnings), reachable)


def standing_of(bench: Bench, trained: Mapping[str, str]) -> Standing:
    """Return the standing in which given trained versions serve, by goal, without asking MLflow."""
    found = {}
    for goal, key in trained.items():
        facts = bench.store.facts(TRAINED, key)
        found[goal] = Champion(goal, facts["version"], key, facts)
    return Standing(found, {})


def champion_versions(workspace: Workspace) -> dict[str, str]:
    """Return the bundle version with the alias `champion`, by goal, as MLflow has them now.

    A sqlite store that has not changed since it was looked at is not opened: that takes seconds.
    """
    registry, path = registry_of(workspace), workspace.store.root / ALIASES
    goals = sorted(goal.name for goal in workspace.project.goals)
    now = [registry.state(), registry.project, goals]
    try:
        seen = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        seen = {}
    if now[0] and seen.get("of") == now:
        return dict(seen["champions"])
    found = registry.champions(goals)
    now[0] = registry.state()
    write_whole(path, json.dumps({"of": now, "champions": found}).encode())
    return found


def champion_of(bench: Bench, goal: str, version: str) -> Champion:
    """Return a version as a champion, from the store or else from MLflow.

    Raises `MlflowUnreachable`, `UnknownVersion`, and `BrokenBundle` where it is of another format.
    """
    key = stored(bench, goal, version)
    if key is None:
        key = _fetched(bench, goal, version)
    return Champion(goal, version, key, bench.store.facts(TRAINED, key))


def stored(bench: Bench, goal: str, version: str) -> str | None:
    """Return the version of `trained` that a bundle version is, if the store has both whole."""
    try:
        Bundle.load(bench.workspace.bundle_folder(goal, version))
    except BrokenBundle:
        return None
    store, published = bench.store, bench.store.current()
    first = published.tables.get(TRAINED, "").split("+") if published else []
    others = (folder.name for folder in (store.root / "tables" / TRAINED).glob("[!.]*"))
    for key in [*filter(None, first), *sorted(others)]:
        if not store.has(TRAINED, key):
            continue
        facts = store.facts(TRAINED, key)
        if (facts.get("goal"), facts["version"]) == (goal, version):
            return key
    return None


def _fetched(bench: Bench, goal: str, version: str) -> str:
    key = key_of(TRAINED, "fetched", goal, version)
    bench.must("features", f"fetching {goal} {version} from MLflow")
    with bench.store.writing(TRAINED, key, replace=True) as (folder, facts):
        place = bench.workspace.bundle_folder(goal, version)
        registry_of(bench.workspace).fetch(goal, version, place, folder)
        facts |= json.loads((folder / FACTS_FILE).read_bytes()) | {"fetched": True}
    return key


# What a champion scores people with --------------------------------------------------------------


@dataclass(frozen=True)
class Shipped:
    """What scores a goal in a run: a trained version, and the table that has its columns.

    `everyone` is the version of that feature table at the run's as_of, made by `plan`.
    """

    goal: CompiledGoal
    trained: str
    plan: Plan
    everyone: str


def shipped(bench: Bench, plan: Plan, models: Mapping[str, str]) -> dict[str, Shipped]:
    """Return what scores each goal of `models`, writing the feature tables that are not there."""
    found = {}
    for goal in (each for each in plan.goals if each.name in models):
        facts = bench.store.facts(TRAINED, models[goal.name])
        own = plan_for(plan, bundle_of(bench, goal.name, models[goal.name]), facts)
        everyone = feature_table(bench, own, plan.as_of, plan.goals)
        found[goal.name] = Shipped(goal, models[goal.name], own, everyone)
    return found


def plan_for(plan: Plan, bundle: Bundle, facts: Mapping[str, Any]) -> Plan:
    """Return the plan that has the columns of a bundle: `plan` itself, or one of its own.

    `facts` are those of its training.
    """
    own = definitions_of(bundle, facts)
    lists = _lists(own)
    others = {each for each in plan.definitions if _list(each) in lists}
    if set(own) <= set(plan.definitions) and others <= set(own):
        return plan
    return replace(plan, definitions=own)


def definitions_of(bundle: Bundle, facts: Mapping[str, Any]) -> tuple[Definition, ...]:
    """Return the definitions of a bundle's columns, with every listed value beside an `other`.

    What `other` means hangs on the values that are listed, also on those the bundle does not use:
    they are in the catalogue of its training.
    """
    own = [from_json(each) for each in bundle.definitions]
    lists = _lists(own)
    catalogue = [from_json(each) for each in facts.get("catalogue", ())] if lists else []
    return tuple(dict.fromkeys([*own, *(each for each in catalogue if _list(each) in lists)]))


def _lists(definitions: Sequence[Definition]) -> set[tuple[object, ...]]:
    """Return the lists of values that an `other` among `definitions` lies outside of."""
    return {_list(each) for each in definitions if getattr(each, "value", "") is None}


def _list(definition: Definition) -> tuple[object, ...]:
    event, attribute = (getattr(definition, name, None) for name in ("event", "attribute"))
    return type(definition), event, attribute


def unmeasurable(bench: Bench, bundle: Bundle, facts: Mapping[str, Any]) -> list[str]:
    """Return the features of a bundle that the project measures no longer, whatever the data say.

    An event type that does not happen any more is measured: it is seen to have stopped.
    """
    project, log = bench.workspace.project, bench.log
    namespaces = {namespace.name for namespace in project.identity.namespaces}
    schema = log.events.schema()
    numbers = [name for name in log.event_attributes if schema[name].is_decimal()]
    lost = []
    for definition in definitions_of(bundle, facts):
        match definition:
            case d.Sum(attribute=name) | d.Statistic(attribute=name):
                there = f"attr_{name}" in numbers
            case d.Distinct(attribute=name):
                there = f"attr_{name}" in log.event_attributes
            case d.ValueShare(attribute=name) | d.ValueIs(attribute=name):
                there = f"attr_{name}" in log.event_attributes and f"attr_{name}" not in numbers
            case d.NumberAttribute(attribute=name):
                there = _dated(log, name) == "number"
            case d.DaysSinceAttribute(attribute=name):
                there = _dated(log, name) == "date"
            case d.CategoryIs(attribute=name):
                there = _dated(log, name) in ("text", "boolean")
            case d.IdentityCount(namespace=name):
                there = name in namespaces
            case d.IsKnown(namespaces=names):
                there = set(names) <= namespaces
            case _:
                there = True
        event, chosen = getattr(definition, "event", None), project.features.events
        aside = not event and getattr(definition, "attribute", None) in project.features.without
        if not there or aside or (event and chosen and event not in chosen):
            lost.append(definition.feature.name)
    return lost


def _dated(log: Any, attribute: str) -> str | None:
    return None if attribute in log.undated else log.attribute_kinds.get(attribute)


# Challenger against champion ---------------------------------------------------------------------


def judge(
    bench: Bench, plan: Plan, lesson: Lesson, data: Dataset, trained: Trained, champion: Champion
) -> Verdict:
    """Compare a newly trained version with the champion, on rows that neither has seen.

    Those are the evaluation rows whose outcome lies after all that the champion's twin learnt from.
    """
    if trained.bundle.version == champion.version:
        return Verdict("kept", champion.version, "training came to the very same version")
    unseen = time.unseen_outcome(
        data.as_of, lesson.goal.settings.gap, int(champion.facts["unseen_from"])
    )
    rows = trained.roles.evaluate & unseen
    label, person = data.label[rows], data.person[rows]
    twin = Bundle.load(bench.store.folder(TRAINED, champion.trained) / JUDGED_FOLDER)
    ours = trained.judged.score(_columns(data.matrix[rows], data.names, trained.judged))
    own = plan_for(plan, twin, champion.facts)
    theirs = twin.score(of_champion(bench, plan, own, lesson, data, rows, twin))
    seed = bench.workspace.project.training.seed
    found = duel(
        label, person, (ours.margin, ours.probability), (theirs.margin, theirs.probability),
        seed=seed,
    )  # fmt: skip
    return verdict_of(found, champion.version)


def _columns(
    matrix: NDArray[np.float64], names: Sequence[str], bundle: Bundle
) -> NDArray[np.float64]:
    places = {name: place for place, name in enumerate(names)}
    return np.ascontiguousarray(matrix[:, [places[name] for name in bundle.names]])


def of_champion(
    bench: Bench,
    plan: Plan,
    own: Plan,
    lesson: Lesson,
    data: Dataset,
    rows: NDArray[np.bool_],
    twin: Bundle,
) -> NDArray[np.float64]:
    """Return the champion's columns of some rows of a dataset, measured for it where they differ.

    `own` is the plan that has them (`plan_for`); `plan` is the dataset's.
    """
    if own is plan:
        return _columns(data.matrix[rows], data.names, twin)
    goal, moments = lesson.goal, sorted(lesson.moments)
    if goal.settings.spine == "at_events":
        return _labelled(bench, own, lesson, event_lesson(bench, own, goal, moments[::-1]), twin)[
            rows
        ]
    parts = []
    for moment in moments:
        here = data.as_of == moment
        if (rows & here).any():
            key = feature_table(bench, own, moment, [goal])
            parts.append(_labelled(bench, own, lesson, key, twin)[rows[here]])
    return np.concatenate(parts) if parts else np.empty((0, len(twin.names)))


def _labelled(
    bench: Bench, own: Plan, lesson: Lesson, key: str, twin: Bundle
) -> NDArray[np.float64]:
    """Return the columns of `twin` in the rows of a feature table that have a label."""
    found = described(bench.store, key, own, lesson.goal.name)
    known = labels(bench.engine, bench.log, bench.graph, lesson.goal, people_of(found)).known
    names = [definition.feature.name for definition in own.definitions]
    return _columns(found.matrix[known], names, twin)
