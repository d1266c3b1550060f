"""The interface as an OpenAPI 3.1 document."""

from __future__ import annotations

from typing import Any

from features.settings import Project
from serving.api.bodies import MOST_TOLD
from serving.api.events import MOST_EVENTS
from serving.api.identities import LONGEST
from serving.journal.event import LONGEST_NAME
from serving.scorer import MOST_FACTORS

Schema = dict[str, Any]

_INSTANT = {"type": "string", "format": "date-time"}
_IDENTITY: Schema = {
    "type": "string",
    "maxLength": LONGEST,
    "description": "`namespace:value`. Personal data raw, or hashed as 64 hex digits.",
}
_GOALS: Schema = {
    "type": ["array", "null"],
    "items": {"type": "string"},
    "description": "All goals by default.",
}
_MEASURED = ["number", "string", "null"]
_FACTORS: Schema = {"type": "integer", "minimum": 0, "maximum": MOST_FACTORS, "default": 0}


def document(project: Project) -> Schema:
    """Return the document; limits are those of `project`."""
    limit = project.serving.max_batch
    batch = {"type": "array", "items": _IDENTITY, "maxItems": limit}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Likelier: {project.project}", "version": "1"},
        "paths": {
            "/score": {
                "post": _question(
                    "Scores of one person", {"identity": _IDENTITY}, "Scores", {"events": _told()}
                )
            },
            "/score/batch": {
                "post": _question(
                    f"Scores of up to {limit:,} people", {"identities": batch}, "Batch"
                )
            },
            "/events": {"post": _events()},
            "/profiles/{identity}": {"get": _lookup("One person", "Profile")},
            "/profiles/{identity}/segments": {"get": _lookup("Segments of one person", "Segments")},
            "/metrics": {"get": _plain("Figures for Prometheus")},
            "/docs.json": {"get": _plain("This document")},
            "/healthz": {"get": _plain("Whether the process lives")},
            "/readyz": {"get": _plain("Whether scores can be served; 503 before the first run")},
        },
        "components": {"schemas": _schemas()},
    }


def _question(summary: str, who: Schema, answer: str, more: Schema | None = None) -> Schema:
    body = {
        "type": "object",
        "properties": who | {"goals": _GOALS, "factors": _FACTORS} | (more or {}),
        "required": list(who),
        "additionalProperties": False,
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _responses(answer),
    }


def _events() -> Schema:
    listed = {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Event"},
        "minItems": 1,
        "maxItems": MOST_EVENTS,
    }
    several = {"type": "object", "properties": {"events": listed}, "required": ["events"]}
    calls = {
        "type": "object",
        "properties": {"batch": listed | {"items": {"type": "object"}}, "sentAt": _INSTANT},
        "required": ["batch"],
        "description": "Calls of Segment's spec.",
    }
    body = {"oneOf": [{"$ref": "#/components/schemas/Event"}, several, calls]}
    return {
        "summary": "Takes events as they happen",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"202": {"description": "On disk", "content": _content("Taken")}}
        | {"default": _responses("Error")["default"]},
    }


def _event() -> Schema:
    told = {"type": ["string", "number", "boolean", "null"]}
    who = {"type": ["string", "number", "null"]}
    text = {"type": "string", "maxLength": LONGEST_NAME}
    properties: Schema = {
        "id": text,
        "type": text,
        "time": _INSTANT,
        "identities": {"type": "object", "additionalProperties": who, "minProperties": 1},
        "attributes": {"type": "object", "additionalProperties": told},
        "profile": {"type": "object", "additionalProperties": told},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["id", "type", "identities"],
        "additionalProperties": False,
    }


def _told() -> Schema:
    return {
        "type": "array",
        "maxItems": MOST_TOLD,
        "items": _event() | {"required": ["id", "type"]},
        "description": "Of this person, not sent yet: they count for this answer alone. Of the "
        "identity asked about by default.",
    }


def _taken() -> Schema:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    rejected = _object(
        index=count, id=_or_null("string"), code=text, message=text, hint=text, place=text
    )
    return _object(
        accepted=count,
        duplicates=count,
        rejected=_list_of(rejected),
        ignored={"type": "object", "additionalProperties": count},
    )


def _lookup(summary: str, answer: str) -> Schema:
    identity = {
        "name": "identity",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "maxLength": LONGEST},
        "description": "`namespace:value` as one percent-encoded segment; personal data hashed.",
    }
    return {"summary": summary, "parameters": [identity], "responses": _responses(answer)}


def _plain(summary: str) -> Schema:
    return {"summary": summary, "responses": {"200": {"description": summary}}}


def _responses(answer: str) -> Schema:
    return {
        "200": {"description": "The answer", "content": _content(answer)},
        "default": {"description": "What is wrong, and what to do", "content": _content("Error")},
    }


def _content(name: str) -> Schema:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _or_null(kind: str, **rest: Any) -> Schema:
    return {"type": [kind, "null"], **rest}


def _schemas() -> Schema:
    text, yes_no = {"type": "string"}, {"type": "boolean"}
    member = _object(segment=text, since=_INSTANT)
    return {
        "Score": _score(),
        "Scores": _object(
            identity=text,
            profile_id=_or_null("string"),
            known=yes_no,
            provisional=yes_no,
            segments=_list_of(text),
            scores={
                "type": "object",
                "additionalProperties": {"$ref": "#/components/schemas/Score"},
            },
        ),
        "Batch": _object(results=_list_of({"$ref": "#/components/schemas/Scores"})),
        "Profile": _object(
            profile_id=text,
            known=yes_no,
            identities=_list_of(text),
            attributes={"type": "object"},
            measures={"type": "object", "additionalProperties": {"type": _MEASURED}},
            first_seen=_or_null("string", format="date-time"),
            last_seen=_or_null("string", format="date-time"),
            as_of=_INSTANT,
            segments=_list_of(text),
        ),
        "Segments": _object(profile_id=text, segments=_list_of(member), as_of=_INSTANT),
        "Event": _event(),
        "Taken": _taken(),
        "Error": _object(
            error=_object(code=text, message=text, hint=text, details={"type": "object"})
        ),
    }


def _score() -> Schema:
    text = {"type": "string"}
    factor = _object(
        code=text,
        label=text,
        value=_or_null("number"),
        value_text=text,
        direction={"enum": ["raises", "lowers"]},
        contribution={"type": "number"},
        importance_share={"type": "number"},
        importance={"enum": ["high", "medium", "low"]},
    )
    return _object(
        goal=text,
        kind={"enum": ["churn", "conversion"]},
        basis={"enum": ["calendar", "at_events"]},
        status={"enum": ["scored", "not_eligible", "no_history"]},
        why=_or_null("string", description="Why not_eligible, in words."),
        probability=_or_null("number", minimum=0, maximum=1),
        score=_or_null("number", minimum=0, maximum=100),
        percentile=_or_null("integer", minimum=1, maximum=100),
        bucket={"enum": ["low", "medium", "high", None]},
        factors=_list_of(factor),
        model_version=text,
        as_of=_INSTANT,
        expires_at=_INSTANT,
    )
