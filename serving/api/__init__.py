"""The HTTP interface: one Starlette app, one error shape."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from features.errors import LikelierError
from features.settings import Project
from features.store import Store
from serving.api.errors import answer_http, answer_known
from serving.api.metrics import Metrics
from serving.api.middleware import Watch
from serving.api.routes import Api
from serving.generations import Generations
from serving.journal.files import FOLDER
from serving.journal.journal import Journal
from serving.online.places import Place
from serving.served import ServedLog


def create_app(
    project: Project, folder: Path, before_ready: Callable[[], None] | None = None
) -> Starlette:
    """Return the app that serves the store of the project in `folder`.

    Nothing is read before its lifespan begins. `app.state.generations` says whether it is ready;
    `before_ready` is called when the first run is loaded, before it serves.
    """
    store = Store(folder / project.store)
    place = Place.of(project, store)
    generations = Generations(store, place=place, before_ready=before_ready)
    served = ServedLog(store.root / "served", project.serving.served_sample, project.training.seed)
    metrics = Metrics(generations, served)
    journal = Journal(store.root / FOLDER, [generations.received])

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        generations.start()
        served.start()
        journal.start()
        yield
        journal.stop()
        served.stop()
        generations.stop()

    app = Starlette(
        routes=Api(project, generations, served, metrics, journal).routes(),
        middleware=[Middleware(Watch, metrics=metrics)],
        exception_handlers={LikelierError: answer_known, HTTPException: answer_http},
        lifespan=lifespan,
    )
    app.state.generations = generations
    app.state.journal = journal
    return app
