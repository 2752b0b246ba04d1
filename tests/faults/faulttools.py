"""Tools for the fault suite (JOBSITE_TOOLS=tests.faults.faulttools): each notes what it does in the history."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from typing import Any

from jobs.limits import Resources
from jobs.retry import Retry
from jobs.tools import JobContext, tool
from tests.faults.bomb import BOMB
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


# --- what means harm -----------------------------------------------------------------------------------------------------
NEVER = Retry(max=0)


@tool("fault.ignores", retry=NEVER)
def ignores(job: JobContext) -> None:
    """Look up, and go on whatever is said."""
    _note(job, "started")
    while True:
        with contextlib.suppress(BaseException):
            job.progress(50, "never done")
            time.sleep(0.05)


@tool("fault.loops", retry=NEVER, timeout=1)
def loops(job: JobContext) -> None:
    """An endless loop that never looks up."""
    _note(job, "started")
    while True:
        pass


@tool("fault.hogs", retry=NEVER, resources=Resources(memory_mb=64))
def hogs(job: JobContext) -> None:
    """Take ever more memory, 16 MB at a time, and touch it."""
    _note(job, "started")
    held = []
    while True:
        held.append(b"x" * 2**24)
        time.sleep(0.01)


@tool("fault.forks", retry=NEVER, timeout=2)
def forks(job: JobContext) -> None:
    """Eight daemons that fork for ever."""
    _note(job, "started")
    subprocess.Popen([sys.executable, "-c", BOMB]).wait()
    time.sleep(600)


@tool("fault.litters")
def litters(job: JobContext, seconds: float = 0.0) -> None:
    """Leave a program running."""
    _note(job, "started")
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    time.sleep(seconds)
    _note(job, "ended")


@tool("fault.dies")
def dies(job: JobContext, *, worker: bool = False) -> None:
    """Kill the own process, or the worker with it, before anything else."""
    _note(job, "started")
    if worker:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


@tool("fault.blabs", retry=NEVER)
def blabs(job: JobContext, password: str, note: str = "", *, fail: bool = False) -> dict[str, Any]:
    """Say what is secret in every way a tool can say something."""
    _note(job, "started")
    said = f"signed in with {password}; {note}"
    logging.getLogger("jobs.faults").error("logged: %s", said)
    job.progress(50, said, stage=said[:60])
    job.diagnostic(said)
    job.metadata(said=said, nested={"password": password, "list": [note]})
    time.sleep(2)  # a beat carries it, and live progress
    if fail:
        raise RuntimeError("x" * 1980 + said)
    return {"said": said, "password": password, "long": "y" * 1000 + said}


def _first_fence(job: str) -> int:
    began = [entry["attempt"] for entry in History.of_environment().entries("started") if entry["job"] == job]
    return min(began, default=10**18)
