"""What goes wrong, as RFC 9457 problem+json. Every error of the API leaves through `answer`."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja.errors import HttpError, ValidationError

from jobs.errors import InvalidRequest, Problem, Refused
from jobs.payloads import clean_text

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPES = "/api/v1/problems/"
MAX_PROBLEMS = 20


class Unauthenticated(Refused):
    code, title, http_status = "unauthenticated", "Sign in or send a bearer token", 401


class Forbidden(Refused):
    code, title, http_status = "forbidden", "This caller may not do that", 403


class NoSuchAddress(Refused):
    code, title, http_status = "no-such-address", "There is nothing at this address", 404


class MethodNotAllowed(Refused):
    code, title, http_status = "method-not-allowed", "This address does not take that method", 405


@dataclass
class NotFinished(Refused):
    """`wait_ms` is when to ask again."""

    wait_ms: int = 0

    code, title, http_status = "not-finished", "The job has no result yet", 409


@dataclass
class TooManyRequests(Refused):
    """`wait_ms` is when to ask again. For abuse only: looking too early is never one."""

    wait_ms: int = 0

    code, title, http_status = "too-many-requests", "Too many requests", 429


class UnsupportedMediaType(Refused):
    code, title, http_status = "unsupported-media-type", "The body must be application/json", 415


class ServerError(Refused):
    code, title, http_status = "server-error", "Something went wrong on our side", 500


class Unavailable(Refused):
    code, title, http_status = "unavailable", "The database does not answer", 503


def known() -> dict[str, type[Refused]]:
    """Every problem there is, by its code."""
    return {problem.code: problem for problem in _descendants(Refused)}


def _descendants(of: type[Refused]) -> Iterator[type[Refused]]:
    for problem in of.__subclasses__():
        yield problem
        yield from _descendants(problem)


def shape(refusal: Refused) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": TYPES + refusal.code,
        "title": refusal.title,
        "status": refusal.http_status,
        "detail": clean_text(refusal.detail, 2000),
    }
    if refusal.problems:
        body["errors"] = [
            {"detail": clean_text(p.detail, 500), "pointer": clean_text(p.pointer, 500)} for p in refusal.problems[:MAX_PROBLEMS]
        ]
    return body


def answer(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    """The response to whatever was raised; what nobody foresaw is logged and tells nothing of our insides."""
    refusal = _as_refusal(request, error)
    content = orjson.dumps(shape(refusal))
    return HttpResponse(content, status=refusal.http_status, content_type=MEDIA_TYPE, headers=_headers(refusal))


def _headers(refusal: Refused) -> Mapping[str, str]:
    match refusal:
        case Unauthenticated():
            return {"WWW-Authenticate": 'Bearer realm="jobsite"'}
        case NotFinished() | TooManyRequests():
            return {"Retry-After": retry_after(refusal.wait_ms)}
        case Unavailable():
            return {"Retry-After": "5"}
    return {}


def retry_after(wait_ms: int) -> str:
    return str(math.ceil(wait_ms / 1000))


def _as_refusal(request: HttpRequest, error: Exception | type[Exception]) -> Refused:
    match error:
        case Refused():
            return error
        case HttpError(__cause__=Refused() as cause):
            # ninja wraps what its parser raises.
            return cause
        case ValidationError():
            return _invalid(error)
        case HttpError(status_code=401):
            return Unauthenticated("sign in, or send a bearer token")
        case Http404():
            return NoSuchAddress("there is nothing at this address")
        case OperationalError() | InterfaceError():
            log.warning("%s %s: the database does not answer: %s", request.method, request.path, error)
            return Unavailable("the database does not answer; try again in a few seconds")
    log.error("%s %s failed", request.method, request.path, exc_info=error if isinstance(error, Exception) else None)
    return ServerError("the request could not be carried out; the log of the server says why")


def _invalid(error: ValidationError) -> InvalidRequest:
    problems = [_problem(fault["loc"], fault["msg"]) for fault in error.errors[:MAX_PROBLEMS]]
    return InvalidRequest("; ".join(f"{p.pointer.removeprefix('/')} {p.detail}".strip() for p in problems[:3]), problems)


def _problem(location: tuple[str | int, ...], detail: str) -> Problem:
    """ninja's location is where it looked (body, query, path), for bodies its parameter's name, and then the path."""
    source, *path = location
    if source == "body":
        return Problem(detail=detail, pointer="".join(f"/{_escaped(str(part))}" for part in path[1:]))
    return Problem(detail=f"{source} parameter {'/'.join(map(str, path))}: {detail}")


def _escaped(part: str) -> str:
    return part[:80].replace("~", "~0").replace("/", "~1")
