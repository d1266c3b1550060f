"""Request bodies: read within a limit, parsed strictly, and turned into typed questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from features.errors import did_you_mean
from features.settings import Project
from serving.api.errors import (
    BatchTooLarge,
    BodyTooLarge,
    InvalidValue,
    MalformedJson,
    UnknownKey,
    UnsupportedMediaType,
)
from serving.api.identities import in_body
from serving.journal.errors import RefusedEvent
from serving.journal.event import Allowed, LiveEvent, kind_of, read_event
from serving.scorer import MOST_FACTORS, Asked


@dataclass(frozen=True)
class Question:
    """Who is asked about, which goals (None = all) and how many reasons (0 to 10)."""

    asked: tuple[Asked, ...]
    goals: tuple[str, ...] | None
    factors: int
    events: tuple[LiveEvent, ...] = ()


MOST_TOLD = 100
"""Events that one question may tell."""


async def read_object(request: Request, most_bytes: int) -> dict[str, Any]:
    """Return the JSON object that the body is.

    Raises `UnsupportedMediaType`, `BodyTooLarge`, `MalformedJson` or `InvalidValue`.
    """
    _check_media_type(request)
    content = await _read(request, most_bytes)
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).",
            hint="Send one JSON object in UTF-8.",
            line=error.lineno,
            column=error.colno,
            position=error.pos,
        ) from error
    if not isinstance(body, dict):
        raise InvalidValue(
            f"The body is {kind_of(body)}, expected an object.", hint='Send {"…": …}.', key=""
        )
    return body


def one(body: dict[str, Any], allowed: Allowed, now: int) -> Question:
    """Read the body of `POST /score` that came at `now` (microseconds); raises what is wrong."""
    _check_keys(body, ("identity", "goals", "factors", "events"))
    identity = _text("identity", _required(body, "identity"))
    asked = in_body(identity, allowed.identity, "identity")
    events = _events(body.get("events"), identity, allowed, now)
    return Question((asked,), _goals(body), _factors(body), events)


def many(body: dict[str, Any], project: Project) -> Question:
    """Read the body of `POST /score/batch`; one bad identity refuses the whole batch."""
    _check_keys(body, ("identities", "goals", "factors"))
    identities = _list("identities", _required(body, "identities"))
    if len(identities) > project.serving.max_batch:
        raise BatchTooLarge(
            f"identities holds {len(identities):,}, at most {project.serving.max_batch:,} are "
            "allowed in one request.",
            hint="Send several requests, or raise serving.max_batch in likelier.yaml.",
            limit=project.serving.max_batch,
            sent=len(identities),
        )
    asked = tuple(
        in_body(_text(place, said), project.identity, place)
        for place, said in ((f"identities[{n}]", said) for n, said in enumerate(identities))
    )
    return Question(asked, _goals(body), _factors(body))


def _check_media_type(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if media_type != "application/json" or encoding != "identity":
        raise UnsupportedMediaType(
            "The body must be JSON, not compressed.",
            hint="Send the header Content-Type: application/json and no Content-Encoding.",
            content_type=media_type[:100],
            content_encoding=encoding[:100],
        )


async def _read(request: Request, most_bytes: int) -> bytes:
    stated = request.headers.get("content-length", "")
    content = bytearray()
    # A long number is a long body, too; it is never turned into an integer.
    too_large = len(stated) > 18 or (stated.isdecimal() and int(stated) > most_bytes)
    if not too_large:
        async for chunk in request.stream():
            content += chunk
            if too_large := len(content) > most_bytes:
                break
    if too_large:
        raise BodyTooLarge(
            f"The body is longer than {most_bytes:,} bytes.",
            hint="Send several requests, or raise serving.max_body_bytes in likelier.yaml.",
            limit=most_bytes,
        )
    return bytes(content)


def _check_keys(body: dict[str, Any], known: Sequence[str]) -> None:
    for key in body:
        if key not in known:
            raise UnknownKey(
                f"The body has an unknown key {key[:60]!r}.",
                hint=did_you_mean(key[:60], known),
                key=key[:60],
                known=list(known),
            )


def _required(body: dict[str, Any], key: str) -> Any:
    if key not in body:
        raise InvalidValue(f"{key} is missing.", hint=f"Add {key!r} to the body.", key=key)
    return body[key]


def _goals(body: dict[str, Any]) -> tuple[str, ...] | None:
    goals = body.get("goals")
    if goals is None:
        return None
    return tuple(_text(f"goals[{n}]", goal) for n, goal in enumerate(_list("goals", goals)))


def _factors(body: dict[str, Any]) -> int:
    factors = body.get("factors", 0)
    # A JSON true is an int to Python.
    if isinstance(factors, bool) or not isinstance(factors, int):
        raise _invalid("factors", factors, f"a whole number from 0 to {MOST_FACTORS}")
    if not 0 <= factors <= MOST_FACTORS:
        raise InvalidValue(
            f"factors is {factors}, expected 0 to {MOST_FACTORS}.",
            hint=f"Ask for at most {MOST_FACTORS} reasons.",
            key="factors",
        )
    return factors


def _events(said: Any, identity: str, allowed: Allowed, now: int) -> tuple[LiveEvent, ...]:
    """Read events not sent yet; one that names nobody is of the identity asked about."""
    if said is None:
        return ()
    if not isinstance(said, list):
        raise InvalidValue(
            f"events is {kind_of(said)}, expected a list of events.",
            hint="Send a list.",
            key="events",
        )
    if len(said) > MOST_TOLD:
        raise InvalidValue(
            f"events holds {len(said):,}, at most {MOST_TOLD} are allowed in one question.",
            hint="Send events by POST /events; they count from then on.",
            key="events",
        )
    namespace, _, value = identity.partition(":")
    return tuple(
        _event({"identities": {namespace: value}} | each if isinstance(each, dict) else each,
               place, allowed, now)
        for place, each in enumerate(said)
    )  # fmt: skip


def _event(said: Any, place: int, allowed: Allowed, now: int) -> LiveEvent:
    try:
        return read_event(said, allowed, now)
    except RefusedEvent as error:
        within = error.details.get("place")
        error.details["place"] = f"events[{place}]" + (f".{within}" if within else "")
        error.message = f"events[{place}]: {error.message}"
        raise


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _invalid(place, value, "a text")
    return value


def _list(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _invalid(key, value, "a list of texts")
    return value


def _invalid(key: str, value: Any, expected: str) -> InvalidValue:
    return InvalidValue(
        f"{key} is {kind_of(value)}, expected {expected}.", hint=f"Send {expected}.", key=key
    )
