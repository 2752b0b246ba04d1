"""Tasks as a Django project writes them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from jobs.django_tasks.framework import PACKAGE
from jobs.retry import Retry

task = import_module(PACKAGE).task
ONCE = Retry(max=0)


@task
def noop(*args: Any, **kwargs: Any) -> None:
    """Nothing."""


@task()
async def noop_async(*args: Any, **kwargs: Any) -> None:
    await asyncio.sleep(0)


@task()
def meaning() -> int:
    return 42


@task()
def echo(value: Any) -> Any:
    return value


@task(retry=ONCE)
def fails() -> None:
    raise ValueError("this task failed")


class Odd(Exception):
    pass


@task(retry=ONCE)
def fails_oddly() -> None:
    raise Odd(ValueError("inside"))


@task(retry=Retry(max=2, first=0.01, cap=0.01))
def fails_for_a_while() -> None:
    raise ConnectionError("not yet")


@task()
def leaves() -> None:
    raise SystemExit("it left")


@task()
def unstorable() -> Callable[[], bool]:
    return lambda: True


@task(takes_context=True)
def own_id(context: Any) -> list[Any]:
    context.job.progress(50, "half")
    return [context.task_result.id, context.attempt, context.task_result.status]


@task(queue_name="mail", timeout=7, max_running=2)
def mail(address: str) -> str:
    return address


@task()
def sleeps(seconds: float) -> str:
    time.sleep(seconds)
    return "awake"


def plain() -> None:
    """Not a task."""
