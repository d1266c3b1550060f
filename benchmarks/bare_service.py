"""A bare Starlette route that answers a constant, served by the same BentoML: see `live.py`."""

from __future__ import annotations

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def constant(request: Request) -> Response:
    """Read the body and answer the same bytes, whatever it says."""
    await request.body()
    return Response(b'{"answer":1}', media_type="application/json")


@bentoml.service(
    name="bare",
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(Starlette(routes=[Route("/score", constant, methods=["POST"])]), path="/")
class Bare:
    """Ready at once."""
