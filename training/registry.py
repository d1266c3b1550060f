"""Models in MLflow: the only importer of mlflow, which takes seconds and so is imported late.

An experiment and a registered model `PROJECT.GOAL` per goal, a run per training, the bundle as the
model. A bundle is logged once: its fingerprint is a tag of the model version, so a run that was
killed half way can be repeated.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from io import StringIO
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from features.errors import LikelierError
from features.time import MICROS_PER_DAY
from training.bundle import Bundle

CHAMPION = "champion"
SQLITE = "sqlite:///"
FINGERPRINT_TAG = "bundle"
VERSION_TAG = "bundle_version"
PROMOTED_TAG = "promoted"
MODEL_FILE = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = ("mlflow", "lightgbm", "numpy", "pandas", "scipy")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model. `version` is MLflow's number, as text."""

    name: str
    version: str
    run_id: str


@dataclass(frozen=True)
class Registry:
    """Where models are kept. `artifacts` is a folder or URI; `project` begins every name."""

    tracking_uri: str
    artifacts: str
    project: str

    def log_training(
        self,
        goal: str,
        bundle_dir: Path,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        report_html: str,
        tags: Mapping[str, str],
        pictures: Mapping[str, bytes] | None = None,
        pages: Mapping[str, str] | None = None,
    ) -> RegisteredVersion:
        """Log one training and make its model the champion; return the version it became.

        A bundle that is already a version is found, not logged again, and becomes champion only
        when the first attempt did not get that far. `pictures` are PNGs by name,
        `pages` more texts by file name. Raises `BrokenBundle` for a broken folder.
        """
        bundle = Bundle.load(bundle_dir)
        name = f"{self.project}.{goal}"
        with _alone(self.tracking_uri, "training"), self._mlflow() as mlflow:
            found = _find(mlflow, name, bundle.fingerprint)
            if found is None:
                experiment = self._experiment(mlflow, name)
                with mlflow.start_run(experiment_id=experiment, run_name=bundle.version) as run:
                    _log_facts(mlflow, bundle, params, metrics, report_html, tags)
                    _log_pictures(mlflow, pictures or {})
                    for file, text in (pages or {}).items():
                        mlflow.log_text(text, file)
                    uri = _log_model(mlflow, bundle, bundle_dir)
                found = _register(mlflow, name, uri, run.info.run_id, bundle)
            _promote_once(mlflow, found)
        return found

    def mark(self, goal: str, bundle_version: str, tag: str, value: str) -> int:
        """Tag every registered version that is this bundle; return how many there are."""
        with self._mlflow() as mlflow:
            name, client = f"{self.project}.{goal}", mlflow.MlflowClient()
            wanted = f"name = '{name}' and tags.`{VERSION_TAG}` = '{bundle_version}'"
            found = list(client.search_model_versions(wanted))
            for each in found:
                client.set_model_version_tag(name, each.version, tag, value)
        return len(found)

    def record(self, goal: str, bundle_version: str, metrics: Mapping[str, float], at: int) -> bool:
        """Add figures as of `at` (microseconds) to the run that trained a bundle; say if it could.

        It cannot where no version is this bundle, or MLflow does not answer: no figure is worth
        failing for.
        """
        file = self.tracking_uri.removeprefix("sqlite:///")
        if file != self.tracking_uri and not Path(file).exists():
            return False  # Asking would make one, which takes seconds.
        with suppress(LikelierError), self._mlflow() as mlflow:
            try:
                name, client = f"{self.project}.{goal}", mlflow.MlflowClient()
                wanted = f"name = '{name}' and tags.`{VERSION_TAG}` = '{bundle_version}'"
                runs = {each.run_id for each in client.search_model_versions(wanted)}
                for run, (key, value) in product(runs, metrics.items()):
                    client.log_metric(
                        run, key, value, timestamp=at // 1_000, step=at // MICROS_PER_DAY
                    )
                return bool(runs)
            except mlflow.exceptions.MlflowException:
                return False
        return False

    def bundle_of(self, goal: str, directory: Path, alias: str = CHAMPION) -> Bundle:
        """Download the bundle of `PROJECT.GOAL@alias` under `directory` and load it."""
        with self._mlflow() as mlflow:
            uri = f"models:/{self.project}.{goal}@{alias}"
            folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(directory))
        manifest = next(Path(folder).rglob("manifest.json"))
        return Bundle.load(manifest.parent)

    def _experiment(self, mlflow: Any, name: str) -> str:
        found = mlflow.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = self.artifacts if "://" in self.artifacts else Path(self.artifacts).resolve()
        return str(mlflow.create_experiment(name, artifact_location=f"{place}/{name}"))

    @contextmanager
    def _mlflow(self) -> Iterator[Any]:
        """Import mlflow quietly, pointed at this registry, and put its settings back after."""
        for key, value in QUIET.items():
            os.environ.setdefault(key, value)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow as imported

            mlflow: Any = imported
            for noisy in ("mlflow", "alembic"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
            mlflow.set_tracking_uri(self.tracking_uri)
            try:
                if self.tracking_uri.startswith(SQLITE):
                    with _alone(self.tracking_uri):
                        # Makes the tables of both stores, which two at once would spoil.
                        mlflow.MlflowClient().search_registered_models(max_results=1)
                yield mlflow
            finally:
                mlflow.set_tracking_uri(before)


@contextmanager
def _alone(tracking_uri: str, what: str = "tables") -> Iterator[None]:
    """Wait for other processes of this machine that do `what` at the same sqlite file.

    Makes the file's folder, which sqlite itself does not. A server guards its own database.
    """
    if not tracking_uri.startswith(SQLITE):
        yield
        return
    file = Path(tracking_uri.removeprefix(SQLITE))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.{what}.lock").open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _find(mlflow: Any, name: str, fingerprint: str) -> RegisteredVersion | None:
    wanted = f"name = '{name}' and tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    for each in mlflow.MlflowClient().search_model_versions(wanted):
        return RegisteredVersion(name, str(each.version), str(each.run_id))
    return None


def _log_facts(
    mlflow: Any,
    bundle: Bundle,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    report_html: str,
    tags: Mapping[str, str],
) -> None:
    about = {"goal": bundle.goal, "kind": bundle.kind, "serves": bundle.serves}
    mlflow.set_tags({FINGERPRINT_TAG: bundle.fingerprint, **about, **tags})
    mlflow.log_params({name: str(value) for name, value in params.items()})
    mlflow.log_metrics({name: float(value) for name, value in metrics.items()})
    mlflow.log_text(report_html, "report.html")
    data = {"fingerprint": bundle.data_fingerprint, "rows": dict(bundle.trained_on)}
    mlflow.log_text(_json(data), "dataset.json")
    described = {
        "features": [asdict(feature) for feature in bundle.features],
        "definitions": bundle.definitions,
        "categories": bundle.categories,
    }
    mlflow.log_text(_json(described), "features.json")


def _log_pictures(mlflow: Any, pictures: Mapping[str, bytes]) -> None:
    """Keep PNGs with the run, as `figures/NAME.png`."""
    with TemporaryDirectory() as folder:
        for name, content in pictures.items():
            (Path(folder) / f"{name}.png").write_bytes(content)
        if pictures:
            mlflow.log_artifacts(folder, "figures")


def _log_model(mlflow: Any, bundle: Bundle, bundle_dir: Path) -> str:
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(MODEL_FILE),
        artifacts={"bundle": str(bundle_dir.resolve())},
        signature=_signature(bundle.names),
        pip_requirements=[f"{package}=={installed(package)}" for package in REQUIREMENTS],
    )
    return str(logged.model_uri)


def _signature(names: Sequence[str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    columns: list[Any] = [ColSpec(DataType.double, name, required=True) for name in names]
    answer = {
        "margin": DataType.double,
        "probability": DataType.double,
        "score": DataType.double,
        "percentile": DataType.long,
        "bucket": DataType.string,
    }
    answers: list[Any] = [ColSpec(kind, name) for name, kind in answer.items()]
    return ModelSignature(Schema(columns), Schema(answers))


def _register(mlflow: Any, name: str, uri: str, run_id: str, bundle: Bundle) -> RegisteredVersion:
    tags = {FINGERPRINT_TAG: bundle.fingerprint, VERSION_TAG: bundle.version}
    with redirect_stderr(StringIO()):  # MLflow announces it there, over a progress display
        made = mlflow.register_model(uri, name, tags=tags)
    return RegisteredVersion(name, str(made.version), run_id)


def _promote_once(mlflow: Any, found: RegisteredVersion) -> None:
    """Make a version champion the first time only: a later rollback must not be undone."""
    client = mlflow.MlflowClient()
    if PROMOTED_TAG in client.get_model_version(found.name, found.version).tags:
        return
    client.set_registered_model_alias(found.name, CHAMPION, found.version)
    client.set_model_version_tag(found.name, found.version, PROMOTED_TAG, "true")


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
