"""Django for the one view that waits itself: agents may wait by the hundred, and each would hold a thread of `one_hop`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.exception import convert_exception_to_response
from django.middleware.security import SecurityMiddleware

from dashboard.visit import visit

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Awaited(ASGIHandler):
    """With the middleware that a program with a token needs, all of which awaits; call `django.setup()` before."""

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002  (Django's signature)
        self._view_middleware: list[Any] = []
        self._template_response_middleware: list[Any] = []
        self._exception_middleware: list[Any] = []
        chain = convert_exception_to_response(self._get_response_async)  # type: ignore[attr-defined]  # not in the stubs
        for around in (visit, SecurityMiddleware):
            chain = convert_exception_to_response(around(chain))
        self._middleware_chain = chain

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await super().__call__(dict(scope), receive, send)


class Apart:
    """An ASGI application that gives some paths to one application and all else to another."""

    def __init__(self, paths: Collection[str], apart: App, rest: App) -> None:
        self._paths, self._apart, self._rest = frozenset(paths), apart, rest

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await (self._apart if scope["path"] in self._paths else self._rest)(scope, receive, send)
