"""Handing jobs in, as plans."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, TypedDict, Unpack

from pydantic import Field

from jobsite_client.asking import path_of
from jobsite_client.link import Link, ask
from jobsite_client.plans import Call, Plan
from jobsite_client.shapes import BulkJob, JobStatus, Json, ResourceRequirements, Shape


class Wanted(TypedDict, total=False):
    """How a job is wanted; what is left out comes from the tool, then from the queue's configuration."""

    id: str
    priority: str
    operation_type: str
    dependencies: Sequence[str]
    dependency_policy: str
    timeout_ms: int
    max_retries: int
    retry_policy: Mapping[str, Json]
    resource_requirements: ResourceRequirements
    estimated_duration: int
    task_id: str
    project_id: str
    concurrency_key: str
    concurrency_limit: int
    deduplicate: bool
    metadata: dict[str, Json]
    run_at: int
    delay_ms: int


class _Bulk(Shape):
    jobs: list[BulkJob]


class NewJob(Shape):
    """A job as `submit_many` takes it. What is left out comes from the tool, then from the queue's configuration."""

    tool_name: str
    params: dict[str, Json] = {}
    key: Annotated[str | None, Field(description="names it among the jobs of one `submit_many`")] = None
    kind: Literal["task", "standard"] = "task"
    id: str | None = None
    priority: str | None = None
    operation_type: str | None = None
    dependencies: list[str] = []
    dependency_policy: str | None = None
    timeout_ms: int | None = None
    max_retries: int | None = None
    retry_policy: dict[str, Json] = {}
    resource_requirements: ResourceRequirements | None = None
    estimated_duration: int | None = None
    task_id: str = ""
    project_id: str = ""
    concurrency_key: str = ""
    concurrency_limit: int = 1
    deduplicate: bool | None = None
    metadata: dict[str, Json] = {}
    run_at: int | None = None
    delay_ms: int | None = None

    def as_body(self) -> Json:
        """Only what was given, so that the server's own defaults hold."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


def submit(
    link: Link,
    tool: str,
    params: Mapping[str, Json] | None = None,
    *,
    idempotency_key: str | None = None,
    **wanted: Unpack[Wanted],
) -> Plan[JobStatus]:
    """Hand in a job. It is durable when this returns.

    Every request carries an idempotency key, made here unless one is given, so the retries after a lost answer cannot make a
    second job; one that the caller keeps lets it hand in again after a crash of its own, for 24 hours. Raises `Refused`.
    """
    job = NewJob(tool_name=tool, params=dict(params or {}), **wanted)
    return (yield from create(link, job, idempotency_key=idempotency_key))


def create(link: Link, job: NewJob, *, idempotency_key: str | None = None) -> Plan[JobStatus]:
    """`submit` for a job that was put together before."""
    return (yield from ask(link, _create("/jobs", job.as_body(), idempotency_key), JobStatus))


def submit_many(link: Link, jobs: Iterable[NewJob], *, idempotency_key: str | None = None) -> Plan[list[BulkJob]]:
    """Hand in up to 1,000 jobs, all or none; their dependencies may name ids, and each other by `key`. In the order given."""
    body = {"jobs": [job.as_body() for job in jobs]}
    return (yield from ask(link, _create("/bulk", body, idempotency_key), _Bulk)).jobs


def clone(link: Link, job_id: str, params: Mapping[str, Json] | None = None, **changes: Unpack[Wanted]) -> Plan[JobStatus]:
    """A new job like an old one, with what is given here in the place of what that had. It waits for no others."""
    body = NewJob(tool_name="", **changes).as_body() | ({} if params is None else {"params": dict(params)})
    del body["toolName"]
    return (yield from ask(link, Call(method="POST", path=path_of(job_id, "clone"), body=body, repeatable=False), JobStatus))


def _create(path: str, body: Json, key: str | None) -> Call:
    return Call(method="POST", path=path, body=body, headers={"Idempotency-Key": key or secrets.token_urlsafe(24)})
