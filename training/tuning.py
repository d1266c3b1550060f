"""Finding better parameters of the trees by trial, on rows before those that evaluate.

Each trial fits the fit rows and is judged by log-loss on the calibration rows, which are later
where the split is out of time. The evaluation rows are never given to it. The first trial is the
defaults; they stay unless another is better by more than one standard error over people, so that a
lucky trial on few people changes nothing. Hopeless trials are pruned (median rule); the next are
proposed by TPE (Bergstra et al. 2011) under the seed. Depth and leaves are capped: explaining a
tree costs with the square of its depth.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.booster import DEEPEST, BoosterParams, Rehearsal
from training.charts import figure_of, page_html
from training.dataset import Dataset

Floats = NDArray[np.float64]

MOST_LEAVES = 31
STEP, WARM_UP, FIRST_WHOLE = 10, 30, 4
"""Rounds between looks at a trial, rounds and trials before any is pruned."""
TUNED = ("num_leaves", "max_depth", "min_data_in_leaf", "bagging_fraction", "lambda_l2")


@dataclass(frozen=True)
class Budget:
    """How much to try. `minutes` None: until all trials are done, the same in every run."""

    trials: int
    minutes: float | None = None


@dataclass(frozen=True)
class Trial:
    """One set of parameters: `loss` (log-loss per row) and `rounds` are None where it was cut."""

    number: int
    state: str
    loss: float | None
    rounds: int | None
    params: dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """The parameters found and every trial on the way; `in_time` says that none was left out."""

    params: BoosterParams
    trials: tuple[Trial, ...]
    chosen: int
    asked: int
    in_time: bool

    @property
    def sentence(self) -> str:
        """What was tried and what came of it."""
        pruned = sum(trial.state == "pruned" for trial in self.trials)
        done = f"Tuning: {len(self.trials)} of {self.asked} trials, {pruned} of them pruned. "
        if self.chosen:
            was, now = self.trials[0].loss, self.trials[self.chosen].loss
            found = f"Trial {self.chosen} serves: log-loss {now:.4f} on the calibration rows, "
            done += f"{found}{was:.4f} with the defaults."
        else:
            done += "None was better than the defaults beyond chance, so they stay."
        if self.in_time:
            return f"{done} The same data and seed give the same trials."
        return f"{done} The time limit cut it short: another run may find others."

    @property
    def pages(self) -> dict[str, str]:
        """The trials as a table and as a page with a chart, by file name."""
        return {"tuning.csv": self.table(), "tuning.html": self.page()}

    def table(self) -> str:
        """Return the trials as CSV."""
        sink = io.StringIO()
        rows = csv.writer(sink, lineterminator="\n")
        rows.writerow(["trial", "state", "loss", "rounds", *TUNED])
        for each in self.trials:
            cells = [each.number, each.state, each.loss, each.rounds]
            rows.writerow([*cells, *(each.params[name] for name in TUNED)])
        return sink.getvalue()

    def page(self) -> str:
        """Return the trials as one HTML page with a chart."""
        import plotly.graph_objects as go

        whole = [(each, each.loss) for each in self.trials if each.loss is not None]
        text = [", ".join(f"{k} {v:.4g}" for k, v in each.params.items()) for each, _ in whole]
        losses = [loss for _, loss in whole]
        numbers = [each.number for each, _ in whole]
        dots = go.Scatter(x=numbers, y=losses, text=text, mode="markers", name="trial")
        best = [min(losses[: place + 1]) for place in range(len(losses))]
        line = go.Scatter(x=numbers, y=best, mode="lines", line_shape="hv", name="best so far")
        chart = figure_of([dots, line], "Trials", "Trial, 0 = the defaults", "Log-loss")
        return page_html("Tuning", f"<p>{self.sentence}</p>", {"trials": chart})


def tune(
    fit: Dataset,
    later: Dataset,
    params: BoosterParams,
    budget: Budget,
    say: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """Return parameters that do better on the rows `later` than `params`, if any do.

    `params` are settled. No trial begins after `budget.minutes`, and one that is running is cut.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ends = None if budget.minutes is None else time.monotonic() + 60 * budget.minutes
    stage = Rehearsal(fit.matrix, fit.label, later.matrix, later.label, params)
    leaf = stage.leaf_of(params)
    losses: dict[int, Floats] = {}
    late: list[int] = []

    def attempt(trial: Any) -> float:
        def watch(rounds: int, loss: float) -> None:
            if ends is not None and time.monotonic() > ends:
                late.append(trial.number)
                raise optuna.TrialPruned
            if rounds % STEP == 0:
                trial.report(loss, rounds)
                if trial.should_prune():
                    raise optuna.TrialPruned

        tried = replace(params, **_proposed(trial, leaf))
        trial.set_user_attr("params", {name: getattr(tried, name) for name in TUNED})
        rounds, losses[trial.number] = stage.losses(tried, watch)
        trial.set_user_attr("rounds", rounds)
        return float(losses[trial.number].mean())

    def told(study: Any, trial: Any) -> None:
        done = [each for each in study.trials if each.value is not None]
        best = min((each.value for each in done), default=float("nan"))
        say(f"Tuning: trial {trial.number + 1} of {budget.trials}, best log-loss {best:.4f}")

    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=params.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_WHOLE, n_warmup_steps=WARM_UP),
    )
    study.enqueue_trial(_defaults(params, leaf))
    seconds = None if ends is None else 60 * float(budget.minutes or 0)
    study.optimize(attempt, n_trials=budget.trials, timeout=seconds, callbacks=[told])
    trials = tuple(_trial(each) for each in study.trials)
    chosen = _better(losses, later.person)
    won = params if chosen == 0 else replace(params, **trials[chosen].params)
    whole = len(trials) == budget.trials and not late
    return Tuned(won, trials, chosen, budget.trials, whole)


def _proposed(trial: Any, leaf: int) -> dict[str, Any]:
    depth = trial.suggest_int("max_depth", 1, DEEPEST)
    return {
        "max_depth": depth,
        "num_leaves": min(2**depth, trial.suggest_int("num_leaves", 2, MOST_LEAVES, log=True)),
        "min_data_in_leaf": max(2, round(leaf * trial.suggest_float("leaf", 0.25, 4, log=True))),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.01, 100.0, log=True),
    }


def _defaults(params: BoosterParams, leaf: int) -> dict[str, Any]:
    names = ("max_depth", "num_leaves", "bagging_fraction", "lambda_l2")
    return {"leaf": 1.0} | {name: getattr(params, name) for name in names}


def _trial(found: Any) -> Trial:
    state = found.state.name.lower()
    params, rounds = found.user_attrs["params"], found.user_attrs.get("rounds")
    return Trial(found.number, state, found.value if rounds else None, rounds, dict(params))


def _better(losses: dict[int, Floats], person: NDArray[np.int64]) -> int:
    """Return the trial of the least loss; 0, the defaults, unless it is better beyond chance."""
    if 0 not in losses:
        return 0
    best = min(losses, key=lambda number: (float(losses[number].mean()), number))
    _, who, rows = np.unique(person, return_inverse=True, return_counts=True)
    gain = np.bincount(who, weights=losses[0] - losses[best]) / rows.mean()
    error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
    return best if float(gain.mean()) > error else 0
