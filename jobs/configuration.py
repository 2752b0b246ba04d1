"""The queue's configuration: one row, made from the environment on first start, read as `Limits`."""

from __future__ import annotations

import functools
import os

from jobs.limits import Limits, Resources
from jobs.models import QueueConfig
from jobs.retry import Retry


def row() -> QueueConfig:
    """The one row; made from the JOB_MANAGER_* variables if it is not there yet."""
    config, _ = QueueConfig.objects.get_or_create(id=1, defaults=_from_environment())
    return config


def _from_environment() -> dict[str, object]:
    maximum = os.environ.get("JOB_MANAGER_MAX_CONCURRENT")
    return {"max_concurrent_jobs": int(maximum)} if maximum else {}


def limits() -> Limits:
    """What holds right now. One query."""
    return _limits_of(row())


@functools.lru_cache(maxsize=1)
def limits_at(_version: str) -> Limits:
    """What holds while the row has the version that the caller saw: read once a version, so that most rounds spend no query."""
    return limits()


def _limits_of(config: QueueConfig) -> Limits:
    return Limits(
        max_concurrent=config.max_concurrent_jobs,
        weights=config.priority_weights,
        retry=Retry(
            max=config.max_retries,
            first=config.initial_delay_ms / 1000,
            factor=config.backoff_multiplier,
            cap=config.max_delay_ms / 1000,
        ),
        default_timeout_ms=config.default_timeout_ms,
        operation_timeouts_ms=config.operation_timeouts,
        resources=Resources(memory_mb=config.max_memory_mb, cpu_weight=config.max_cpu_weight, disk_mb=config.max_disk_mb),
    )
