"""Changes to a job that waits, and its removal; at the addresses of jobs."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from django.http import HttpResponse
from ninja import Status
from pydantic import Field

from jobs import audit, lifecycle, sight
from jobs.api.auth import CONTROL, ApiRequest
from jobs.api.history import router as history_router
from jobs.api.jobs import after, router
from jobs.api.reach import refuse_unseen_parents
from jobs.api.requests import JobId, Label, Sent, Timing, Whole
from jobs.api.wire import WIRE
from jobs.changes import AS_IT_IS, Change
from jobs.schemas import JobStatusMessage
from jobs.submission import MAX_DEPENDENCIES

Ids = Annotated[list[str], Field(max_length=MAX_DEPENDENCIES)]


class NewDependencies(Sent):
    """Ids of jobs. An id that is to be added and is there already changes nothing."""

    add: Ids = []
    remove: Ids = []


class NewNeeds(Sent):
    memory_mb: Annotated[Whole | None, Field(alias="memoryMB", ge=0)] = None
    cpu_weight: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = None
    disk_space_mb: Annotated[Whole | None, Field(alias="diskSpaceMB", ge=0)] = None


class NewLimits(Timing):
    """What is left out or null stays as it is; only of `runAt` and `expiresAt` null takes away what was set.

    An empty `concurrencyKey` takes the job out of its key.
    """

    resource_requirements: NewNeeds = NewNeeds()
    concurrency_key: Label | None = None
    concurrency_limit: Annotated[Whole, Field(ge=1, le=1_000_000)] | None = None

    def as_change(self) -> Change:
        said, needs, retry = self.model_fields_set, self.resource_requirements, self.retry_policy.as_wish()
        return Change(
            memory_mb=needs.memory_mb,
            cpu_weight=needs.cpu_weight,
            disk_mb=needs.disk_space_mb,
            timeout_ms=self.timeout_ms,
            retry=retry if self.max_retries is None else replace(retry, max=self.max_retries),
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            run_at=self.not_before if said & {"run_at", "delay_ms"} else AS_IT_IS,
            expires_at=self.of_use_until if "expires_at" in said else AS_IT_IS,
        )


@router.patch("/{job_id}", response={202: JobStatusMessage}, auth=CONTROL, operation_id="changeJob", **WIRE)
def change(request: ApiRequest, job_id: JobId, response: HttpResponse, wanted: NewLimits) -> JobStatusMessage:
    """Give a pending job other needs, another time-out, retry policy, concurrency key or time. It keeps its place in line."""
    sight.refuse_unseen(job_id, request.caller.sight)
    audit.act("change", lifecycle.change, job_id, by=request.caller.name, wanted=wanted.as_change())
    return after(job_id, response)


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
