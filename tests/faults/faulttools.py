"""Tools for the fault suite (JOBSITE_TOOLS=tests.faults.faulttools): each notes what it does in the history."""

from __future__ import annotations

import os
import time
from typing import Any

from jobs.retry import Retry
from jobs.tools import JobContext, tool
from tests.faults.history import History


def _note(job: JobContext, what: str) -> None:
    History.of_environment().note(what, job=job.id, attempt=job.fence, pid=os.getpid())


def _work(job: JobContext, seconds: float) -> int:
    """For so long, looking up twenty times a second; gives the fence, so that the result tells which attempt wrote it."""
    _note(job, "started")
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        job.progress(100 * (1 - left / seconds), "working", stage="work")
        time.sleep(min(left, 0.05))
    _note(job, "ended")
    return job.fence


@tool("fault.work")
def work(job: JobContext, seconds: float = 0.0) -> int:
    """Work for a while."""
    return _work(job, seconds)


@tool("fault.once", retry=Retry(max=0))
def once(job: JobContext, seconds: float = 0.0) -> int:
    """Work for a while; what fails is not tried again."""
    return _work(job, seconds)


@tool("fault.zombie")
def zombie(job: JobContext, seconds: float) -> int:
    """Sleep in one piece, never looking up: stopped and continued, it tries to finish what is no longer its own."""
    _note(job, "started")
    time.sleep(seconds)
    _note(job, "ended")
    return job.fence


@tool("fault.stops")
def stops(job: JobContext, seconds: float) -> int:
    """The first attempt works for so long, a later one ends at once."""
    return _work(job, seconds if job.fence <= _first_fence(job.id) else 0)


@tool("fault.fails", retry=Retry(max=2, first=0.1, cap=0.5))
def fails(job: JobContext) -> int:
    """Every other attempt fails."""
    _note(job, "started")
    if job.fence % 2:
        raise RuntimeError("this attempt has an odd number")
    _note(job, "ended")
    return job.fence


class _Unshowable(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be shown")

    __repr__ = __str__


def _deep() -> Any:
    value: Any = 1
    for _ in range(10_000):
        value = [value]
    return value


@tool("fault.odd")
def odd(job: JobContext, kind: str) -> Any:
    """Come up with what JSON or a database cannot hold."""
    match kind:
        case "message":
            job.progress(1, "x" * 1_000_000)
            job.diagnostic("y" * 1_000_000)
            job.metadata(big="z" * 1_000_000)
            return None
        case "unshowable":
            raise _Unshowable
        case "deep":
            return {"value": _deep()}
        case "huge":
            return {"value": "x" * 10_000_000}
        case "wide":
            return {str(n): n for n in range(200_000)}
    odd_values = {"nan": float("nan"), "nul": "a\x00b", "surrogate": "\ud800", "object": object(), "bytes": b"\xff"}
    return {"value": odd_values[kind]}


def _first_fence(job: str) -> int:
    began = [entry["attempt"] for entry in History.of_environment().entries("started") if entry["job"] == job]
    return min(began, default=10**18)
