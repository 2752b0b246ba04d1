"""What the MCP conformance suite expects a server to offer; loaded by JOBSITE_TOOLS in its test only."""

from __future__ import annotations

import time
from typing import Any

from pydantic import BaseModel

from jobs.errors import Permanent
from jobs.questions import Question
from jobs.retry import Retry
from jobs.tools import JobContext, tool

ONCE = Retry(max=0)


class Confirmation(BaseModel):
    confirm: bool


class Name(BaseModel):
    name: str


DELETE = Question("Really delete it?", Confirmation)
WHO = Question("What is your name?", Name)


def said(text: str) -> dict[str, Any]:
    return {"isError": False, "content": [{"type": "text", "text": text}]}


@tool("greet", task_support="forbidden")
def greet(name: str) -> dict[str, Any]:
    """Say hello."""
    return said(f"Hello, {name}!")


@tool("slow_compute")
def slow_compute(job: JobContext, seconds: float = 1, label: str = "") -> str:
    """Work for so many seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job.check()
        time.sleep(0.05)
    return f"computed {label}"


@tool("failing_job", task_support="required", retry=ONCE)
def failing_job() -> None:
    """Fail after a second."""
    time.sleep(1)
    raise Permanent("it is meant to fail")


@tool("protocol_error_job", retry=ONCE)
def protocol_error_job() -> None:
    """Leave without a word."""
    raise SystemExit(3)


@tool("confirm_delete")
def confirm_delete(job: JobContext, filename: str) -> str:
    """Ask before deleting."""
    answer = job.ask(confirm=DELETE)["confirm"]
    return f"{filename} is {'deleted' if answer and answer.confirm else 'kept'}"


@tool("multi_input")
def multi_input(job: JobContext) -> dict[str, Any]:
    """Ask two things at once."""
    return {key: answer and answer.model_dump() for key, answer in job.ask(first=WHO, second=WHO).items()}


@tool("test_tool_with_task", task_support="required", asks={"user_name": WHO})
def test_tool_with_task(job: JobContext) -> dict[str, Any]:
    """Ask before there is a task, then greet from it."""
    who = job.ask(user_name=WHO)["user_name"]
    return said(f"Hello, {who.name if who else 'stranger'}!")
