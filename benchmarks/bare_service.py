"""A bare Starlette route that answers a constant, served by the same BentoML: see `live.py`."""

from __future__ import annotations

from typing import Any

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def constant(request: Request) -> Response:
    """Read the body and answer the same bytes, whatever it says."""
    await request.body()
    return Response(b'{"answer":1}', media_type="application/json")


bare = bentoml.asgi_app(Starlette(routes=[Route("/score", constant, methods=["POST"])]), path="/")
QUIET: dict[str, Any] = {
    "workers": 1,
    "metrics": {"enabled": False},
    "logging": {"access": {"enabled": False}},
}


@bentoml.service(name="bare", **QUIET)
@bare
class Bare:
    """Ready at once."""


@bentoml.service(name="untraced", tracing={"excluded_urls": ".*"}, **QUIET)
@bare
class Untraced:
    """The same without BentoML's traces, which our service does not keep either."""
