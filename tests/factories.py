"""Jobs at any point of their life, made only by the verbs that make them in production; and tools to make them of."""

from __future__ import annotations

import itertools
import time
from typing import Any

from pydantic import BaseModel

from jobs import admission, configuration, lifecycle
from jobs.errors import Category, Permanent, Transient
from jobs.failures import Failure
from jobs.lifecycle import Running, Submission, Usage
from jobs.models import Job
from jobs.questions import Question
from jobs.retry import Again, GiveUp, Retry
from jobs.tools import JobContext, tool

LEASE = 30.0
_numbers = itertools.count(1)


@tool("test.add")
def add(a: int = 1, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool("test.walk")
def walk(job: JobContext, steps: int = 5, pause: float = 0.0) -> dict[str, int]:
    """Report progress step by step."""
    for step in range(steps):
        job.progress(100 * step / steps, f"step {step}", stage="walk", sub_progress=step)
        time.sleep(pause)
    job.diagnostic("walked")
    job.metadata(steps=steps)
    return {"steps": steps}


@tool("test.fail", retry=Retry(max=2, first=0.01, cap=0.01))
def fail(kind: str = "runtime") -> None:
    """Raise what is asked for."""
    errors: dict[str, BaseException] = {
        "runtime": RuntimeError("broken"),
        "permanent": Permanent("never"),
        "transient": Transient("busy", retry_after=0.02),
        "exit": SystemExit(3),
        "unshowable": _Unshowable(),
    }
    raise errors[kind]


class _Unshowable(Exception):
    def __str__(self) -> str:
        raise ValueError("cannot be shown")

    __repr__ = __str__


@tool("test.odd")
def odd(kind: str = "nan") -> Any:
    """Return what JSON cannot hold."""
    values = {"nan": float("nan"), "nul": "a\x00b", "surrogate": "\ud800", "object": object(), "big": "x" * (9 * 1024 * 1024)}
    return {"value": values[kind]}


@tool("test.deaf", timeout=0.4, retry=Retry(max=0))
def deaf() -> None:
    """Sleep without ever looking up."""
    time.sleep(30)


@tool("test.family")
def family(job: JobContext) -> list[Any]:
    """Give back what the parents came to."""
    return [[parent.id, parent.status, parent.result["structuredContent"]] for parent in job.parents]


class Confirmation(BaseModel):
    confirm: bool


class Visitor(BaseModel):
    name: str


SURE = Question("Really?", Confirmation)
WHO = Question("Who are you?", Visitor)


@tool("test.asks", retry=Retry(max=0))
def asks(job: JobContext) -> dict[str, Any]:
    """Ask two things at once, then say what was answered."""
    said = job.ask(sure=SURE, who=WHO)
    return {key: answer and answer.model_dump() for key, answer in said.items()}


def submitted(tool_name: str = "test.add", **wanted: Any) -> Job:
    """A pending job."""
    return lifecycle.submit(Submission(tool=tool_name, **wanted), by="tester")


def admit(*ids: str) -> list[Job]:
    """As the dispatcher does, whatever the limits."""
    configuration.row()
    return lifecycle.admit(ids, config=admission.outlook().config)


def admitted(job: Job | None = None) -> Job:
    """A pending job with an admitted attempt."""
    (moved,) = admit((job or submitted()).id)
    return moved


def running(job: Job | None = None, *, lease: float = LEASE) -> Running:
    """A running job, as the child that runs it sees it."""
    attempt = admitted(job).current_attempt_id
    assert attempt is not None
    begun = lifecycle.start(attempt, lifecycle.Child(worker="tests:1", pid=next(_numbers), lease=lease))
    assert begun is not None
    return begun


def result(value: Any = None) -> dict[str, Any]:
    return {"isError": False, "content": [], "structuredContent": {"result": value}}


def completed(job: Job | None = None) -> Job:
    done = lifecycle.finish(running(job), result(), Usage(), actor="tests")
    assert done is not None
    return done


BROKEN = Failure(category=Category.PERMANENT, error_class="Broken", message="it broke")


def failed(job: Job | None = None, *, again: Again | None = None) -> Job:
    done = lifecycle.fail(running(job), BROKEN, again or GiveUp(reason="no use"), Usage(), actor="tests")
    assert done is not None
    return done


def settle() -> int:
    """Tell the dependents of all that has ended; how many calls it took."""
    calls = 1
    while lifecycle.settle().rows:
        calls += 1
    return calls
