"""One for each web process: keeps what changed, as jobs.live hears it, and feeds every socket from one encoded frame.

The cost of an update grows with the sockets only by the write itself. Frames of a topic are numbered; a client that sees a gap
asks for a snapshot, and so does the hub for a client that has not kept up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from channels.db import database_sync_to_async
from django.conf import settings

from dashboard.access import still_signed_in
from dashboard.viewers import ALL, Client, Topic
from jobs import queries
from jobs.deltas import MOST_LINES, Weight, is_whole, merge, with_lines
from jobs.events import Delta
from jobs.live import AWAY, ended, listener, moved_lately, started

log = logging.getLogger(__name__)

# From one frame to the next at least this long; under load, when much has changed or many are told, up to four a second. Seconds.
# Shorter is later: at 0.05 a browser that draws twenty rows falls behind; 20 jobs x 10 reports a second are seen after 207 ms
# (p50) instead of 85.
GAP, GAP_UNDER_LOAD, LOAD = 0.08, 0.25, 50
# So many frames may run ahead of that pace after a time of quiet, this far apart: a job that is over at once is seen at once.
AHEAD, APART = 3, 0.005
# For each client: so a process writes 4,000 frames a second at most, about half of a core.
GAP_EACH = 0.00025
# So many are written to before others have their turn: what lies in the buffers of these is sent, what came is read.
AT_ONCE = 50
TEND_EVERY = 3.0
# A page that says where its job stands in line is told so often at most that the line has moved.
LINE_EVERY = 9.0
MOST_AWAY = 3600.0
# After a sign-out its session is taken away a moment later than it is told.
SIGN_OUT_TAKES = 0.5
CHECK, LINE = "check", "line"


class Hub:
    """The sockets of one event loop."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()
        # Numbers of frames mean something within one epoch only: a page that meets another one asks for a snapshot.
        self.epoch = secrets.token_hex(4)
        self._topics: defaultdict[Topic, set[Client]] = defaultdict(set)
        self._numbers: defaultdict[Topic, int] = defaultdict(int)
        self._listener = listener()
        self._changed: dict[str, Delta] = {}
        self._wake = asyncio.Event()
        self._doubt = asyncio.Event()
        self._line_moved, self._line_told_at = False, 0.0
        self._pace = Pace()
        self._tasks: list[asyncio.Task[None]] = []

    # --- sockets -----------------------------------------------------------------------------------------------------
    def join(self, client: Client) -> bool:
        """The first connection starts the hub's tasks. False: this person holds as many as one may."""
        if sum(other.user_id == client.user_id for other in self.clients) >= settings.JOBSITE_SOCKETS_PER_USER:
            return False
        self.clients.add(client)
        if not self._tasks:
            self._listener.join(self._note, self._word)
            self._tasks = [started(loop) for loop in (self._speak, self._tend, self._check)]
        return True

    async def leave(self, client: Client) -> None:
        """The last socket ends them: a process that nobody watches is quiet."""
        self._forget(client)
        if not self.clients:
            tasks, self._tasks = self._tasks, []
            self._changed = {}
            await self._listener.leave(self._note)
            await ended(tasks)

    async def hello(self, client: Client, name: str, ids: list[str], away: float = 0.0, *, line: bool = False) -> None:
        """The client shows these jobs: give it their state now, and then every change of its topic.

        `away` is for how many seconds it may have missed changes of other jobs.
        """
        if client not in self.clients:
            return
        self._unsubscribe(client)
        beside = frozenset(ids[1:]) if name.startswith("job:") else frozenset()
        client.topic, client.ids, client.missed = Topic(name, client.sight, beside, line), ids, []
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
        except AWAY as error:
            log.warning("a snapshot could not be read, tried again: %s", error)
            client.missed = [*lines, *client.missed][-MOST_LINES:]
            client.behind, client.behind_since = True, began - away
            return
        if client.topic != topic or client not in self.clients:
            return
        newest = [self._listener.memory.newest(delta) for delta in read]
        deltas = [with_lines(delta, lines if delta["id"] == topic.job else []) for delta in newest if topic.shows(delta)]
        # Numbered after the read: what was sent meanwhile has reached the client already.
        message = {"t": "snapshot", "e": self.epoch, "n": self._numbers[topic], "jobs": deltas}
        await self._give(client, orjson.dumps(message).decode())

    async def _state(self, ids: list[str], away: float) -> list[Delta]:
        """These jobs, and what moved while the client was away. From memory as far as it reaches: a second page costs no query."""
        moved = self._listener.memory.moved_since(time.monotonic() - away) if away else []
        unknown = [job for job in ids if self._listener.memory.get(job) is None]
        read = await database_sync_to_async(_read)(unknown, away if moved is None else 0.0) if unknown or moved is None else []
        for delta in read:
            if self._listener.memory.get(delta["id"]) is None:
                self._listener.memory.keep(delta)
        known = [kept for job in ids if (kept := self._listener.memory.get(job)) is not None]
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
    def _note(self, delta: Delta, weight: Weight) -> None:
        """Remember for the next frame; an old report matters only for the line that it brings to one that is on its way."""
        job = delta["id"]
        if weight is Weight.NEWS:
            self._line_moved |= is_whole(delta)
            self._changed[job] = merge(self._changed.get(job), delta)
            self._wake.set()
        elif job in self._changed:
            self._changed[job] = merge(self._changed[job], delta)

    def _word(self, word: str) -> None:
        if word == CHECK:
            self._doubt.set()
        elif word == LINE:
            self._line_moved = True

    async def _tend(self) -> None:
        """Let go who does not read, make up for what was not sent, and tell that the line has moved."""
        while True:
            await asyncio.sleep(TEND_EVERY)
            now = time.monotonic()
            for client in list(self.clients):
                if client.is_silent(now):
                    await self._let_go(client, 4408)
                elif client.behind and not client.full:
                    await self._make_up(client)
            if self._line_moved and now - self._line_told_at >= LINE_EVERY:
                self._line_moved, self._line_told_at = False, now
                for topic in [topic for topic in self._topics if topic.line]:
                    await self._tell(topic, [], {"line": True})

    async def _check(self) -> None:
        """Whoever signed out, or may not sign in or see any more, is let go: soon where it was told, else within a minute."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._doubt.wait(), settings.JOBSITE_SESSION_CHECK)
                self._doubt.clear()
                await asyncio.sleep(SIGN_OUT_TAKES)
            await self.check_now()

    async def check_now(self) -> None:
        clients = list(self.clients)
        try:
            valid = await database_sync_to_async(still_signed_in)({client.holder for client in clients})
        except AWAY as error:
            log.warning("nobody could be checked, tried again: %s", error)
            return
        for client in clients:
            if client.holder not in valid:
                await self._let_go(client, 4401)
            elif client.sight != valid[client.holder]:
                client.sight = valid[client.holder]
                await self.hello(client, client.topic.name, client.ids, line=client.topic.line)

    # --- frames ------------------------------------------------------------------------------------------------------
    async def _speak(self) -> None:
        """At once when it was quiet, and a few more; then with a gap, so that a burst makes few frames."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            began = time.monotonic()
            changed, self._changed = self._changed, {}
            await self._send(changed)
            gap = gap_after(len(changed), len(self.clients))
            await asyncio.sleep(self._pace.pause(gap, began=began, now=time.monotonic()))

    async def _send(self, changed: dict[str, Delta]) -> None:
        for topic in list(self._topics):
            if deltas := self._wanted(topic, changed):
                await self._tell(topic, deltas)

    async def _tell(self, topic: Topic, deltas: list[Any], more: dict[str, bool] | None = None) -> None:
        """One frame, encoded once, for everybody who shows this."""
        self._numbers[topic] += 1
        told = {"t": "frame", "e": self.epoch, "n": self._numbers[topic], "jobs": deltas} | (more or {})
        frame = orjson.dumps(told).decode()
        lines: list[str] = next((delta.get("diagnostics", []) for delta in deltas if delta["id"] == topic.job), [])
        for place, client in enumerate(list(self._topics.get(topic, ())), 1):
            if place % AT_ONCE == 0:
                await asyncio.sleep(0)
            # Meanwhile it may have left, or turned to another topic.
            if client not in self._topics.get(topic, ()):
                continue
            if client.full:
                client.fall_behind(time.monotonic(), lines)
            else:
                await self._give(client, frame)

    def _wanted(self, topic: Topic, changed: dict[str, Delta]) -> list[Any]:
        around = (topic.job, *topic.beside) if topic.job else changed
        # Lines of diagnostics are for who looks at the job itself.
        return [
            delta if job == topic.job else {k: v for k, v in delta.items() if k != "diagnostics"}
            for job in around
            if (delta := changed.get(job)) is not None
            and ((topic.name == ALL and topic.sight.is_whole) or topic.shows(self._whole(delta)))
        ]

    def _whole(self, delta: Delta) -> Delta:
        """A progress report says nothing of project and batch: what was kept does."""
        return self._listener.memory.get(delta["id"]) or delta


def gap_after(changed: int, clients: int) -> float:
    """Seconds from one frame to the next, when this one told so many changes to so many clients."""
    return GAP_UNDER_LOAD if changed > LOAD else min(GAP_UNDER_LOAD, max(GAP, GAP_EACH * clients))


class Pace:
    """One frame a gap in the long run; while few are told little, the first ones after a quiet time need not wait for it."""

    def __init__(self) -> None:
        self._due = 0.0  # when the pace alone would allow the next frame

    def pause(self, gap: float, *, began: float, now: float) -> float:
        """Seconds to wait after a frame that was written from `began` to `now`. However long that took, others have their turn."""
        self._due = max(self._due, began) + gap
        early = AHEAD * gap if gap <= GAP else 0.0
        return max(APART if early else GAP / 2, self._due - early - now)


def _read(ids: list[str], away: float) -> list[Delta]:
    """These jobs, and what moved in the last `away` seconds."""
    found = {delta["id"]: delta for delta in moved_lately(min(away, MOST_AWAY) + 1.0)} if away else {}
    found |= {delta["id"]: delta for delta in queries.deltas(ids)} if ids else {}
    return list(found.values())


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running loop: a web process has one loop and one hub."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
