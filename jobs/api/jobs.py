"""Jobs: hand one in, or many, and follow them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from django.http import HttpResponse
from ninja import Query, Router

from jobs import lifecycle, looks, polling, queries, schemas, sight
from jobs.api.auth import READ, SUBMIT, ApiRequest
from jobs.api.polls import hold_for_end, hold_until_news, tagged
from jobs.api.problems import NotFinished, retry_after
from jobs.api.reach import refuse_beyond
from jobs.api.requests import Bulk, JobId, Listing, Look, NewBulkJob, NewJob, ResultLook, refuse_unknown
from jobs.api.wire import WIRE
from jobs.errors import DuplicateId, Problem, Refused
from jobs.lifecycle import Submission
from jobs.models import Job
from jobs.schemas import JobStatusMessage, JobSummary, Result, Shape, TaskJob
from jobs.submission import new_id

router = Router(tags=["jobs"])
bulk_router = Router(tags=["jobs"])


class JobPage(Shape):
    """`nextCursor` is left out on the last page."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


class BulkMade(Shape):
    """One job of a bulk request. `key` is the caller's."""

    key: str | None = None
    job_id: str
    tool_name: str
    status: str


class BulkAnswer(Shape):
    """In the order of the request."""

    jobs: list[BulkMade]


@router.post("", response={202: JobStatusMessage}, auth=SUBMIT, operation_id="createJob", **WIRE)
def create(request: ApiRequest, wanted: NewJob, response: HttpResponse) -> JobStatusMessage:
    """Hand in a job. It is durable when this answers; `Location` is where to follow it.

    With the header `Idempotency-Key` the same request sent again, within 24 hours, is answered with the same job.
    """
    submission = wanted.as_submission()
    refuse_beyond(request.caller, [submission])
    key = request.headers.get("Idempotency-Key")
    if key is None:
        job = lifecycle.submit(submission, by=request.caller.name)
    else:
        (job,), _ = lifecycle.submit_once([submission], by=request.caller.name, key=key, digest=_digest(request))
    return made(job, response)


@bulk_router.post("", response={202: BulkAnswer}, auth=SUBMIT, operation_id="createJobs", **WIRE)
def create_many(request: ApiRequest, wanted: Bulk) -> BulkAnswer:
    """Hand in up to 1,000 jobs, all or none; their dependencies may name each other by `key`."""
    by = request.caller.name
    key = request.headers.get("Idempotency-Key")
    try:
        submissions = _with_ids(wanted.jobs)
        refuse_beyond(request.caller, submissions)
        if key is None:
            jobs = lifecycle.submit_many(submissions, by=by)
        else:
            jobs, _ = lifecycle.submit_once(submissions, by=by, key=key, digest=_digest(request))
    except Refused as refusal:
        if refusal.place is not None:
            refusal.problems = [Problem(detail=p.detail, pointer=f"/jobs/{refusal.place}{p.pointer}") for p in refusal.problems]
        raise
    return BulkAnswer(
        jobs=[
            BulkMade(key=asked.key, job_id=job.id, tool_name=job.tool, status=job.status)
            for asked, job in zip(wanted.jobs, jobs, strict=True)
        ]
    )


def _with_ids(wanted: Sequence[NewBulkJob]) -> list[Submission]:
    """Every job with an id, and with ids in the place of keys."""
    ids: dict[str, str] = {}
    for place, job in enumerate(wanted):
        if job.id is None:
            job.id = new_id(job.tool_name)
        if job.key is not None and ids.setdefault(job.key, job.id) is not job.id:
            raise DuplicateId(f"the key {job.key!r} stands twice", [Problem(detail="twice", pointer="/key")], place=place)
        job.dependencies = list(job.dependencies)
    for job in wanted:
        job.dependencies = [ids.get(named, named) for named in job.dependencies]
    return [job.as_submission() for job in wanted]


def _digest(request: ApiRequest) -> str:
    return hashlib.sha256(request.body).hexdigest()


@router.get("", response=JobPage, auth=READ, operation_id="listJobs", **WIRE)
def listing(request: ApiRequest, wanted: Query[Listing]) -> JobPage:
    """Jobs, newest first where nothing else is asked for, without params and results."""
    refuse_unknown(request.GET, Listing)
    page = queries.page(
        status=wanted.status or "",
        tool=wanted.tool_name,
        project=wanted.project_id,
        batch=wanted.batch_id,
        others=wanted.others(),
        sort=wanted.sort,
        cursor=wanted.cursor,
        size=wanted.limit,
        sight=request.caller.sight,
    )
    return JobPage(jobs=[schemas.summary(job) for job in page.jobs], next_cursor=page.next_cursor or None)


@router.get("/{job_id}", response={200: JobStatusMessage, 304: None}, auth=READ, operation_id="getJob", **WIRE)
def status(request: ApiRequest, job_id: JobId, wanted: Query[Look]) -> HttpResponse:
    """Where the job is. `pollingRecommendation` and `Retry-After` say when to look again; earlier is no error.

    With `If-None-Match` the answer is 304 while nothing has changed. With `wait` it is held until something changes, or with
    `until=end` until the job has ended; a job that was never looked at, and one that has ended, is answered at once.
    """
    refuse_unknown(request.GET, Look)
    seen = looks.look(job_id, request.caller.sight)
    known = request.headers.get("If-None-Match")
    hold_until_news(request, seen, wanted, known)
    return tagged(seen.job, seen.wait_ms, known)


@router.get("/{job_id}/full", response=TaskJob, auth=READ, operation_id="getFullJob", **WIRE)
def full(request: ApiRequest, job_id: JobId) -> TaskJob:
    """Everything about the job: params, result, requirements, dependencies. Not a look in the sense of polling."""
    job = sight.find(job_id, request.caller.sight)
    return schemas.task_job(job, [parent.id for parent in queries.parents_of(job_id)])


@router.get("/{job_id}/result", response=Result, auth=READ, operation_id="getResult", **WIRE)
def result(request: ApiRequest, job_id: JobId, wanted: Query[ResultLook]) -> Result:
    """The result of a finished job; before that 409 with `Retry-After`. With `wait` it is held until the job has ended."""
    refuse_unknown(request.GET, ResultLook)
    seen = looks.look(job_id, request.caller.sight)
    if seen.wait_ms is not None:
        hold_for_end(request, job_id, wanted.wait)
        raise NotFinished(f"job {job_id} is {seen.job.status}", wait_ms=seen.wait_ms)
    found = schemas.result_of(queries.find(job_id))
    if found is None:
        raise NotFinished(f"job {job_id} was sent back to pending just now", wait_ms=1000)
    return found


def made(job: Job, response: HttpResponse) -> JobStatusMessage:
    response["Location"] = f"/api/v1/jobs/{job.id}"
    return told(job, polling.interval_ms(job.status, 1), response)


def after(job_id: str, response: HttpResponse) -> JobStatusMessage:
    """Where the job is after a verb; the caller's first look at the new state is still to come."""
    job = queries.find(job_id)
    return told(job, polling.interval_ms(job.status, 1), response)


def told(job: Job, wait_ms: int | None, response: HttpResponse) -> JobStatusMessage:
    if wait_ms is not None:
        response["Retry-After"] = retry_after(wait_ms)
    return schemas.status_message(job, wait_ms)
