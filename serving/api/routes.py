"""The routes: a question is read, asked of one generation, and answered."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from features.settings import Project
from features.time import format_instant
from serving.api import bodies
from serving.api.errors import (
    JsonResponse,
    MethodNotAllowed,
    NotFound,
    UnknownIdentity,
    answer_error,
)
from serving.api.events import read_events
from serving.api.identities import in_url
from serving.api.metrics import CONTENT_TYPE, Metrics
from serving.api.openapi import document
from serving.generations import Generations
from serving.journal.event import Allowed
from serving.journal.journal import Journal
from serving.online import ProfileRecord
from serving.scorer import Answer, Asked, Scorer
from serving.served import ServedLog

MOST_INLINE = 8
"""A question about more people than this, or more events, leave the event loop; so does every
question that another machine has to be asked for."""


@dataclass(frozen=True, eq=False)
class Api:
    """The endpoints and what they need."""

    project: Project
    generations: Generations
    served: ServedLog
    metrics: Metrics
    journal: Journal

    @cached_property
    def types(self) -> set[str]:
        """The event types that this process has taken."""
        return set()

    @cached_property
    def allowed(self) -> Allowed:
        """What an event may say."""
        return Allowed.by(self.project)

    def routes(self) -> list[Route]:
        """Return every route, and last the one that answers where there is none."""
        named = [
            Route("/score", self.score, methods=["POST"]),
            Route("/score/batch", self.score_batch, methods=["POST"]),
            Route("/events", self.events, methods=["POST"]),
            Route("/profiles/{identity}", self.profile, methods=["GET"]),
            Route("/profiles/{identity}/segments", self.segments, methods=["GET"]),
            Route("/metrics", self.prometheus, methods=["GET"]),
            Route("/docs.json", self.docs, methods=["GET"]),
        ]
        return [*named, Route("/{other:path}", Nowhere(named))]

    async def score(self, request: Request) -> Response:
        """`POST /score`: the scores of one person."""
        body = await bodies.read_object(request, self.project.serving.max_body_bytes)
        question = bodies.one(body, self.allowed, time.time_ns() // 1_000)
        return JsonResponse((await self._answers(question))[0].body)

    async def score_batch(self, request: Request) -> Response:
        """`POST /score/batch`: the scores of several people, in the order asked."""
        body = await bodies.read_object(request, self.project.serving.max_body_bytes)
        answers = await self._answers(bodies.many(body, self.project))
        return JsonResponse({"results": [answer.body for answer in answers]})

    async def events(self, request: Request) -> Response:
        """`POST /events`: take what happened; it is on disk when this answers."""
        body = await bodies.read_object(request, self.project.serving.max_body_bytes)
        now = time.time_ns() // 1_000
        work = (body, self.allowed, self.generations.erased, self.types, now)
        listed = body.get("events", body.get("batch"))
        if isinstance(listed, list) and len(listed) > MOST_INLINE:
            sent = await run_in_threadpool(read_events, *work)
        else:
            sent = read_events(*work)
        new = await self.journal.append(sent.events)
        self.metrics.taken(sent.outcomes(new))
        return JsonResponse(sent.body(new), 202)

    async def profile(self, request: Request) -> Response:
        """`GET /profiles/{identity}`: who this is."""
        scorer = self.generations.current()
        found = await self._profile(request, scorer)
        return JsonResponse(_profile_body(found, scorer.as_of))

    async def segments(self, request: Request) -> Response:
        """`GET /profiles/{identity}/segments`: the lists the person is on, and since when."""
        scorer = self.generations.current()
        found = await self._profile(request, scorer)
        listed = [
            {"segment": each["segment"], "since": _instant(each["since"])}
            for each in found.segments
        ]
        as_of = format_instant(scorer.as_of)
        return JsonResponse({"profile_id": found.profile_id, "segments": listed, "as_of": as_of})

    async def prometheus(self, request: Request) -> Response:
        """`GET /metrics`: figures of this worker."""
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def docs(self, request: Request) -> Response:
        """`GET /docs.json`: this interface as OpenAPI 3.1."""
        return JsonResponse(document(self.project))

    async def _answers(self, question: bodies.Question) -> list[Answer]:
        scorer = self.generations.current()
        asked = tuple(self.generations.known(each, scorer) for each in question.asked)
        work = (asked, question.goals, question.factors, question.events)
        if len(question.asked) > MOST_INLINE or self.generations.place.remote:
            answers = await run_in_threadpool(scorer.answer, *work)
        else:
            answers = scorer.answer(*work)
        for answer in answers:
            self.served.offer(answer)
            self.metrics.scored(answer.body["scores"])
        return answers

    async def _profile(self, request: Request, scorer: Scorer) -> ProfileRecord:
        identity = in_url(request.path_params["identity"], self.project.identity)
        known = self.generations.known(Asked("", identity), scorer).identity
        if self.generations.place.remote:
            found = await run_in_threadpool(scorer.profile, known)
        else:
            found = scorer.profile(known)
        if found is None:
            raise UnknownIdentity(
                "No profile holds this identity.",
                hint="It was not seen before the as_of of the published run, or is misspelt.",
            )
        return found


@dataclass(frozen=True, eq=False)
class Nowhere:
    """Answers what no route takes: a wrong method of a known path, or a wrong path.

    An ASGI app rather than a function, which Starlette would ask only about GET.
    """

    named: Sequence[Route]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 405 with the methods that the path takes, or 404."""
        routes = [route for route in self.named if route.matches(scope)[0] is not Match.NONE]
        methods = ", ".join(sorted({method for route in routes for method in route.methods or ()}))
        if methods:
            hint = f"It takes {methods}."
            error = MethodNotAllowed(f"This route does not take {scope['method'][:20]}.", hint=hint)
            await answer_error(error, {"allow": methods})(scope, receive, send)
        else:
            nothing = NotFound("There is no such route.", hint="GET /docs.json describes them all.")
            await answer_error(nothing)(scope, receive, send)


def _profile_body(found: ProfileRecord, as_of: int) -> dict[str, object]:
    return {
        "profile_id": found.profile_id,
        "known": found.known,
        "identities": found.identities,
        "attributes": found.attributes,
        "measures": found.measures,
        "first_seen": _instant(found.first_seen),
        "last_seen": _instant(found.last_seen),
        "as_of": format_instant(as_of),
        "segments": [each["segment"] for each in found.segments],
    }


def _instant(micros: int | None) -> str | None:
    return None if micros is None else format_instant(micros)
