"""One call, with its retries, and what its answer means."""

from __future__ import annotations

import json
import random
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from jobsite_client.errors import (
    Conflict,
    Fault,
    NotFound,
    Refused,
    ServerFault,
    TooManyRequests,
    Unauthorised,
    UnexpectedAnswer,
    Unreachable,
)
from jobsite_client.plans import Answer, Call, Pause, Plan, Unanswered, send
from jobsite_client.retrying import Backoff, pause_before_next

Wanted = TypeVar("Wanted", bound=BaseModel)

_KINDS: dict[int, type[Refused]] = {401: Unauthorised, 403: Unauthorised, 404: NotFound, 409: Conflict, 429: TooManyRequests}


class Link(Protocol):
    """What a plan knows of the client that drives it."""

    backoff: Backoff


def ask(link: Link, call: Call, shape: type[Wanted]) -> Plan[Wanted]:
    """The answer as `shape`. Raises `Refused` and its kinds, `Unreachable` or `UnexpectedAnswer`."""
    answer = yield from accepted(link, call)
    return read(answer, shape)


def accepted(link: Link, call: Call) -> Plan[Answer]:
    """The answer to a call that was accepted (2xx or 304), after as many tries as it takes."""
    tries = 0
    while True:
        reply = yield from send(call)
        tries += 1
        # Spreads the retries of many clients; nothing secret hangs on it.
        wait = pause_before_next(call, reply, tries=tries, backoff=link.backoff, chance=random.random())  # noqa: S311
        if wait is None:
            return _accepted(call, reply)
        yield Pause(wait)


def _accepted(call: Call, reply: Answer | Unanswered) -> Answer:
    if isinstance(reply, Unanswered):
        raise Unreachable(reply.problem)
    if reply.status < 300 or reply.status == 304:
        return reply
    raise _refusal(call, reply)


def read(answer: Answer, shape: type[Wanted]) -> Wanted:
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError as error:
        raise UnexpectedAnswer(f"the answer is no {shape.__name__} of this version of Jobsite: {error}") from error


def _refusal(call: Call, answer: Answer) -> Exception:
    problem = _problem(answer)
    if problem is None:
        if answer.status in (502, 503, 504):
            return Unreachable(f"the server answers {answer.status} to {call.method} {call.path}")
        return UnexpectedAnswer(f"{call.method} {call.path} was answered {answer.status}, by something that is not Jobsite's API")
    kind = ServerFault if answer.status >= 500 else _KINDS.get(answer.status, Refused)
    return kind(
        status=answer.status,
        code=str(problem["type"]).rpartition("/")[2],
        title=str(problem.get("title", "")),
        detail=str(problem.get("detail", "")),
        faults=[Fault(detail=str(e.get("detail", "")), pointer=str(e.get("pointer", ""))) for e in problem.get("errors", [])],
    )


def _problem(answer: Answer) -> dict[str, Any] | None:
    """The problem+json (RFC 9457) in an answer, if it is one."""
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return None
    try:
        problem = json.loads(answer.content)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "type" in problem else None
