"""`likelier train`: a wide table into a bundle, a run and a registered model; scores of another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from features.engine import Engine
from features.project_file import FILE_NAME
from features.settings import Project
from features.store import Store, write_whole
from pipelines.learning import budget_of
from pipelines.promotions import Promotion, last_champion, write_down
from pipelines.workspace import Workspace
from training.booster import BoosterParams
from training.bundle import Bundle
from training.charts import figures, report_html
from training.factors import explain
from training.fit import Trained
from training.pictures import pngs
from training.registry import RegisteredVersion, Registry
from training.sufficiency import FEWEST_PEOPLE
from training.tables import read_table
from training.wide import BadTable, Question, Wide, learn, matrix_for, train_wide

OF_A_TABLE = "the newest table counts: tables have no outcomes that an older version never saw"
WHY = 3
"""Reasons told of each scored row."""


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained table: where its bundle is, what it became in MLflow, and how many were scored."""

    trained: Trained
    folder: Path
    registered: RegisteredVersion
    scored: int | None

    def body(self) -> dict[str, Any]:
        """Return the training as JSON-ready facts."""
        bundle = self.trained.bundle
        return {
            "goal": bundle.goal,
            "version": bundle.version,
            "bundle": str(self.folder),
            "model": f"{self.registered.name} version {self.registered.version}",
            "serves": bundle.serves,
            "grade": self.trained.grade.letter,
            "metrics": dict(bundle.metrics),
            "trained_on": dict(bundle.trained_on),
            "importance": dict(list(self.trained.importance.items())[:20]),
            "summary": list(self.trained.summary),
            "warnings": list(self.trained.warnings),
            "scored": self.scored,
        }


def opened(folder: Path) -> Workspace:
    """Return the project in `folder`; without a project file, one called `tables` of defaults."""
    if (folder / FILE_NAME).exists():
        return Workspace.open(folder)
    project = Project.model_construct(project="tables")
    return Workspace(folder, project, Store(folder / project.store))


def name_of(path: Path) -> str:
    """Return what a table's model is called unless told otherwise: the file's name, in words."""
    stem = path.name.split(".")[0]
    return re.sub(r"\W+", "_", stem).strip("_").lower() or "table"


def train_table(
    workspace: Workspace,
    path: Path,
    question: Question,
    *,
    name: str | None = None,
    delimiter: str | None = None,
    score: Path | None = None,
    to: Path | None = None,
    fewest_people: int = FEWEST_PEOPLE,
    say: Callable[[str], None] = lambda text: None,
) -> Learnt:
    """Train on the table at `path`, keep and register the model, and score the table at `score`.

    Raises `BadTable` where the question does not fit the table, before anything is written.
    """
    goal = name or name_of(path)
    _check(workspace, goal, score, to)
    training = workspace.project.training
    params = BoosterParams(seed=training.seed, num_threads=workspace.project.engine.threads)
    with workspace.store.lock(), workspace.engine() as engine:
        say(f"reading {path.name}")
        wide = learn(engine, read_table(engine, path, delimiter), question)
        allowed = _allowed(workspace, wide)
        trained = train_wide(
            wide,
            goal,
            params,
            say,
            fewest_people,
            allowed,
            budget_of(workspace.project),
            workspace.project.training.select_features,
        )
        bundle = trained.bundle
        folder = workspace.bundle_folder(goal, bundle.version)
        bundle.save(folder)
        say("logging to MLflow")
        registered = _register(workspace, trained, folder)
        scored = None
        if score is not None and to is not None:
            say(f"scoring {score.name}")
            scored = score_table(engine, bundle, score, to, question.person, delimiter)
    return Learnt(trained, folder, registered, scored)


def _allowed(workspace: Workspace, wide: Wide) -> dict[str, str]:
    """Return what the project lets pass of a table's features: its goals have features as well."""
    features = wide.dataset.features
    known = {feature.name for feature in features} | {feature.reason for feature in features}
    allowed = workspace.project.training.allowed
    return {name: reason for name, reason in allowed.items() if name in known}


def _check(workspace: Workspace, goal: str, score: Path | None, to: Path | None) -> None:
    if not re.fullmatch(r"\w+", goal):
        raise BadTable(
            f"A model cannot be called {goal!r}.", hint="Use letters, digits and `_` in --name."
        )
    if goal in [each.name for each in workspace.project.goals]:
        raise BadTable(
            f"The project has a goal called {goal!r}.", hint="Name the model with --name."
        )
    if (score is None) != (to is None):
        raise BadTable(
            "A table to score and a file for its scores go together.",
            hint="Give both --score TABLE and --to FILE.csv.",
        )


def _register(workspace: Workspace, trained: Trained, folder: Path) -> RegisteredVersion:
    registry = Registry(workspace.tracking_uri, workspace.artifacts, workspace.project.project)
    bundle = trained.bundle
    found = registry.log_training(
        folder,
        trained.params,
        bundle.metrics,
        report_html(trained.report),
        {
            "serves": bundle.serves,
            "baseline": trained.rules.best.rule,
            "grade": trained.grade.letter,
            "protocol": trained.roles.protocol,
        },
        pngs(figures(trained.report)),
        trained.pages,
    )
    before = last_champion(workspace.store, bundle.goal)
    if before != bundle.version:
        registry.promote(bundle.goal, bundle.version, OF_A_TABLE)
        promotion = Promotion(bundle.goal, before, bundle.version, "train", OF_A_TABLE)
        write_down(workspace.store, promotion)
    return found


def score_table(
    engine: Engine, bundle: Bundle, path: Path, to: Path, person: str | None, delimiter: str | None
) -> int:
    """Write a CSV file with the scores of a table, a line a row in its order; return the rows.

    Columns: the person's (or `row`, from 1), probability, score, percentile, bucket, and up to
    three reasons in words.
    """
    sheet = read_table(engine, path, delimiter)
    matrix = matrix_for(engine, sheet, bundle)
    scored = bundle.score(matrix)
    named = sheet.texts(engine, [name for name in sheet.names if name == person])
    who = dict(named) or {"row": pa.array(range(1, len(matrix) + 1), pa.int64())}
    factors = explain(bundle.trees.contributions(matrix), matrix, bundle.features, top=WHY).table()
    table = pa.table(
        who
        | {
            "probability": scored.probability,
            "score": scored.score,
            "percentile": scored.percentile,
            "bucket": pa.array(scored.bucket.tolist(), pa.string()),
        }
        | _reasons(factors, len(matrix))
    )
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(table, sink)
    write_whole(to, sink.getvalue().to_pybytes())
    return len(matrix)


def _reasons(factors: pa.Table, rows: int) -> dict[str, pa.Array]:
    """Return `reason_1` and so on: `Contract is Two year (lowers)`, null where there is none."""
    words = np.full((WHY, rows), None, dtype=object)
    parts = (factors[name].to_pylist() for name in ("row", "rank", "label", "direction"))
    for row, rank, label, direction in zip(*parts, strict=True):
        words[rank - 1, row] = f"{label} ({direction})"
    return {f"reason_{i + 1}": pa.array(words[i].tolist(), pa.string()) for i in range(WHY)}
