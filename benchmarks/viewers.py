"""Live pages as the hub sees them: they say what they show, acknowledge as a page does, and note how late each change came."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import websockets

# As static/js/live.js does: one acknowledgement for so many messages, or after so long. Seconds.
ACK_EVERY, ACK_WITHIN = 5, 1.0
AT_ONCE = 50


@lru_cache(maxsize=64)
def read(text: str) -> tuple[bool, list[tuple[str, int, float | None]]]:
    """Of a message that a thousand get: is it a frame; and of each job its tick, and when that was told (ms since the epoch)."""
    message = json.loads(text)
    told = [(job["id"], job["v"][1], job.get("message", "")) for job in message["jobs"]]
    at = [(name, tick, float(words[3:]) if words.startswith("at ") else None) for name, tick, words in told]
    return message["t"] == "frame", at


@dataclass(eq=False)
class Viewer:
    """`deaf`: it says hello and never reads again."""

    address: str
    headers: dict[str, str]
    deaf: bool = False
    late: list[float] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)
    opened: asyncio.Event = field(default_factory=asyncio.Event)
    received: int = 0
    acked: int = 0
    socket: Any = None

    async def watch(self, ready: asyncio.Semaphore) -> None:
        async with ready:
            self.socket = await self.connected()
            await self.socket.send(json.dumps({"t": "hello", "topic": "jobs", "ids": []}))
            if self.deaf:
                self.socket.transport.pause_reading()
                self.opened.set()
                return
            self.take(await self.socket.recv())
        async for text in self.socket:
            self.take(text)
            if self.received - self.acked >= ACK_EVERY:
                await self.ack()

    async def connected(self) -> Any:
        """As a page does: when it cannot be reached it tries again, each time later, and not with all others at once."""
        wait = 0.5
        while True:
            try:
                return await websockets.connect(
                    self.address, additional_headers=self.headers, open_timeout=30, ping_interval=None, compression=None
                )
            except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidMessage):
                await asyncio.sleep(wait * (0.5 + random.random()))  # noqa: S311  (spreads, hides nothing)
                wait = min(wait * 2, 10.0)

    async def ack(self) -> None:
        if self.acked < self.received and self.socket is not None:
            self.acked = self.received
            await self.socket.send(json.dumps({"t": "ack", "n": self.received}))

    def take(self, text: str) -> None:
        self.received += 1
        self.opened.set()
        now, (is_frame, jobs) = time.time() * 1000, read(text)
        for job, tick, at in jobs:
            if tick > self.seen.get(job, 0):
                self.seen[job] = tick
                if is_frame and at is not None:
                    self.late.append(now - at)


async def _acknowledging(viewers: Sequence[Viewer]) -> None:
    while True:
        await asyncio.sleep(ACK_WITHIN)
        for viewer in viewers:
            with contextlib.suppress(websockets.ConnectionClosed):
                await viewer.ack()


@contextlib.asynccontextmanager
async def open_pages(
    address: str, headers: dict[str, str], number: int, *, at_once: int = AT_ONCE, deaf: bool = False
) -> AsyncIterator[tuple[list[Viewer], float]]:
    """So many viewers, and the seconds until the last of them had its snapshot; closed at the end."""
    began, ready = time.monotonic(), asyncio.Semaphore(at_once)
    viewers = [Viewer(address, headers, deaf=deaf) for _ in range(number)]
    tasks = [asyncio.create_task(viewer.watch(ready)) for viewer in viewers]
    acks = asyncio.create_task(_acknowledging(viewers))
    try:
        await asyncio.wait_for(asyncio.gather(*[viewer.opened.wait() for viewer in viewers]), 90)
        yield viewers, time.monotonic() - began
    finally:
        for task in (acks, *tasks):
            task.cancel()
        await asyncio.gather(acks, *tasks, return_exceptions=True)
        for viewer in viewers:
            if viewer.socket is not None:
                # Without a farewell, as when a browser is gone: a thousand handshakes would take their time.
                viewer.socket.transport.abort()
