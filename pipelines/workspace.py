"""A project folder, opened: its settings, its store and its engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from features.engine import Engine
from features.project_file import load
from features.settings import Project
from features.store import MARK, Store
from serving.journal.files import FOLDER as JOURNAL
from serving.journal.files import files_in
from serving.journal.source import with_journal


@dataclass(frozen=True)
class Workspace:
    """What every command works on. Paths in the project file are relative to `folder`."""

    folder: Path
    project: Project
    store: Store

    @classmethod
    def open(cls, folder: Path) -> Workspace:
        """Read the project file in `folder`; raise `SettingsError` when it cannot be used.

        Once the service has taken events, the journal is one of the project's sources.
        """
        project = load(folder)
        store = Store(folder / project.store)
        if files_in(store.root / JOURNAL):
            project = with_journal(project)
        return cls(folder, project, store)

    def engine(self) -> Engine:
        """Return a new engine with the project's bounds; use it as a context manager."""
        how = self.project.engine
        return Engine(
            threads=how.threads,
            memory_limit=how.memory_limit,
            temporary=self.temporary,
        )

    @property
    def tracking_uri(self) -> str:
        """The MLflow tracking store; a relative sqlite path is the project folder's."""
        uri = self.project.mlflow.tracking_uri
        prefix = "sqlite:///"
        if uri.startswith(prefix) and not uri.startswith(prefix + "/"):
            return prefix + str((self.folder / uri.removeprefix(prefix)).resolve())
        return uri

    @property
    def artifacts(self) -> str:
        """Where MLflow keeps artifacts; a relative path is the project folder's."""
        place = self.project.mlflow.artifacts
        return place if "://" in place else str((self.folder / place).resolve())

    @property
    def journal(self) -> Path:
        """Where the service writes the events that it takes."""
        return self.store.root / JOURNAL

    @property
    def temporary(self) -> Path:
        """Where engines spill what does not fit into memory."""
        return self.store.root / "temporary"

    def mark_of(self, goal: str, version: str) -> Path:
        """Return the file that says who of those a bundle learnt from was erased since."""
        return self.bundle_folder(goal, version + MARK)

    def bundle_folder(self, goal: str, version: str) -> Path:
        """Return the folder of a bundle, whether or not it exists."""
        return self.store.root / "models" / goal / version
