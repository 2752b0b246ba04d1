"""Server-sent events: every move of the jobs of a topic with its place in the event log, and their progress as it comes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from channels.db import database_sync_to_async

from jobs import tail
from jobs.api.following import Stream
from jobs.deltas import Weight, is_whole
from jobs.events import Delta, millis
from jobs.live import AWAY, listener, started
from jobs.models import Event
from jobs.states import FINAL
from jobs.tail import Position

log = logging.getLogger(__name__)

Message = Mapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

QUIET = 15.0
GAP = 0.05
# The server below buffers without bound for a reader that is slow: each stream ends after so long or so much, and the client
# opens the next by itself where it left off. Seconds, bytes, and messages that may wait.
LIVES, MOST_BYTES, MOST_WAITING = 600.0, 8 * 1024 * 1024, 10_000


def move(event: Event, position: str) -> bytes:
    """One event of the log."""
    job = event.job
    data = {
        "eventId": event.pk,
        "jobId": job.pk,
        "verb": event.verb,
        "before": event.before or None,
        "after": event.after,
        "reason": event.reason or None,
        "actor": event.actor or None,
        "attempt": event.attempt_id,
        "at": millis(event.at),
        "toolName": job.tool,
        "batchId": job.batch or None,
        "projectId": job.project or None,
    }
    return _event("move", {name: value for name, value in data.items() if value is not None}, position)


def progress(delta: Delta) -> bytes:
    """A report of progress: no place in the log, because only the newest matters."""
    data = {
        "jobId": delta["id"],
        "progress": delta.get("progress"),
        "message": delta.get("message"),
        "currentStage": delta.get("stage"),
        "subProgress": delta.get("sub"),
        "diagnostics": delta.get("diagnostics"),
    }
    return _event("progress", {name: value for name, value in data.items() if value not in (None, "")}, None)


def _event(kind: str, data: dict[str, Any], position: str | None) -> bytes:
    head = f"id: {position}\n" if position is not None else ""
    return f"{head}event: {kind}\ndata: ".encode() + orjson.dumps(data) + b"\n\n"


def backlog(stream: Stream, position: Position, upto: Position) -> list[Event]:
    """What a reader at `position` has not read and one at `upto` has, at most a page."""
    return tail.after(position, upto, kind=stream.topic.kind, name=next(iter(stream.topic.names), ""), sight=stream.sight)


def is_the_end(stream: Stream, events: Sequence[Event]) -> bool:
    """Of one job nothing more is to come once it has ended."""
    return stream.topic.kind == "job" and bool(events) and events[-1].job.status in FINAL and events[-1].after in FINAL


async def pump(stream: Stream, send: Send, gone: asyncio.Task[None]) -> None:
    """Feed one stream until its caller hangs up, its job has ended, or it was long enough."""
    reader = _Reader(stream, send)
    feeding = asyncio.create_task(reader.feed())
    try:
        await asyncio.wait({feeding, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        reader.leave()
        for task in (feeding, gone):
            task.cancel()
        await asyncio.wait({feeding, gone})
    if not feeding.cancelled() and (error := feeding.exception()) is not None:
        log.warning("a stream ended early, its client will resume it: %s", error)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Reader:
    """One stream: first what it missed, from the log; then what comes, from the tail."""

    def __init__(self, stream: Stream, send: Send) -> None:
        self.stream, self._send = stream, send
        self.waiting: asyncio.Queue[tuple[Event, str] | Delta] = asyncio.Queue(MOST_WAITING)
        self._sent = 0
        self._until = time.monotonic() + LIVES
        self._tail = tails()

    def leave(self) -> None:
        self._tail.leave(self)

    async def feed(self) -> None:
        # 1. What comes after `begin` is given by the tail. 2. What came before is read from the log. So nothing is sent twice.
        begin = await self._tail.join(self)
        known = begin if self.stream.position is None else tail.parse(self.stream.position)
        await self._write(f"retry: 2000\nid: {known}\n\n".encode())
        at = known
        while missed := await database_sync_to_async(backlog)(self.stream, at, begin):
            for event in missed:
                await self._write(move(event, str(begin.copy(high=event.pk))))
            if is_the_end(self.stream, missed):
                return
            at = Position(high=missed[-1].pk)
        while time.monotonic() < self._until and self._sent < MOST_BYTES and self in self._tail.readers:
            try:
                item = await asyncio.wait_for(self.waiting.get(), QUIET)
            except TimeoutError:
                await self._write(b": quiet\n\n")
                continue
            if not isinstance(item, tuple):
                await self._write(progress(item))
            elif not known.has_read(item[0].pk):
                await self._write(move(*item))
                if is_the_end(self.stream, [item[0]]):
                    return

    async def _write(self, text: bytes) -> None:
        self._sent += len(text)
        await self._send({"type": "http.response.body", "body": text, "more_body": True})


class Tails:
    """Reads the end of the log for all streams of a loop: one query for each burst of moves."""

    def __init__(self) -> None:
        self.readers: set[_Reader] = set()
        self._listener = listener()
        self._position = Position()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Lock()

    async def join(self, reader: _Reader) -> Position:
        """From now on the reader is given what comes after the position that this returns, and perhaps some before."""
        async with self._ready:
            if self._task is None:
                self._position = await database_sync_to_async(tail.newest)()
                self._listener.join(self._hear)
                self._task = started(self._follow)
            self.readers.add(reader)
            return self._position.copy()

    def leave(self, reader: _Reader) -> None:
        self.readers.discard(reader)
        if not self.readers and self._task is not None:
            self._task.cancel()
            self._task = None
            self._leaving = asyncio.create_task(self._listener.leave(self._hear))

    def _hear(self, delta: Delta, weight: Weight) -> None:
        if is_whole(delta):
            self._due.set()
            return
        if weight is not Weight.NEWS:
            return
        whole = self._listener.memory.get(delta["id"])
        if whole is None:
            return
        for reader in list(self.readers):
            if _concerns(reader, whole):
                self._give(reader, delta)

    def _give(self, reader: _Reader, item: tuple[Event, str] | Delta) -> None:
        try:
            reader.waiting.put_nowait(item)
        except asyncio.QueueFull:
            # It does not keep up: its stream ends, and it resumes from the log.
            self.readers.discard(reader)

    async def _follow(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                while events := await database_sync_to_async(tail.after)(self._position):
                    self._deal(events)
            except AWAY as error:
                log.warning("the event log could not be read, tried again: %s", error)
                self._due.set()
                await asyncio.sleep(1.0)
            # An id that is missing may appear without a message of its own.
            if self._position.missing:
                asyncio.get_running_loop().call_later(0.5, self._due.set)
            await asyncio.sleep(GAP)

    def _deal(self, events: Sequence[Event]) -> None:
        for event in events:
            self._position.saw([event.pk])
            job, text = event.job, str(self._position)
            whole = Delta(id=job.pk, batch=job.batch, project=job.project, tool=job.tool)
            for reader in list(self.readers):
                if _concerns(reader, whole):
                    self._give(reader, (event, text))


def _concerns(reader: _Reader, whole: Delta) -> bool:
    stream = reader.stream
    return stream.topic.has(whole) and stream.sight.covers(whole.get("project", ""), whole.get("tool", ""))


_tails: WeakKeyDictionary[asyncio.AbstractEventLoop, Tails] = WeakKeyDictionary()


def tails() -> Tails:
    loop = asyncio.get_running_loop()
    if loop not in _tails:
        _tails[loop] = Tails()
    return _tails[loop]
