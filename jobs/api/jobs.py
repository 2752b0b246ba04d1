"""Jobs: hand one in, follow it, steer it."""

from __future__ import annotations

import hashlib

from django.http import HttpResponse
from ninja import Query, Router

from jobs import lifecycle, looks, polling, queries, schemas, statistics
from jobs.api.auth import CONTROL, READ, SUBMIT, ApiRequest
from jobs.api.problems import NotFinished, retry_after
from jobs.api.requests import Cancellation, JobId, Listing, NewJob, NewPriority, refuse_unknown
from jobs.api.wire import WIRE
from jobs.models import Job
from jobs.schemas import JobAttempt, JobEvent, JobStatusMessage, JobSummary, Metrics, Result, Shape, TaskJob, WhyWaiting

router = Router(tags=["jobs"])


class JobPage(Shape):
    """`nextCursor` is left out on the last page."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


class Waiting(Shape):
    job_id: str
    why: WhyWaiting | None = None


class JobEvents(Shape):
    events: list[JobEvent]


class JobAttempts(Shape):
    attempts: list[JobAttempt]


@router.post("", response={202: JobStatusMessage}, auth=SUBMIT, operation_id="createJob", **WIRE)
def create(request: ApiRequest, wanted: NewJob, response: HttpResponse) -> JobStatusMessage:
    """Hand in a job. It is durable when this answers; `Location` is where to follow it.

    With the header `Idempotency-Key` the same request sent again, within 24 hours, is answered with the same job.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        job = lifecycle.submit(wanted.as_submission(), by=request.caller.name)
    else:
        digest = hashlib.sha256(request.body).hexdigest()
        job, _ = lifecycle.submit_once(wanted.as_submission(), by=request.caller.name, key=key, digest=digest)
    response["Location"] = f"/api/v1/jobs/{job.id}"
    return _status(job, polling.interval_ms(job.status, 1), response)


@router.get("", response=JobPage, auth=READ, operation_id="listJobs", **WIRE)
def listing(request: ApiRequest, wanted: Query[Listing]) -> JobPage:
    """Jobs, newest first, without params and results."""
    refuse_unknown(request.GET, Listing)
    page = queries.page(
        status=wanted.status or "",
        tool=wanted.tool_name,
        project=wanted.project_id,
        batch=wanted.batch_id,
        cursor=wanted.cursor,
        size=wanted.limit,
    )
    return JobPage(jobs=[schemas.summary(job) for job in page.jobs], next_cursor=page.next_cursor or None)


@router.get("/{job_id}", response=JobStatusMessage, auth=READ, operation_id="getJob", **WIRE)
def status(request: ApiRequest, job_id: JobId, response: HttpResponse) -> JobStatusMessage:
    """Where the job is. `pollingRecommendation` and `Retry-After` say when to look again; earlier is no error."""
    seen = looks.look(job_id)
    return _status(seen.job, seen.wait_ms, response)


@router.get("/{job_id}/full", response=TaskJob, auth=READ, operation_id="getFullJob", **WIRE)
def full(request: ApiRequest, job_id: JobId) -> TaskJob:
    """Everything about the job: params, result, requirements, dependencies. Not a look in the sense of polling."""
    job = queries.find(job_id)
    return schemas.task_job(job, [parent.id for parent in queries.parents_of(job_id)])


@router.get("/{job_id}/result", response=Result, auth=READ, operation_id="getResult", **WIRE)
def result(request: ApiRequest, job_id: JobId) -> Result:
    """The result of a finished job; before that 409 with `Retry-After`."""
    seen = looks.look(job_id)
    if seen.wait_ms is not None:
        raise NotFinished(f"job {job_id} is {seen.job.status}", wait_ms=seen.wait_ms)
    found = schemas.result_of(queries.find(job_id))
    if found is None:
        raise NotFinished(f"job {job_id} was sent back to pending just now", wait_ms=1000)
    return found


@router.post("/{job_id}/cancel", response={202: JobStatusMessage}, auth=CONTROL, operation_id="cancelJob", **WIRE)
def cancel(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: Cancellation | None = None) -> JobStatusMessage:
    """A pending job is cancelled at once, a running one is told to stop; a finished one stays as it is."""
    lifecycle.cancel(job_id, by=request.caller.name, reason=wanted.reason if wanted else "")
    return _after(job_id, response)


@router.post("/{job_id}/retry", response={202: JobStatusMessage}, auth=CONTROL, operation_id="retryJob", **WIRE)
def retry(request: ApiRequest, job_id: JobId, response: HttpResponse) -> JobStatusMessage:
    """Send a failed or cancelled job back to pending, with all its retries."""
    lifecycle.retry(job_id, by=request.caller.name)
    return _after(job_id, response)


@router.post("/{job_id}/pause", response={202: JobStatusMessage}, auth=CONTROL, operation_id="pauseJob", **WIRE)
def pause(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: Cancellation | None = None) -> JobStatusMessage:
    """Hold a pending job back until it is resumed."""
    lifecycle.pause(job_id, by=request.caller.name, reason=wanted.reason if wanted else "")
    return _after(job_id, response)


@router.post("/{job_id}/resume", response={202: JobStatusMessage}, auth=CONTROL, operation_id="resumeJob", **WIRE)
def resume(request: ApiRequest, job_id: JobId, response: HttpResponse) -> JobStatusMessage:
    """Let a paused job in again, at its old place in line."""
    lifecycle.resume(job_id, by=request.caller.name)
    return _after(job_id, response)


@router.post("/{job_id}/priority", response={202: JobStatusMessage}, auth=CONTROL, operation_id="setPriority", **WIRE)
def priority(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: NewPriority) -> JobStatusMessage:
    """Give a pending job another priority, and with it another place in line."""
    lifecycle.reprioritise(job_id, wanted.priority, by=request.caller.name)
    return _after(job_id, response)


@router.get("/{job_id}/why", response=Waiting, auth=READ, operation_id="getWhy", **WIRE)
def why(request: ApiRequest, job_id: JobId) -> Waiting:
    """Why the job waits; `why` is left out when it does not."""
    found = queries.why_pending(queries.find(job_id))
    return Waiting(job_id=job_id, why=schemas.why(found) if found else None)


@router.get("/{job_id}/events", response=JobEvents, auth=READ, operation_id="listEvents", **WIRE)
def events(request: ApiRequest, job_id: JobId) -> JobEvents:
    """Every move the job made, oldest first."""
    queries.find(job_id)
    return JobEvents(events=[schemas.job_event(event) for event in queries.events_of(job_id)])


@router.get("/{job_id}/attempts", response=JobAttempts, auth=READ, operation_id="listAttempts", **WIRE)
def attempts(request: ApiRequest, job_id: JobId) -> JobAttempts:
    """Every try at the job, oldest first."""
    queries.find(job_id)
    return JobAttempts(attempts=[schemas.job_attempt(attempt) for attempt in queries.attempts_of(job_id)])


@router.get("/{job_id}/metrics", response=Metrics, auth=READ, operation_id="getMetrics", **WIRE)
def metrics(request: ApiRequest, job_id: JobId) -> Metrics:
    """What the job's last attempt cost. Not found before the first attempt ended."""
    return schemas.metrics(statistics.metrics_of(job_id))


def _after(job_id: str, response: HttpResponse) -> JobStatusMessage:
    """Where the job is after a verb; the caller's first look at the new state is still to come."""
    job = queries.find(job_id)
    return _status(job, polling.interval_ms(job.status, 1), response)


def _status(job: Job, wait_ms: int | None, response: HttpResponse) -> JobStatusMessage:
    if wait_ms is not None:
        response["Retry-After"] = retry_after(wait_ms)
    return schemas.status_message(job, wait_ms)
