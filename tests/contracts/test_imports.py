"""Imports run one way, and each vendor is known to one file (design.md section 9)."""

from __future__ import annotations

import ast

import pytest

from tests.contracts.sources import PACKAGES, Import, all_imports, imports, python_files

OPEN_TO = {
    "features": ("features",),
    "training": ("features", "training"),
    "serving": (
        "features", "serving", "training.bundle", "training.registry", "training.factors",
    ),
    "pipelines": PACKAGES,
}  # fmt: skip
"""What each package may import of the house."""

WALLS = {
    "duckdb": ("features/engine.py",),
    "pyspark": ("features/spark.py",),
    "lightgbm": ("training/booster.py", "training/pyfunc_model.py"),
    "mlflow": ("training/registry.py", "training/pyfunc_model.py"),
    "matplotlib": ("training/pictures.py",),
    "bentoml": ("serving/service.py",),
    "redis": ("serving/online/redis.py",),
    "lmdb": ("serving/online/lmdb.py", "serving/online/lmdb_recent.py"),
}
"""The only files that may import each vendor."""

NOT_FOR_PACKAGES = ("tests", "benchmarks", "notebooks", "examples")


def against_the_stream(found: Import) -> bool:
    """Say whether an import reaches a part of the house its package may not know."""
    if found.room in NOT_FOR_PACKAGES:
        return True
    allowed = OPEN_TO[found.path.partition("/")[0]]
    return found.room in PACKAGES and not any(
        found.target == part or found.target.startswith(f"{part}.") for part in allowed
    )


def through_a_wall(found: Import) -> bool:
    """Say whether an import names a vendor that only another file may know."""
    return found.room in WALLS and found.path not in WALLS[found.room]


def out_of_its_box(found: Import) -> bool:
    """Say whether the model file shipped to MLflow, which must stand alone, imports the house."""
    return found.path == "training/pyfunc_model.py" and found.room in PACKAGES


def report(offences: list[Import]) -> str:
    """Return one `file:line: imports x` a line."""
    return "\n".join(["", *map(str, offences)])


def test_packages_are_read() -> None:
    for package in PACKAGES:
        assert python_files(package), f"No Python file found in {package}/"


def test_imports_run_one_way() -> None:
    offences = [found for found in all_imports() if against_the_stream(found)]
    assert not offences, report(offences)


def test_each_vendor_stays_behind_its_wall() -> None:
    offences = [found for found in all_imports() if through_a_wall(found)]
    assert not offences, report(offences)


def test_the_model_file_given_to_mlflow_stands_alone() -> None:
    offences = [found for found in all_imports() if out_of_its_box(found)]
    assert not offences, report(offences)


@pytest.mark.parametrize(
    ("path", "source", "stream", "wall"),
    [
        ("features/time.py", "import training", True, False),
        ("features/time.py", "def f():\n    from serving.scorer import Scorer", True, False),
        ("features/time.py", "from features.errors import TimeError", False, False),
        ("features/time.py", "from tests import conftest", True, False),
        ("training/split.py", "from features import time", False, False),
        ("training/split.py", "from pipelines import runner", True, False),
        ("serving/scorer.py", "from training.bundle import Bundle", False, False),
        ("serving/scorer.py", "from training import bundle", False, False),
        ("serving/scorer.py", "from training import labels", True, False),
        ("serving/scorer.py", "from training.bundles import Bundle", True, False),
        ("serving/scorer.py", "import training", True, False),
        ("serving/api/events.py", "from ...training import split", True, False),
        ("serving/api/events.py", "from ..scorer import Scorer", False, False),
        ("pipelines/runner.py", "from training.labels import labels", False, False),
        ("features/engine.py", "import duckdb", False, False),
        ("features/store.py", "import duckdb", False, True),
        ("features/store.py", "from duckdb.typing import BIGINT", False, True),
        ("training/registry.py", "import mlflow.pyfunc", False, False),
        ("training/evaluation.py", "import mlflow.pyfunc as p", False, True),
        ("training/split.py", "importlib.import_module('lightgbm')", False, True),
        ("serving/online/lmdb.py", "import lmdb", False, False),
        ("serving/api/events.py", "import bentoml", False, True),
    ],
)
def test_the_rules_tell_right_from_wrong(path: str, source: str, stream: bool, wall: bool) -> None:
    (found,) = imports(path, ast.parse(source))
    assert (against_the_stream(found), through_a_wall(found)) == (stream, wall)


def test_an_offence_is_named_by_file_and_line() -> None:
    found = imports("features/store.py", ast.parse("import os\nimport duckdb"))
    assert [str(each) for each in found if through_a_wall(each)] == [
        "features/store.py:2: imports duckdb"
    ]
