"""Functions that a project has for Celery already (`@shared_task`), offered as tools.

They then run in our attempts: the job's retries, time-out, limits and page take the place of Celery's own.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any, TypedDict, Unpack

from celery import Task
from celery.exceptions import Ignore, Reject
from celery.exceptions import Retry as CeleryRetry

from jobs.errors import Permanent, Transient
from jobs.limits import Resources
from jobs.retry import Retry
from jobs.tools import tool

_NAMELESS = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)


class ToolOptions(TypedDict, total=False):
    """As `@tool` takes them."""

    operation: str
    priority: str
    timeout: float | None
    retry: Retry | None
    resources: Resources | None
    queue: str
    max_running: int | None
    per_minute: int | None
    deduplicate: bool


def celery_tool(name: str, task: Task[..., Any], **options: Unpack[ToolOptions]) -> None:
    """Register a Celery task as the tool `name`; calling it as before (`task.delay`) goes on working.

    Its parameters are the tool's params; one named `job` gets the `JobContext`. The time-out is the task's own, if it has one.
    `self.retry(...)` and `autoretry_for` fail the attempt, and our retry policy decides. Raises `ValueError` for a task with
    parameters that have no names.
    """
    for parameter in inspect.signature(task.run).parameters.values():
        if parameter.kind in _NAMELESS:
            raise ValueError(f"tool {name!r}: {task.name} takes {parameter}; only parameters with names can be params")
    options.setdefault("timeout", task.soft_time_limit or task.time_limit)

    @functools.wraps(task.run)
    def run(**values: Any) -> Any:
        return _called(task, values)

    tool(name, **options)(run)


def _called(task: Task[..., Any], values: dict[str, Any]) -> Any:
    """As Celery would, less what is ours: `called_directly` makes `self.retry` raise instead of sending a message."""
    task.push_request(args=(), kwargs=values, called_directly=True)
    try:
        return task.run(**values)
    except CeleryRetry as again:
        raise Transient(str(again)) from again
    except Reject as rejected:
        raise Permanent(f"the task rejected it: {rejected}") from rejected
    except Ignore:
        return None
    finally:
        task.pop_request()
