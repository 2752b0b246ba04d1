"""The queue as programs get it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from jobs.events import millis
from jobs.models import GroupRule, QueueConfig
from jobs.schemas import Shape


class RetryPolicy(Shape):
    max_retries: int
    backoff_multiplier: float
    initial_delay_ms: int
    operation_retries: dict[str, dict[str, float]] | None = None


class TimeoutPolicy(Shape):
    default_timeout_ms: int
    operation_timeouts: dict[str, int]


class ResourceLimits(Shape):
    max_memory_mb: Annotated[int, Field(alias="maxMemoryMB")]
    max_cpu_weight: float
    max_disk_space_mb: Annotated[int, Field(alias="maxDiskSpaceMB")]


class JobQueueConfig(Shape):
    """`version` grows with every change; send the one you saw with yours."""

    version: int
    max_retry_delay_ms: int
    max_concurrent_jobs: int
    priority_weights: dict[str, float]
    retry_policy: RetryPolicy
    timeout_policy: TimeoutPolicy
    resource_limits: ResourceLimits


class Rule(Shape):
    """What holds for a group of jobs; a limit that is left out is none. Starts are counted in any sixty seconds."""

    kind: str
    name: str
    max_running: int | None = None
    per_minute: int | None = None
    paused: bool
    paused_at: int | None = None
    paused_by: str | None = None
    reason: str | None = None


def queue_config(row: QueueConfig) -> JobQueueConfig:
    return JobQueueConfig(
        version=row.version,
        max_retry_delay_ms=row.max_delay_ms,
        max_concurrent_jobs=row.max_concurrent_jobs,
        priority_weights=row.priority_weights,
        retry_policy=RetryPolicy(
            max_retries=row.max_retries,
            backoff_multiplier=row.backoff_multiplier,
            initial_delay_ms=row.initial_delay_ms,
            operation_retries=row.operation_retries or None,
        ),
        timeout_policy=TimeoutPolicy(default_timeout_ms=row.default_timeout_ms, operation_timeouts=row.operation_timeouts),
        resource_limits=ResourceLimits(
            max_memory_mb=row.max_memory_mb, max_cpu_weight=row.max_cpu_weight, max_disk_space_mb=row.max_disk_mb
        ),
    )


def rule(row: GroupRule) -> Rule:
    paused = row.paused_at is not None
    return Rule(
        kind=row.kind,
        name=row.name,
        max_running=row.max_running,
        per_minute=row.per_minute,
        paused=paused,
        paused_at=millis(row.paused_at),
        paused_by=row.paused_by or None,
        reason=row.pause_reason or None,
    )
