"""Requests that are held: long polls and streams, thousands of them in one process, without a thread or a query each.

Stands before Django (jobsite/asgi.py). A request is answered by its view first, which says whether the answer can wait
(jobs.api.following). It then waits here for a push (jobs.live), costing a future and a socket.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from channels.db import database_sync_to_async
from django.conf import settings
from django.http import HttpResponse

from jobs.api.following import LONGEST_WAIT, SLOT, Following, Hold
from jobs.api.streaming import pump
from jobs.deltas import Weight, is_whole
from jobs.events import Delta
from jobs.live import AWAY, listener
from jobs.models import Job

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

PREFIX = "/api/v1/"
# Seconds for which the process goes on listening after the last held request.
LINGER = 60.0


class Holding:
    """An ASGI application around Django's."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        held = scope["path"].startswith(PREFIX) and (b"wait=" in scope["query_string"] or scope["path"].endswith("/stream"))
        if held:
            await _Request(self._app, scope, receive, send).serve()
        else:
            await self._app(scope, receive, send)


class _Request:
    """One request that may be held."""

    def __init__(self, app: App, scope: Message, receive: Receive, send: Send) -> None:
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self._until = time.monotonic() + LONGEST_WAIT
        self._asked_at = 0.0
        self._body: list[dict[str, Any]] = []

    async def serve(self) -> None:
        if not await self._read():
            return
        answer, following = await self._ask(LONGEST_WAIT)
        if following.stream is not None and answer[0]["status"] == 200:
            headers = [(name, value) for name, value in answer[0]["headers"] if name.lower() != b"content-length"]
            await self._send({**answer[0], "headers": headers})
            await pump(following.stream, self._send, self._gone())
            return
        if following.hold is not None:
            self._until = time.monotonic() + following.wait
            held = await self._hold(answer, following.hold)
            if held is None:
                return
            answer = held
        for message in answer:
            await self._send(message)

    async def _read(self) -> bool:
        """Keep the body, to be able to ask twice; one that is too large is passed on as it came and refused within."""
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return False
            size += len(message.get("body", b""))
            if size <= settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1:
                self._body.append(dict(message))
            if not message.get("more_body", False):
                self._body[-1]["more_body"] = False
                return True

    async def _ask(self, wait: float) -> tuple[list[Message], Following]:
        """The answer of the view, and what it wishes for."""
        self._asked_at = time.monotonic()
        following, answer, body = Following(wait), list[Message](), iter([dict(message) for message in self._body])

        async def receive() -> Message:
            for message in body:
                return message
            # Django waits here for the caller to hang up, until it has answered.
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            answer.append(message)

        await self._app({**self._scope, SLOT: following}, receive, send)
        return answer, following

    async def _hold(self, answer: list[Message], hold: Hold) -> list[Message] | None:
        """What to answer in the end; None when the caller has hung up."""
        gone = self._gone()
        try:
            while True:
                woken = await board().wait(hold, self._asked_at, min(self._left(), hold.again_after), gone)
                if gone.done():
                    return None
                if woken is not None and woken.job is not None and hold.answer is not None:
                    return _messages(hold.answer(woken.job))
                if woken is None and self._left() <= 0 and answer[0]["status"] == 304:
                    return answer
                may_go_on = hold.again_when_woken or woken is None
                answer, following = await self._ask(self._left() if may_go_on else 0.0)
                if following.hold is None:
                    return answer
                hold = following.hold
        finally:
            gone.cancel()

    def _left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def _gone(self) -> asyncio.Task[None]:
        async def hung_up() -> None:
            while (await self._receive())["type"] != "http.disconnect":
                pass

        return asyncio.create_task(hung_up())


def _messages(response: HttpResponse) -> list[Message]:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    start: Message = {"type": "http.response.start", "status": response.status_code, "headers": headers}
    return [start, {"type": "http.response.body", "body": response.content}]


@dataclass(frozen=True)
class _Woken:
    """`job` as it was read since, where one job was waited for."""

    job: Job | None


class _Waiter:
    """One held request."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.done: asyncio.Future[_Woken] = asyncio.get_running_loop().create_future()

    def wake(self, job: Job | None = None) -> None:
        if not self.done.done():
            self.done.set_result(_Woken(job=job))


class Board:
    """The held requests of one event loop, by what they wait for."""

    def __init__(self) -> None:
        self._listener = listener()
        self._listening = False
        self._jobs: defaultdict[str, set[_Waiter]] = defaultdict(set)
        # In the order in which they came: of those who would claim, one is woken for one attempt.
        self._others: dict[_Waiter, None] = {}
        self._moved: set[str] = set()
        self._late: set[str] = set()
        self._reading: asyncio.Task[None] | None = None
        self._empty_since = 0.0

    async def wait(self, hold: Hold, asked_at: float, seconds: float, gone: asyncio.Future[None]) -> _Woken | None:
        """What woke it since the view was asked; None: nothing did for so many seconds, or the caller is gone."""
        waiter, began = _Waiter(hold), time.monotonic()
        self._add(waiter, asked_at)
        try:
            ends: set[asyncio.Future[Any]] = {waiter.done, gone}
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._remove(waiter)
        if waiter.done.done() and (pause := began + hold.pause - time.monotonic()) > 0:
            await asyncio.sleep(min(pause, seconds))
        return waiter.done.result() if waiter.done.done() else None

    def _add(self, waiter: _Waiter, asked_at: float) -> None:
        if not self._listening:
            self._listening, self._empty_since = True, time.monotonic()
            self._listener.join(self._hear)
            self._leave_when_empty()
        topic = waiter.hold.topic
        if topic.kind != "job":
            self._others[waiter] = None
            # What moved between the view's look and now was heard already, if somebody listened; if not, it is read at once.
            if any(waiter.hold.is_over(moved) for moved in self._listener.memory.moved_since(asked_at) or ()):
                waiter.wake()
            return
        for job in topic.names:
            self._jobs[job].add(waiter)
            known = self._listener.memory.get(job)
            if known is not None and waiter.hold.is_over(known):
                self._ask_for(job)

    def _remove(self, waiter: _Waiter) -> None:
        self._others.pop(waiter, None)
        for job in waiter.hold.topic.names if waiter.hold.topic.kind == "job" else ():
            self._jobs[job].discard(waiter)
            if not self._jobs[job]:
                del self._jobs[job]
        self._empty_since = time.monotonic()

    def _leave_when_empty(self) -> None:
        """Not at once: the next request of the same poller would subscribe again."""
        if not self._jobs and not self._others and time.monotonic() - self._empty_since > LINGER:
            self._listening = False
            self._leaving = asyncio.create_task(self._listener.leave(self._hear))
        else:
            asyncio.get_running_loop().call_later(LINGER, self._leave_when_empty)

    def _hear(self, delta: Delta, weight: Weight) -> None:
        if weight is not Weight.NEWS:
            return
        job, waiters = delta["id"], self._jobs.get(delta["id"], ())
        if not is_whole(delta):
            # Progress is stored some seconds after it is told; what is answered is what is stored.
            if job not in self._late and any(not waiter.hold.to_the_end for waiter in waiters):
                self._late.add(job)
                asyncio.get_running_loop().call_later(settings.JOBSITE_BEAT + 0.2, self._ask_for, job)
            return
        if any(waiter.hold.is_over(delta) for waiter in waiters):
            self._ask_for(job)
        self._wake_others(delta)

    def _wake_others(self, whole: Delta) -> None:
        for waiter in [waiter for waiter in self._others if waiter.hold.is_over(whole)]:
            waiter.wake()
            if waiter.hold.topic.kind == "claim":
                self._others.pop(waiter)
                return

    def _ask_for(self, job: str) -> None:
        self._late.discard(job)
        self._moved.add(job)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """All jobs that moved are read at once, and each waiter is given its own; what moves meanwhile makes the next turn."""
        try:
            while self._moved:
                moved, self._moved = self._moved & self._jobs.keys(), set()
                for job in await database_sync_to_async(_jobs)(moved) if moved else ():
                    for waiter in list(self._jobs.get(job.id, ())):
                        if waiter.hold.is_over_at(job):
                            waiter.wake(job)
        except AWAY as error:
            # The waiters are answered when their time is up; the heal of jobs.live tells of the move again.
            log.warning("held requests could not be answered: %s", error)
        finally:
            self._reading = None


def _jobs(ids: set[str]) -> list[Job]:
    return list(Job.objects.defer("params", "result").filter(pk__in=ids))


_boards: WeakKeyDictionary[asyncio.AbstractEventLoop, Board] = WeakKeyDictionary()


def board() -> Board:
    loop = asyncio.get_running_loop()
    if loop not in _boards:
        _boards[loop] = Board()
    return _boards[loop]
