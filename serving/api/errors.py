"""What can be wrong with a request, and the one shape in which it is said.

No message repeats a value that may be somebody's personal data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from features.errors import LikelierError

UNAVAILABLE = 503
RETRY_SECONDS = "1"
"""When to ask again what cannot be answered now."""


class NotFound(LikelierError):
    """A path that is no route of this service."""

    code = "not_found"
    status = 404


class MethodNotAllowed(LikelierError):
    """A route asked with a method that it does not have."""

    code = "method_not_allowed"
    status = 405


class BadRequest(LikelierError):
    """A request that HTTP itself refuses."""

    code = "bad_request"


class InternalError(LikelierError):
    """A defect of the service; the details are in its log."""

    code = "internal_error"
    status = 500


class MalformedJson(LikelierError):
    """A body that is not JSON."""

    code = "malformed_json"


class UnsupportedMediaType(LikelierError):
    """A body that does not say it is plain JSON."""

    code = "unsupported_media_type"
    status = 415


class BodyTooLarge(LikelierError):
    """A body longer than `serving.max_body_bytes`."""

    code = "body_too_large"
    status = 413


class BatchTooLarge(LikelierError):
    """More people in one request than `serving.max_batch`, or more than 1,000 events."""

    code = "batch_too_large"
    status = 413


class UnknownKey(LikelierError):
    """A body with a key that the route does not know."""

    code = "unknown_key"
    status = 422


class InvalidValue(LikelierError):
    """A key that is missing, of the wrong type or out of range."""

    code = "invalid_value"
    status = 422


class BadIdentity(LikelierError):
    """A text that is not `namespace:value` of at most 1,024 characters."""

    code = "bad_identity"
    status = 422


class UnknownNamespace(LikelierError):
    """An identity of a namespace that the project does not have."""

    code = "unknown_namespace"
    status = 422


class RawIdentityInUrl(LikelierError):
    """Personal data in a URL, where proxies and browsers would keep it."""

    code = "raw_identity_in_url"


class UnknownIdentity(LikelierError):
    """An identity that no profile holds."""

    code = "unknown_identity"
    status = 404


class JsonResponse(Response):
    """JSON that no cache may keep: answers are about people, and change with every run."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", **(headers or {})})

    def render(self, content: Any) -> bytes:
        """Return the bytes of `content`; a float keeps every bit."""
        return orjson.dumps(content)


def answer_error(error: LikelierError, headers: Mapping[str, str] | None = None) -> JsonResponse:
    """Return an error in the one shape; what is only for now says when to ask again."""
    if error.status == UNAVAILABLE:
        headers = {"retry-after": RETRY_SECONDS, **(headers or {})}
    return JsonResponse(error.body(), error.status, headers)


def answer_known(request: Request, error: Exception) -> Response:
    """Answer a `LikelierError` raised by a route."""
    if not isinstance(error, LikelierError):
        raise error
    return answer_error(error)


def answer_http(request: Request, error: Exception) -> Response:
    """Answer an error that Starlette raised, with its own status."""
    if not isinstance(error, HTTPException):
        raise error
    response = answer_error(
        BadRequest(error.detail, hint="GET /docs.json describes every route."), error.headers
    )
    response.status_code = error.status_code
    return response
