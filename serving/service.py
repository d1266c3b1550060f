"""The BentoML service: the only importer of bentoml.

It is imported by `bentoml serve` (see `serving.launch`) in a process that serves one project, the
one `LIKELIER_PROJECT` names. All routes but `/healthz` and `/readyz` are the Starlette app's.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import bentoml

# BentoML bids prometheus_client keep each count in a file, for one of several workers to read. Ours
# are a worker's own, and a file would cost every request time.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from features.project_file import load
from serving.api import create_app
from serving.launch import PROJECT_VARIABLE

LOOKS_BEFORE_ALL = 1_000
"""Searches among the younger objects before one among all; Python's own is 10."""


def spare_collector() -> None:
    """Keep the search for garbage in cycles short, of which answers leave none.

    Python looks through all objects every few thousand requests, and nothing is answered the while:
    a fifth of a second. What is there before the first answer stays and is not looked at again
    (imported code mostly; a run has some hundreds of objects). The rest, such as the timers that
    BentoML keeps of a minute's requests, is gone through a hundred times less often.
    """
    gc.collect()
    gc.freeze()
    youngest, younger, _ = gc.get_threshold()
    gc.set_threshold(youngest, younger, LOOKS_BEFORE_ALL)


_folder = Path(os.environ.get(PROJECT_VARIABLE, ".")).resolve()
app = create_app(load(_folder), _folder, before_ready=spare_collector)


# BentoML's own metrics, access log and traces hold raw paths, and so identities. A trace that is
# not kept still costs a request time, and kilobytes that never come back.
@bentoml.service(
    name="likelier",
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class Likelier:
    """Ready once a published run is loaded and has made a prediction."""

    def __is_ready__(self) -> bool:
        """Answer `/readyz`: 200 when true, 503 until then."""
        return bool(app.state.generations.ready)
