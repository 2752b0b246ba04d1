"""The door of the live pages: a socket says what it shows, the hub does the rest."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dashboard.hub import hub
from dashboard.viewers import NAMES, Client
from jobs.sight import sight_of

MOST_BYTES = 16 * 1024
# Messages a client may send at once, and then each second. A hello is answered by a query, so it counts as several.
BURST, A_SECOND, HELLO_COUNTS = 300.0, 30.0, 10


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Hello(_Message):
    """What this page shows: all jobs, those of a batch or project (and of these the rows named), or one job and those around it."""

    t: Literal["hello"]
    topic: str = Field(pattern=NAMES)
    ids: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=200)
    away: int = Field(default=0, ge=0, description="Milliseconds for which the page may have missed changes.")
    line: bool = Field(default=False, description="Of a job's page: also to be told that the line has moved.")


class Ack(_Message):
    """How many messages of ours have arrived since the socket was opened."""

    t: Literal["ack"]
    n: int = Field(ge=0)


_messages: TypeAdapter[Hello | Ack] = TypeAdapter(Annotated[Hello | Ack, Field(discriminator="t")])


class Allowance:
    """A bucket that fills with time: each message takes from it."""

    def __init__(self) -> None:
        self._left, self._at = BURST, time.monotonic()

    def spend(self, cost: int) -> bool:
        now = time.monotonic()
        self._left = min(BURST, self._left + A_SECOND * (now - self._at)) - cost
        self._at = now
        return self._left >= 0


class LiveConsumer(AsyncWebsocketConsumer):
    """Closes with 4401 for who is not signed in, 4400 for what is no message of ours, 4429 for a flood, 4409 for too many."""

    client: Client | None = None

    async def connect(self) -> None:
        await self.accept()
        user, session = self.scope.get("user"), self.scope.get("session")
        if user is None or not user.is_authenticated or session is None:
            await self.close(4401)
            return
        self._allowance = Allowance()
        sight = await database_sync_to_async(sight_of)(user)
        client = Client(send=self._send_text, close=self._close, session_key=session.session_key, user_id=user.pk, sight=sight)
        if hub().join(client):
            self.client = client
        else:
            await self.close(4409)

    async def disconnect(self, code: int) -> None:
        if self.client is not None:
            await hub().leave(self.client)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        if self.client is None:
            return
        message = _parsed(text_data)
        if not self._allowance.spend(HELLO_COUNTS if isinstance(message, Hello) else 1):
            await self._refuse(4429)
        elif message is None:
            await self._refuse(4400)
        elif isinstance(message, Ack):
            await hub().ack(self.client, message.n)
        else:
            ids = shown(message.topic, message.ids)
            await hub().hello(self.client, message.topic, ids, message.away / 1000, line=message.line)

    async def _refuse(self, code: int) -> None:
        """What the client still sends before it hears of it is not read any more."""
        client, self.client = self.client, None
        await self.close(code)
        if client is not None:
            await hub().leave(client)

    async def _send_text(self, text: str) -> None:
        await self.send(text_data=text)

    async def _close(self, code: int) -> None:
        await self.close(code)


def shown(topic: str, ids: list[str]) -> list[str]:
    """A job's own page shows that job first, and those around it that it names."""
    return [topic.removeprefix("job:"), *ids] if topic.startswith("job:") else ids


def _parsed(text: str | None) -> Hello | Ack | None:
    if text is None or len(text) > MOST_BYTES:
        return None
    try:
        return _messages.validate_json(text)
    except ValidationError:
        return None
