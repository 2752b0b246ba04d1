"""Jobs as task results: how a task becomes a job, how a worker calls it, and what came of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.module_loading import import_string
from pydantic import BaseModel, ConfigDict

from jobs import lifecycle
from jobs.django_tasks.backend import PREFIX, TaskContext, tool_name
from jobs.django_tasks.framework import (
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from jobs.errors import NotFound, Permanent
from jobs.lifecycle import Submission
from jobs.models import Attempt, Job
from jobs.payloads import Json
from jobs.queries import attempts_of
from jobs.receivers import FINISHED, Happened, on
from jobs.sight import EVERYTHING, find
from jobs.states import FINAL, Priority, Status
from jobs.tools import JobContext

_STATUS = {
    Status.PENDING: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.COMPLETED: TaskResultStatus.SUCCESSFUL,
    Status.FAILED: TaskResultStatus.FAILED,
    Status.CANCELLED: TaskResultStatus.FAILED,
}
# How Django's priorities, -100 to 100, are called here.
_CLASSES = ((-34, Priority.LOW), (33, Priority.MEDIUM), (66, Priority.HIGH), (100, Priority.CRITICAL))


class Call(BaseModel):
    """What a task's job carries: which task, and how it was enqueued."""

    model_config = ConfigDict(extra="forbid")

    task: str
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    priority: int
    queue: str


def enqueue(task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], *, backend: str) -> TaskResult[Any]:
    """Raises a `Refused`, or what `normalize_json` raises for arguments that are no JSON."""
    call = Call(
        task=task.module_path,
        args=normalize_json(list(args)),
        kwargs=normalize_json(dict(kwargs)),
        backend=backend,
        priority=task.priority,
        queue=task.queue_name,
    )
    wanted = Submission(
        tool=tool_name(task),
        params=call.model_dump(),
        priority=_class_of(task.priority),
        urgency=task.priority,
        queue=task.queue_name,
        run_at=task.run_after,
        internal=True,
    )
    return _result(lifecycle.submit(wanted, by=f"task:{task.name}"[:200]), [], task)


def _class_of(priority: int) -> Priority:
    return next(name for most, name in _CLASSES if priority <= most)


def run(params: BaseModel, job: JobContext) -> dict[str, Json]:
    """What a worker does: call the task's function. The value is what comes out of it, as JSON."""
    call = Call.model_validate(params.model_dump())
    task = task_of(call)
    row = find(job.id, EVERYTHING)
    result = _result(row, attempts_of(job.id), task)
    task_started.send(type(task.get_backend()), task_result=result)
    context = [TaskContext(task_result=result, job=job)] if task.takes_context else []
    return {"result": normalize_json(task.call(*context, *call.args, **call.kwargs))}


def task_of(call: Call) -> Task[..., Any]:
    """The task as it was enqueued. Raises `Permanent`: what is named is not there, or no task."""
    try:
        found = import_string(call.task)
    except ImportError as error:
        raise Permanent(f"there is no task {call.task}: {error}") from error
    if not isinstance(found, Task):
        raise Permanent(f"{call.task} is no task")
    return found.using(priority=call.priority, queue_name=call.queue, backend=call.backend)


def get(result_id: str) -> TaskResult[Any]:
    """Raises `TaskResultDoesNotExist`. Two queries."""
    try:
        job = find(result_id, EVERYTHING)
    except NotFound:
        raise TaskResultDoesNotExist(result_id) from None
    if not job.tool.startswith(PREFIX):
        raise TaskResultDoesNotExist(result_id)
    task = task_of(Call.model_validate(job.params))
    return _result(job, attempts_of(job.pk), task if job.run_at is None else task.using(run_after=job.run_at))


def _result(job: Job, attempts: Sequence[Attempt], task: Task[..., Any]) -> TaskResult[Any]:
    begun = [attempt for attempt in attempts if attempt.started_at is not None]
    made: TaskResult[Any] = TaskResult(
        task=task,
        id=job.pk,
        status=_STATUS[Status(job.status)],
        enqueued_at=job.created_at,
        started_at=begun[0].started_at if begun else None,
        last_attempted_at=begun[-1].started_at if begun else None,
        finished_at=job.finished_at,
        args=job.params["args"],
        kwargs=job.params["kwargs"],
        backend=job.params["backend"],
        errors=[_error(attempt) for attempt in begun if attempt.error_class],
        worker_ids=[attempt.worker for attempt in begun],
    )
    if job.status == Status.COMPLETED:
        object.__setattr__(made, "_return_value", (job.result or {})["structuredContent"]["result"])
    return made


def _error(attempt: Attempt) -> TaskError:
    return TaskError(exception_class_path=_path_of(attempt), traceback=attempt.traceback or attempt.error_message)


def _path_of(attempt: Attempt) -> str:
    """Where the exception's class stands: the last line of a traceback says it, but for builtins."""
    lines = re.findall(rf"^((?:\w+\.)*{re.escape(attempt.error_class)})(?::|$)", attempt.traceback, re.MULTILINE)
    path = lines[-1] if lines else attempt.error_class
    return path if "." in path else f"builtins.{path}"


@on(FINISHED, name="django.tasks")
def tell_finished(event: Happened) -> None:
    """Django's `task_finished`: after the commit, in the process that tells of events, and again when a receiver raises."""
    if not event.tool.startswith(PREFIX) or event.status not in FINAL:
        return
    result = get(event.job_id)
    task_finished.send(type(result.task.get_backend()), task_result=result)
