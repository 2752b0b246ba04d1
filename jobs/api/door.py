"""The way in: every address below /api/v1/, also one that does not exist, is reached through `guard` only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from jobs.api import auth, bodies, problems
from jobs.api.problems import MethodNotAllowed, NoSuchAddress, TooManyRequests, Unauthenticated
from jobs.api.throttle import Allowance, Buckets

View = Callable[..., HttpResponseBase]


def guard(view: View) -> View:
    """`view` for callers that are known, with bodies that are bounded; whatever goes wrong is problem+json."""

    @functools.wraps(view)
    def enter(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response: HttpResponseBase
        left: Allowance | None = None
        try:
            caller, left = identify(request)
            refuse_too_many(caller, left)
            request.caller = caller  # type: ignore[attr-defined]  # read as auth.ApiRequest
            response = view(request, *args, **kwargs)
        except Exception as error:
            response = problems.answer(request, error)
        for name, value in left.headers().items() if left else ():
            response.headers[name] = value
        if response.status_code == 405 and "Allow" in response.headers:
            response = _not_allowed(request, response.headers["Allow"])
        response.headers["Cache-Control"] = "no-store"
        return response

    # The door asks for a token or session itself and answers 401; a redirect to a page is no use to a program.
    enter.login_required = False  # type: ignore[attr-defined]
    enter.csrf_exempt = True  # type: ignore[attr-defined]
    return enter


def identify(request: HttpRequest) -> tuple[auth.Caller, Allowance]:
    """Who calls, with a body that is bounded, and how much more of it is allowed."""
    bodies.receive(request)
    caller = _known(request)
    return caller, _callers().take(caller.name)


def refuse_too_many(caller: auth.Caller, left: Allowance) -> None:
    """Raises `TooManyRequests`."""
    if left.wait:
        raise TooManyRequests(f"{caller.name} asks more than {left.quota} times a minute", wait_ms=left.wait * 1000)


def _known(request: HttpRequest) -> auth.Caller:
    """Raises `Unauthenticated`, or `TooManyRequests` for an address that has guessed too often: then nothing is looked up."""
    address = _address_of(request)
    if wait := _strangers().wait_of(address):
        raise TooManyRequests("too many requests without a valid token from this address", wait_ms=wait * 1000)
    try:
        return auth.caller_of(request)
    except Unauthenticated:
        _strangers().take(address)
        raise


def _address_of(request: HttpRequest) -> str:
    """Behind a proxy of ours, what it says last; anything before that the caller may have made up."""
    if settings.BEHIND_PROXY:
        return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or str(request.META.get("REMOTE_ADDR", ""))
    return str(request.META.get("REMOTE_ADDR", ""))


@functools.cache
def _callers() -> Buckets:
    return Buckets(settings.JOBSITE_API_RATE)


@functools.cache
def _strangers() -> Buckets:
    return Buckets(settings.JOBSITE_STRANGER_RATE)


def _not_allowed(request: HttpRequest, allowed: str) -> HttpResponseBase:
    response = problems.answer(request, MethodNotAllowed(f"this address takes {allowed}"))
    response.headers["Allow"] = allowed
    return response


@guard
def nothing_here(request: HttpRequest, rest: str) -> HttpResponseBase:
    raise NoSuchAddress("there is nothing at this address")
