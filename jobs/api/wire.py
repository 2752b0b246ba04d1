"""How every operation writes its answer: camelCase names, and nothing for what is not known."""

from __future__ import annotations

from typing import Any, TypedDict

from jobs.api.problems import MEDIA_TYPE


class Wire(TypedDict):
    by_alias: bool
    exclude_none: bool


WIRE = Wire(by_alias=True, exclude_none=True)

PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. `type` is stable; `errors` points into the body.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["detail", "pointer"],
                "properties": {"detail": {"type": "string"}, "pointer": {"type": "string"}},
            },
        },
    },
}


STREAM: dict[int, Any] = {200: str, 204: None}


def describe_problems(document: dict[str, Any]) -> None:
    """Add to an OpenAPI document that any operation may answer with a problem."""
    document["components"].setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    answer = {
        "description": "A problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"]["default"] = answer
            if operation["operationId"].startswith("stream"):
                operation["responses"][200]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
