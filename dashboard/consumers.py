"""The door of the live pages: a socket says what it shows, the hub does the rest."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from channels.generic.websocket import AsyncWebsocketConsumer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from dashboard.hub import Client, hub

MOST_BYTES = 16 * 1024
# Messages a client may send in ten seconds; a busy page acknowledges about twelve frames a second.
MOST_MESSAGES, WINDOW = 300, 10.0


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Hello(_Message):
    """What this page shows: all jobs (and of these the rows named), or one job."""

    t: Literal["hello"]
    topic: str = Field(pattern=r"^(jobs|job:[A-Za-z0-9][A-Za-z0-9._:-]{0,63})$")
    ids: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=200)


class Ack(_Message):
    """How many messages of ours have arrived since the socket was opened."""

    t: Literal["ack"]
    n: int = Field(ge=0)


_messages: TypeAdapter[Hello | Ack] = TypeAdapter(Annotated[Hello | Ack, Field(discriminator="t")])


class LiveConsumer(AsyncWebsocketConsumer):
    """Closes with 4401 for who is not signed in, 4400 for what is no message of ours, 4429 for a flood."""

    client: Client | None = None

    async def connect(self) -> None:
        await self.accept()
        user, session = self.scope.get("user"), self.scope.get("session")
        if user is None or not user.is_authenticated or session is None:
            await self.close(4401)
            return
        self._heard: list[float] = []
        self.client = Client(send=self._send_text, close=self._close, session_key=session.session_key, user_id=user.pk)
        hub().join(self.client)

    async def disconnect(self, code: int) -> None:
        if self.client is not None:
            await hub().leave(self.client)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        if self.client is None:
            return
        now = time.monotonic()
        self._heard = [at for at in self._heard if now - at < WINDOW]
        self._heard.append(now)
        if len(self._heard) > MOST_MESSAGES:
            await self.close(4429)
            return
        if text_data is None or len(text_data) > MOST_BYTES:
            await self.close(4400)
            return
        try:
            message = _messages.validate_json(text_data)
        except ValidationError:
            await self.close(4400)
            return
        if isinstance(message, Hello):
            ids = [message.topic.removeprefix("job:")] if message.topic != "jobs" else message.ids
            await hub().hello(self.client, message.topic, ids)
        else:
            await hub().ack(self.client, message.n)

    async def _send_text(self, text: str) -> None:
        await self.send(text_data=text)

    async def _close(self, code: int) -> None:
        await self.close(code)
