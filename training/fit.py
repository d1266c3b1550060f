"""Train one goal: split, fit, calibrate, compare with simple rules, refit, and make the bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.time import Window
from training.acquaintance import Kinds, by_acquaintance, sentence, warnings_of_new
from training.baselines import EventColumns, Rules, baseline_params
from training.booster import BoosterParams, Trees, choose_rounds
from training.bucket_charts import bucket_charts
from training.bucket_factors import bucket_insights
from training.bundle import Basis, Bundle, Kind, Scored, Serves
from training.calibration import Calibrator, judged_apart
from training.charts import Report
from training.dataset import Dataset
from training.drift import distributions
from training.evaluation import OF_CURVE, Evaluation, evaluate
from training.factors import importance
from training.findings import summary, warnings_of
from training.grade import Grade, cut_of, grade
from training.lint import allowed_of, check_alone, drops
from training.reference import Reference
from training.selection import Selection, narrowed, select
from training.split import Roles, by_person, split
from training.sufficiency import FEWEST_PEOPLE, Examples
from training.tuning import Budget, Tuned, tune

Floats = NDArray[np.float64]
Progress = Callable[[str], None]

EXPLAINED_SAMPLE = 2_000


@dataclass(frozen=True)
class TrainingTask:
    """What to train: the goal's facts, and what the bundle must carry.

    `as_of` is the run's moment in microseconds. `event_columns` names the features of the outcome's
    event that simple rules read. They and the outcome window are None where rows have no time:
    people are split, and the baseline is the column that alone ranks the fit rows best.
    `definitions` (one per feature, in order) and `categories` are opaque JSON for the bundle.
    `fewest_people` is needed with, and without, the outcome. `notes` are sentences about the rows,
    for the summary; `cautions` those that belong among the warnings. `allow` is the features, or
    reasons, that may tell the outcome, to why that is right. `tuning` None: the parameters given,
    as they are. `selecting`: features that say nothing are left out.
    """

    goal: str
    kind: Kind
    basis: Basis
    as_of: int
    outcome_window: Window | None
    gap: Window | None
    event_columns: EventColumns | None
    definitions: list[Any] = field(default_factory=list)
    categories: Any = None
    fewest_people: int = FEWEST_PEOPLE
    notes: tuple[str, ...] = ()
    allow: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    tuning: Budget | None = None
    selecting: bool = False


@dataclass(frozen=True, eq=False)
class Trained:
    """A bundle and how it came about.

    `evaluation` is of what serves, as it stood before the evaluated outcomes were known: trees of
    the fit rows and the curve of the calibration rows. `served` is of the same trees and people
    under the curve that serves, which has learnt from these outcomes too: each person is judged by
    a curve that did not see them. `outdone` is the model's own evaluation when the baseline serves
    in its place; `grade` is of what serves; `rules` are the simple ones that were offered.
    `population` is the reference population scored by the bundle; `buckets` what moves a sample
    of it (`bucket_factors.insights`). `judged` is the bundle with the trees and the curve of
    `evaluation`: it has seen no outcome from `unseen_from` (microseconds) on.
    """

    bundle: Bundle
    judged: Bundle
    unseen_from: int
    evaluation: Evaluation
    served: Evaluation
    outdone: Evaluation | None
    grade: Grade
    rules: Rules
    roles: Roles
    population: Scored
    importance: dict[str, float]
    buckets: list[dict[str, Any]]
    params: dict[str, Any]
    tuned: Tuned | None
    selection: Selection | None
    summary: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def pages(self) -> dict[str, str]:
        """What selection and tuning tried, as files to keep with the run."""
        return {
            name: text
            for each in (self.selection, self.tuned) if each is not None
            for name, text in each.pages.items()
        }  # fmt: skip

    @property
    def report(self) -> Report:
        """What `charts.report_html` needs."""
        title = f"{self.bundle.goal}: training report of {self.bundle.version}"
        return Report(
            title,
            self.bundle.kind,
            self.summary,
            self.warnings,
            self.evaluation,
            self.served,
            self.grade,
            self.population.score,
            self.importance,
            bucket_charts(self.buckets, self.bundle.kind),
        )


@dataclass(frozen=True, eq=False)
class _Recipe:
    """What to grow trees from, and how; `baseline` ranks the same rows for comparison."""

    dataset: Dataset
    serves: Serves
    params: BoosterParams
    monotone: tuple[int, ...] | None
    baseline: Floats


@dataclass(frozen=True)
class _Search:
    """What was looked for before the fit; None: it was not asked for."""

    selection: Selection | None = None
    tuned: Tuned | None = None


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Trees fitted on the fit rows, calibrated and evaluated on later ones.

    `older` is the curve of the calibration rows alone, `calibrator` the one that serves.
    """

    recipe: _Recipe
    rounds: int
    trees: Trees
    older: Calibrator
    calibrator: Calibrator
    evaluation: Evaluation
    served: Evaluation
    grade: Grade
    acquaintance: Kinds

    @property
    def beats_baseline(self) -> bool:
        """Whether it ranks the evaluation rows strictly better than the baseline."""
        return self.evaluation.auc > (self.evaluation.baseline_auc or 0.0)


def train(
    dataset: Dataset,
    population: Floats,
    task: TrainingTask,
    params: BoosterParams | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train `task` on labelled rows and score `population` as the reference.

    `population` is (people, features): everyone eligible at the run's as_of; when empty, the
    evaluation rows stand in, with a warning. The best simple rule is served when the model does not
    rank better on the evaluation rows. Suspected leaks come first among the warnings. Raises
    `OneClassError`, `TooFewExamples`, `UnknownFeature`, `LeakFound`.
    """
    params = (params or BoosterParams()).settled(len(dataset.label))
    say = progress or (lambda message: None)
    if task.event_columns is not None:
        dataset.position(task.event_columns.recency)
    where = task.goal if task.basis == "table" else f"goals.{task.goal}"
    Examples.of(dataset.label, dataset.person).require(task.fewest_people, where)
    suspects = check_alone(dataset, task.allow, task.goal)
    roles = _roles(dataset, task)
    rules = Rules.of(
        dataset.rows(roles.fit), dataset.rows(roles.calibrate),
        task.event_columns, task.outcome_window, task.gap,
    )  # fmt: skip
    model_recipe, simple_recipe = _recipes(dataset, rules, params)
    fit, later = dataset.rows(roles.fit), dataset.rows(roles.calibrate)
    tuned = selection = None
    if task.selecting:
        selection = select(fit, later, params, say)
        fit, later, whole = (narrowed(d, selection.kept) for d in (fit, later, dataset))
        model_recipe = replace(model_recipe, dataset=whole)
    if task.tuning is not None:
        tuned = tune(fit, later, params, task.tuning, say)
        model_recipe = replace(model_recipe, params=tuned.params)
    say(f"Fitting on {int(roles.fit.sum())} rows")
    model = _fit(model_recipe, roles)
    suspects += drops(
        fit, model_recipe.dataset.rows(roles.evaluate),
        model.trees, model_recipe.params, allowed_of(fit, task.allow),
    )  # fmt: skip
    chosen = model
    if not model.beats_baseline:
        simple = rules.best.name
        say(f"The model does not beat {simple}: fitting {simple} alone")
        chosen = _fit(simple_recipe, roles)
        chosen = replace(chosen, grade=replace(chosen.grade, outdone=True))
    search = _Search(selection, tuned)
    say(f"Fitting {chosen.rounds} trees on all {len(dataset.label)} rows")
    bundle, matrix = _bundle(dataset, population, task, roles, rules, chosen, model, search)
    trained = _trained(bundle, matrix, len(population), task, roles, rules, chosen, model, search)
    if roles.protocol == "out_of_time":
        trained = replace(trained, unseen_from=int(dataset.as_of[roles.evaluate].min()))
    return replace(trained, warnings=(*(each.words for each in suspects), *trained.warnings))


def _roles(dataset: Dataset, task: TrainingTask) -> Roles:
    if task.outcome_window is None:
        return by_person(dataset, "The rows have no moments")
    width = task.outcome_window if task.basis == "at_events" else None
    return split(dataset, task.outcome_window, task.gap, width)


def _recipes(dataset: Dataset, rules: Rules, params: BoosterParams) -> tuple[_Recipe, _Recipe]:
    """Return the model's recipe and that of its baseline alone."""
    simple, rank = rules.best, rules.best.rank(dataset.matrix)
    places = list(simple.columns)
    features = tuple(dataset.features[place] for place in places)
    alone = replace(dataset, features=features, matrix=dataset.matrix[:, places])
    return (
        _Recipe(dataset, "model", params, None, rank),
        _Recipe(alone, "baseline", baseline_params(params), simple.monotone, rank),
    )


def _grow(recipe: _Recipe, data: Dataset, rounds: int) -> Trees:
    how = recipe.params
    return Trees.fit(data.matrix, data.label, data.names, how, rounds, monotone=recipe.monotone)


def _fit(recipe: _Recipe, roles: Roles) -> _Candidate:
    """Fit on the fit rows, calibrate and evaluate on rows the trees have not seen."""
    fit = recipe.dataset.rows(roles.fit)
    rounds = choose_rounds(
        fit.matrix, fit.label, fit.person, recipe.params, monotone=recipe.monotone
    )  # fmt: skip
    trees = _grow(recipe, fit, rounds)
    later = roles.calibrate | roles.evaluate
    unseen, newest = recipe.dataset.rows(later), roles.evaluate[later]
    margin = trees.margin(unseen.matrix)
    older = Calibrator.of(margin[~newest], unseen.label[~newest])
    serves, apart = judged_apart(margin, unseen.label, unseen.person)

    def judge(probability: Floats) -> Evaluation:
        return evaluate(
            unseen.label[newest], probability[newest], margin[newest],
            recipe.baseline[roles.evaluate],
            person=unseen.person[newest], seed=recipe.params.seed,
        )  # fmt: skip

    cut = cut_of(margin[~newest], unseen.label[~newest])
    graded = grade(
        unseen.label[newest], margin[newest], recipe.baseline[roles.evaluate],
        cut, float(older.probability(np.array([cut]))[0]),
    )  # fmt: skip
    probability = older.probability(margin)
    acquaintance = by_acquaintance(
        fit.person, unseen.person[newest], unseen.label[newest], probability[newest],
        margin[newest], recipe.params.seed,
    )  # fmt: skip
    found = judge(probability)
    return _Candidate(
        recipe, rounds, trees, older, serves, found, judge(apart), graded, acquaintance
    )


def _bundle(
    dataset: Dataset,
    population: Floats,
    task: TrainingTask,
    roles: Roles,
    rules: Rules,
    chosen: _Candidate,
    model: _Candidate,
    search: _Search,
) -> tuple[Bundle, Floats]:
    """Refit on all rows and bundle; also return the reference rows in the bundle's columns."""
    data = chosen.recipe.dataset
    trees = _grow(chosen.recipe, data, chosen.rounds)
    places = [dataset.position(name) for name in data.names]
    everyone = population if len(population) else dataset.matrix[roles.evaluate]
    # One column's model takes that column; the whole of a large matrix is not copied.
    matrix = everyone if data.names == dataset.names else everyone[:, places]
    margin = trees.margin(matrix)
    bundle = Bundle(
        goal=task.goal,
        kind=task.kind,
        basis=task.basis,
        as_of=task.as_of,
        outcome_window=str(task.outcome_window or ""),
        gap=str(task.gap) if task.gap else "",
        trees=trees,
        calibrator=chosen.calibrator,
        features=data.features,
        definitions=[task.definitions[place] for place in places] if task.definitions else [],
        categories=task.categories,
        reference=Reference.of(margin, chosen.calibrator.probability(margin)),
        base_rate=float(dataset.label.mean()),
        serves=chosen.recipe.serves,
        metrics=_metrics(chosen, model)
        | chosen.grade.metrics()
        | _simple(dataset.rows(roles.evaluate), rules),
        data_fingerprint=dataset.fingerprint(),
        trained_on=_counts(dataset, roles, len(everyone)),
        dropped=search.selection.reasons if search.selection else {},
        distributions=distributions(data.features, matrix, margin),
    )
    return bundle, matrix


def _metrics(chosen: _Candidate, model: _Candidate) -> dict[str, float]:
    """Return the figures of the evaluation and, as `served_*`, of the curve that serves."""
    served = chosen.served.metrics()
    of_curve = [name for name in served if name.startswith(OF_CURVE)]
    seen, new = chosen.acquaintance
    return (
        chosen.evaluation.metrics()
        | seen.metrics()
        | new.metrics()
        | {f"served_{name}": served[name] for name in of_curve}
        | chosen.grade.metrics()
        | {"model_auc": model.evaluation.auc, "rounds": float(chosen.rounds)}
    )


def _simple(evaluation: Dataset, rules: Rules) -> dict[str, float]:
    return rules.aucs(evaluation.label, evaluation.matrix)


def _counts(dataset: Dataset, roles: Roles, reference: int) -> dict[str, int]:
    return {
        "rows": len(dataset.label),
        "positives": int(dataset.label.sum()),
        "people": len(np.unique(dataset.person)),
        "fit": int(roles.fit.sum()),
        "calibrate": int(roles.calibrate.sum()),
        "evaluate": int(roles.evaluate.sum()),
        "persons_in_fit_and_evaluate": roles.persons_in_fit_and_evaluate,
        "reference": reference,
    }


def _trained(
    bundle: Bundle,
    matrix: Floats,
    eligible: int,
    task: TrainingTask,
    roles: Roles,
    rules: Rules,
    chosen: _Candidate,
    model: _Candidate,
    search: _Search,
) -> Trained:
    step = max(1, len(matrix) // EXPLAINED_SAMPLE)
    sample, population = matrix[::step], bundle.score(matrix)
    explained = bundle.trees.contributions(sample)
    return Trained(
        bundle=bundle,
        judged=replace(bundle, trees=chosen.trees, calibrator=chosen.older),
        unseen_from=task.as_of,
        evaluation=chosen.evaluation,
        served=chosen.served,
        outdone=None if chosen is model else model.evaluation,
        grade=chosen.grade,
        rules=rules,
        roles=roles,
        population=population,
        importance=importance(explained, bundle.features),
        buckets=bucket_insights(explained, sample, bundle.features, population.bucket[::step]),
        params=asdict(chosen.recipe.params) | {"rounds": chosen.rounds},
        tuned=search.tuned,
        selection=search.selection,
        summary=(
            *summary(bundle, chosen.evaluation, chosen.served, chosen.grade, rules.best, roles),
            sentence(chosen.acquaintance),
            *(each.sentence for each in (search.selection, search.tuned) if each is not None),
            *task.notes,
        ),
        warnings=(
            *task.cautions,
            *warnings_of(bundle, chosen.evaluation, rules.best, roles, eligible),
            *warnings_of_new(chosen.acquaintance),
        ),
    )
