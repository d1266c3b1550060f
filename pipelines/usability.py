"""Usability reports of goals, and what becomes of a goal that is refused.

A report is made before a goal is trained, so it stands when training fails. A refused goal stops
no other: the run goes on without it, and without the segments that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from features.conditions import uses
from features.store import key_of
from pipelines.building import segment_vocabulary
from pipelines.challenges import Settled
from pipelines.learning import TRAINED, Lesson, lessons, settings_of
from pipelines.remedies import with_remedies
from pipelines.reports import ended, report_path, write_report
from pipelines.stages import STAGES, Bench, Plan, earliest_event
from serving.segments.definitions import compile_segments
from training.errors import Refusal
from training.goals import CompiledGoal
from training.spine import snapshots
from training.usability import Usability

REFUSED = "refused"
"""Table of refusals: a version stands for a goal that need not be tried again."""
REFUSED_VERSION = 2


@dataclass
class Trained:
    """What became of the goals of a run: trained versions, and refusals, by goal.

    `standby` are the versions that go on serving where the training of another is refused.
    """

    models: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    standby: Mapping[str, str] = field(default_factory=dict)

    @property
    def serving(self) -> dict[str, str]:
        """The versions that serve, by goal."""
        waiting = {goal: self.standby[goal] for goal in self.refused if goal in self.standby}
        return self.models | waiting

    def refusals(self, bench: Bench) -> dict[str, dict[str, Any]]:
        """Return the refusals as error bodies, by goal."""
        return {
            goal: bench.store.facts(REFUSED, key)["refusal"] for goal, key in self.refused.items()
        }


def learnable(bench: Bench, plan: Plan, trained: Trained) -> list[Lesson]:
    """Write the feature tables of the goals that have history enough; note the others.

    Raises the first refusal if there is no goal that has, and none that has a model already.
    """
    training, earliest = bench.workspace.project.training, earliest_event(bench, plan.as_of)
    able = []
    for goal in plan.goals:
        key = _key(bench, plan, goal)
        if bench.store.has(REFUSED, key):
            trained.refused[goal.name] = key
            continue
        try:
            snapshots(goal.settings, plan.as_of, earliest, training.max_snapshots)
            able.append(goal)
        except Refusal as refusal:
            bench.must("features", f"{goal.name}: too little history")
            write_report(bench.workspace, Usability.begun(goal, plan.as_of, earliest))
            _refuse(bench, goal, plan.as_of, key, refusal)
            trained.refused[goal.name] = key
    if trained.refused and not able and not trained.serving:
        raise _again(next(iter(trained.refusals(bench).values())))
    return lessons(bench, replace(plan, goals=tuple(able)))


def train_all(
    bench: Bench,
    plan: Plan,
    learnt: Sequence[Lesson],
    trained: Trained,
    teach: Callable[[Lesson], Settled],
) -> dict[str, Settled]:
    """Train every goal that can be, and note the others; raise the first refusal if none can.

    `teach` trains one. Returns what the trainings came to, by goal.
    """
    settled = {}
    for lesson in learnt:
        goal = lesson.goal
        key = _key(bench, plan, goal)
        if bench.store.has(REFUSED, key):
            trained.refused[goal.name] = key
            continue
        try:
            made = bench.made.get("train", 0)
            found = settled[goal.name] = teach(lesson)
            trained.models[goal.name] = found.serves
            if bench.made.get("train", 0) > made:
                facts = bench.store.facts(TRAINED, found.newest)
                ended(bench.workspace, goal.name, state="trained", warnings=facts["warnings"])
        except Refusal as refusal:
            _refuse(bench, goal, plan.as_of, key, refusal)
            trained.refused[goal.name] = key
    if trained.refused and not trained.serving:
        raise _again(next(iter(trained.refusals(bench).values())))
    return settled


def _key(bench: Bench, plan: Plan, goal: CompiledGoal) -> str:
    """Return the name of a refusal: known before anything is made of the goal."""
    data = (plan.as_of, bench.united, bench.overrides.version)
    anew = [bench.salt(stage) for stage in STAGES]
    return key_of(REFUSED, REFUSED_VERSION, goal.name, settings_of(bench, goal), *data, anew)


def _refuse(bench: Bench, goal: CompiledGoal, as_of: int, key: str, refusal: Refusal) -> None:
    if not refusal.remedies:
        refusal = with_remedies(bench, goal, as_of, refusal)
    page = report_path(bench.workspace, goal.name)
    refusal.details["report"] = str(page)
    with bench.store.writing(REFUSED, key) as (_, facts):
        facts["refusal"] = refusal.facts()
    ended(bench.workspace, goal.name, state="refused", refusal=facts["refusal"])


def _again(body: Mapping[str, Any]) -> Refusal:
    """Return a refusal as it was noted."""
    found = Refusal(body["message"], hint=body["hint"], **body["details"])
    found.code = body["code"]
    return found


def without_segments_of(bench: Bench, models: Mapping[str, str]) -> dict[str, str]:
    """Take the segments that need a goal without a model out of the bench's project.

    Returns them, each with the first goal that it needs.
    """
    project = bench.workspace.project
    lacking = {goal.name for goal in project.goals} - set(models)
    found: dict[str, str] = {}
    for segment in compile_segments(project.segments, segment_vocabulary(bench)):
        used = uses(segment.condition)
        needs = sorted(used.goals & lacking) + [found[s] for s in used.segments if s in found]
        if needs:
            found[segment.name] = needs[0]
    kept = tuple(segment for segment in project.segments if segment.name not in found)
    left = project.model_copy(update={"segments": kept})
    bench.workspace = replace(bench.workspace, project=left)
    return found
