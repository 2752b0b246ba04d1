"""The way in: who calls, and from where. Each request gets a session manager of its own, which is thrown away after it."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import PARSE_ERROR

from jobs import payloads
from jobs.api import auth, door, problems
from jobs.api.problems import Forbidden, MethodNotAllowed, Unauthenticated
from jobs.errors import InvalidRequest, MalformedJson, PayloadTooLarge
from jobs.mcp.server import CALLER, server

Message = MutableMapping[str, Any]


async def endpoint(request: HttpRequest) -> HttpResponse:
    """One POST, one answer. There are no sessions and no streams: whoever wants to wait uses tasks or `wait_job`."""
    try:
        _check_origin(request)
        if request.method != "POST":
            raise MethodNotAllowed("this address takes POST")
        caller = await sync_to_async(_caller)(request)
        response = _refused(request) or await _served(request, caller)
    except Exception as error:
        response = problems.answer(request, error)
        if response.status_code == 405:
            response.headers["Allow"] = "POST"
    response.headers["Cache-Control"] = "no-store"
    return response


def _check_origin(request: HttpRequest) -> None:
    """A page of another site, perhaps behind a name that now points here, must not reach this. Raises `Forbidden`."""
    origin = request.headers.get("Origin")
    if origin is not None and origin not in {f"{request.scheme}://{request.get_host()}", *settings.CSRF_TRUSTED_ORIGINS}:
        raise Forbidden("requests from this origin are not taken")


def _caller(request: HttpRequest) -> auth.Caller:
    if "Authorization" not in request.headers:
        raise Unauthenticated("send a bearer token")
    caller, left = door.identify(request)
    door.refuse_too_many(caller, left)
    return caller


def _refused(request: HttpRequest) -> HttpResponse | None:
    """Of a body that every door refuses: in the words of JSON-RPC."""
    try:
        # Of arguments that cannot be stored the tool's caller is told in the words of the tool.
        payloads.read(request.body, what="the body", max_bytes=settings.DATA_UPLOAD_MAX_MEMORY_SIZE, checked_later=True)
    except (MalformedJson, InvalidRequest, PayloadTooLarge) as refusal:
        error = {"code": PARSE_ERROR, "message": f"Parse error: {refusal}"}
        return JsonResponse(
            {"jsonrpc": "2.0", "id": None, "error": error}, status=413 if isinstance(refusal, PayloadTooLarge) else 400
        )
    return None


async def _served(request: HttpRequest, caller: auth.Caller) -> HttpResponse:
    assert isinstance(request, ASGIRequest)  # noqa: S101  (the site is served by ASGI only)
    sent = Sent(request.body)
    manager = StreamableHTTPSessionManager(
        app=server, json_response=True, stateless=True, max_request_body_size=settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    )
    async with manager.run():
        await manager.handle_request({**request.scope, CALLER: caller}, sent.receive, sent.send)
    return sent.response()


class Sent:
    """The two ends of an ASGI exchange: the body that Django has read, and the answer that it will send."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 500
        self._headers: list[tuple[bytes, bytes]] = []
        self._content = bytearray()

    async def receive(self) -> Message:
        if self._body is None:
            # Django itself watches for a client that leaves, and cancels us.
            await asyncio.Event().wait()
        body, self._body = self._body or b"", None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._content += message.get("body", b"")

    def response(self) -> HttpResponse:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._headers}
        headers.pop("content-length", None)
        return HttpResponse(bytes(self._content), status=self._status, headers=headers)
