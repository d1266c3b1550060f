"""The stage that trains: datasets of closed labels, bundles, and their place in MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from features.behavior.definitions import Feature
from features.behavior.scene import People
from features.identity.hindsight import rewritten
from features.settings import JOURNAL, Project
from features.store import Manifest, key_of
from pipelines.provenance import check_provenance
from pipelines.remedies import with_remedies
from pipelines.reports import write_report
from pipelines.stages import (
    FEATURES,
    Bench,
    Described,
    Plan,
    described,
    earliest_event,
    event_feature_table,
    feature_table,
    people_settings,
)
from training.baselines import EventColumns
from training.booster import BoosterParams
from training.bundle import Bundle
from training.challenge import Verdict
from training.charts import figures, report_html
from training.dataset import Dataset
from training.errors import Refusal
from training.fit import Trained, TrainingTask, train
from training.goals import CompiledGoal, canonical
from training.labels import labels
from training.pictures import pngs
from training.registry import DECISION_TAG, FACTS_FILE, JUDGED_FOLDER, Registry
from training.spine import event_rows, snapshots
from training.sufficiency import short_look_backs
from training.tuning import Budget
from training.usability import Usability

TRAINED = "trained"
TRAINED_VERSION = 16


@dataclass(frozen=True)
class Lesson:
    """What one goal is learnt from: versions of the feature tables of its spine, newest first."""

    goal: CompiledGoal
    moments: tuple[int, ...]
    features: tuple[str, ...]


def lessons(bench: Bench, plan: Plan) -> list[Lesson]:
    """Write the feature tables that the goals learn from; goals share those of equal moments."""
    settings = bench.workspace.project.training
    earliest = earliest_event(bench, plan.as_of)
    moments = {}
    for goal in plan.goals:
        try:
            found = snapshots(goal.settings, plan.as_of, earliest, settings.max_snapshots)
        except Refusal as refusal:
            raise with_remedies(bench, goal, plan.as_of, refusal) from None
        moments[goal.name] = found
    learnt = []
    for goal in plan.goals:
        if goal.settings.spine == "at_events":
            keys = [event_lesson(bench, plan, goal, moments[goal.name])]
        else:
            keys = [
                feature_table(bench, plan, moment, _asked(plan, moments, moment))
                for moment in moments[goal.name]
            ]
        learnt.append(Lesson(goal, tuple(moments[goal.name]), tuple(keys)))
    return learnt


def _asked(plan: Plan, moments: dict[str, list[int]], moment: int) -> list[CompiledGoal]:
    return [
        goal
        for goal in plan.goals
        if goal.settings.spine == "calendar" and moment in moments[goal.name]
    ]


def event_lesson(bench: Bench, plan: Plan, goal: CompiledGoal, moments: list[int]) -> str:
    """Write the feature table of an at_events spine; `moments` newest first. Its version."""
    seed = bench.workspace.project.training.seed
    step = goal.settings.outcome_window

    def visits() -> People:
        log = bench.log_of(goal)
        return event_rows(bench.engine, log, bench.graph, moments, step, seed)

    return event_feature_table(bench, plan, goal, visits, moments)


def population(bench: Bench, plan: Plan) -> str:
    """Write the features at the run's own as_of of everyone eligible for any goal."""
    return feature_table(bench, plan, plan.as_of, plan.goals)


def dataset_of(bench: Bench, plan: Plan, lesson: Lesson) -> Dataset:
    """Return the labelled rows of a lesson, oldest first and by profile within a moment."""
    features = tuple(definition.feature for definition in plan.definitions)
    return Dataset.joined(features, _moments(bench, plan, lesson, features))


def _moments(
    bench: Bench, plan: Plan, lesson: Lesson, features: tuple[Feature, ...]
) -> Iterator[Dataset]:
    for key in reversed(lesson.features):
        rows = described(bench.store, key, plan, lesson.goal.name)
        if not len(rows.profile_key):
            continue
        log = bench.log_of(lesson.goal)
        found = labels(bench.engine, log, bench.graph, lesson.goal, people_of(rows))
        every = Dataset(features, rows.matrix, found.label, rows.as_of, found.person_group)
        yield every.rows(found.known)


def people_of(rows: Described) -> People:
    """Return described rows as people at moments, without their identities."""
    none = np.empty(0, dtype=np.int64)
    return People(rows.profile_key, rows.as_of, none, none)


@dataclass(frozen=True)
class Hindsight:
    """How many rows of a lesson, and people in them, today's identities would have changed."""

    rows: int
    changed: int
    people: int

    @property
    def words(self) -> str:
        """The leak avoided, in a sentence."""
        share = self.changed / max(1, self.rows)
        return (
            f"{self.changed:,} of {self.rows:,} training rows ({share:.1%}), of {self.people:,} "
            "people, would have held other history had today's identities been used: nobody could "
            "have known it then."
        )


def hindsight_of(bench: Bench, plan: Plan, lesson: Lesson) -> Hindsight:
    """Count the rows of a lesson that the identities known at the run's as_of would change."""
    graph, today = bench.graph, bench.graph.at(plan.as_of)
    rows, changed, people = 0, 0, [np.empty(0, dtype=np.int64)]
    for key in lesson.features:
        found = described(bench.store, key, plan, lesson.goal.name)
        then = graph.at_rows(found.profile_key, found.as_of)
        differs = rewritten(graph, then, found.as_of, today)
        rows, changed = rows + len(differs), changed + int(differs.sum())
        people.append(today.anchor[found.profile_key[differs]])
    return Hindsight(rows, changed, len(np.unique(np.concatenate(people))))


def booster_params(bench: Bench) -> BoosterParams:
    """Return the booster's parameters under the project's settings."""
    project = bench.workspace.project
    return BoosterParams(seed=project.training.seed, num_threads=project.engine.threads)


def task_of(bench: Bench, plan: Plan, goal: CompiledGoal) -> TrainingTask:
    """Return what is to be trained for a goal."""
    settings = goal.settings
    return TrainingTask(
        goal=goal.name,
        kind=settings.kind,
        basis=settings.spine,
        as_of=plan.as_of,
        outcome_window=settings.outcome_window,
        gap=settings.gap,
        event_columns=(
            EventColumns(goal.end) if goal.end else EventColumns.of(goal.event, plan.definitions)
        ),
        definitions=plan.manifest,
        categories=plan.behaviour.category_lists,
        fewest_people=settings.min_people,
        allow=bench.workspace.project.training.allowed,
        tuning=budget_of(bench.workspace.project),
        selecting=bench.workspace.project.training.select_features,
    )


def budget_of(project: Project) -> Budget | None:
    """Return how much tuning a project asks for; None: none."""
    asked = project.training.tuning
    return Budget(asked.trials, asked.minutes) if asked.trials else None


Judge = Callable[[Dataset, Trained], Verdict]
"""Says what becomes of a version that was trained on a dataset."""


def first_version(data: Dataset, trained: Trained) -> Verdict:
    """Say that a version is promoted because there is none to compare it with."""
    return Verdict("promoted", None, "it is the first version")


def train_goal(
    bench: Bench,
    plan: Plan,
    lesson: Lesson,
    everyone: str,
    against: Sequence[Any] = (),
    judge: Judge = first_version,
) -> str:
    """Train one goal unless that was done; return the version of what was learnt.

    `against` names, JSON-ready, what `judge` compares with. The version's facts name the bundle and
    hold its figures and the verdict; beside them stands the twin that was evaluated. The bundle
    itself stands under `models/` in the store and, with its run, in MLflow.
    """
    goal, store = lesson.goal, bench.store
    params, allowed = booster_params(bench), bench.workspace.project.training.allowed
    key = key_of(
        TRAINED, TRAINED_VERSION, goal.name, goal.settings.kind, goal.settings.min_people,
        canonical(goal), list(lesson.features), everyone, asdict(params), allowed,
        bench.workspace.project.training.tuning.model_dump(),
        bench.workspace.project.training.select_features, list(against),
        bench.salt("train"),
    )  # fmt: skip
    if not bench.due("train", TRAINED, key, f"training {goal.name}: labels"):
        return key
    dataset = dataset_of(bench, plan, lesson)
    cautions = (*_left_out(bench, lesson), *look_backs_of(bench, plan, lesson))
    usable = Usability.begun(goal, plan.as_of, earliest_event(bench, plan.as_of))
    write_report(bench.workspace, replace(usable.measured(dataset), warnings=cautions))
    check_provenance(bench, plan, goal, lesson.features)
    hindsight = hindsight_of(bench, plan, lesson)
    people = described(store, everyone, plan, goal.name)
    task = replace(task_of(bench, plan, goal), notes=(hindsight.words,), cautions=cautions)
    try:
        trained = train(
            dataset, people.matrix, task, params,
            lambda text: bench.say(f"training {goal.name}: {text}"),
        )  # fmt: skip
    except Refusal as refusal:
        raise with_remedies(bench, goal, plan.as_of, refusal) from None
    verdict = judge(dataset, trained)
    trained = replace(trained, summary=(*trained.summary, verdict.words))
    with store.writing(TRAINED, key) as (folder, facts):
        page = report_html(trained.report)
        (folder / "report.html").write_text(page, encoding="utf-8")
        facts.update(_facts(trained) | {"hindsight": asdict(hindsight)})
        facts.update({"challenge": verdict.body(), "question": question_of(goal)})
        facts["settings"], facts["catalogue"] = settings_of(bench, goal), plan.manifest
        bundle = trained.bundle
        bundle.save(bench.workspace.bundle_folder(goal.name, bundle.version))
        trained.judged.save(folder / JUDGED_FOLDER)
        (folder / FACTS_FILE).write_bytes(json.dumps(facts, sort_keys=True).encode())
        bench.say(f"training {goal.name}: logging to MLflow")
        facts["registered"] = _register(bench, trained, page, verdict, folder)
    return key


def question_of(goal: CompiledGoal) -> list[Any]:
    """Return what a goal asks, JSON-ready: versions of another question cannot be compared."""
    return [goal.settings.kind, canonical(goal)]


def settings_of(bench: Bench, goal: CompiledGoal) -> str:
    """Return a name for all settings that a version of a goal is made by."""
    project = bench.workspace.project
    how = project.model_dump(mode="json", include={"training", "features", "time_zone"})
    del how["training"]["retrain_every"]
    aside = {"path", "format", "delimiter", "keep", "consent"}
    # What the journal may say, the other sources declare.
    own = [source for source in project.sources if source.name != JOURNAL]
    sources = [source.model_dump(mode="json", exclude=aside) for source in own]
    return key_of(
        TRAINED_VERSION, how, sources, people_settings(bench), question_of(goal),
        goal.settings.min_people,
    )  # fmt: skip


def look_backs_of(bench: Bench, plan: Plan, lesson: Lesson) -> Iterator[str]:
    """Say which look-backs of a lesson are longer than the history, and how far they see."""
    windows, earliest = bench.workspace.project.features.windows, earliest_event(bench, plan.as_of)
    return short_look_backs(lesson.goal, windows, lesson.moments, earliest)


def _left_out(bench: Bench, lesson: Lesson) -> tuple[str, ...]:
    left = sum(bench.store.facts(FEATURES, key)["left_out"] for key in lesson.features)
    if not left:
        return ()
    return (
        f"{left:,} rows of visitors are left out: they were idle for so long that, had they not "
        "come back, they would have been removed (identity.expire_anonymous). To learn from those "
        "who came back alone would mislead.",
    )


def _facts(trained: Trained) -> dict[str, Any]:
    found = {
        "goal": trained.bundle.goal,
        "as_of": trained.bundle.as_of,
        "unseen_from": trained.unseen_from,
        "version": trained.bundle.version,
        "serves": trained.bundle.serves,
        "baseline": trained.rules.best.rule,
        "grade": trained.grade.letter,
        "metrics": trained.bundle.metrics,
        "trained_on": trained.bundle.trained_on,
        "summary": list(trained.summary),
        "warnings": list(trained.warnings),
        "protocol": trained.roles.protocol,
        "importance": dict(list(trained.importance.items())[:20]),
    }
    return found


def _register(
    bench: Bench, trained: Trained, page: str, verdict: Verdict, record: Path
) -> dict[str, str]:
    workspace, bundle = bench.workspace, trained.bundle
    registry = Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)
    found = registry.log_training(
        workspace.bundle_folder(bundle.goal, bundle.version),
        trained.params,
        {**bundle.metrics, **verdict.figures()},
        page,
        {
            "serves": bundle.serves,
            "baseline": trained.rules.best.rule,
            "grade": trained.grade.letter,
            "protocol": trained.roles.protocol,
            DECISION_TAG: verdict.words,
            "champion_before": verdict.champion or "",
        },
        pngs(figures(trained.report)),
        trained.pages,
        record=record,
        challenger=verdict.decision != "apart",
    )
    return {"name": found.name, "version": str(found.version), "run_id": found.run_id}


def bundle_of(bench: Bench, goal: str, trained: str) -> Bundle:
    """Return the bundle that a trained version names."""
    version = bench.store.facts(TRAINED, trained)["version"]
    return Bundle.load(bench.workspace.bundle_folder(goal, version))


def models_before(bench: Bench, manifest: Manifest) -> dict[str, str]:
    """Return the trained versions of an earlier run, by goal, of the goals there still are."""
    keys = {
        bench.store.facts(TRAINED, key)["version"]: key
        for key in manifest.tables[TRAINED].split("+")
        if key
    }
    goals = [goal.name for goal in bench.workspace.project.goals]
    return {goal: keys[manifest.models[goal]] for goal in goals if goal in manifest.models}
