"""What a run does about each goal: train it anew, or only score by the version that serves.

The two have schedules of their own. Scores are renewed whenever as_of or the data have moved on;
training waits for `retrain_every`, unless there is a reason not to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features import time
from features.time import Window, format_instant
from pipelines.champions import Champion, Standing, unmeasurable
from pipelines.erasing import learnt_from_erased
from pipelines.learning import TRAINED, bundle_of, question_of, settings_of
from pipelines.stages import STAGES, Bench, Plan
from training.errors import MlflowUnreachable
from training.goals import CompiledGoal


@dataclass(frozen=True)
class Errand:
    """What a run does about a goal, and why, in words. `due` is when it is to train next.

    `unopposed` says why a new version is not compared with the champion, which is then replaced;
    `apart` is a run of a past moment, whose version serves that run alone.
    """

    goal: str
    train: bool
    why: str
    due: int | None = None
    unopposed: str = ""
    apart: bool = False

    @property
    def words(self) -> str:
        """The errand in a sentence."""
        return f"{self.goal}: {'train' if self.train else 'score only'}: {self.why}"

    @property
    def optional(self) -> bool:
        """Whether the champion can go on where training comes to nothing."""
        return not self.unopposed and not self.apart

    def body(self) -> dict[str, Any]:
        """Return the errand as JSON-ready facts."""
        return {
            "goal": self.goal,
            "does": "train" if self.train else "score",
            "why": self.why,
            "train_due": format_instant(self.due) if self.due is not None else None,
        }


def errands(bench: Bench, plan: Plan, standing: Standing) -> dict[str, Errand]:
    """Return what this run does about every goal of the plan.

    While MLflow is away training waits, and the champion scores; raises `MlflowUnreachable` where
    there is none, or training was asked for.
    """
    found = {}
    for goal in plan.goals:
        champion = standing.champions.get(goal.name)
        errand = _errand(bench, plan, goal, champion)
        if errand.train and not standing.reachable:
            errand = _deferred(bench, errand, champion)
        found[goal.name] = errand
    return found


def _errand(bench: Bench, plan: Plan, goal: CompiledGoal, champion: Champion | None) -> Errand:
    if champion is None:
        return Errand(goal.name, True, "there is no version yet")
    last = _newest(bench, goal.name, champion)
    every = interval_of(bench, goal)
    due = last["as_of"] + every.micros
    if why := _replaced(bench, goal, champion):
        return Errand(goal.name, True, why, due, unopposed=why)
    at = format_instant(champion.as_of)
    if plan.as_of < champion.as_of:
        why = f"{champion.version} learnt at {at} what came after this as_of"
        return Errand(goal.name, True, why, due, apart=True)
    if _asked(bench):
        return Errand(goal.name, True, f"asked for by --from {bench.again[0]}", due)
    if settings_of(bench, goal) != last["settings"]:
        return Errand(goal.name, True, "settings have changed since the last training", due)
    trained = f"last trained as of {format_instant(last['as_of'])}, every {every.words}"
    if time.has_closed(due, plan.as_of):
        return Errand(goal.name, True, trained, due)
    return Errand(goal.name, False, f"{trained}: again from {format_instant(due)} on", due)


def interval_of(bench: Bench, goal: CompiledGoal) -> Window:
    """Return how often a goal is trained."""
    return goal.settings.retrain_every or bench.workspace.project.training.retrain_every


def last_training(bench: Bench, goal: str) -> tuple[str, dict[str, Any]] | None:
    """Return the newest training that the published run names: its version, and its facts.

    It need not have been promoted. Of one as_of the one registered last is the newest. None before
    the first.
    """
    published = bench.store.current()
    keys = filter(None, published.tables.get(TRAINED, "").split("+")) if published else ()
    facts = ((key, bench.store.facts(TRAINED, key)) for key in keys)
    mine = [(key, each) for key, each in facts if each.get("goal") == goal]
    return max(mine, key=lambda each: _when(each[1]), default=None)


def _when(facts: Mapping[str, Any]) -> tuple[int, int]:
    """Return what trainings of one goal are ordered by: what they knew, then which came first."""
    return facts["as_of"], int(facts["registered"]["version"])


def _newest(bench: Bench, goal: str, champion: Champion) -> Mapping[str, Any]:
    """Return the facts of the last training, be it the champion's."""
    last = last_training(bench, goal)
    if last is None or last[1]["as_of"] < champion.as_of:
        return champion.facts
    return last[1]


def _replaced(bench: Bench, goal: CompiledGoal, champion: Champion) -> str:
    """Say why a champion must go, whether or not the next version is better; empty if it need not.

    One that answers another question, that learnt from people who were erased, or that wants what
    the project measures no longer.
    """
    if champion.facts["question"] != question_of(goal):
        return f"the goal asks another question than {champion.version} answers"
    if learnt_from_erased(bench, champion):
        return f"{champion.version} learnt from people who were erased since"
    if lost := unmeasurable(bench, bundle_of(bench, goal.name, champion.trained), champion.facts):
        shown = ", ".join(lost[:3]) + (", …" if len(lost) > 3 else "")
        return f"{champion.version} wants what is measured no longer: {shown}"
    return ""


def _deferred(bench: Bench, errand: Errand, champion: Champion | None) -> Errand:
    # Who learnt from the erased can go on for a while, as it has since they were.
    stuck = errand.unopposed and champion and not learnt_from_erased(bench, champion)
    if champion is None or stuck or errand.apart or _asked(bench):
        uri = bench.workspace.tracking_uri
        raise MlflowUnreachable.at(uri, f"{errand.goal} must be trained: {errand.why}")
    why = f"training waits until MLflow can be reached ({errand.why})"
    return Errand(errand.goal, False, why, errand.due)


def _asked(bench: Bench) -> bool:
    """Say whether `--from` asks for training, or for a stage that it follows."""
    return bool(bench.again[0]) and STAGES.index(bench.again[0]) <= STAGES.index("train")
