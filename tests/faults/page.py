"""A page as a browser keeps it: says hello, acknowledges, keeps the newest of each job, comes back when it is cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

import websockets
from websockets.asyncio.client import connect

SIGN_IN = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.get_or_create(username={name!r}, is_superuser=True)[0])
print(client.session.session_key)
"""


def session(running: Any, name: str = "ada") -> str:
    """The cookie of somebody who is signed in."""
    return str(running.manage("shell", "-v", "0", "-c", SIGN_IN.format(name=name)).split()[-1])


class Page:
    """`seen`: id -> the newest version and status. `back` counts what went back, which must never happen."""

    def __init__(self, address: str, cookie: str, *, acknowledges: bool = True) -> None:
        self._url = address.replace("http", "ws", 1) + "/live/"
        self._headers = {"Cookie": f"sessionid={cookie}", "Origin": address}
        self._acknowledges = acknowledges
        self.seen: dict[str, tuple[tuple[int, int], str]] = {}
        self.back = 0
        self.opened, self.closed = 0, list[int]()
        self.heard_at = 0.0  # of the first message since it was set to 0
        self.open = asyncio.Event()

    async def keep_open(self) -> None:
        """Until cancelled; tries again as the page's own script does."""
        while True:
            with contextlib.suppress(OSError, websockets.WebSocketException, TimeoutError):
                await self.stay()
            self.open.clear()
            await asyncio.sleep(0.5)

    async def stay(self) -> None:
        """One connection, until it ends."""
        async with connect(self._url, additional_headers=self._headers, origin=None, max_size=None, open_timeout=30) as socket:
            await socket.send(json.dumps({"t": "hello", "topic": "jobs", "ids": list(self.seen)[-200:], "away": 60_000}))
            self.opened += 1
            number = 0
            try:
                async for text in socket:
                    number += 1
                    self.hear(json.loads(text))
                    self.open.set()
                    if self._acknowledges:
                        await socket.send(json.dumps({"t": "ack", "n": number}))
            finally:
                if socket.close_code is not None:
                    self.closed.append(socket.close_code)

    def hear(self, message: dict[str, Any]) -> None:
        self.heard_at = self.heard_at or time.monotonic()
        for delta in message["jobs"]:
            version = (int(delta["v"][0]), int(delta["v"][1]))
            known = self.seen.get(delta["id"])
            if known is None or version > known[0]:
                self.seen[delta["id"]] = (version, delta.get("status", known[1] if known else ""))
            elif version[0] == known[0][0] and delta.get("status", known[1]) != known[1]:
                self.back += 1  # the same version with another status

    def statuses(self) -> dict[str, str]:
        return {job: status for job, (_, status) in self.seen.items()}
