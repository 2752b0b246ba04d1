"""Who wants to hear of what happens to jobs: the registry of receivers, and the words they choose by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from jobs.states import FINAL

Receiver = TypeVar("Receiver", bound=Callable[["Happened"], object])

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:<>-]{0,199}")
EVERYTHING = "job.*"
FINISHED = "job.finished"
# The verbs of the lifecycle as things that have happened. An end is named by what it came to.
_HAPPENED = {
    "submit": "job.submitted",
    "admit": "job.admitted",
    "withdraw": "job.withdrawn",
    "start": "job.started",
    "ask": "job.asked",
    "answer": "job.answered",
    "pause": "job.paused",
    "resume": "job.resumed",
    "reprioritise": "job.reprioritised",
    "change": "job.changed",
    "cancel_requested": "job.cancelling",
    "fail": "job.retrying",
    "fall_back": "job.retrying",
    "lose": "job.retrying",
    "interrupt": "job.interrupted",
    "retry": "job.retried",
}
KINDS = frozenset({EVERYTHING, FINISHED, *_HAPPENED.values(), *(f"job.{status}" for status in FINAL)})


@dataclass(frozen=True, kw_only=True)
class Happened:
    """One move of a job, after its commit. `id` is the same when it is told again."""

    id: int
    kind: str
    job_id: str
    tool: str
    project: str
    status: str
    reason: str
    actor: str
    attempt: int | None
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Subscriber:
    """Who is told. `name` is what its place in the log of events is kept by."""

    name: str
    kinds: frozenset[str]
    tool: str | None
    receive: Callable[[Happened], object]

    def wants(self, event: Happened) -> bool:
        return (self.tool is None or self.tool == event.tool) and is_named(self.kinds, event)


def is_named(kinds: Iterable[str], event: Happened) -> bool:
    """Is the event of one of these kinds, of which some mean several?"""
    return any(kind in (EVERYTHING, event.kind) or (kind == FINISHED and event.status in FINAL) for kind in kinds)


def kind_of(verb: str, after: str) -> str:
    """What a row of the event log is called. A wish to cancel leaves the status as it is."""
    return f"job.{after}" if after in FINAL else _HAPPENED.get(verb, f"job.{verb}")


_registry: dict[str, Subscriber] = {}


def on(*kinds: str, tool: str | None = None, name: str | None = None) -> Callable[[Receiver], Receiver]:
    """Have a function called with each `Happened` of these kinds: after the commit, in order, at least once.

    It is called in the process `manage.py events`. When it raises, it is called again with the same event, later and later, and
    what came after waits for it. A new subscriber hears what happens from its first start on. `name` (default: where the
    function stands) keeps its place: with another name it begins anew.
    """
    if not kinds or (unknown := set(kinds) - KINDS):
        raise ValueError(f"unknown event {', '.join(sorted(unknown)) if kinds else '(none)'}; there are {', '.join(sorted(KINDS))}")

    def subscribe(receive: Receiver) -> Receiver:
        called = name or f"{receive.__module__}.{receive.__qualname__}"
        if not NAME.fullmatch(called):
            raise ValueError(f"{called!r} is no name for a subscriber")
        known = _registry.get(called)
        if known is not None and known.receive.__module__ != receive.__module__:
            raise ValueError(f"there are two subscribers named {called!r}")
        _registry[called] = Subscriber(name=called, kinds=frozenset(kinds), tool=tool, receive=receive)
        return receive

    return subscribe


def forget(name: str) -> None:
    """Take a subscriber out of the registry; its place is kept."""
    _registry.pop(name, None)


def every() -> list[Subscriber]:
    """All subscribers by name."""
    return sorted(_registry.values(), key=lambda subscriber: subscriber.name)
