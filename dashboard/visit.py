"""What holds for every request: where it came from is known to the audit log, and no browser or proxy keeps the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from jobs import audit


@sync_and_async_middleware
def visit(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    if iscoroutinefunction(get_response):

        async def awaited(request: HttpRequest) -> HttpResponseBase:
            with audit.origin(address_of(request)):
                answer: Awaitable[HttpResponseBase] = get_response(request)
                return _not_kept(await answer)

        return awaited

    def called(request: HttpRequest) -> HttpResponseBase:
        with audit.origin(address_of(request)):
            return _not_kept(get_response(request))

    return called


def address_of(request: HttpRequest) -> str:
    """The last hop that our own proxy saw; what stands before it in the header was written by whoever called."""
    if settings.BEHIND_PROXY and (hops := request.headers.get("X-Forwarded-For")):
        return hops.rpartition(",")[2].strip()
    return str(request.META.get("REMOTE_ADDR") or "")


def _not_kept(response: HttpResponseBase) -> HttpResponseBase:
    """Params and results of jobs are nobody's business after the sign-out. Static files are served before this."""
    response.headers.setdefault("Cache-Control", "no-store")
    return response
