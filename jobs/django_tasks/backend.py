"""The backend: a task that is enqueued becomes a job; a worker calls its function.

Tasks are made while modules are imported, before Django's apps are ready: what touches models is imported when it is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from jobs import tools
from jobs.django_tasks import framework
from jobs.django_tasks.framework import BaseTaskBackend, Task, TaskResult
from jobs.limits import Resources, Rule
from jobs.retry import Retry
from jobs.tools import JobContext, Tool

# What a task's tool is called: this, and where its function stands.
PREFIX = "task."


@dataclass(frozen=True, kw_only=True)
class TaskContext(framework.TaskContext):
    """What a task with `takes_context` is given: Django's context, and `job`, by which it reports progress and asks."""

    job: JobContext


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTask(Task):  # type: ignore[type-arg]
    """A task, and what a tool may say of itself: `@task(retry=Retry(max=5), timeout=60, max_running=2)`; `timeout` is seconds."""

    timeout: float | None = None
    retry: Retry | None = None
    resources: Resources = field(default_factory=Resources)
    max_running: int | None = None
    per_minute: int | None = None
    deduplicate: bool = False

    def __post_init__(self) -> None:
        # Not super(): a dataclass with slots is made twice, and the first is not this one.
        Task.__post_init__(self)
        register(self)

    @property
    def tool(self) -> str:
        return tool_name(self)


def tool_name(task: Task) -> str:  # type: ignore[type-arg]
    """The tool of a task: where its function stands, in the letters that tools may have."""
    return PREFIX + "".join(c if c.isalnum() or c in "_." else "_" for c in task.module_path.lower())[: 100 - len(PREFIX)]


def register(task: JobTask) -> None:
    """Make the task's function a tool. Internal: it is run by who may enqueue, not by who has a token."""
    tools.add(
        Tool(
            name=tool_name(task),
            run=_run,
            params=_Params,
            takes_model=True,
            takes_job=True,
            timeout_ms=None if task.timeout is None else round(task.timeout * 1000),
            retry=task.retry,
            resources=task.resources,
            queue=task.queue_name,
            rule=Rule(max_running=task.max_running, per_minute=task.per_minute),
            deduplicate=task.deduplicate,
            description=(task.func.__doc__ or "").strip().split("\n\n")[0],
            internal=True,
        )
    )


class _Params(BaseModel):
    """Checked by jobs.django_tasks.results, which knows them."""

    model_config = ConfigDict(extra="allow")


def _run(params: BaseModel, job: JobContext) -> Any:
    return results().run(params, job)


class JobsiteBackend(BaseTaskBackend):
    """`TASKS = {"default": {"BACKEND": "jobs.django_tasks.JobsiteBackend", "QUEUES": [...]}}`."""

    task_class = JobTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> TaskResult[Any]:
        """The job is in the database when this returns, or with the transaction around it. Raises a `Refused` too."""
        self.validate_task(task)
        result: TaskResult[Any] = results().enqueue(task, args, kwargs, backend=self.alias)
        framework.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """Raises `TaskResultDoesNotExist`, also for a job that is no task."""
        result: TaskResult[Any] = results().get(result_id)
        return result


def results() -> Any:
    from jobs.django_tasks import results as module  # noqa: PLC0415  (it needs the models)

    return module
