"""How the service is started as a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from features.project_file import load

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECT_VARIABLE = "LIKELIER_PROJECT"


def command(folder: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment of a service for the project in `folder`.

    It listens on the loopback address only. Raises `SettingsError` when the project file is wrong,
    before a process is started.
    """
    project = load(folder)
    argv = [
        sys.executable, "-m", "bentoml", "serve", "serving.service:Likelier",
        "--host", "127.0.0.1", "--port", str(port), "--working-dir", str(CHECKOUT),
    ]  # fmt: skip
    home = (folder / project.store / "bentoml").resolve()
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    own = {
        PROJECT_VARIABLE: str(folder.resolve()),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": path,
    }
    return argv, {**os.environ, **own}
