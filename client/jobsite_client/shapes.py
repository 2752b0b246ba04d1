"""What the server sends and takes, typed: camelCase on the wire, snake_case here; times are epoch milliseconds.

Fields that a newer server adds are ignored, and statuses are plain text, so that an old client goes on working.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Json: TypeAlias = Any

PENDING, RUNNING, COMPLETED, FAILED, CANCELLED = "pending", "running", "completed", "failed", "cancelled"
FINAL = frozenset({COMPLETED, FAILED, CANCELLED})


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class PollingRecommendation(Shape):
    """`interval` is the milliseconds to wait before the next look."""

    interval: int
    next_check_time: int


class JobDetails(Shape):
    current_stage: str | None = None
    diagnostics: list[str] = []
    sub_progress: float | None = None
    metadata: dict[str, Json] = {}


class _WithStatus(Shape):
    status: str

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class JobStatus(_WithStatus):
    """Where a job is. A finished job has no polling recommendation."""

    job_id: str
    tool_name: str
    message: str | None = None
    progress: float | None = None
    timestamp: int
    created_at: int
    updated_at: int
    polling_recommendation: PollingRecommendation | None = None
    details: JobDetails = JobDetails()


class Result(Shape):
    """The CallToolResult shape of MCP."""

    is_error: bool = False
    content: list[dict[str, Json]] = []
    structured_content: Json = None

    @property
    def text(self) -> str:
        """All text of the result."""
        return "\n".join(part["text"] for part in self.content if isinstance(part.get("text"), str))

    @property
    def value(self) -> Json:
        """What the tool returned: values that are no objects are carried as `{"result": value}`."""
        structured = self.structured_content
        return structured["result"] if isinstance(structured, dict) and set(structured) == {"result"} else structured


class JobSummary(_WithStatus):
    """A job as lists show it."""

    id: str
    tool_name: str
    created_at: int
    updated_at: int
    started_at: int | None = None
    finished_at: int | None = None
    progress_message: str | None = None
    progress_percentage: float | None = None
    reason: str | None = None
    task_id: str | None = None
    project_id: str | None = None
    batch_id: str | None = None
    operation_type: str | None = None
    priority: str | None = None
    submitted_by: str | None = None
    retry_count: int = 0
    max_retries: int = 0
    loss_count: int = 0
    quarantined: bool = False
    next_attempt_at: int | None = None
    error_class: str | None = None
    error_category: str | None = None
    error_fingerprint: str | None = None


class ResourceRequirements(Shape):
    memory_mb: Annotated[int, Field(alias="memoryMB")] = 0
    cpu_weight: float = 0
    disk_space_mb: Annotated[int, Field(alias="diskSpaceMB")] = 0


class Fallback(Shape):
    """A tool that gave the job up, after which another went on with it."""

    tool_name: str
    reason: str
    error_class: str | None = None
    error_category: str | None = None
    attempt: int
    at: int


class Job(JobSummary):
    """Everything about a job."""

    params: dict[str, Json]
    result: Result | None = None
    details: JobDetails = JobDetails()
    last_access_time: int | None = None
    access_count: int = 0
    estimated_duration: int | None = None
    timeout_ms: int
    resource_requirements: ResourceRequirements
    dependencies: list[str] = []
    fallbacks: list[Fallback] = []
    metadata: dict[str, Json] = {}


class JobPage(Shape):
    """`next_cursor` is None on the last page."""

    jobs: list[JobSummary]
    next_cursor: str | None = None


class ResourceUsage(Shape):
    peak_memory_mb: Annotated[float, Field(alias="peakMemoryMB")]
    average_cpu_usage: float


class Metrics(Shape):
    job_id: str
    start_time: int
    end_time: int | None = None
    duration: int | None = None
    resource_usage: ResourceUsage
    performance_score: int
    error_count: int
    retry_count: int


class JobEvent(Shape):
    """One move of a job."""

    id: int
    verb: str
    before: str | None = None
    after: str
    reason: str | None = None
    actor: str | None = None
    attempt: int | None = None
    at: int


class JobAttempt(Shape):
    """One try at a job."""

    id: int
    number: int
    state: str
    admitted_at: int
    started_at: int | None = None
    finished_at: int | None = None
    worker: str | None = None
    error_class: str | None = None
    error_category: str | None = None
    error_message: str | None = None
    error_place: str | None = None
    error_fingerprint: str | None = None
    traceback: str | None = None
    refused_writes: int = 0
    resource_usage: ResourceUsage


class Kin(Shape):
    """`dependencies` must end before the job starts; `dependents` wait for it."""

    dependencies: list[JobSummary]
    dependents: list[JobSummary]


class Blocker(Shape):
    """A job in the way of another."""

    job_id: str
    tool_name: str
    status: str


class LimitReached(Shape):
    """The limit that a job waits at; `kind` is slots, memory, cpu, disk, or the kind of a group of this `name`."""

    kind: str
    name: str | None = None
    used: float
    most: float


class WhyWaiting(Shape):
    """Why a pending job waits; `reason` is a stable word, `text` is for people."""

    reason: str
    text: str
    since: int
    blockers: list[Blocker] = []
    limit: LimitReached | None = None
    until: int | None = None
    place: int | None = None


class QueueStatus(Shape):
    """What waits and what runs; waits in ms."""

    queue_length: int
    running: int
    total: int
    by_priority: dict[str, int]
    by_operation: dict[str, int]
    average_wait: float
    longest_wait: float


class ResourceUse(Shape):
    average_memory_mb: Annotated[float, Field(alias="averageMemoryMB")]
    peak_memory_mb: Annotated[float, Field(alias="peakMemoryMB")]
    average_cpu_usage: float
    peak_cpu_usage: float


class OperationStatistics(Shape):
    count: int
    average_time: float | None = None
    success_rate: float | None = None


class Statistics(Shape):
    total: int
    by_status: dict[str, int]
    average_execution_time: float | None = None
    average_performance_score: float | None = None
    resource_use: ResourceUse
    by_operation: dict[str, OperationStatistics]
    refused_writes: int = 0


class Group(_WithStatus):
    """How far the jobs of a batch or a project are as a whole. An ended job counts as whole, however it ended."""

    name: str
    progress: float
    total: int
    by_status: dict[str, int]
    created_at: int
    updated_at: int
    finished_at: int | None = None


class BulkJob(_WithStatus):
    """One job of `submit_many`. `key` is the one that was given."""

    key: str | None = None
    job_id: str
    tool_name: str


class Worker(Shape):
    """`slots` is how many jobs it runs at once; `tools` are those that an external worker runs."""

    name: str
    host: str
    slots: int
    queues: list[str] = []
    tools: list[str] | None = None
    started_at: int
    last_beat_at: int


class Workers(Shape):
    """`dispatcher` says whether one is there to start jobs."""

    workers: list[Worker]
    dispatcher: bool


class Token(Shape):
    """`prefix` tells it from others. Without `tools` or `projects` it sees all of them."""

    name: str
    prefix: str
    scopes: list[str]
    tools: list[str] | None = None
    projects: list[str] | None = None
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None
    revoked_at: int | None = None


class MadeToken(Token):
    """`secret` is the token itself; it is shown this once."""

    secret: str


class Tool(Shape):
    """A kind of work; `params` and `result` are JSON Schemas. An `external` tool is run by programs outside."""

    name: str
    description: str
    external: bool = False
    operation_type: str
    priority: str
    timeout_ms: int | None = None
    resource_requirements: ResourceRequirements = ResourceRequirements()
    params: dict[str, Json]
    result: dict[str, Json] | None = None
