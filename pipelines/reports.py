"""Where usability reports of goals stand, and how they are written: JSON, and a page beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.store import write_whole
from pipelines.workspace import Workspace
from training.usability import Usability, usability_html


def report_path(workspace: Workspace, goal: str) -> Path:
    """Return where the page of a goal's usability report stands; its JSON is beside it."""
    return workspace.store.root / "reports" / f"usability-{goal}.html"


def write_report(workspace: Workspace, found: Usability) -> Path:
    """Write a report as JSON and as a page, each whole; return the page."""
    return _write(workspace, found.body())


def _write(workspace: Workspace, body: Mapping[str, Any]) -> Path:
    page = report_path(workspace, body["goal"])
    write_whole(page.with_suffix(".json"), json.dumps(body, indent=1).encode())
    write_whole(page, usability_html(body).encode())
    return page


def ended(workspace: Workspace, goal: str, **changes: Any) -> None:
    """Note in a report that stands how training ended."""
    path = report_path(workspace, goal).with_suffix(".json")
    _write(workspace, json.loads(path.read_bytes()) | changes)
