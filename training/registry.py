"""Models in MLflow: the only importer of mlflow, which takes seconds and so is imported late.

An experiment and a registered model `PROJECT.GOAL` per goal, a run per training, the bundle as the
model. A bundle is logged once: its fingerprint is a tag of the model version, so a run that was
killed half way can be repeated. A new version is the alias `challenger`; `champion` is the one that
serves, and moves when it is told to, here or by hand.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as installed
from io import StringIO
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from features.errors import LikelierError
from features.time import MICROS_PER_DAY
from training.bundle import Bundle
from training.errors import MlflowRefused, MlflowUnreachable, UnknownVersion

CHAMPION, CHALLENGER = "champion", "challenger"
SQLITE = "sqlite:///"
FINGERPRINT_TAG = "bundle"
VERSION_TAG = "bundle_version"
DECISION_TAG = "decision"
FACTS_FILE, JUDGED_FOLDER = "training.json", "judged"
MODEL_FILE = Path(__file__).with_name("pyfunc_model.py")
REQUIREMENTS = ("mlflow", "lightgbm", "numpy", "pandas", "scipy")
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A server that does not answer is told of in half a minute, not in a quarter of an hour.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
KNOCK_SECONDS = 5.0
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model. `version` is MLflow's number, as text."""

    name: str
    version: str
    run_id: str


@dataclass(frozen=True)
class ListedVersion:
    """What MLflow knows of a version of a goal's model; `made_at` in microseconds.

    `version` is that of the bundle, `number` MLflow's own; `metrics` are those of its run.
    """

    goal: str
    version: str
    number: str
    run_id: str
    made_at: int
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Registry:
    """Where models are kept. `artifacts` is a folder or URI; `project` begins every name.

    Every method raises `MlflowUnreachable` where nobody answers, and `MlflowRefused` where what was
    asked is refused.
    """

    tracking_uri: str
    artifacts: str
    project: str

    def log_training(
        self,
        bundle_dir: Path,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        report_html: str,
        tags: Mapping[str, str],
        pictures: Mapping[str, bytes] | None = None,
        pages: Mapping[str, str] | None = None,
        record: Path | None = None,
        challenger: bool = True,
    ) -> RegisteredVersion:
        """Log one training and make its model `challenger`; return the version it became.

        A bundle that is already a version is found, not logged again. `pictures` are PNGs by name,
        `pages` more texts by file name; `record` is a folder with what else belongs to the
        training, kept with its run. Raises `BrokenBundle` for a broken folder.
        """
        bundle = Bundle.load(bundle_dir)
        name = f"{self.project}.{bundle.goal}"
        with self._mlflow() as mlflow, _alone(self.tracking_uri, "training"):
            found = _find(mlflow, name, FINGERPRINT_TAG, bundle.fingerprint)
            if found is None:
                experiment = self._experiment(mlflow, name)
                with mlflow.start_run(experiment_id=experiment, run_name=bundle.version) as run:
                    _log_facts(mlflow, bundle, params, metrics, report_html, tags)
                    _log_pictures(mlflow, pictures or {})
                    for file, text in (pages or {}).items():
                        mlflow.log_text(text, file)
                    if record is not None:
                        mlflow.log_artifacts(str(record))
                    uri = _log_model(mlflow, bundle, bundle_dir)
                found = _register(mlflow, name, uri, run.info.run_id, bundle)
                client = mlflow.MlflowClient()
                if challenger:
                    client.set_registered_model_alias(name, CHALLENGER, found.version)
                for tag, value in tags.items():
                    client.set_model_version_tag(name, found.version, tag, value)
        return found

    def promote(self, goal: str, bundle_version: str, why: str) -> RegisteredVersion:
        """Make a version the champion, and challenger no more; raise `UnknownVersion`."""
        name = f"{self.project}.{goal}"
        with self._mlflow() as mlflow:
            found = _find(mlflow, name, VERSION_TAG, bundle_version)
            if found is None:
                raise UnknownVersion.of(bundle_version, goal)
            client = mlflow.MlflowClient()
            client.set_registered_model_alias(name, CHAMPION, found.version)
            client.set_model_version_tag(name, found.version, DECISION_TAG, why[:5_000])
            aliases = client.get_registered_model(name).aliases
            if str(aliases.get(CHALLENGER)) == found.version:
                client.delete_registered_model_alias(name, CHALLENGER)
        return found

    def champions(self, goals: Sequence[str]) -> dict[str, str]:
        """Return the bundle version of each goal's champion; goals without one are left out."""
        from_alias: dict[str, str] = {}
        _knock(self.tracking_uri)
        if self.tracking_uri.startswith(SQLITE) and not self._file.exists():
            return from_alias
        with self._mlflow() as mlflow:
            client = mlflow.MlflowClient()
            for goal in goals:
                name = f"{self.project}.{goal}"
                models = client.search_registered_models(f"name = '{name}'")
                if not models or CHAMPION not in models[0].aliases:
                    continue
                found = client.get_model_version(name, str(models[0].aliases[CHAMPION]))
                if VERSION_TAG in found.tags:
                    from_alias[goal] = str(found.tags[VERSION_TAG])
        return from_alias

    def versions(self) -> list[ListedVersion]:
        """Return every version of every model of the project, newest first within a goal."""
        with self._mlflow() as mlflow:
            client, found = mlflow.MlflowClient(), []
            prefix = f"{self.project}."
            for model in client.search_registered_models(f"name LIKE '{prefix}%'"):
                if not model.name.startswith(prefix):
                    continue
                goal = model.name.removeprefix(prefix)
                for each in client.search_model_versions(f"name = '{model.name}'"):
                    names = [
                        alias for alias, n in model.aliases.items() if str(n) == str(each.version)
                    ]
                    metrics = client.get_run(each.run_id).data.metrics if each.run_id else {}
                    found.append(
                        ListedVersion(
                            goal, str(each.tags.get(VERSION_TAG, "")), str(each.version),
                            str(each.run_id), int(each.creation_timestamp) * 1_000,
                            tuple(sorted(names)), dict(each.tags), dict(metrics),
                        )
                    )  # fmt: skip
        return sorted(found, key=lambda each: (each.goal, -int(each.number)))

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

    def fetch(self, goal: str, bundle_version: str, place: Path, record: Path) -> None:
        """Download a version: its bundle to `place`, and what belongs to its training to `record`.

        Raises `UnknownVersion` where there is none, or one of a Likelier that kept no record.
        """
        name = f"{self.project}.{goal}"
        with self._mlflow() as mlflow, TemporaryDirectory() as scratch:
            found = _find(mlflow, name, VERSION_TAG, bundle_version)
            if found is None:
                raise UnknownVersion.of(bundle_version, goal)
            download = mlflow.artifacts.download_artifacts
            uri = f"models:/{name}/{found.version}"
            got = Path(download(uri, dst_path=str(Path(scratch) / "model")))
            listed = mlflow.MlflowClient().list_artifacts(found.run_id)
            if not {FACTS_FILE, JUDGED_FOLDER} <= {each.path for each in listed}:
                raise UnknownVersion.without_record(bundle_version, goal)
            for path in (FACTS_FILE, JUDGED_FOLDER):
                download(run_id=found.run_id, artifact_path=path, dst_path=str(record))
            Bundle.load(next(got.rglob("manifest.json")).parent).save(place)

    def bundle_of(self, goal: str, directory: Path, alias: str = CHAMPION) -> Bundle:
        """Download the bundle of `PROJECT.GOAL@alias` under `directory` and load it."""
        with self._mlflow() as mlflow:
            uri = f"models:/{self.project}.{goal}@{alias}"
            folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(directory))
        manifest = next(Path(folder).rglob("manifest.json"))
        return Bundle.load(manifest.parent)

    def state(self) -> str:
        """Return what changes when anything in a sqlite store does, without asking it.

        Empty for a server, and where there is no file: those have to be asked.
        """
        if not self.tracking_uri.startswith(SQLITE):
            return ""
        try:
            found = self._file.stat()
        except OSError:
            return ""
        return f"{found.st_ino}/{found.st_size}/{found.st_mtime_ns}"

    @property
    def _file(self) -> Path:
        """The file of a sqlite store."""
        return Path(self.tracking_uri.removeprefix(SQLITE))

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
        _knock(self.tracking_uri)
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
            except LikelierError:
                raise
            except mlflow.exceptions.MlflowException as error:
                raise self._said(error) from error
            except OSError as error:
                raise MlflowUnreachable.at(self.tracking_uri, str(error)) from error
            finally:
                mlflow.set_tracking_uri(before)

    def _said(self, error: Any) -> LikelierError:
        """Return an error of MLflow as one of ours: refused, or nobody there to refuse."""
        silent = ("TEMPORARILY_UNAVAILABLE", "INTERNAL_ERROR")
        if error.error_code in silent or "API request to" in str(error):
            return MlflowUnreachable.at(self.tracking_uri, str(error))
        return MlflowRefused.of(self.tracking_uri, str(error))


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


def _knock(tracking_uri: str) -> None:
    """Raise `MlflowUnreachable` unless somebody is there: mlflow itself tries for minutes."""
    try:
        if tracking_uri.startswith(SQLITE):
            path = Path(tracking_uri.removeprefix(SQLITE))
            # sqlite itself makes the file, but not its folder.
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                return
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("pragma schema_version")
            return
        where = urlsplit(tracking_uri)
        port = where.port or PORTS.get(where.scheme.partition("+")[0])
        if where.hostname and port:
            socket.create_connection((where.hostname, port), KNOCK_SECONDS).close()
    except (OSError, sqlite3.Error) as error:
        raise MlflowUnreachable.at(tracking_uri, str(error)) from error


def _find(mlflow: Any, name: str, tag: str, value: str) -> RegisteredVersion | None:
    wanted = f"name = '{name}' and tags.`{tag}` = '{value}'"
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


def _json(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
