"""Django under ASGI with one thread hop a request.

Some of our middleware is synchronous only. Django then changes between loop and threads around each middleware, some fifteen times
a request; here the whole chain runs in one thread of a kept pool, and only what is streamed goes through the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, ASGIRequest, get_script_prefix
from django.core.signals import request_started
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# As many as there are database connections in the pool (settings): more would only wait for one.
THREADS = 12


class OneHop(ASGIHandler):
    """An ASGI application; call `django.setup()` before."""

    def __init__(self) -> None:
        super().__init__()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")
        self._serve_in_thread = sync_to_async(self._serve, thread_sensitive=False, executor=self._threads)

    def load_middleware(self, is_async: bool = False) -> None:  # noqa: FBT001, FBT002  (Django's signature)
        super().load_middleware(is_async=False)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            request, refused = self.create_request(scope, body)
            response = refused if request is None else await self._serve_in_thread(scope, request)
            if response is None:
                raise TypeError("Django gave neither a request nor why there is none")
            if response.streaming:
                await self._stream(response, receive, send)
            else:
                await self.send_response(response, send)
        finally:
            body.close()

    def _serve(self, scope: Message, request: ASGIRequest) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        request_started.send(sender=type(self), scope=scope)
        response: HttpResponseBase = self.get_response(request)
        response._handler_class = type(self)  # type: ignore[attr-defined]
        if not response.streaming:
            # In this thread, because that is whose database connection goes back to the pool.
            response.close()
        return response

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Until it is sent, or the caller hangs up."""
        gone = asyncio.create_task(_hung_up(receive))
        sending = asyncio.create_task(self.send_response(response, send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.wait({gone, sending})
            await sync_to_async(response.close, thread_sensitive=False, executor=self._threads)()
        if not sending.cancelled():
            sending.result()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
