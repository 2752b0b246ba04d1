"""The two clients: the same operations, driven over a blocking and over an asynchronous connection."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from jobsite_client import asking, following, submitting
from jobsite_client.plans import Answer, Call, Item, Line, Pause, Plan, Reply, Step, Stream, Unanswered, operation, streaming
from jobsite_client.retrying import Backoff

T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8000"
# Seconds to connect, and for an answer that the server does not hold back.
CONNECT, READ = 5.0, 30.0
# Errors before which nothing of the request was sent.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Operations:
    """What a client can do. `Client` gives the answers, `AsyncClient` something to await; iterators are asynchronous there.

    With neither `url` nor `token` those of JOBSITE_URL and JOBSITE_TOKEN are used.
    """

    submit = operation(submitting.submit)
    create = operation(submitting.create)
    submit_many = operation(submitting.submit_many)
    clone = operation(submitting.clone)
    run = operation(following.run)

    follow = streaming(following.follow)
    wait = operation(following.wait)
    result = operation(following.result)
    batch = streaming(following.batch)

    get = operation(asking.get)
    full = operation(asking.full)
    why = operation(asking.why)
    events = operation(asking.events)
    attempts = operation(asking.attempts)
    metrics = operation(asking.metrics)
    diagnostics = operation(asking.diagnostics)
    kin = operation(asking.kin)

    cancel = operation(asking.cancel)
    retry = operation(asking.retry)
    release = operation(asking.release)
    pause = operation(asking.pause)
    resume = operation(asking.resume)
    set_priority = operation(asking.set_priority)

    group = operation(asking.group)
    cancel_group = operation(asking.cancel_group)
    retry_group = operation(asking.retry_group)

    page = operation(asking.page)
    jobs = streaming(asking.jobs)
    tools = operation(asking.tools)
    tool = operation(asking.tool)
    workers = operation(asking.workers)
    queue = operation(asking.queue)
    statistics = operation(asking.statistics)

    tokens = operation(asking.tokens)
    create_token = operation(asking.create_token)
    revoke_token = operation(asking.revoke_token)

    def __init__(self, url: str | None = None, token: str | None = None, *, backoff: Backoff | None = None) -> None:
        self.url = (url or os.environ.get("JOBSITE_URL") or DEFAULT_URL).rstrip("/")
        self.backoff = backoff or Backoff()
        secret = token or os.environ.get("JOBSITE_TOKEN")
        self._settings: dict[str, Any] = {
            "base_url": f"{self.url}/api/v1",
            "headers": {"Accept": "application/json"} | ({"Authorization": f"Bearer {secret}"} if secret else {}),
        }


class Client(Operations):
    """A blocking client; threads may share it. Use it in a `with` statement, or `close()` it."""

    def __init__(self, url: str | None = None, token: str | None = None, *, backoff: Backoff | None = None) -> None:
        super().__init__(url, token, backoff=backoff)
        self._http = httpx.Client(**self._settings)

    def run_plan(self, plan: Plan[T]) -> T:
        reply: Reply = None
        with closing(_Talk(self._http, self.url)) as talk:
            while True:
                try:
                    step = plan.send(reply)
                except StopIteration as end:
                    done: T = end.value
                    return done
                reply = talk.take(step)

    def run_stream(self, stream: Stream[T]) -> Iterator[T]:
        reply: Reply = None
        with closing(_Talk(self._http, self.url)) as talk:
            while True:
                try:
                    step = stream.send(reply)
                except StopIteration:
                    return
                if isinstance(step, Item):
                    yield step.value
                    reply = None
                else:
                    reply = talk.take(step)

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Talk:
    """One plan's conversation with the server, and the stream that it has open."""

    def __init__(self, http: httpx.Client, url: str) -> None:
        self._http, self._url = http, url
        self._stream: httpx.Response | None = None
        self._lines: Iterator[str] = iter(())

    def take(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._call(step) if isinstance(step, Call) else self._next_line()
        except httpx.TransportError as error:
            return _unanswered(self._url, error)

    def _call(self, call: Call) -> Reply:
        began = time.monotonic()
        response = self._http.send(self._http.build_request(**_request(call)), stream=True)
        if _is_stream(call, response):
            self.close()
            self._stream, self._lines = response, response.iter_lines()
            return _head(response, began)
        with closing(response):
            response.read()
            return _answer(response, began)

    def _next_line(self) -> Reply:
        line = next(self._lines, None)
        return None if line is None else Line(line)

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class AsyncClient(Operations):
    """An asynchronous client; tasks of one event loop may share it. Use it in `async with`, or await `aclose()`."""

    def __init__(self, url: str | None = None, token: str | None = None, *, backoff: Backoff | None = None) -> None:
        super().__init__(url, token, backoff=backoff)
        self._http = httpx.AsyncClient(**self._settings)

    async def await_plan(self, plan: Plan[T]) -> T:
        reply: Reply = None
        async with aclosing(_AsyncTalk(self._http, self.url)) as talk:
            while True:
                try:
                    step = plan.send(reply)
                except StopIteration as end:
                    done: T = end.value
                    return done
                reply = await talk.take(step)

    async def await_stream(self, stream: Stream[T]) -> AsyncIterator[T]:
        reply: Reply = None
        async with aclosing(_AsyncTalk(self._http, self.url)) as talk:
            while True:
                try:
                    step = stream.send(reply)
                except StopIteration:
                    return
                if isinstance(step, Item):
                    yield step.value
                    reply = None
                else:
                    reply = await talk.take(step)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


class _AsyncTalk:
    """As `_Talk`, asynchronously."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url
        self._stream: httpx.Response | None = None
        self._lines: AsyncIterator[str] | None = None

    async def take(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._call(step) if isinstance(step, Call) else await self._next_line()
        except httpx.TransportError as error:
            return _unanswered(self._url, error)

    async def _call(self, call: Call) -> Reply:
        began = time.monotonic()
        response = await self._http.send(self._http.build_request(**_request(call)), stream=True)
        if _is_stream(call, response):
            await self.aclose()
            self._stream, self._lines = response, response.aiter_lines()
            return _head(response, began)
        async with aclosing(response):
            await response.aread()
            return _answer(response, began)

    async def _next_line(self) -> Reply:
        line = None if self._lines is None else await anext(self._lines, None)
        return None if line is None else Line(line)

    async def aclose(self) -> None:
        if self._stream is not None:
            await self._stream.aclose()


def _request(call: Call) -> dict[str, Any]:
    body: Mapping[str, Any] = {} if call.body is None else {"json": call.body}
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "headers": dict(call.headers),
        "timeout": httpx.Timeout(call.hold if call.stream else READ + call.hold, connect=CONNECT),
        **body,
    }


def _answer(response: httpx.Response, began: float) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(status=response.status_code, headers=headers, content=response.content, seconds=time.monotonic() - began)


def _is_stream(call: Call, response: httpx.Response) -> bool:
    return call.stream and response.headers.get("content-type", "").startswith("text/event-stream")


def _head(response: httpx.Response, began: float) -> Answer:
    """Of an answer whose body is to be read line by line."""
    return Answer(status=response.status_code, headers={}, content=b"", seconds=time.monotonic() - began)


def _unanswered(url: str, error: httpx.TransportError) -> Unanswered:
    what = str(error) or type(error).__name__
    return Unanswered(problem=f"{url} does not answer: {what}", sent=not isinstance(error, _NEVER_SENT))
