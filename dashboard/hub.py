"""One for each web process: listens once, keeps what changed, and feeds every socket from one encoded frame.

The cost of an update grows with the sockets only by the write itself. Frames of a topic are numbered; a client that sees a gap
asks for a snapshot, and so does the hub for a client that has not kept up.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

import orjson
import redis
import redis.asyncio
from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models.functions import Now

from dashboard.access import still_signed_in
from dashboard.frames import MOST_LINES, Memory, Weight, checked, merge, with_lines
from dashboard.viewers import ALL, Client, Topic
from jobs import queries
from jobs.events import Delta
from jobs.redis_link import LIVE_CHANNEL

log = logging.getLogger(__name__)

# Between two frames at least this long; more when much has changed. Seconds.
GAP, GAP_UNDER_LOAD, LOAD = 0.08, 0.25, 50
HEAL_EVERY = 3.0
# Read again this much, because events are committed in another order than they are timed.
OVERLAP = 5.0
CHECK_EVERY = 30.0
MOST_AWAY = 3600.0
# After a sign-out its session is taken away a moment later than it is told.
SIGN_OUT_TAKES = 0.5
CHECK = "check"
_AWAY = (DatabaseError, InterfaceError)


class Hub:
    """The sockets of one event loop."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        # Numbers of frames mean something within one epoch only: a page that meets another one asks for a snapshot.
        self.epoch = secrets.token_hex(4)
        self._topics: defaultdict[Topic, set[Client]] = defaultdict(set)
        self._numbers: defaultdict[Topic, int] = defaultdict(int)
        self._memory = Memory()
        self._changed: dict[str, Delta] = {}
        self._wake = asyncio.Event()
        self._torn: dict[str, Delta] = {}
        self._tear = asyncio.Event()
        self._doubt = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._healed_at = 0.0

    # --- sockets -----------------------------------------------------------------------------------------------------
    def join(self, client: Client) -> bool:
        """The first connection starts the hub's tasks. False: this person holds as many as one may."""
        if sum(other.user_id == client.user_id for other in self.clients) >= settings.JOBSITE_SOCKETS_PER_USER:
            return False
        self.clients.add(client)
        if not self._tasks:
            self._healed_at = time.monotonic()
            loops = (self._listen, self._speak, self._mend, self._heal, self._check)
            # In a context of their own: that of a request, which opened the first stream, ends with the request, and with it the
            # thread in which its queries run.
            self._tasks = [
                asyncio.create_task(_kept_up(loop), name=f"hub{loop.__name__}", context=contextvars.Context()) for loop in loops
            ]
        return True

    async def leave(self, client: Client) -> None:
        """The last socket ends them: a process that nobody watches is quiet."""
        self._forget(client)
        if not self.clients:
            tasks, self._tasks = self._tasks, []
            self._memory.clear()
            self._changed, self._torn = {}, {}
            await _ended(tasks)

    async def hello(self, client: Client, name: str, ids: list[str], away: float = 0.0) -> None:
        """The client shows these jobs: give it their state now, and then every change of its topic.

        `away` is for how many seconds it may have missed changes of other jobs.
        """
        if client not in self.clients:
            return
        self._unsubscribe(client)
        client.topic, client.ids, client.missed = Topic(name, client.sight), ids, []
        self._topics[client.topic].add(client)
        client.behind = False
        # Whoever does not read gets nothing for asking either.
        if client.full:
            client.fall_behind(time.monotonic() - away, [])
        else:
            await self._snapshot(client, away)

    async def ack(self, client: Client, number: int) -> None:
        if client.acked < number <= client.sent:
            client.acked, client.waiting_since = number, time.monotonic()
        if client.behind and not client.full:
            await self._make_up(client)

    async def _make_up(self, client: Client) -> None:
        await self._snapshot(client, time.monotonic() - client.behind_since)

    async def _snapshot(self, client: Client, away: float) -> None:
        topic, lines, began = client.topic, client.missed, time.monotonic()
        client.behind, client.missed = False, []
        try:
            read = await self._state(client.ids, 0.0 if topic.job else away)
        except _AWAY as error:
            log.warning("a snapshot could not be read, tried again: %s", error)
            client.missed = [*lines, *client.missed][-MOST_LINES:]
            client.behind, client.behind_since = True, began - away
            return
        if client.topic != topic or client not in self.clients:
            return
        newest = [self._memory.newest(delta) for delta in read]
        deltas = [with_lines(delta, lines if topic.job else []) for delta in newest if topic.shows(delta)]
        # Numbered after the read: what was sent meanwhile has reached the client already.
        message = {"t": "snapshot", "e": self.epoch, "n": self._numbers[topic], "jobs": deltas}
        await self._give(client, orjson.dumps(message).decode())

    async def _state(self, ids: list[str], away: float) -> list[Delta]:
        """These jobs, and what moved while the client was away. From memory as far as it reaches: a second page costs no query."""
        moved = self._memory.moved_since(time.monotonic() - away) if away else []
        unknown = [job for job in ids if self._memory.get(job) is None]
        read = await database_sync_to_async(_read)(unknown, away if moved is None else 0.0) if unknown or moved is None else []
        for delta in read:
            if self._memory.get(delta["id"]) is None:
                self._memory.keep(delta)
        known = [kept for job in ids if (kept := self._memory.get(job)) is not None]
        return list({delta["id"]: delta for delta in [*read, *(moved or []), *known]}.values())

    async def _give(self, client: Client, text: str) -> None:
        if client.sent == client.acked:
            client.waiting_since = time.monotonic()
        client.sent += 1
        # A socket that closes at this moment is taken out by its own consumer.
        with contextlib.suppress(Exception):
            await client.send(text)

    async def _let_go(self, client: Client, code: int) -> None:
        """Forgotten at once: the socket's own end may take a while."""
        self._forget(client)
        with contextlib.suppress(Exception):
            await client.close(code)

    def _forget(self, client: Client) -> None:
        self.clients.discard(client)
        self._unsubscribe(client)

    def _unsubscribe(self, client: Client) -> None:
        self._topics[client.topic].discard(client)
        if not self._topics[client.topic]:
            del self._topics[client.topic]
            self._numbers.pop(client.topic, None)

    # --- what changed ------------------------------------------------------------------------------------------------
    def note(self, delta: Delta) -> None:
        """Remember for the next frame, unless it is known."""
        job, weight = delta["id"], self._memory.weigh(delta)
        if weight is Weight.TORN:
            self._torn[job] = merge(self._torn.get(job), delta)
            self._tear.set()
        elif weight is Weight.NEWS:
            self._memory.keep(delta, at=time.monotonic())
            self._changed[job] = merge(self._changed.get(job), delta)
            self._wake.set()
        elif delta.get("diagnostics") and job in self._changed:
            self._changed[job] = merge(self._changed[job], delta)

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
                        self._memory.complete_since = min(self._memory.complete_since, began)
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
        if items == CHECK:
            self._doubt.set()
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
                if self._memory.weigh(delta) is not Weight.TORN:
                    self.note(delta)
            await asyncio.sleep(GAP_UNDER_LOAD)

    async def _heal(self) -> None:
        while True:
            await asyncio.sleep(HEAL_EVERY)
            await self._catch_up()
            now = time.monotonic()
            for client in list(self.clients):
                if client.is_silent(now):
                    await self._let_go(client, 4408)
                elif client.behind and not client.full:
                    await self._make_up(client)

    async def _catch_up(self) -> bool:
        """One read for the whole process: what moved lately, whether or not a message told us. False: it could not be read."""
        now = time.monotonic()
        try:
            moved = await database_sync_to_async(_moved)(now - self._healed_at + OVERLAP)
        except _AWAY as error:
            log.warning("the live pages could not catch up: %s", error)
            return False
        self._healed_at = max(self._healed_at, now)
        for delta in moved:
            self.note(delta)
        return True

    async def _check(self) -> None:
        """Whoever signed out, or may not sign in or see any more, is let go: soon where it was told, else within a minute."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), CHECK_EVERY)
                self._doubt.clear()
                await asyncio.sleep(SIGN_OUT_TAKES)
            await self.check_now()

    async def check_now(self) -> None:
        clients = list(self.clients)
        try:
            valid = await database_sync_to_async(still_signed_in)({client.holder for client in clients})
        except _AWAY as error:
            log.warning("nobody could be checked, tried again: %s", error)
            return
        for client in clients:
            if client.holder not in valid:
                await self._let_go(client, 4401)
            elif client.sight != valid[client.holder]:
                client.sight = valid[client.holder]
                await self.hello(client, client.topic.name, client.ids)

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
        for topic in list(self._topics):
            deltas = self._wanted(topic, changed)
            if not deltas:
                continue
            self._numbers[topic] += 1
            frame = orjson.dumps({"t": "frame", "e": self.epoch, "n": self._numbers[topic], "jobs": deltas}).decode()
            lines = deltas[0].get("diagnostics", []) if topic.job else []
            for client in list(self._topics.get(topic, ())):
                if client.full:
                    client.fall_behind(time.monotonic(), lines)
                else:
                    await self._give(client, frame)

    def _wanted(self, topic: Topic, changed: dict[str, Delta]) -> list[Any]:
        if job := topic.job:
            delta = changed.get(job)
            return [delta] if delta is not None and topic.shows(self._whole(delta)) else []
        # Lines of diagnostics are for who looks at the job itself.
        return [
            {k: v for k, v in delta.items() if k != "diagnostics"}
            for delta in changed.values()
            if (topic.name == ALL and topic.sight.is_whole) or topic.shows(self._whole(delta))
        ]

    def _whole(self, delta: Delta) -> Delta:
        """A progress report says nothing of project and batch: what was kept does."""
        return self._memory.get(delta["id"]) or delta


async def _kept_up(loop: Callable[[], Awaitable[None]], pause: float = 1.0) -> None:
    """A hub that lost one of its loops would leave every page still, so an error only makes it begin again."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a loop of the hub broke and begins again")
            await asyncio.sleep(pause)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancelled until it takes: a connect of the Redis client may swallow the first."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


async def _wholes(ids: list[str]) -> list[Delta]:
    try:
        found: list[Delta] = await database_sync_to_async(queries.deltas)(ids)
    except _AWAY as error:
        log.warning("the live pages could not read: %s", error)
        return []
    return found


def _moved(seconds: float) -> list[Delta]:
    """By the database's clock alone: ours may be hours away from it."""
    return queries.changed_since(Now() - timedelta(seconds=seconds))


def _read(ids: list[str], away: float) -> list[Delta]:
    """These jobs, and what moved in the last `away` seconds."""
    found = {delta["id"]: delta for delta in _moved(min(away, MOST_AWAY) + 1.0)} if away else {}
    found |= {delta["id"]: delta for delta in queries.deltas(ids)} if ids else {}
    return list(found.values())


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running loop: a web process has one loop and one hub."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
