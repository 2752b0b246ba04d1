"""News of jobs for Python code in any process: a loop in a thread hears them (jobs.live), another thread tells the listeners."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from jobs import live, queries
from jobs.deltas import Weight, version_of
from jobs.events import Delta
from jobs.states import FINAL

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class JobNews:
    """Where a job is now; percentages are 0..100. `diagnostics` are new lines only. News of a job never go back."""

    job_id: str
    tool: str
    status: str
    progress: float
    message: str
    stage: str
    sub_progress: float | None
    reason: str
    diagnostics: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


Listener: TypeAlias = Callable[[JobNews], object]
Unsubscribe: TypeAlias = Callable[[], None]


@dataclass(kw_only=True, eq=False)
class _Ear:
    """What listens in the loop for one listener. `job_id` is None for all jobs."""

    listener: Listener
    job_id: str | None
    pass_on: Callable[[_Ear, Delta, list[str]], None]
    heard: tuple[int, int] = (-1, -1)
    left: bool = False

    def __call__(self, delta: Delta, weight: Weight) -> None:
        if self.job_id in (None, delta["id"]):
            # A progress report tells half of a job; what is remembered tells all.
            self.pass_on(self, live.listener().memory.get(delta["id"]) or delta, delta.get("diagnostics", []))


class Subscriptions:
    """The listeners of this process. They are called one after the other, in a thread of their own; what one raises is logged."""

    def __init__(self) -> None:
        self._reset()
        # A forked child has none of its parent's threads, and its listeners are none of its business.
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: queue.SimpleQueue[tuple[_Ear, JobNews]] = queue.SimpleQueue()
        self._ears: list[_Ear] = []
        # A task that nobody holds may vanish before it is done.
        self._leaving: set[asyncio.Future[None]] = set()

    def to_job(self, job_id: str, listener: Listener) -> Unsubscribe:
        """Where the job is, at once, and each change until it is final; a lost message is made up for in seconds."""
        ear = _Ear(listener=listener, job_id=job_id, pass_on=self._pass_on)
        unsubscribe = self._join(ear)
        # After the joining, so that nothing falls in between; what was heard meanwhile is newer, and wins.
        for delta in queries.deltas([job_id]):
            self._running_loop().call_soon_threadsafe(self._first, ear, delta)
        return unsubscribe

    def to_all(self, listener: Listener) -> Unsubscribe:
        """The news of every job from now on."""
        return self._join(_Ear(listener=listener, job_id=None, pass_on=self._pass_on))

    def close(self) -> None:
        """Unsubscribe everybody, and let go of the connections."""
        if self._loop is not None:
            for ear in list(self._ears):
                ear.left = True
                asyncio.run_coroutine_threadsafe(self._leave(ear), self._loop).result()
            asyncio.run_coroutine_threadsafe(_let_go(), self._loop).result()

    def _join(self, ear: _Ear) -> Unsubscribe:
        loop = self._running_loop()
        asyncio.run_coroutine_threadsafe(self._enter(ear), loop).result()

        def unsubscribe() -> None:
            ear.left = True
            asyncio.run_coroutine_threadsafe(self._leave(ear), loop)

        return unsubscribe

    # --- in the loop -------------------------------------------------------------------------------------------------
    def _first(self, ear: _Ear, read: Delta) -> None:
        self._pass_on(ear, live.listener().memory.newest(read), [])

    def _pass_on(self, ear: _Ear, whole: Delta, lines: list[str]) -> None:
        if ear.left or (ear.job_id is not None and version_of(whole) <= ear.heard and not lines):
            return
        ear.heard = max(ear.heard, version_of(whole)) if ear.job_id is not None else ear.heard
        news = _news(whole, lines)
        self._calls.put((ear, news))
        if news.is_final and ear.job_id is not None:
            ear.left = True
            leaving = asyncio.ensure_future(self._leave(ear))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _enter(self, ear: _Ear) -> None:
        self._ears.append(ear)
        live.listener().join(ear)

    async def _leave(self, ear: _Ear) -> None:
        """Who is alone with nobody who listens holds no connection."""
        if ear in self._ears:
            self._ears.remove(ear)
            await live.listener().leave(ear)
            if not self._ears:
                await _let_go()

    # --- the threads -------------------------------------------------------------------------------------------------
    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="jobsite-news", daemon=True).start()
                threading.Thread(target=self._call, args=(self._calls,), name="jobsite-listeners", daemon=True).start()
            return self._loop

    def _call(self, calls: queue.SimpleQueue[tuple[_Ear, JobNews]]) -> None:
        while True:
            ear, news = calls.get()
            try:
                ear.listener(news)
            except Exception:
                log.exception("a listener to job %s failed", news.job_id)
            # A listener may use the database; its connection must not go bad unseen.
            close_old_connections()


async def _let_go() -> None:
    """In the thread in which the loop asks the database."""
    await sync_to_async(connections.close_all)()


def _news(whole: Delta, lines: list[str]) -> JobNews:
    return JobNews(
        job_id=whole["id"],
        tool=whole.get("tool", ""),
        status=whole.get("status", "running"),
        progress=whole.get("progress", 0.0),
        message=whole.get("message", ""),
        stage=whole.get("stage", ""),
        sub_progress=whole.get("sub"),
        reason=whole.get("reason", ""),
        diagnostics=tuple(lines),
    )


subscriptions = Subscriptions()
