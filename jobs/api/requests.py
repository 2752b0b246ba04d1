"""Shapes that callers send. Unknown fields are refused: a misspelt one would otherwise be lost without a word."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from django.utils import timezone
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from jobs import configuration
from jobs.api.following import LONGEST_WAIT
from jobs.errors import InvalidRequest, NotFound
from jobs.limits import Resources
from jobs.retry import RetryWish
from jobs.states import DependencyPolicy, Operation, Priority, Status
from jobs.submission import ID, MAX_DEPENDENCIES, Submission

DAY_MS = 24 * 3600 * 1000
MAX_BULK = 1000
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


class WantedRetries(Sent):
    """How often and how patiently to try again; what is left out comes from the tool, its operation, or the queue."""

    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    backoff_multiplier: Annotated[float, Field(strict=True, ge=1, le=100, allow_inf_nan=False)] | None = None
    initial_delay_ms: Annotated[Whole, Field(ge=0, le=30 * DAY_MS)] | None = None
    max_delay_ms: Annotated[Whole, Field(ge=0, le=30 * DAY_MS)] | None = None

    def as_wish(self) -> RetryWish:
        return configuration.retry_wish(self.model_dump(by_alias=True, exclude_none=True))


class WantedMetadata(BaseModel):
    """The caller's own words about the job; these names mean something here, any other is kept as it is."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    session_id: str | None = None
    user_id: str | None = None
    batch_id: Label | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None


class Timing(Sent):
    """How long and how often a job may run, and when."""

    timeout_ms: Annotated[Whole, Field(ge=1, le=30 * DAY_MS)] | None = None
    max_retries: Annotated[Whole, Field(ge=0, le=1000)] | None = None
    # Made, not given: a default that is a model is copied deeply for each job, which was a quarter of a bulk's time.
    retry_policy: Annotated[WantedRetries, Field(default_factory=WantedRetries)]
    run_at: Annotated[Whole, Field(ge=0, le=_LATEST_MS, description="not before; epoch milliseconds")] | None = None
    expires_at: Annotated[Whole, Field(ge=0, le=_LATEST_MS, description="of no use after this; epoch milliseconds")] | None = None
    delay_ms: Annotated[Whole, Field(ge=0, le=365 * DAY_MS, description="not before so many milliseconds from now")] | None = None

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.run_at is not None and self.delay_ms is not None:
            raise ValueError("give runAt or delayMs, not both")
        return self

    @property
    def not_before(self) -> datetime | None:
        if self.delay_ms is not None:
            return timezone.now() + timedelta(milliseconds=self.delay_ms)
        return _moment(self.run_at)

    @property
    def of_use_until(self) -> datetime | None:
        return _moment(self.expires_at)


def _moment(ms: int | None) -> datetime | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)


class JobFields(Timing):
    """What may be said about a job beside its tool. What is left out comes from the tool, then from the queue's configuration."""

    params: dict[str, Any] = {}
    id: Annotated[str, Field(min_length=1, max_length=64, pattern=f"^{ID.pattern}$")] | None = None
    priority: Priority | None = None
    operation_type: Operation | None = None
    dependencies: Annotated[list[str], Field(max_length=MAX_DEPENDENCIES)] = []
    dependency_policy: Annotated[DependencyPolicy, Field(description="when a dependency fails or is cancelled")] | None = None
    resource_requirements: WantedResources | None = None
    estimated_duration: Annotated[Whole, Field(ge=0, le=365 * DAY_MS, description="milliseconds")] | None = None
    task_id: Label = ""
    project_id: Label = ""
    concurrency_key: Annotated[Label, Field(description="at most concurrencyLimit jobs of one key run at once")] = ""
    concurrency_limit: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1
    deduplicate: Annotated[bool, Field(strict=True, description="an active job with the same params is returned")] | None = None
    # A default that is a model would be copied in depth for each of a thousand jobs.
    metadata: Annotated[WantedMetadata, Field(default_factory=WantedMetadata)]

    def given(self) -> dict[str, Any]:
        """What the caller said, by the names of a `Submission`."""
        said = self.model_fields_set
        values: dict[str, Any] = {ours: getattr(self, name) for name, ours in _SUBMISSION.items() if name in said}
        if "resource_requirements" in said and self.resource_requirements is not None:
            values["resources"] = self.resource_requirements.as_resources()
        if "retry_policy" in said:
            values["retry"] = self.retry_policy.as_wish()
        if "metadata" in said:
            values["metadata"] = self.metadata.model_dump(by_alias=True, exclude_unset=True)
            values["batch"] = self.metadata.batch_id or ""
            if self.max_retries is None and self.metadata.max_retries is not None:
                values["max_retries"] = self.metadata.max_retries
        times = {"run_at": self.not_before, "expires_at": self.of_use_until}
        return values | {name: time for name, time in times.items() if time is not None}


# What is called otherwise within.
_SUBMISSION = {
    "params": "params",
    "id": "id",
    "priority": "priority",
    "operation_type": "operation",
    "dependencies": "depends_on",
    "dependency_policy": "dependency_policy",
    "timeout_ms": "timeout_ms",
    "max_retries": "max_retries",
    "estimated_duration": "estimated_ms",
    "task_id": "task_id",
    "project_id": "project",
    "concurrency_key": "concurrency_key",
    "concurrency_limit": "concurrency_limit",
    "deduplicate": "deduplicate",
}


class NewJob(JobFields):
    """A request for a job. A `standard` job is run and reported by whoever hands it in; its tool need not be registered."""

    tool_name: Label
    kind: Literal["task", "standard"] = "task"

    def as_submission(self) -> Submission:
        return Submission(tool=self.tool_name, standard=self.kind == "standard", **self.given())


class NewBulkJob(NewJob):
    """A job among others: their `dependencies` may name its `key` in place of an id."""

    key: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00]*$")] | None = None


class Bulk(Sent):
    """Up to 1,000 jobs, all or none. A key that is also the id of a job that exists means the one of this request."""

    jobs: Annotated[list[NewBulkJob], Field(min_length=1, max_length=MAX_BULK)]


class Retrial(Sent):
    """`params` take the place of the job's own."""

    params: dict[str, Any] | None = None


def refuse_unknown(given: Iterable[str], wanted: type[Sent]) -> None:
    """ninja drops query parameters it does not know; a misspelt filter would then list everything."""
    known = [field.alias or name for name, field in wanted.model_fields.items()]
    if unknown := sorted(set(given) - set(known)):
        raise InvalidRequest(f"unknown query parameter {unknown[0][:80]!r}; there are {', '.join(known)}")


class Cancellation(Sent):
    reason: Annotated[str, Field(max_length=500)] = ""


class JobCancellation(Cancellation):
    dependents: Annotated[bool, Field(strict=True, description="also all jobs that depend on it, directly or not")] = False


class NewPriority(Sent):
    priority: Priority


class ResultLook(Sent):
    wait: Annotated[int, Field(ge=0, le=LONGEST_WAIT, description="seconds to wait at most; 25 passes every proxy")] = 0


class Look(ResultLook):
    until: Annotated[Literal["change", "end"], Field(description="what to wait for")] = "change"


class Listing(Sent):
    """Which jobs to list, and in which order. `cursor` is the `nextCursor` of the page before. Times are epoch milliseconds."""

    status: Status | None = None
    tool_name: Label = ""
    project_id: Label = ""
    batch_id: Label = ""
    task_id: Label = ""
    operation_type: Operation | None = None
    priority: Priority | None = None
    submitted_by: Annotated[str, Field(max_length=150, pattern=r"^[^\x00]*$")] = ""
    created_after: Annotated[int, Field(ge=0, le=_LATEST_MS)] | None = None
    created_before: Annotated[int, Field(ge=0, le=_LATEST_MS)] | None = None
    sort: Literal["-createdAt", "createdAt", "-finishedAt", "finishedAt"] = "-createdAt"
    cursor: Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")] = ""
    limit: Annotated[int, Field(ge=1, le=100)] = 50

    def others(self) -> dict[str, object]:
        """The filters that no index of their own serves, as Django spells them."""
        times = {"created_at__gte": self.created_after, "created_at__lt": self.created_before}
        named = {
            "task_id": self.task_id,
            "operation": self.operation_type,
            "priority": self.priority,
            "submitted_by": self.submitted_by,
        }
        found: dict[str, object] = {name: value for name, value in named.items() if value}
        return found | {name: datetime.fromtimestamp(ms / 1000, UTC) for name, ms in times.items() if ms is not None}
