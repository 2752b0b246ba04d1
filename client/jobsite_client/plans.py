"""How a conversation with the server goes, without any network: a plan yields what it needs and is sent what came of it.

A plan is written once. `Client` drives it with a blocking connection, `AsyncClient` with an asynchronous one; neither knows
what the plan is about, and no plan knows who drives it.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from jobsite_client.shapes import Json

T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `repeatable`: sending it twice has the effect of sending it once. `hold`: seconds the server may keep it.

    With `stream` only the head is waited for; the body is then read by `NextLine`, each within the time-out of the call.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    hold: float = 0.0
    stream: bool = False


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Unanswered:
    """Nothing came back. `sent` is False when the request cannot have reached the server."""

    problem: str
    sent: bool


@dataclass(frozen=True)
class Pause:
    seconds: float


@dataclass(frozen=True)
class NextLine:
    """Wait for a line of the stream that was opened last."""


@dataclass(frozen=True)
class Line:
    text: str


@dataclass(frozen=True)
class Item(Generic[T]):
    """A value that a stream gives to whoever iterates over it."""

    value: T


Step: TypeAlias = Call | Pause | NextLine
# A line that does not come is None: the stream is over.
Reply: TypeAlias = Answer | Unanswered | Line | None
Plan: TypeAlias = Generator[Step, Reply, T]
Stream: TypeAlias = Generator[Step | Item[T], Reply, None]


def send(call: Call) -> Plan[Answer | Unanswered]:
    reply = yield call
    if not isinstance(reply, Answer | Unanswered):
        raise TypeError("the driver did not answer a call")
    return reply


class Blocking(Protocol):
    """Drives plans and streams to their end."""

    def run_plan(self, plan: Plan[T]) -> T: ...
    def run_stream(self, stream: Stream[T]) -> Iterator[T]: ...


class Awaiting(Protocol):
    """The same, asynchronously."""

    def await_plan(self, plan: Plan[T]) -> Coroutine[Any, Any, T]: ...
    def await_stream(self, stream: Stream[T]) -> AsyncIterator[T]: ...


class operation(Generic[P, T]):  # noqa: N801  (used like a decorator)
    """A plan as a method: it gives `T` on a blocking client, and something to await on an asynchronous one."""

    def __init__(self, plan: Callable[Concatenate[Any, P], Plan[T]]) -> None:
        self._plan = plan

    @overload
    def __get__(self, instance: Blocking, owner: type[object]) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type[object]) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, instance: Any, owner: type[object]) -> Any:
        if instance is None:
            return self._plan
        drive = instance.run_plan if hasattr(instance, "run_plan") else instance.await_plan

        @functools.wraps(self._plan)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return drive(self._plan(instance, *args, **kwargs))

        return method


class streaming(Generic[P, T]):  # noqa: N801
    """A stream as a method that gives an iterator, or an asynchronous one."""

    def __init__(self, stream: Callable[Concatenate[Any, P], Stream[T]]) -> None:
        self._stream = stream

    @overload
    def __get__(self, instance: Blocking, owner: type[object]) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type[object]) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: Any, owner: type[object]) -> Any:
        if instance is None:
            return self._stream
        drive = instance.run_stream if hasattr(instance, "run_stream") else instance.await_stream

        @functools.wraps(self._stream)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return drive(self._stream(instance, *args, **kwargs))

        return method
