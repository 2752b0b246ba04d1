"""Changes to a job that waits, and its removal; at the addresses of jobs."""

from __future__ import annotations

from typing import Annotated

from django.http import HttpResponse
from ninja import Status
from pydantic import Field

from jobs import lifecycle, sight
from jobs.api.auth import CONTROL, ApiRequest
from jobs.api.history import router as history_router
from jobs.api.jobs import after, router
from jobs.api.reach import refuse_unseen_parents
from jobs.api.requests import JobId, Sent
from jobs.api.wire import WIRE
from jobs.schemas import JobStatusMessage
from jobs.submission import MAX_DEPENDENCIES

Ids = Annotated[list[str], Field(max_length=MAX_DEPENDENCIES)]


class NewDependencies(Sent):
    """Ids of jobs. An id that is to be added and is there already changes nothing."""

    add: Ids = []
    remove: Ids = []


@history_router.patch(
    "/{job_id}/dependencies", response={202: JobStatusMessage}, auth=CONTROL, operation_id="changeDependencies", **WIRE
)
def depend(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: NewDependencies) -> JobStatusMessage:
    """Let a pending job wait for further jobs, or no longer for some. One that has finished counts at once."""
    sight.refuse_unseen(job_id, request.caller.sight)
    refuse_unseen_parents(request.caller, set(wanted.add), pointer="/add")
    lifecycle.depend(job_id, add=wanted.add, remove=wanted.remove, by=request.caller.name)
    return after(job_id, response)


@router.delete("/{job_id}", response={204: None}, auth=CONTROL, operation_id="deleteJob")
def delete(request: ApiRequest, job_id: JobId) -> Status[None]:
    """Remove a job that does not run, and its history. Jobs that wait for it follow their `dependencyPolicy`."""
    sight.refuse_unseen(job_id, request.caller.sight)
    lifecycle.delete(job_id, by=request.caller.name)
    return Status(204, None)
