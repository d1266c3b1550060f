"""One run: whatever is due, stage by stage, published at the end by a single swap.

A stage whose inputs have not changed has been done: its version exists, whichever run made it. So
a killed run resumes by running again, and a run on unchanged input does no work.
"""

from __future__ import annotations

import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features import time
from features.engine import Engine
from features.errors import LikelierError, did_you_mean
from features.identity.overrides import TABLE as OVERRIDES
from features.sources.unite import TABLE as UNITED
from features.store import Manifest, key_of
from pipelines.building import (
    LISTS,
    PROFILES,
    Inputs,
    deliver_files,
    model_version,
    segment_vocabulary,
    write_lists,
    write_profiles,
)
from pipelines.challenges import Settled, challenge, moves, settle, trainings_kept
from pipelines.champions import Standing, champion_of, shipped, standing, standing_of
from pipelines.erasing import clear_temporary, erased_from, finish
from pipelines.expiring import expire, look_backs
from pipelines.history import HISTORY, remember
from pipelines.journalled import waiting
from pipelines.learning import (
    TRAINED,
    Lesson,
    bundle_of,
    models_before,
    population,
)
from pipelines.promotions import Promotion
from pipelines.publishing import ONLINE_VERSION, place_of, write_online
from pipelines.schedule import Errand, errands
from pipelines.scorecard import CARDS, Cards, close_cards, scorecard_figures
from pipelines.scoring import SCORES, score_everyone
from pipelines.stages import (
    FEATURES,
    STAGES,
    Bench,
    Due,
    Plan,
    default_as_of,
    earliest_event,
    ingest_all,
    overrides_said,
    plan_as_before,
    plan_features,
    unify,
)
from pipelines.usability import REFUSED, Trained, learnable, train_all, without_segments_of
from pipelines.workspace import Workspace
from serving.exports.columns import check_exports
from serving.online.places import TABLE as ONLINE
from serving.segments.definitions import compile_segments
from training.errors import MlflowUnreachable

RUN_VERSION = 5

Reporter = Callable[[str, str], None]
"""Told the stage and, in words, what is being done."""


class UnknownStage(LikelierError):
    """A stage that does not exist."""

    code = "unknown_stage"


class NothingKnown(LikelierError):
    """An as_of before anything was known."""

    code = "nothing_known"


@dataclass(frozen=True)
class Outcome:
    """What a run did. `made` counts what each stage made: empty when nothing was due.

    `manifest` is the published run, None after `--only`; `files` are the delivered exports;
    `warnings` are of this run, whether or not it published; `refused` has the error of each goal
    that could not be trained, while others could.
    """

    manifest: Manifest | None
    made: dict[str, int]
    files: list[Path]
    seconds: float
    warnings: tuple[str, ...] = ()
    refused: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """What the scorecard of the published run finds wrong, drift included."""
        return list(self.manifest.figures["alarms"]) if self.manifest else []


def run(
    workspace: Workspace,
    *,
    as_of: int | None = None,
    only: str | None = None,
    start: str | None = None,
    report: Reporter = lambda stage, text: None,
) -> Outcome:
    """Do whatever is due and publish it; return what was done.

    `as_of` (microseconds) defaults to just after the watermark. `only` stops after a stage and
    publishes nothing; `start` does a stage anew, and all that follows from it. Nothing that
    readers see changes before the end; a failed or killed run leaves the published one in place.
    """
    _check_stages(only, start)
    _raise_first(check_exports(workspace.project))
    started = clock.monotonic()
    with workspace.store.lock(), _engine(workspace) as engine:
        bench = Bench(workspace, engine)
        if start:
            published = workspace.store.current()
            bench.again = (start, published.run_id if published else "")
        running = _Run(bench, as_of, only, report)
        manifest = running.do()
        if manifest is None:
            seconds = clock.monotonic() - started
            return Outcome(None, bench.made, [], seconds, running.warnings, running.refused)
        files = deliver_files(workspace.store, workspace.folder, manifest, workspace.project)
        warnings = running.warnings + _finished(workspace, bench, manifest)
    seconds = clock.monotonic() - started
    return Outcome(manifest, bench.made, files, seconds, warnings, running.refused)


def _finished(workspace: Workspace, bench: Bench, manifest: Manifest) -> tuple[str, ...]:
    """Do the last steps of a run that is published; say what has to wait for MLflow."""
    try:
        finish(workspace, bench.erasures, manifest)
    except MlflowUnreachable as error:
        return (f"{error.code}: {error.message} An erasure waits to mark models there.",)
    return ()


def _engine(workspace: Workspace) -> Engine:
    clear_temporary(workspace)
    return workspace.engine()


def rebuild(bench: Bench, report: Reporter) -> Manifest:
    """Publish the published run anew, at its as_of and by its models, on what stands in the store.

    Nothing is trained: for when people are taken out and must be gone at once.
    """
    published = bench.store.require_current()
    again = _Run(bench, published.as_of, None, report, models_before(bench, published)).do()
    return _delivered(bench, published if again is None else again)


def republish(bench: Bench, change: Promotion, report: Reporter) -> Manifest:
    """Publish the published run anew, at its as_of, with one goal scored by another version.

    Nothing is trained. The alias and the promotion log change just before readers see the run.
    """
    published = bench.store.require_current()
    models = models_before(bench, published)
    models[change.goal] = champion_of(bench, change.goal, change.after).trained
    again = _Run(bench, published.as_of, None, report, models, (change,)).do()
    manifest = _delivered(bench, published if again is None else again)
    _finished(bench.workspace, bench, manifest)
    return manifest


def _delivered(bench: Bench, manifest: Manifest) -> Manifest:
    deliver_files(bench.store, bench.workspace.folder, manifest, bench.workspace.project)
    return manifest


def explain(workspace: Workspace, as_of: int | None = None) -> list[tuple[str, str, str]]:
    """Return (stage, `done` or `due`, what) for every stage, making nothing.

    After the first stage that is due, what follows depends on what it will make. Of training it is
    said, once that is known, which goals are trained and why, and which are only scored.
    """
    with workspace.engine() as engine:
        bench = Bench(workspace, engine, dry=True)
        running = _Run(bench, as_of, None, lambda stage, text: None)
        try:
            running.do()
        except Due as due:
            place = STAGES.index(due.stage)
            plan = [(stage, "done", "") for stage in STAGES[:place]]
            plan += [(due.stage, "due", due.what)]
            plan += [(stage, "due", f"follows {due.stage}") for stage in STAGES[place + 1 :]]
        else:
            plan = [(stage, "done", "") for stage in STAGES]
    return [running.explained(*each) for each in plan]


def _check_stages(*stages: str | None) -> None:
    for stage in stages:
        if stage is not None and stage not in STAGES:
            raise UnknownStage(f"There is no stage {stage!r}.", hint=did_you_mean(stage, STAGES))


def _raise_first(problems: list[LikelierError]) -> None:
    if problems:
        raise problems[0]


class _Run:
    """The stages in order, over one bench."""

    def __init__(
        self,
        bench: Bench,
        as_of: int | None,
        only: str | None,
        report: Reporter,
        trained: Mapping[str, str] | None = None,
        changes: Sequence[Promotion] = (),
    ) -> None:
        """`trained`: the versions that score, by goal; None trains what is due.

        `changes`: of champions, made when the run publishes.
        """
        self.bench, self.asked, self.only, self.report = bench, as_of, only, report
        self.trained, self.changes = trained, changes
        self.errands: dict[str, Errand] = {}
        self.warnings: tuple[str, ...] = ()
        self.refused: dict[str, dict[str, Any]] = {}
        self.unbuilt: dict[str, str] = {}

    def do(self) -> Manifest | None:
        """Do the stages; return the published manifest, or None when stopped before the end."""
        bench = self.bench
        self._enter("ingest")
        parts = ingest_all(bench)
        if self.only == "ingest":
            return None
        self._enter("unify")
        unify(bench, parts)
        expire(bench, parts)
        as_of = self._as_of()
        self._check_segments()
        if self.only == "unify":
            return None
        self._enter("features")
        plan = self._plan(as_of)
        standing = self._standing(plan)
        due = tuple(goal for goal in plan.goals if self.errands[goal.name].train)
        models = {name: each.trained for name, each in standing.champions.items()}
        standby = {name: key for name, key in models.items() if self.errands[name].optional}
        only = {goal.name: models[goal.name] for goal in plan.goals if goal not in due}
        trained = Trained(only, standby=standby)
        learnt = learnable(bench, replace(plan, goals=due), trained) if due else []
        everyone = population(bench, plan) if learnt else ""
        shipped(bench, plan, trained.models)
        if self.only == "features":
            return None
        self._enter("train")
        settled = train_all(
            bench, plan, learnt, trained,
            lambda lesson: self._challenge(plan, lesson, everyone, standing),
        )  # fmt: skip
        models, self.refused = trained.serving, trained.refusals(bench)
        plan = replace(plan, goals=tuple(goal for goal in plan.goals if goal.name in models))
        self.unbuilt = without_segments_of(bench, models)
        if self.only == "train":
            return None
        self._enter("score")
        goals = shipped(bench, plan, models)
        scores = score_everyone(bench, goals)
        entries = remember(bench, plan, scores, models)
        cards = close_cards(bench, entries, as_of)
        if self.only == "score":
            return None
        self._enter("segment")
        inputs = Inputs(write_profiles(bench, plan), scores, models)
        changes = [
            *self.changes,
            *moves(standing),
            *filter(None, (each.promotion for each in settled.values())),
        ]
        newest = {name: each.newest for name, each in settled.items()}
        kept = trainings_kept(bench, models, newest, changes)
        run_id = self._run_id(inputs, kept)
        published = bench.store.current()
        if published is not None and published.run_id == run_id:
            settle(bench.workspace, changes)
            # A server may have lost the generation.
            write_online(bench, plan, inputs, published.tables[LISTS], goals)
            return published
        lists = write_lists(bench, plan, inputs, run_id)
        if self.only == "segment":
            return None
        self._enter("export")
        online = write_online(bench, plan, inputs, lists, goals)
        features = {key for lesson in learnt for key in lesson.features} | {everyone}
        features |= {each.everyone for each in goals.values()}
        tables = {
            "parts": "+".join(sorted({key for keys in parts.values() for key in keys})),
            UNITED: bench.united, OVERRIDES: bench.overrides.key,
            FEATURES: "+".join(sorted(key for key in features if key)),
            TRAINED: "+".join(kept),
            SCORES: scores, PROFILES: inputs.profiles, LISTS: lists, ONLINE: online,
        }  # fmt: skip
        tables |= {REFUSED: "+".join(trained.refused.values())} if trained.refused else {}
        lasting = {HISTORY: [entry.key for entry in entries], CARDS: cards.keys}
        tables |= {name: "+".join(keys) for name, keys in lasting.items() if keys}
        settle(bench.workspace, changes)
        return self._publish(run_id, as_of, tables, models, settled, cards)

    def _standing(self, plan: Plan) -> Standing:
        """Look at who serves, and decide what to do about each goal."""
        bench = self.bench
        if self.trained is not None:
            self.errands = {name: Errand(name, False, "published anew") for name in self.trained}
            return standing_of(bench, self.trained)
        found = standing(bench, [goal.name for goal in plan.goals])
        self.warnings = found.warnings
        self.errands = errands(bench, plan, found)
        for errand in self.errands.values():
            if errand.train:
                bench.say(errand.words)
        return found

    def explained(self, stage: str, state: str, what: str) -> tuple[str, str, str]:
        """Return a line of the plan: of training, with what is done about each goal."""
        if stage != "train" or not self.errands:
            return stage, state, what
        said = "; ".join(each.words for each in self.errands.values())
        return stage, state if any(each.train for each in self.errands.values()) else "done", said

    def _challenge(self, plan: Plan, lesson: Lesson, everyone: str, standing: Standing) -> Settled:
        name = lesson.goal.name
        champion, errand = standing.champions.get(name), self.errands[name]
        return challenge(self.bench, plan, lesson, everyone, champion, errand)

    def _plan(self, as_of: int) -> Plan:
        if not self.trained:
            return plan_features(self.bench, as_of)
        if self.changes:
            # The very plan of the published run, so that its tables can be used again.
            return plan_features(self.bench, as_of, list(self.trained))
        # The models of one run are all made for the columns of one plan.
        some = bundle_of(self.bench, *next(iter(self.trained.items())))
        return plan_as_before(self.bench, as_of, list(self.trained), some.definitions)

    def _enter(self, stage: str) -> None:
        self.report(stage, "")
        self.bench.say = lambda text: self.report(stage, text)

    def _as_of(self) -> int:
        as_of = self.asked
        if as_of is None:
            as_of = default_as_of(self.bench)
            if said := waiting(self.bench.store.facts(UNITED, self.bench.united), as_of):
                self.bench.say(said)
        earliest = earliest_event(self.bench)
        if as_of <= earliest:
            raise NothingKnown(
                f"Nothing was known at {time.format_instant(as_of)}: the first event is at "
                f"{time.format_instant(earliest)}.",
                hint="Give a later --as-of.",
            )
        return as_of

    def _check_segments(self) -> None:
        """Read the segments now: a wrong condition should not wait for the end of training."""
        compile_segments(self.bench.workspace.project.segments, segment_vocabulary(self.bench))

    def _run_id(self, inputs: Inputs, trainings: list[str]) -> str:
        project = self.bench.workspace.project
        described = project.model_dump(mode="json", include={"segments", "destinations", "project"})
        anew = self.bench.salt("segment") or self.bench.salt("export")
        made_of: list[Any] = [inputs.profiles, inputs.scores, trainings, len(self.bench.erasures)]
        made_of += [self.refused] if self.refused else []
        made_of += [place.name] if (place := place_of(self.bench)).remote else []
        versions = RUN_VERSION, ONLINE_VERSION
        return key_of("run", versions, described, *made_of, self.bench.overrides.key, anew)

    def _publish(
        self,
        run_id: str,
        as_of: int,
        tables: dict[str, str],
        models: dict[str, str],
        settled: Mapping[str, Settled],
        cards: Cards,
    ) -> Manifest:
        bench = self.bench
        versions = {goal: model_version(bench, key) for goal, key in models.items()}
        kept = [bench.store.facts(TRAINED, key) for key in tables[TRAINED].split("+") if key]
        manifest = Manifest(
            run_id=run_id,
            as_of=as_of,
            tables=tables,
            models=versions,
            spare_models={
                goal: sorted({each["version"] for each in kept if each.get("goal") == goal})
                for goal in models
            },
            figures=self._figures(tables, models, settled)
            | scorecard_figures(bench.store, cards, tables[SCORES], versions, as_of),
            published_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        bench.store.publish(manifest)
        return manifest

    def _figures(
        self, tables: dict[str, str], models: dict[str, str], settled: Mapping[str, Settled]
    ) -> dict[str, Any]:
        store, facts = self.bench.store, {}
        united = store.facts(UNITED, self.bench.united)
        for source, rows in united["rows"].items():
            quarantined = united["quarantined"][source]
            accepted = united["accepted"][source]
            gone = {name: united[name][source] for name in ("erased", "expired")}
            facts[source] = {
                "rows": rows,
                "accepted": accepted,
                "duplicates": rows - accepted - sum(gone.values()) - sum(quarantined.values()),
                "quarantined": quarantined,
                "junk": united["junk_found"][source],
                "unusable": united["unusable_found"][source],
                **gone,
            }
        lists = store.facts(LISTS, tables[LISTS])
        scored = store.facts(SCORES, tables[SCORES])["goals"]
        goals = {
            goal: self._with_mark(goal, store.facts(TRAINED, key))
            | {
                "scored": scored[goal],
                "schedule": self.errands[goal].body(),
                "challenge": settled[goal].verdict if goal in settled else None,
            }
            for goal, key in models.items()
        }
        return {
            "sources": facts,
            "profiles": store.facts(PROFILES, tables[PROFILES]),
            "goals": goals,
            "segments": lists["segments"],
            "exports": lists["exports"],
            "profile_changes": lists["changes"],
            "refused": self.refused,
            "unbuilt": self.unbuilt,
            "parity": store.facts(ONLINE, tables[ONLINE])["parity"],
            "warnings": [f"{key}: {what}" for key, what in look_backs(self.bench)],
            "overrides": overrides_said(self.bench),
        }

    def _with_mark(self, goal: str, facts: dict[str, Any]) -> dict[str, Any]:
        """Return the facts of a model, with a warning where people it learnt from were erased."""
        marked = set(erased_from(self.bench.workspace, goal, facts["version"]))
        waiting = self.bench.leaving.records
        marked |= {each.id for each in waiting if (goal, facts["version"]) in each.models}
        if not marked:
            return facts
        some = "a person who was" if len(marked) == 1 else f"{len(marked)} people who were"
        warning = f"learnt from {some} erased since; `likelier run` trains it anew"
        return facts | {"warnings": [*facts["warnings"], warning]}
