"""Wire shapes: what programs get. Names are camelCase, times epoch milliseconds, what is not known is left out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import orjson
from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from jobs import sealing
from jobs.events import millis
from jobs.fallbacks import Fallback
from jobs.models import AskedQuestion, Attempt, Event, Job, JobMetrics
from jobs.payloads import Json
from jobs.states import Gate, Status

Millis = Annotated[int, Field(description="epoch milliseconds")]
Percent = Annotated[float, Field(ge=0, le=100)]
# A status message stays small whatever the tool had to say; the whole job has every line.
STATUS_DIAGNOSTICS = 100


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class Text(Shape):
    type: str = "text"
    text: str


class Result(Shape):
    """A CallToolResult of MCP."""

    is_error: bool = False
    content: list[dict[str, Any]]
    structured_content: Json = None


class PollingRecommendation(Shape):
    interval: Annotated[int, Field(description="milliseconds to wait before the next look")]
    next_check_time: Millis


class JobDetails(Shape):
    current_stage: str | None = None
    diagnostics: list[str] | None = None
    sub_progress: Percent | None = None
    metadata: dict[str, Any] | None = None


class JobStatusMessage(Shape):
    """Where a job is. A finished job has no polling recommendation."""

    job_id: str
    tool_name: str
    status: str
    message: str | None = None
    progress: Percent | None = None
    timestamp: Millis
    created_at: Millis
    updated_at: Millis
    polling_recommendation: PollingRecommendation | None = None
    details: JobDetails | None = None


class ResourceRequirements(Shape):
    memory_mb: Annotated[int, Field(alias="memoryMB")]
    cpu_weight: float
    disk_space_mb: Annotated[int, Field(alias="diskSpaceMB")]


class JobSummary(Shape):
    """A job as lists show it: everything but its params, result and details."""

    id: str
    tool_name: str
    status: str
    created_at: Millis
    updated_at: Millis
    started_at: Millis | None = None
    finished_at: Millis | None = None
    progress_message: str | None = None
    progress_percentage: Percent | None = None
    reason: Annotated[str | None, Field(description="why the last move was made")] = None
    task_id: str | None = None
    project_id: str | None = None
    batch_id: str | None = None
    operation_type: str | None = None
    priority: str | None = None
    submitted_by: str | None = None
    retry_count: int = 0
    max_retries: int = 0
    loss_count: Annotated[int, Field(description="attempts in a row whose process vanished; they spend no retry")] = 0
    quarantined: Annotated[bool, Field(description="pending until somebody releases it")] = False
    next_attempt_at: Annotated[Millis | None, Field(description="of a job that is to be tried again, or to start later")] = None
    error_class: str | None = None
    error_category: str | None = None
    error_fingerprint: Annotated[str | None, Field(description="equal for failures that are alike")] = None


class TaskJob(JobSummary):
    """Everything about a job: the shapes Job and TaskJob in one."""

    params: dict[str, Any]
    result: Result | None = None
    details: JobDetails | None = None
    last_access_time: Millis | None = None
    access_count: int = 0
    estimated_duration: int | None = None
    timeout_ms: int
    expires_at: Annotated[Millis | None, Field(description="of no use after this")] = None
    resource_requirements: ResourceRequirements
    dependencies: list[str]
    fallbacks: Annotated[list[Fallback], Field(description="the tools that gave up before toolName, first to last")] = []
    metadata: dict[str, Any]


class ResourceUsage(Shape):
    peak_memory_mb: Annotated[float, Field(alias="peakMemoryMB")]
    average_cpu_usage: float


class Metrics(Shape):
    """JobMetrics: what the job's last attempt cost and how the job did as a whole."""

    job_id: str
    start_time: Millis
    end_time: Millis | None = None
    duration: int | None = None
    resource_usage: ResourceUsage
    performance_score: Annotated[int, Field(ge=0, le=100)]
    error_count: int
    retry_count: int


class JobEvent(Shape):
    id: int
    verb: str
    before: str | None = None
    after: str
    reason: str | None = None
    actor: str | None = None
    attempt: int | None = None
    at: Millis


class JobAttempt(Shape):
    id: int
    number: int
    state: str
    admitted_at: Millis
    started_at: Millis | None = None
    finished_at: Millis | None = None
    worker: str | None = None
    error_class: str | None = None
    error_category: str | None = None
    error_message: str | None = None
    error_place: str | None = None
    error_fingerprint: str | None = None
    traceback: str | None = None
    refused_writes: Annotated[int, Field(description="that came after it was given up for lost")] = 0
    resource_usage: ResourceUsage


class OpenQuestion(Shape):
    """What a job waits to be told; the answer's content fits `requestedSchema`."""

    key: str
    message: str
    requested_schema: dict[str, Any]


class QueueStatus(Shape):
    """What waits and what runs; the maps and waits are of pending jobs, times in ms."""

    queue_length: int
    running: int
    total: int
    by_priority: dict[str, int]
    by_operation: dict[str, int]
    average_wait: float
    longest_wait: float


class ResourceUse(Shape):
    """Over all measured jobs; CPU is percent, 100 is one core."""

    average_memory_mb: Annotated[float, Field(alias="averageMemoryMB")]
    peak_memory_mb: Annotated[float, Field(alias="peakMemoryMB")]
    average_cpu_usage: float
    peak_cpu_usage: float


class OperationStatistics(Shape):
    count: int
    average_time: Annotated[float | None, Field(description="ms")] = None
    success_rate: Annotated[float | None, Field(ge=0, le=1, description="completed of completed and failed")] = None


class Statistics(Shape):
    """Totals and averages over the jobs that are kept; what was never measured is left out."""

    total: int
    by_status: dict[str, int]
    average_execution_time: Annotated[float | None, Field(description="ms")] = None
    average_performance_score: float | None = None
    resource_use: ResourceUse
    by_operation: dict[str, OperationStatistics]
    refused_writes: Annotated[int, Field(description="of attempts that had been given up for lost; none of them counted")]


# --- rows to shapes --------------------------------------------------------------------------------------------------
def ms(moment: datetime | None) -> int:
    return millis(moment) or 0


def text_of(structured: Json) -> str:
    return orjson.dumps(structured).decode()


def result_of(job: Job) -> Result | None:
    """The result of a finished job; one that ended without saying anything says why it ended."""
    if not job.is_final:
        return None
    if isinstance(job.result, dict) and isinstance(job.result.get("content"), list):
        return Result.model_validate(job.result)
    text = job.reason or job.status
    return Result(is_error=job.status != "completed", content=[Text(text=text).model_dump()])


def details_of(job: Job, *, diagnostics: int | None = None) -> JobDetails | None:
    """`diagnostics` limits how many lines are given, the newest; None when there is nothing to tell."""
    lines = job.diagnostics if diagnostics is None else job.diagnostics[-diagnostics:]
    details = JobDetails(
        current_stage=job.stage or None,
        diagnostics=lines or None,
        sub_progress=job.sub_progress,
        metadata=job.metadata or None,
    )
    return None if details == JobDetails() else details


def status_message(job: Job, wait_ms: int | None) -> JobStatusMessage:
    """`wait_ms` is what the polling contract recommends. Touches neither params nor result."""
    now = ms(timezone.now())
    return JobStatusMessage(
        job_id=job.id,
        tool_name=job.tool,
        status=job.status,
        message=_message_of(job),
        progress=job.progress,
        timestamp=now,
        created_at=ms(job.created_at),
        updated_at=ms(job.updated_at),
        polling_recommendation=None if wait_ms is None else PollingRecommendation(interval=wait_ms, next_check_time=now + wait_ms),
        details=details_of(job, diagnostics=STATUS_DIAGNOSTICS),
    )


def _message_of(job: Job) -> str | None:
    """What the tool said last; of a job that ended badly or has not begun, why it is where it is."""
    said = job.message if job.status in ("running", "completed") else job.reason
    return said or job.message or job.reason or None


def summary(job: Job) -> JobSummary:
    return JobSummary(**_summary_fields(job))


def task_job(job: Job, dependencies: Iterable[str]) -> TaskJob:
    return TaskJob(
        **_summary_fields(job),
        params=sealing.covered(job.params),
        result=result_of(job),
        details=details_of(job),
        last_access_time=millis(job.last_look_at),
        access_count=job.looks,
        estimated_duration=job.estimated_ms,
        timeout_ms=job.timeout_ms,
        expires_at=millis(job.expires_at),
        resource_requirements=ResourceRequirements(memory_mb=job.memory_mb, cpu_weight=job.cpu_weight, disk_space_mb=job.disk_mb),
        dependencies=list(dependencies),
        fallbacks=[Fallback.model_validate(gave_up) for gave_up in job.fallbacks],
        metadata=job.metadata
        | ({"batchId": job.batch} if job.batch else {})
        | {"retryCount": job.retry_count, "maxRetries": job.max_retries},
    )


def _summary_fields(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "tool_name": job.tool,
        "status": job.status,
        "created_at": ms(job.created_at),
        "updated_at": ms(job.updated_at),
        "started_at": millis(job.started_at),
        "finished_at": millis(job.finished_at),
        "progress_message": job.message or None,
        "progress_percentage": job.progress,
        "reason": job.reason or None,
        "task_id": job.task_id or None,
        "project_id": job.project or None,
        "batch_id": job.batch or None,
        "operation_type": job.operation or None,
        "priority": job.priority,
        "submitted_by": job.submitted_by or None,
        "retry_count": job.retry_count,
        "max_retries": job.max_retries,
        "loss_count": job.loss_count,
        "quarantined": job.status == Status.PENDING and job.gate == Gate.QUARANTINED,
        "next_attempt_at": millis(job.run_at) if job.status == Status.PENDING and job.gate == Gate.TIME else None,
        "error_class": job.error_class or None,
        "error_category": job.error_category or None,
        "error_fingerprint": job.error_fingerprint or None,
    }


def metrics(row: JobMetrics) -> Metrics:
    return Metrics(
        job_id=row.job_id,
        start_time=ms(row.start_time),
        end_time=millis(row.end_time),
        duration=row.duration_ms,
        resource_usage=ResourceUsage(peak_memory_mb=row.peak_memory_mb, average_cpu_usage=row.average_cpu),
        performance_score=row.performance_score,
        error_count=row.error_count,
        retry_count=row.retry_count,
    )


def job_event(event: Event) -> JobEvent:
    return JobEvent(
        id=event.pk,
        verb=event.verb,
        before=event.before or None,
        after=event.after,
        reason=event.reason or None,
        actor=event.actor or None,
        attempt=event.attempt_id,
        at=ms(event.at),
    )


def job_attempt(attempt: Attempt) -> JobAttempt:
    return JobAttempt(
        id=attempt.pk,
        number=attempt.number,
        state=attempt.state,
        admitted_at=ms(attempt.admitted_at),
        started_at=millis(attempt.started_at),
        finished_at=millis(attempt.finished_at),
        worker=attempt.worker or None,
        error_class=attempt.error_class or None,
        error_category=attempt.error_category or None,
        error_message=attempt.error_message or None,
        error_place=attempt.error_place or None,
        error_fingerprint=attempt.error_fingerprint or None,
        traceback=attempt.traceback or None,
        refused_writes=attempt.refused_writes,
        resource_usage=ResourceUsage(peak_memory_mb=attempt.peak_memory_mb, average_cpu_usage=attempt.cpu_percent),
    )


def open_question(row: AskedQuestion) -> OpenQuestion:
    return OpenQuestion(key=row.key, message=row.message, requested_schema=row.schema)
