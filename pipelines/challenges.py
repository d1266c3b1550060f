"""Training under judgement: what a new version becomes, and the change of champion that follows.

Nothing changes before the run publishes: then first the alias in MLflow, then the promotion log,
then what readers see. A run that is killed in between is finished by the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipelines.champions import Champion, Standing, champion_versions, judge, registry_of, stored
from pipelines.learning import TRAINED, Lesson, first_version, train_goal
from pipelines.promotions import Promotion, before_last, last_champion, write_down
from pipelines.schedule import Errand, last_training
from pipelines.stages import Bench, Plan
from pipelines.workspace import Workspace
from training.challenge import Verdict
from training.dataset import Dataset
from training.fit import Trained

RUN, IN_MLFLOW = "run", "mlflow"


@dataclass(frozen=True)
class Settled:
    """What a training came to: the newest version of `trained`, and the one that serves."""

    newest: str
    serves: str
    verdict: Mapping[str, object]
    promotion: Promotion | None


def challenge(
    bench: Bench,
    plan: Plan,
    lesson: Lesson,
    everyone: str,
    champion: Champion | None,
    errand: Errand,
) -> Settled:
    """Train a goal unless that was done, and say which version serves."""
    goal = lesson.goal.name

    def verdict(data: Dataset, trained: Trained) -> Verdict:
        if champion is None:
            return first_version(data, trained)
        if errand.apart:
            return Verdict("apart", champion.version, errand.why)
        if errand.unopposed:
            return Verdict("promoted", champion.version, errand.unopposed)
        return judge(bench, plan, lesson, data, trained, champion)

    against = [champion and champion.version, errand.unopposed, errand.apart]
    key = train_goal(bench, plan, lesson, everyone, against, verdict)
    facts = bench.store.facts(TRAINED, key)
    found = facts["challenge"]
    if found["decision"] == "kept" and champion is not None:
        return Settled(key, champion.trained, found, None)
    promotion = None
    if found["decision"] == "promoted":
        promotion = Promotion(
            goal, found["champion"], facts["version"], RUN, found["why"], found["duel"] or {}
        )
    return Settled(key, key, found, promotion)


def moves(standing: Standing) -> list[Promotion]:
    """Return the changes of alias that the log does not know: made by hand, or by a killed run."""
    found = []
    for goal, before in standing.moved.items():
        champion = standing.champions[goal]
        made = champion.facts["challenge"]
        if made["decision"] == "promoted" and made["champion"] == before:
            by, why, figures = RUN, made["why"], made["duel"] or {}
        else:
            by, why, figures = IN_MLFLOW, "the alias champion was moved in MLflow", {}
        found.append(Promotion(goal, before, champion.version, by, why, figures))
    return found


def settle(workspace: Workspace, changes: Iterable[Promotion]) -> None:
    """Make changes of champion: the alias in MLflow first, then the log."""
    registry, changes = registry_of(workspace), list(changes)
    for each in changes:
        if each.by != IN_MLFLOW:
            registry.promote(each.goal, each.after, each.why)
        if last_champion(workspace.store, each.goal) != each.after:
            write_down(workspace.store, each)
    if changes:
        # The next run need not look again.
        champion_versions(workspace)


def trainings_kept(
    bench: Bench, models: Mapping[str, str], newest: Mapping[str, str], changes: Sequence[Promotion]
) -> list[str]:
    """Return the versions of `trained` that a run names: they stay in the store with their bundles.

    Those that serve, the newest trainings, and those that one step back leads to.
    """
    kept = set(models.values()) | set(newest.values())
    back = {each.goal: each.before for each in changes}
    for goal in models:
        last = last_training(bench, goal)
        if last is not None and goal not in newest:
            kept.add(last[0])
        before = back[goal] if goal in back else before_last(bench.store, goal)
        key = stored(bench, goal, before) if before else None
        kept |= {key} if key else set()
    return sorted(kept)
