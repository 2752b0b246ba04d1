"""What is known about one job: its moves, tries, lines, costs, kin, and why it waits."""

from __future__ import annotations

from ninja import Router

from jobs import queries, schemas, sight, statistics, waiting
from jobs.api.auth import READ, ApiRequest
from jobs.api.requests import JobId
from jobs.api.wire import WIRE
from jobs.schemas import JobAttempt, JobEvent, JobSummary, Metrics, Shape
from jobs.waiting import WhyWaiting

router = Router(tags=["history"])


class Waiting(Shape):
    job_id: str
    why: WhyWaiting | None = None


class JobEvents(Shape):
    events: list[JobEvent]


class JobAttempts(Shape):
    attempts: list[JobAttempt]


class Diagnostics(Shape):
    """Every line that is kept, oldest first; at most 1,000."""

    job_id: str
    diagnostics: list[str]


class Kin(Shape):
    """`dependencies` must end before the job starts, in the order they were named; `dependents` wait for it, at most 100."""

    dependencies: list[JobSummary]
    dependents: list[JobSummary]


@router.get("/{job_id}/why", response=Waiting, auth=READ, operation_id="getWhy", **WIRE)
def why(request: ApiRequest, job_id: JobId) -> Waiting:
    """Why the job waits; `why` is left out when it does not."""
    found = queries.why_pending(sight.find(job_id, request.caller.sight))
    return Waiting(job_id=job_id, why=waiting.shape_of(found.as_seen(request.caller.sight)) if found else None)


@router.get("/{job_id}/events", response=JobEvents, auth=READ, operation_id="listEvents", **WIRE)
def events(request: ApiRequest, job_id: JobId) -> JobEvents:
    """Every move the job made, oldest first."""
    sight.find(job_id, request.caller.sight)
    return JobEvents(events=[schemas.job_event(event) for event in queries.events_of(job_id)])


@router.get("/{job_id}/attempts", response=JobAttempts, auth=READ, operation_id="listAttempts", **WIRE)
def attempts(request: ApiRequest, job_id: JobId) -> JobAttempts:
    """Every try at the job, oldest first."""
    sight.find(job_id, request.caller.sight)
    return JobAttempts(attempts=[schemas.job_attempt(attempt) for attempt in queries.attempts_of(job_id)])


@router.get("/{job_id}/diagnostics", response=Diagnostics, auth=READ, operation_id="getDiagnostics", **WIRE)
def diagnostics(request: ApiRequest, job_id: JobId) -> Diagnostics:
    """What the job's tool noted about its work, line by line."""
    return Diagnostics(job_id=job_id, diagnostics=sight.find(job_id, request.caller.sight).diagnostics)


@router.get("/{job_id}/metrics", response=Metrics, auth=READ, operation_id="getMetrics", **WIRE)
def metrics(request: ApiRequest, job_id: JobId) -> Metrics:
    """What the job's last attempt cost. Not found before the first attempt ended."""
    sight.refuse_unseen(job_id, request.caller.sight)
    return schemas.metrics(statistics.metrics_of(job_id))


@router.get("/{job_id}/dependencies", response=Kin, auth=READ, operation_id="getDependencies", **WIRE)
def dependencies(request: ApiRequest, job_id: JobId) -> Kin:
    """The jobs that this one waits for or waited for, and those that wait for it."""
    seen = request.caller.sight
    sight.find(job_id, seen)
    return Kin(
        dependencies=[schemas.summary(job) for job in queries.parents_of(job_id) if seen.covers(job.project, job.tool)],
        dependents=[schemas.summary(job) for job in queries.children_of(job_id) if seen.covers(job.project, job.tool)],
    )
