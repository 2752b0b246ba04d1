"""The job manager for Python code inside the project: the verbs that tools have always used, over the database.

    from jobs.manager import job_manager

Every verb may be called from any thread and process; each has an asynchronous form with an `a` before its name. A job that is
not there, or whose state does not allow a change, gives False or None, and never an exception; a request that cannot be
understood raises a `Refused`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from jobs import configuration, lifecycle, looks, queries, reports, retention, run_context, schemas, statistics, steering
from jobs.changes import Change
from jobs.classification import classify
from jobs.errors import Category, Conflict, IllegalMove, InvalidRequest, NotFound, Problem
from jobs.lifecycle import Submission
from jobs.limits import Resources
from jobs.payloads import Json, shown
from jobs.schemas import JobStatusMessage, TaskJob
from jobs.states import Status
from jobs.statistics import QueueStatus, Statistics
from jobs.subscriptions import Listener, Unsubscribe, subscriptions

P = ParamSpec("P")
T = TypeVar("T")

_TRIES = 5


def _async(method: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The asynchronous form of a verb."""
    in_thread = sync_to_async(method)

    @functools.wraps(method)
    async def form(*args: P.args, **kwargs: P.kwargs) -> T:
        return await in_thread(*args, **kwargs)

    return form


@dataclass(frozen=True, kw_only=True)
class Found:
    """A job, where it is, and the milliseconds to wait before the next look (None: it is finished)."""

    job: TaskJob
    status: JobStatusMessage
    wait_ms: int | None


class JobManager:
    """A thin face on the lifecycle and the queries. `by` is what the history of jobs shows."""

    def __init__(self, by: str = "python") -> None:
        self.by = by

    # --- jobs that a tool runs and reports by itself -----------------------------------------------------------------
    def create_job(
        self,
        tool_name: str,
        params: Mapping[str, Json] | None = None,
        *,
        job_id: str | None = None,
        timeout_ms: int | None = None,
        max_retries: int = 0,
        project: str = "",
        batch: str = "",
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """A pending standard job: whoever makes it runs it and reports. Its id. The tool need not be registered.

        From the first report it has `timeout_ms`, else the tool's or the queue's time-out, to come to an end. A failed one that
        has retries left is pending again, and is to be begun again by its tool. Raises a `Refused`.
        """
        wanted = Submission(
            tool=tool_name,
            params=dict(params or {}),
            id=job_id,
            timeout_ms=timeout_ms,
            max_retries=max_retries,
            project=project,
            batch=batch,
            metadata=dict(metadata or {}),
            standard=True,
        )
        return lifecycle.submit(wanted, by=self.by).id

    def update_job_status(
        self,
        job_id: str,
        status: str,
        message: str | None = None,
        progress: float | None = None,
        *,
        stage: str | None = None,
        sub_progress: float | None = None,
        diagnostics: Sequence[str] = (),
        metadata: Mapping[str, Json] | None = None,
    ) -> bool:
        """What has become of a standard job; `running` begins it. Raises `InvalidRequest` for a status that does not exist."""
        match status:
            case Status.RUNNING:
                return reports.begin(job_id, by=self.by) and self.update_job_progress(
                    job_id,
                    progress,
                    message,
                    stage=stage,
                    sub_progress=sub_progress,
                    diagnostics=diagnostics,
                    metadata=metadata,
                )
            case Status.COMPLETED:
                return self.complete_job(job_id, message)
            case Status.FAILED:
                return self.fail_job(job_id, message or "failed")
            case Status.CANCELLED:
                return self.cancel_job(job_id, message or "")
            case _:
                detail = f"a status to report is running, completed, failed or cancelled, not {status[:40]!r}"
                raise InvalidRequest(detail, [Problem(detail=detail, pointer="/status")])

    def set_job_result(self, job_id: str, result: Json) -> bool:
        """The end of a standard job: completed, or failed when `result` has the shape of a CallToolResult and `isError`."""
        reports.begin(job_id, by=self.by)
        return reports.finish(job_id, result, by=self.by)

    complete_job = set_job_result

    def fail_job(self, job_id: str, error: str | BaseException) -> bool:
        """A standard job came to no good end."""
        reports.begin(job_id, by=self.by)
        if isinstance(error, BaseException):
            kind, category, text = type(error).__name__, classify(error), shown(error)
        else:
            kind, category, text = "Failed", Category.PERMANENT, error
        return reports.fail(job_id, text, error_class=kind, category=category, by=self.by)

    def update_job_progress(
        self,
        job_id: str,
        progress: float | None = None,
        message: str | None = None,
        *,
        stage: str | None = None,
        sub_progress: float | None = None,
        diagnostics: Sequence[str] = (),
        metadata: Mapping[str, Json] | None = None,
    ) -> bool:
        """Where a running job is: a standard one, or a TaskJob that a worker runs in this very process.

        Percentages are 0..100; what is None stays. False when it does not run, or was told to stop.
        """
        context = run_context.here(job_id)
        if context is not None:
            return context.update(progress, message, stage, sub_progress, diagnostics, metadata)
        return reports.tell(
            job_id,
            by=self.by,
            progress=progress,
            message=message,
            stage=stage,
            sub_progress=sub_progress,
            diagnostics=diagnostics,
            metadata=metadata,
        )

    # --- jobs that workers run ---------------------------------------------------------------------------------------
    def create_task_job(
        self,
        tool_name: str,
        params: Mapping[str, Json] | None = None,
        *,
        operation_type: str | None = None,
        priority: str | None = None,
        dependencies: Sequence[str] = (),
        resource_requirements: Resources | None = None,
        estimated_duration_ms: int | None = None,
        timeout_ms: int | None = None,
        max_retries: int | None = None,
        job_id: str | None = None,
        task_id: str = "",
        project_id: str = "",
        batch_id: str = "",
        deduplicate: bool | None = None,
        metadata: Mapping[str, Json] | None = None,
    ) -> str:
        """A job for a worker; its id. Durable when this returns. Raises a `Refused`."""
        wanted = Submission(
            tool=tool_name,
            params=dict(params or {}),
            id=job_id,
            priority=priority,
            operation=operation_type,
            depends_on=tuple(dependencies),
            resources=resource_requirements,
            estimated_ms=estimated_duration_ms,
            timeout_ms=timeout_ms,
            max_retries=max_retries,
            task_id=task_id,
            project=project_id,
            batch=batch_id,
            deduplicate=deduplicate,
            metadata=dict(metadata or {}),
        )
        return lifecycle.submit(wanted, by=self.by).id

    # --- any job -----------------------------------------------------------------------------------------------------
    def get_job(self, job_id: str) -> Found | None:
        """The job, and when to look again; this is a look, so the recommended wait grows with it. None: there is no such job."""
        try:
            seen = looks.look(job_id)
            job = queries.find(job_id)
        except NotFound:
            return None
        whole = schemas.task_job(job, [parent.id for parent in queries.parents_of(job_id)])
        return Found(job=whole, status=schemas.status_message(seen.job, seen.wait_ms), wait_ms=seen.wait_ms)

    def change_job(self, job_id: str, change: Change) -> bool:
        """Give a pending job other needs, another time-out, retry policy, concurrency key or time.

        False when it does not wait any more. Raises `RequirementTooLarge` or `InvalidRequest`.
        """
        try:
            lifecycle.change(job_id, change, by=self.by)
        except (NotFound, IllegalMove):
            return False
        return True

    def cancel_job(self, job_id: str, reason: str = "") -> bool:
        """End a pending job, tell a running one to stop. False when there is nothing to cancel any more."""
        try:
            job = lifecycle.cancel(job_id, by=self.by, reason=reason)
        except NotFound:
            return False
        return reports.stop(job_id, by=self.by) or job.cancel_requested_at is not None or job.status == Status.CANCELLED

    # --- the whole ---------------------------------------------------------------------------------------------------
    def get_queue_status(self) -> QueueStatus:
        """What waits and what runs."""
        return statistics.queue_status()

    def get_job_statistics(self) -> Statistics:
        """Totals and averages over the jobs that are kept."""
        return statistics.statistics()

    def update_config(self, **changes: Json) -> int:
        """Change the queue's configuration, by the names of its columns; it holds when this returns. The new version.

        Raises `InvalidRequest`, and `Conflict` when others change it all the time.
        """
        for _ in range(_TRIES):
            try:
                return steering.configure(changes, version=configuration.row().version, by=self.by).version
            except Conflict:
                continue
        raise Conflict("the configuration is changed again and again by others")

    def cleanup_old_jobs(self, max_age_ms: int | None = None) -> int:
        """Remove finished jobs older than this, else than the configured retention; how many. Raises `InvalidRequest`.

        None that is active or that an active job needs, and none of which a subscriber or the statistics have not heard yet.
        """
        if max_age_ms is not None and max_age_ms < 0:
            detail = "an age is not negative"
            raise InvalidRequest(detail, [Problem(detail=detail, pointer="/maxAgeMs")])
        age, removed = None if max_age_ms is None else timedelta(milliseconds=max_age_ms), 0
        while batch := retention.remove_old(older_than=age):
            removed += batch
        return removed

    # --- news --------------------------------------------------------------------------------------------------------
    def subscribe_to_job(self, job_id: str, listener: Listener) -> Unsubscribe:
        """Call `listener` with a `JobNews`, in a thread of this process: where the job is, and each change, until it is final.

        Gives what ends the subscription. Raises `NotFound`.
        """
        queries.find(job_id)
        return subscriptions.to_job(job_id, listener)

    def subscribe_to_progress(self, listener: Listener) -> Unsubscribe:
        """Call `listener` with the news of every job; what Redis loses is not told. Gives what ends the subscription."""
        return subscriptions.to_all(listener)

    acreate_job = _async(create_job)
    aupdate_job_status = _async(update_job_status)
    aset_job_result = _async(set_job_result)
    acomplete_job = _async(complete_job)
    afail_job = _async(fail_job)
    aupdate_job_progress = _async(update_job_progress)
    acreate_task_job = _async(create_task_job)
    aget_job = _async(get_job)
    achange_job = _async(change_job)
    acancel_job = _async(cancel_job)
    aget_queue_status = _async(get_queue_status)
    aget_job_statistics = _async(get_job_statistics)
    aupdate_config = _async(update_config)
    acleanup_old_jobs = _async(cleanup_old_jobs)
    asubscribe_to_job = _async(subscribe_to_job)
    asubscribe_to_progress = _async(subscribe_to_progress)


job_manager = JobManager()
