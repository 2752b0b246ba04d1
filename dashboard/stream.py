"""The hub's frames as server-sent events, for where websockets are blocked."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dashboard.consumers import shown
from dashboard.hub import hub
from dashboard.viewers import NAMES, Client
from jobs.sight import sight_of

# A stream has no acknowledgements, and the server below buffers without bound for a reader that is slow. So each stream is
# ended after a while or so many bytes; the browser opens the next by itself and says what it has seen. Seconds, bytes.
LIVES, MOST_BYTES = 120.0, 256 * 1024
QUIET = 15.0


class Wanted(BaseModel):
    """As the socket's hello. `last` is the id of the last event seen: the millisecond in which it was sent."""

    model_config = ConfigDict(extra="forbid")

    topic: str = Field(pattern=NAMES)
    ids: Annotated[str, Field(max_length=8000)] = ""
    away: int = Field(default=0, ge=0)
    line: bool = False
    last: int | None = Field(default=None, ge=0)

    def missed(self) -> float:
        """For how many seconds this page may have missed changes."""
        return self.away / 1000 if self.last is None else max(0.0, time.time() - self.last / 1000) + 1.0


@require_GET
async def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    given = {name: request.GET[name] for name in request.GET}
    if (last := request.headers.get("Last-Event-ID")) is not None:
        given["last"] = last
    try:
        wanted = Wanted.model_validate(given)
    except ValidationError:
        return HttpResponse("no such topic", status=400, content_type="text/plain")
    user = await request.auser()
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def close(_: int) -> None:
        await queue.put(None)

    sight = await sync_to_async(sight_of)(user)
    client = Client(send=queue.put, close=close, session_key=request.session.session_key or "", user_id=user.pk or 0, sight=sight)
    if not hub().join(client):
        return HttpResponse("too many live pages", status=429, content_type="text/plain")
    return StreamingHttpResponse(
        _stream(client, queue, wanted), content_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


async def _stream(client: Client, queue: asyncio.Queue[str | None], wanted: Wanted) -> AsyncIterator[bytes]:
    began, sent = time.monotonic(), 0
    try:
        yield b"retry: 1000\n\n"
        ids = shown(wanted.topic, [i for i in wanted.ids.split(",") if i][:200])
        await hub().hello(client, wanted.topic, ids, wanted.missed(), line=wanted.line)
        while time.monotonic() - began < LIVES and sent < MOST_BYTES:
            text: str | None = ""
            with contextlib.suppress(TimeoutError):
                text = await asyncio.wait_for(queue.get(), QUIET)
            if text is None:
                return
            event = f"id: {round(time.time() * 1000)}\ndata: {text}\n\n".encode() if text else b": quiet\n\n"
            sent += len(event)
            yield event
            await hub().ack(client, client.sent - queue.qsize())
    finally:
        await hub().leave(client)
