"""Shapes that callers send. Unknown fields are refused: a misspelt one would otherwise be lost without a word."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from django.utils import timezone
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from jobs.errors import InvalidRequest, NotFound
from jobs.limits import Resources
from jobs.states import DependencyPolicy, Operation, Priority, Status
from jobs.submission import ID, MAX_DEPENDENCIES, Submission

_YEAR_MS = 365 * 24 * 3600 * 1000
# Far enough for any schedule, near enough for every calendar.
_LATEST_MS = 4_102_444_800_000

Whole = Annotated[int, Field(strict=True)]
# PostgreSQL's text cannot hold NUL; bodies were checked for it, addresses were not.
Label = Annotated[str, Field(max_length=100, pattern=r"^[^\x00]*$")]


def _known_form(job_id: str) -> str:
    if not ID.fullmatch(job_id):
        raise NotFound("there is no job with such an id")
    return job_id


JobId = Annotated[
    str, AfterValidator(_known_form), WithJsonSchema({"type": "string", "pattern": f"^{ID.pattern}$", "maxLength": 64})
]


class Sent(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class WantedResources(Sent):
    memory_mb: Annotated[Whole, Field(alias="memoryMB", ge=0)] = 0
    cpu_weight: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0
    disk_space_mb: Annotated[Whole, Field(alias="diskSpaceMB", ge=0)] = 0

    def as_resources(self) -> Resources:
        return Resources(memory_mb=self.memory_mb, cpu_weight=self.cpu_weight, disk_mb=self.disk_space_mb)


class WantedMetadata(BaseModel):
    """The caller's own words about the job; these names mean something here, any other is kept as it is."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    session_id: str | None = None
    user_id: str | None = None
    batch_id: Label | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None


class NewJob(Sent):
    """A request for a job. What is left out comes from the tool, then from the queue's configuration."""

    tool_name: Label
    params: dict[str, Any] = {}
    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    priority: Priority | None = None
    operation_type: Operation | None = None
    dependencies: Annotated[list[str], Field(max_length=MAX_DEPENDENCIES)] = []
    dependency_policy: Annotated[DependencyPolicy, Field(description="when a dependency fails or is cancelled")] | None = None
    timeout_ms: Annotated[Whole, Field(ge=1)] | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    resource_requirements: WantedResources | None = None
    estimated_duration: Annotated[Whole, Field(ge=0, le=_YEAR_MS, description="milliseconds")] | None = None
    task_id: Label = ""
    project_id: Label = ""
    concurrency_key: Annotated[Label, Field(description="at most concurrencyLimit jobs of one key run at once")] = ""
    concurrency_limit: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1
    deduplicate: Annotated[bool, Field(strict=True, description="an active job with the same params is returned")] | None = None
    metadata: WantedMetadata = WantedMetadata()
    run_at: Annotated[Whole, Field(ge=0, le=_LATEST_MS, description="not before; epoch milliseconds")] | None = None
    delay_ms: Annotated[Whole, Field(ge=0, le=_YEAR_MS, description="not before so many milliseconds from now")] | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay_ms is not None:
            raise ValueError("give runAt or delayMs, not both")
        return self

    def as_submission(self) -> Submission:
        metadata = self.metadata.model_dump(by_alias=True, exclude_unset=True)
        return Submission(
            tool=self.tool_name,
            params=self.params,
            id=self.id,
            priority=self.priority,
            operation=self.operation_type,
            depends_on=tuple(self.dependencies),
            dependency_policy=self.dependency_policy,
            timeout_ms=self.timeout_ms,
            max_retries=self.metadata.max_retries if self.max_retries is None else self.max_retries,
            resources=self.resource_requirements.as_resources() if self.resource_requirements else None,
            estimated_ms=self.estimated_duration,
            task_id=self.task_id,
            project=self.project_id,
            batch=self.metadata.batch_id or "",
            concurrency_key=self.concurrency_key,
            concurrency_limit=self.concurrency_limit,
            deduplicate=self.deduplicate,
            metadata=metadata,
            run_at=self._not_before(),
        )

    def _not_before(self) -> datetime | None:
        if self.run_at is not None:
            return datetime.fromtimestamp(self.run_at / 1000, UTC)
        return None if self.delay_ms is None else timezone.now() + timedelta(milliseconds=self.delay_ms)


def refuse_unknown(given: Iterable[str], wanted: type[Sent]) -> None:
    """ninja drops query parameters it does not know; a misspelt filter would then list everything."""
    known = [field.alias or name for name, field in wanted.model_fields.items()]
    if unknown := sorted(set(given) - set(known)):
        raise InvalidRequest(f"unknown query parameter {unknown[0][:80]!r}; there are {', '.join(known)}")


class Cancellation(Sent):
    reason: Annotated[str, Field(max_length=500)] = ""


class NewPriority(Sent):
    priority: Priority


class Listing(Sent):
    """Which jobs to list; newest first. `cursor` is the `nextCursor` of the page before."""

    status: Status | None = None
    tool_name: Label = ""
    project_id: Label = ""
    batch_id: Label = ""
    cursor: Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 50
