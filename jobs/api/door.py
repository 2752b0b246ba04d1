"""The way in: every address below /api/v1/, also one that does not exist, is reached through `guard` only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from jobs.api import auth, bodies, problems
from jobs.api.problems import MethodNotAllowed, NoSuchAddress

View = Callable[..., HttpResponseBase]


def guard(view: View) -> View:
    """`view` for callers that are known, with bodies that are bounded; whatever goes wrong is problem+json."""

    @functools.wraps(view)
    def enter(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase
        try:
            bodies.receive(request)
            request.caller = auth.caller_of(request)  # type: ignore[attr-defined]  # read as auth.ApiRequest
            response = view(request, *args, **kwargs)
        except Exception as error:
            response = problems.answer(request, error)
        if response.status_code == 405 and "Allow" in response.headers:
            response = _not_allowed(request, response.headers["Allow"])
        response.headers["Cache-Control"] = "no-store"
        return response

    # The door asks for a token or session itself and answers 401; a redirect to a page is no use to a program.
    enter.login_required = False  # type: ignore[attr-defined]
    enter.csrf_exempt = True  # type: ignore[attr-defined]
    return enter


def _not_allowed(request: HttpRequest, allowed: str) -> HttpResponseBase:
    response = problems.answer(request, MethodNotAllowed(f"this address takes {allowed}"))
    response.headers["Allow"] = allowed
    return response


@guard
def nothing_here(request: HttpRequest, rest: str) -> HttpResponseBase:
    raise NoSuchAddress("there is nothing at this address")
