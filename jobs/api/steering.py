"""Jobs that are there: stop them, hold them back, move them in line, do them again."""

from __future__ import annotations

from dataclasses import replace

from django.http import HttpResponse
from ninja import Router

from jobs import audit, lifecycle, sight
from jobs.api.auth import CONTROL, SUBMIT, ApiRequest
from jobs.api.jobs import after, made
from jobs.api.reach import refuse_beyond
from jobs.api.requests import Cancellation, JobCancellation, JobFields, JobId, NewPriority, Retrial
from jobs.api.wire import WIRE
from jobs.schemas import JobStatusMessage
from jobs.submission import copy_of

router = Router(tags=["steering"])


@router.post("/{job_id}/cancel", response={202: JobStatusMessage}, auth=CONTROL, operation_id="cancelJob", **WIRE)
def cancel(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: JobCancellation | None = None) -> JobStatusMessage:
    """A pending job is cancelled at once, a running one is told to stop; a finished one stays as it is."""
    sight.refuse_unseen(job_id, request.caller.sight)
    wish = wanted or JobCancellation()
    if wish.dependents:
        lifecycle.cancel_family("job", job_id, by=request.caller.name, reason=wish.reason, sight=request.caller.sight)
    else:
        audit.act("cancel", lifecycle.cancel, job_id, by=request.caller.name, reason=wish.reason)
    return after(job_id, response)


@router.post("/{job_id}/retry", response={202: JobStatusMessage}, auth=CONTROL, operation_id="retryJob", **WIRE)
def retry(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: Retrial | None = None) -> JobStatusMessage:
    """Send a failed or cancelled job back to pending with all its retries; with other params, if these are given."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("retry", lifecycle.retry, job_id, by=request.caller.name, params=wanted.params if wanted else None)
    return after(job_id, response)


@router.post("/{job_id}/clone", response={202: JobStatusMessage}, auth=SUBMIT, operation_id="cloneJob", **WIRE)
def clone(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: JobFields | None = None) -> JobStatusMessage:
    """Hand in a new job like this one, with what is given here in place of what it had. It waits for no others."""
    job = sight.find(job_id, request.caller.sight)
    submission = replace(copy_of(job), **(wanted.given() if wanted else {}))
    refuse_beyond(request.caller, [submission])
    return made(lifecycle.submit(submission, by=request.caller.name), response)


@router.post("/{job_id}/pause", response={202: JobStatusMessage}, auth=CONTROL, operation_id="pauseJob", **WIRE)
def pause(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: Cancellation | None = None) -> JobStatusMessage:
    """Hold a pending job back until it is resumed."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("pause", lifecycle.pause, job_id, by=request.caller.name, reason=wanted.reason if wanted else "")
    return after(job_id, response)


@router.post("/{job_id}/resume", response={202: JobStatusMessage}, auth=CONTROL, operation_id="resumeJob", **WIRE)
def resume(request: ApiRequest, job_id: JobId, response: HttpResponse) -> JobStatusMessage:
    """Let a paused job in again, at its old place in line."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("resume", lifecycle.resume, job_id, by=request.caller.name)
    return after(job_id, response)


@router.post("/{job_id}/release", response={202: JobStatusMessage}, auth=CONTROL, operation_id="releaseJob", **WIRE)
def release(request: ApiRequest, job_id: JobId, response: HttpResponse) -> JobStatusMessage:
    """Let a job in again that was quarantined because its process vanished three times in a row."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("release", lifecycle.release, job_id, by=request.caller.name)
    return after(job_id, response)


@router.post("/{job_id}/priority", response={202: JobStatusMessage}, auth=CONTROL, operation_id="setPriority", **WIRE)
def priority(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: NewPriority) -> JobStatusMessage:
    """Give a pending job another priority, and with it another place in line."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("reprioritise", lifecycle.reprioritise, job_id, by=request.caller.name, priority=wanted.priority)
    return after(job_id, response)
