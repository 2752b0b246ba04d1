"""One for each web process: listens once, keeps what changed, and feeds every socket from one encoded frame.

The cost of an update grows with the sockets only by the write itself. Frames of a topic are numbered; a client that sees a gap
asks for a snapshot, and so does the hub for a client that has not kept up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import redis
import redis.asyncio
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from dashboard.access import still_signed_in
from dashboard.frames import checked, merge
from jobs import queries
from jobs.events import Delta
from jobs.redis_link import LIVE_CHANNEL

log = logging.getLogger(__name__)

# Between two frames at least this long; more when much has changed. Seconds.
GAP, GAP_UNDER_LOAD, LOAD = 0.08, 0.25, 50
HEAL_EVERY = 3.0
CHECK_EVERY = 30.0
# A client with this many frames on the way gets no more until it acknowledges; after this long it is let go.
MOST_UNACKED = 20
SILENT_FOR = 30.0

ALL = "jobs"


@dataclass(eq=False)
class Client:
    """One socket, as the hub sees it."""

    send: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    session_key: str
    user_id: int
    topic: str = ""
    ids: list[str] = field(default_factory=list)
    sent: int = 0
    acked: int = 0
    acked_at: float = field(default_factory=time.monotonic)
    behind: bool = False

    @property
    def full(self) -> bool:
        return self.sent - self.acked >= MOST_UNACKED


class Hub:
    """The sockets of one event loop."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        self._changed: dict[str, Delta] = {}
        self._numbers: defaultdict[str, int] = defaultdict(int)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._healed_to: datetime = timezone.now()

    # --- sockets -----------------------------------------------------------------------------------------------------
    def join(self, client: Client) -> None:
        """The first socket starts the hub's tasks."""
        self.clients.add(client)
        if not self._tasks:
            self._healed_to = timezone.now()
            loops = (self._listen, self._speak, self._heal, self._check)
            self._tasks = [asyncio.create_task(loop(), name=f"hub{loop.__name__}") for loop in loops]

    async def leave(self, client: Client) -> None:
        """The last socket ends them: a process that nobody watches is quiet."""
        self.clients.discard(client)
        if not self.clients:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def hello(self, client: Client, topic: str, ids: list[str]) -> None:
        """The client shows these jobs: give it their state now, and then every change of its topic."""
        client.topic, client.ids = topic, ids
        await self._snapshot(client)

    async def ack(self, client: Client, number: int) -> None:
        client.acked = max(client.acked, min(number, client.sent))
        client.acked_at = time.monotonic()
        if client.behind and not client.full:
            await self._snapshot(client)

    async def _snapshot(self, client: Client) -> None:
        number = self._numbers[client.topic]
        deltas = await database_sync_to_async(queries.deltas)(client.ids) if client.ids else []
        client.behind = False
        client.sent += 1
        await self._give(client, orjson.dumps({"t": "snapshot", "n": number, "jobs": deltas}).decode())

    async def _give(self, client: Client, text: str) -> None:
        # A socket that closes at this moment is taken out by its own consumer.
        with contextlib.suppress(Exception):
            await client.send(text)

    # --- what changed ------------------------------------------------------------------------------------------------
    def note(self, delta: Delta) -> None:
        """Remember for the next frame."""
        self._changed[delta["id"]] = merge(self._changed.get(delta["id"]), delta)
        self._wake.set()

    async def _listen(self) -> None:
        """One subscription. While Redis is away the heal goes on; when it is back, what was missed is read at once."""
        pause = 0.1
        while True:
            link = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_timeout=30, socket_connect_timeout=2)
            try:
                async with link.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(LIVE_CHANNEL)
                    await self._catch_up()
                    pause = 0.1
                    while True:
                        message = await pubsub.get_message(timeout=10)
                        if message is not None:
                            self._hear(message["data"])
            except (redis.RedisError, OSError) as error:
                log.warning("the live channel is away: %s", error)
            finally:
                with contextlib.suppress(redis.RedisError, OSError):
                    await link.aclose()
            await asyncio.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _hear(self, data: bytes) -> None:
        try:
            items = orjson.loads(data)
        except orjson.JSONDecodeError:
            log.warning("dropped a message on the live channel that is not JSON")
            return
        for item in items if isinstance(items, list) else []:
            if (delta := checked(item)) is not None:
                self.note(delta)

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(HEAL_EVERY)
            await self._catch_up()

    async def _catch_up(self) -> None:
        """One query for the whole process: what moved lately, whether or not a message told us."""
        now = timezone.now()
        try:
            # Overlapping, because events are committed in another order than they are timed.
            for delta in await database_sync_to_async(queries.changed_since)(self._healed_to - timedelta(seconds=5)):
                self.note(delta)
        except (DatabaseError, InterfaceError) as error:
            log.warning("the live pages could not catch up: %s", error)
            return
        self._healed_to = now

    async def _check(self) -> None:
        """Whoever signed out, or may not sign in any more, is let go within a minute."""
        while True:
            await asyncio.sleep(CHECK_EVERY)
            await self.check_now()

    async def check_now(self) -> None:
        clients = list(self.clients)
        valid = await database_sync_to_async(still_signed_in)({(c.session_key, c.user_id) for c in clients})
        for client in clients:
            if (client.session_key, client.user_id) not in valid:
                await client.close(4401)

    # --- frames ------------------------------------------------------------------------------------------------------
    async def _speak(self) -> None:
        """At once when it was quiet; then with a gap, so that a burst makes few frames."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            changed, self._changed = self._changed, {}
            await self._send(changed)
            await asyncio.sleep(GAP_UNDER_LOAD if len(changed) > LOAD else GAP)

    async def _send(self, changed: dict[str, Delta]) -> None:
        by_topic: defaultdict[str, list[Client]] = defaultdict(list)
        for client in self.clients:
            by_topic[client.topic].append(client)
        for topic, clients in by_topic.items():
            deltas = _wanted(topic, changed)
            if not deltas:
                continue
            self._numbers[topic] += 1
            frame = orjson.dumps({"t": "frame", "n": self._numbers[topic], "jobs": deltas}).decode()
            for client in clients:
                await self._offer(client, frame)

    async def _offer(self, client: Client, frame: str) -> None:
        if not client.full:
            client.sent += 1
            await self._give(client, frame)
            return
        client.behind = True
        if time.monotonic() - client.acked_at > SILENT_FOR:
            await client.close(4408)


def _wanted(topic: str, changed: dict[str, Delta]) -> list[Any]:
    if topic == ALL:
        # Lines of diagnostics are for who looks at the job itself.
        return [{k: v for k, v in delta.items() if k != "diagnostics"} for delta in changed.values()]
    delta = changed.get(topic.removeprefix("job:")) if topic.startswith("job:") else None
    return [] if delta is None else [delta]


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running loop: a web process has one loop and one hub."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
