"""The notebooks run as they stand, and are kept without what they put out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.end_to_end.shops import CHECKOUT, environment

NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 900
"""What a cell may take before it is given up: many times what it needs."""
pytestmark = pytest.mark.filterwarnings("ignore:::(zmq|jupyter_client|jupyter_core|nbclient)")


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_pictures(path, tmp_path, monkeypatch):
    for name, value in environment(TMPDIR=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    notebook = read(path)
    client = NotebookClient(
        notebook, timeout=MOST_SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    put_out = [
        kind
        for cell in notebook.cells if cell.cell_type == "code"
        for output in cell.outputs
        for kind in output.get("data", {})
    ]  # fmt: skip
    pictures = [kind for kind in put_out if "plotly" in kind or "svg" in kind]
    assert len(pictures) >= 2


def test_there_are_four():
    assert [path.stem[:1] for path in NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_puts_out(path):
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)
