"""A project opened to be looked at from Python: what a notebook begins with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.stages import Bench, ingest_all, unify
from pipelines.workspace import Workspace


@contextmanager
def study(folder: Path) -> Iterator[Bench]:
    """Read what is new in the files of a project; yield a bench to look at its people with.

    Nothing is published. While the block runs no other run can work on the store; raises
    `SettingsError`, `SourceError` or `StoreError` as a run does.
    """
    workspace = Workspace.open(folder)
    with workspace.store.lock(), workspace.engine() as engine:
        bench = Bench(workspace, engine)
        unify(bench, ingest_all(bench))
        yield bench
