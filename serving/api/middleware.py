"""Around every request: paths kept as they were sent, requests counted, defects contained."""

from __future__ import annotations

import logging
import time
import traceback

from starlette.requests import ClientDisconnect
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.errors import InternalError, answer_error
from serving.api.metrics import Metrics

log = logging.getLogger(__name__)

CLIENT_WENT_AWAY = 499


class Watch:
    """Counts each request by its route template, and turns a defect into the one error shape.

    Servers decode a path before it is routed; `%2F` in an identity would then end its segment. So
    routes are matched on the path as it was sent, and their parameters stay percent-encoded.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = scope["raw_path"].decode("latin-1")
        began, status = time.perf_counter(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except ClientDisconnect:
            status = CLIENT_WENT_AWAY
        # A defect of a route: the caller gets the one shape, the log where it happened.
        except Exception as error:
            _report(error)
            if not status:
                await answer_error(_internal())(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.answered(_template(scope), scope["method"], status, seconds)


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return route.path if isinstance(route, Route) else "other"


def _report(error: Exception) -> None:
    """Log where a defect is without its message, which could repeat somebody's data."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("A request failed with %s\n%s", type(error).__name__, frames)


def _internal() -> InternalError:
    return InternalError(
        "The service failed on this request.", hint="Its log says where; please report it."
    )
