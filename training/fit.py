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
from training.calibration import Calibrator, judged_apart, parts_of
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
    the fit rows and the curve of the calibration rows. `served` is of what serves, which has learnt
    from these outcomes too, on the same people: each is judged by trees and a curve like those that
    serve, made without them. `outdone` is the model's own evaluation when the baseline serves
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
    """Trees of the fit rows, with the curve of the calibration rows, evaluated on the newest."""

    recipe: _Recipe
    rounds: int
    trees: Trees
    calibrator: Calibrator
    evaluation: Evaluation
    grade: Grade
    acquaintance: Kinds

    @property
    def beats_baseline(self) -> bool:
        """Whether it ranks the evaluation rows strictly better than the baseline."""
        return self.evaluation.auc > (self.evaluation.baseline_auc or 0.0)


@dataclass(frozen=True, eq=False)
class _Shipped:
    """Trees of all rows, the curve of trees like them, and how both judge people left out."""

    trees: Trees
    calibrator: Calibrator
    evaluation: Evaluation


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
    shipped = _ship(chosen, roles, say)
    bundle, matrix = _bundle(
        dataset, population, task, roles, rules, chosen, model, shipped, search
    )  # fmt: skip
    trained = _trained(
        bundle, matrix, len(population), task, roles, rules, chosen, model, shipped, search
    )  # fmt: skip
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
    before, newest = recipe.dataset.rows(roles.calibrate), recipe.dataset.rows(roles.evaluate)
    known, margin = trees.margin(before.matrix), trees.margin(newest.matrix)
    calibrator = Calibrator.of(known, before.label)
    probability, baseline = calibrator.probability(margin), recipe.baseline[roles.evaluate]
    cut = cut_of(known, before.label)
    graded = grade(
        newest.label, margin, baseline, cut, float(calibrator.probability(np.array([cut]))[0])
    )  # fmt: skip
    seed = recipe.params.seed
    acquaintance = by_acquaintance(
        fit.person, newest.person, newest.label, probability, margin, seed
    )
    found = evaluate(
        newest.label, probability, margin, baseline, person=newest.person, seed=seed
    )  # fmt: skip
    return _Candidate(recipe, rounds, trees, calibrator, found, graded, acquaintance)


def _ship(chosen: _Candidate, roles: Roles, say: Progress) -> _Shipped:
    """Grow the trees again on all rows, and fit the curve that belongs to them."""
    recipe, data = chosen.recipe, chosen.recipe.dataset
    later = roles.calibrate | roles.evaluate
    label, person, newest = data.label[later], data.person[later], roles.evaluate[later]
    margin = _margins_apart(chosen, later, say)
    calibrator, probability = judged_apart(margin, label, person)
    found = evaluate(
        label[newest], probability[newest], margin[newest], recipe.baseline[roles.evaluate],
        person=person[newest], seed=recipe.params.seed,
    )  # fmt: skip
    say(f"Fitting {chosen.rounds} trees on all {len(data.label)} rows")
    return _Shipped(_grow(recipe, data, chosen.rounds), calibrator, found)


def _margins_apart(chosen: _Candidate, asked: NDArray[np.bool_], say: Progress) -> Floats:
    """Return what trees like those that serve say of rows of people whom they have not seen.

    Trees that have seen a row's outcome would be too sure of it, and the trees of the fit rows,
    which have not, are others than those that serve: their margins lie elsewhere and spread
    differently. So all rows but those of a part of the people grow as many trees, once a part.
    """
    data = chosen.recipe.dataset
    parts = parts_of(data.person, data.label)
    margin = np.empty(len(data.label))
    for number, out in enumerate(parts, start=1):
        say(f"Fitting {chosen.rounds} trees without part {number} of {len(parts)} of the people")
        trees = _grow(chosen.recipe, data.rows(~out), chosen.rounds)
        margin[out & asked] = trees.margin(data.matrix[out & asked])
    return margin[asked] if parts else chosen.trees.margin(data.matrix[asked])


def _bundle(
    dataset: Dataset,
    population: Floats,
    task: TrainingTask,
    roles: Roles,
    rules: Rules,
    chosen: _Candidate,
    model: _Candidate,
    shipped: _Shipped,
    search: _Search,
) -> tuple[Bundle, Floats]:
    """Return the bundle, and the reference rows in its columns."""
    data, trees = chosen.recipe.dataset, shipped.trees
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
        calibrator=shipped.calibrator,
        features=data.features,
        definitions=[task.definitions[place] for place in places] if task.definitions else [],
        categories=task.categories,
        reference=Reference.of(margin, shipped.calibrator.probability(margin)),
        base_rate=float(dataset.label.mean()),
        serves=chosen.recipe.serves,
        metrics=_metrics(chosen, model, shipped)
        | chosen.grade.metrics()
        | _simple(dataset.rows(roles.evaluate), rules),
        data_fingerprint=dataset.fingerprint(),
        trained_on=_counts(dataset, roles, len(everyone)),
        dropped=search.selection.reasons if search.selection else {},
        distributions=distributions(data.features, matrix, margin),
    )
    return bundle, matrix


def _metrics(chosen: _Candidate, model: _Candidate, shipped: _Shipped) -> dict[str, float]:
    """Return the figures of the evaluation and, as `served_*`, of the curve that serves."""
    served = shipped.evaluation.metrics()
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
    shipped: _Shipped,
    search: _Search,
) -> Trained:
    step = max(1, len(matrix) // EXPLAINED_SAMPLE)
    sample, population = matrix[::step], bundle.score(matrix)
    explained = bundle.trees.contributions(sample)
    return Trained(
        bundle=bundle,
        judged=replace(bundle, trees=chosen.trees, calibrator=chosen.calibrator),
        unseen_from=task.as_of,
        evaluation=chosen.evaluation,
        served=shipped.evaluation,
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
            *summary(
                bundle, chosen.evaluation, shipped.evaluation, chosen.grade, rules.best, roles
            ),
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
