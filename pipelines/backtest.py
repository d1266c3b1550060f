"""Backtest: train on what was known by a moment, score the people of then, and compare.

What is compared with is what has happened since. A moment whose outcome window has not closed in
the data is refused.
"""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features import time
from features.errors import LikelierError, did_you_mean
from pipelines.learning import (
    Lesson,
    booster_params,
    dataset_of,
    lessons,
    people_of,
    population,
    task_of,
)
from pipelines.provenance import check_provenance
from pipelines.stages import (
    Bench,
    Described,
    default_as_of,
    described,
    ingest_all,
    plan_features,
    unify,
)
from pipelines.workspace import Workspace
from serving.scorer import UnknownGoal
from training.bundle import Scored
from training.dataset import Dataset
from training.evaluation import evaluate
from training.fit import Trained, train
from training.goals import CompiledGoal
from training.labels import labels


class OutcomeOpen(LikelierError):
    """A backtest of a moment whose outcome window has not closed in the data."""

    code = "outcome_open"


@dataclass(frozen=True, eq=False)
class Backtest:
    """One goal at one moment: what it was trained on, whom it scored, and what then happened.

    `profile_ids` names the people scored, row by row.
    """

    goal: CompiledGoal
    as_of: int
    dataset: Dataset
    trained: Trained
    people: Described
    profile_ids: pa.Array
    happened: NDArray[np.int8]
    seconds: float

    @property
    def scored(self) -> Scored:
        """What was said of the people of then."""
        names = self.dataset.names
        places = [names.index(name) for name in self.trained.bundle.names]
        return self.trained.bundle.score(np.ascontiguousarray(self.people.matrix[:, places]))

    def figures(self) -> dict[str, Any]:
        """Return the figures that `likelier backtest` prints, JSON-ready."""
        bundle, scored = self.trained.bundle, self.scored
        rules, matrix = self.trained.rules, self.people.matrix
        found = evaluate(
            self.happened,
            scored.probability,
            scored.margin,
            rules.best.rank(matrix),
            person=self.people.profile_key,
        )
        return {
            "goal": self.goal.name,
            "as_of": time.format_instant(self.as_of),
            **found.metrics(),
            **rules.aucs(self.happened, matrix),
            "baseline": rules.best.rule,
            "population": found.population,
            "positives": found.positives,
            "features": len(bundle.names),
            "seconds": round(self.seconds, 2),
            "serves": bundle.serves,
        }


def backtest(workspace: Workspace, goal: str, as_of: int, say: Any = None) -> Backtest:
    """Return the backtest of `goal` at `as_of`; raise `OutcomeOpen` when it is too early.

    Raises `UnknownGoal` before anything is read.
    """
    goals = [each.name for each in workspace.project.goals]
    if goal not in goals:
        raise UnknownGoal(f"There is no goal {goal!r}.", hint=did_you_mean(goal, goals))
    started = clock.monotonic()
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine, say or (lambda text: None))
        unify(bench, ingest_all(bench))
        plan = plan_features(bench, as_of, goals=[goal])
        compiled = plan.goals[0]
        _require_closed(bench, compiled, as_of)
        lesson: Lesson = lessons(bench, plan)[0]
        everyone = population(bench, plan)
        check_provenance(bench, plan, compiled, lesson.features)
        dataset = dataset_of(bench, plan, lesson)
        people = described(workspace.store, everyone, plan, goal)
        trained = train(
            dataset, people.matrix, task_of(bench, plan, compiled), booster_params(bench), bench.say
        )
        found = labels(engine, bench.log_of(compiled), bench.graph, compiled, people_of(people))
        known = found.known
        kept = Described(people.profile_key[known], people.as_of[known], people.matrix[known])
        seconds = clock.monotonic() - started
        names = bench.graph.identities.take(kept.profile_key)
        return Backtest(compiled, as_of, dataset, trained, kept, names, found.label[known], seconds)


def _require_closed(bench: Bench, goal: CompiledGoal, as_of: int) -> None:
    end = time.outcome_end(as_of, goal.settings.gap, goal.settings.outcome_window)
    newest = default_as_of(bench)
    if not time.has_closed(end, newest):
        latest = time.newest_closed(newest, goal.settings.gap, goal.settings.outcome_window)
        raise OutcomeOpen(
            f"The outcome of {goal.name} at {time.format_instant(as_of)} is known at "
            f"{time.format_instant(end)}, and the data end at {time.format_instant(newest)}.",
            hint=f"Ask for {time.format_instant(latest)} or earlier.",
        )
