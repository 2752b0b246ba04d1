"""Tools for the fault suite (JOBSITE_TOOLS=tests.faults.faulttools): each notes what it does in the history."""

from __future__ import annotations

import os
import time

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


def _first_fence(job: str) -> int:
    began = [entry["attempt"] for entry in History.of_environment().entries("started") if entry["job"] == job]
    return min(began, default=10**18)
