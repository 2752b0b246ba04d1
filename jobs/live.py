"""What happens to jobs, heard once for a whole process and passed on to everybody in it who listens: pages, long polls, streams.

One subscription, one memory of the newest state of each job, and a look at the database every few seconds that heals what got lost.
Its cost does not grow with those who listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from weakref import WeakKeyDictionary

import orjson
import redis
import redis.asyncio
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models.functions import Now

from jobs import queries
from jobs.deltas import Memory, Weight, checked, merge
from jobs.events import Delta
from jobs.redis_link import LIVE_CHANNEL

log = logging.getLogger(__name__)

HEAL_EVERY = 3.0
# Read again this much, because events are committed in another order than they are timed. Seconds.
OVERLAP = 5.0
MEND_EVERY = 0.25
AWAY = (DatabaseError, InterfaceError)

# Told each delta and what it is worth: news, or an old report that carries a line of diagnostics.
Ear = Callable[[Delta, Weight], None]


class Listener:
    """The ears of one event loop."""

    def __init__(self) -> None:
        self.memory = Memory()
        self._ears: list[Ear] = []
        self._words: list[Callable[[str], None]] = []
        self._torn: dict[str, Delta] = {}
        self._tear = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._healed_at = 0.0

    def join(self, ear: Ear, word: Callable[[str], None] | None = None) -> None:
        """The first ear starts the listening. `word` is told what is published beside deltas: one word."""
        self._ears.append(ear)
        if word is not None:
            self._words.append(word)
        if not self._tasks:
            self._healed_at = time.monotonic()
            loops = (self._listen, self._mend, self._heal)
            self._tasks = [started(loop) for loop in loops]

    def has(self, ear: Ear) -> bool:
        return ear in self._ears

    async def leave(self, ear: Ear) -> None:
        """The last ear ends it: a process that nobody asks is quiet."""
        self._ears.remove(ear)
        if not self._ears:
            self._words.clear()
            tasks, self._tasks = self._tasks, []
            self.memory.clear()
            self._torn = {}
            await ended(tasks)

    def note(self, delta: Delta) -> None:
        """Pass on what is new."""
        job, weight = delta["id"], self.memory.weigh(delta)
        if weight is Weight.TORN:
            self._torn[job] = merge(self._torn.get(job), delta)
            self._tear.set()
            return
        if weight is Weight.NEWS:
            self.memory.keep(delta, at=time.monotonic())
        if weight is Weight.NEWS or delta.get("diagnostics"):
            for ear in list(self._ears):
                ear(delta, weight)

    async def _listen(self) -> None:
        """One subscription. While Redis is away the heal goes on; when it is back, what was missed is read at once."""
        pause = 0.1
        while True:
            link = redis.asyncio.Redis.from_url(
                settings.REDIS_URL, socket_timeout=30, socket_connect_timeout=2, health_check_interval=10
            )
            try:
                async with link.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(LIVE_CHANNEL)
                    began = time.monotonic()
                    if await self._catch_up():
                        self.memory.complete_since = min(self.memory.complete_since, began)
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
        for word in self._words if isinstance(items, str) else ():
            word(items)
        for item in items if isinstance(items, list) else []:
            if (delta := checked(item)) is not None:
                self.note(delta)

    async def _mend(self) -> None:
        """Progress of a job whose last move was lost on the way: read the job, then let the progress follow."""
        while True:
            await self._tear.wait()
            self._tear.clear()
            torn, self._torn = self._torn, {}
            for whole in await _wholes(list(torn)):
                self.note(whole)
            for delta in torn.values():
                # What is still torn belongs to no job, or the database is away: the next report asks again.
                if self.memory.weigh(delta) is not Weight.TORN:
                    self.note(delta)
            await asyncio.sleep(MEND_EVERY)

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(HEAL_EVERY)
            await self._catch_up()

    async def _catch_up(self) -> bool:
        """One read for the whole process: what moved lately, whether or not a message told us. False: it could not be read."""
        now = time.monotonic()
        try:
            moved = await database_sync_to_async(moved_lately)(now - self._healed_at + OVERLAP)
        except AWAY as error:
            log.warning("what moved could not be read: %s", error)
            return False
        self._healed_at = max(self._healed_at, now)
        for delta in moved:
            self.note(delta)
        return True


def moved_lately(seconds: float) -> list[Delta]:
    """By the database's clock alone: ours may be hours away from it."""
    return queries.changed_since(Now() - timedelta(seconds=seconds))


async def _wholes(ids: list[str]) -> list[Delta]:
    try:
        found: list[Delta] = await database_sync_to_async(queries.deltas)(ids)
    except AWAY as error:
        log.warning("jobs could not be read: %s", error)
        return []
    return found


def started(loop: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A loop that runs until it is ended.

    In a context of its own: that of a request, which may have been the first to need it, ends with the request, and with it the
    thread in which its queries run.
    """
    return asyncio.create_task(kept_up(loop), name=loop.__name__, context=contextvars.Context())


async def kept_up(loop: Callable[[], Awaitable[None]], pause: float = 1.0) -> None:
    """A process that lost one of its loops would leave every page still, so an error only makes it begin again."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a loop of the live path broke and begins again")
            await asyncio.sleep(pause)


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancelled until it takes: a connect of the Redis client may swallow the first."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


_listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, Listener] = WeakKeyDictionary()


def listener() -> Listener:
    """The listener of the running loop: a web process has one loop and one listener."""
    loop = asyncio.get_running_loop()
    if loop not in _listeners:
        _listeners[loop] = Listener()
    return _listeners[loop]
