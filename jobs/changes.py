"""What is to be different about a job that waits, checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from django.utils import timezone

from jobs.limits import Limits, Resources
from jobs.retry import RetryWish
from jobs.submission import check_label, invalid, refuse_out_of_bounds

# The columns that a change may touch, and what the caller knows them as.
COLUMNS = {
    "memory_mb": "resourceRequirements/memoryMB",
    "cpu_weight": "resourceRequirements/cpuWeight",
    "disk_mb": "resourceRequirements/diskSpaceMB",
    "timeout_ms": "timeoutMs",
    "max_retries": "retryPolicy/maxRetries",
    "retry_first_ms": "retryPolicy/initialDelayMs",
    "retry_factor": "retryPolicy/backoffMultiplier",
    "retry_cap_ms": "retryPolicy/maxDelayMs",
    "concurrency_key": "concurrencyKey",
    "concurrency_limit": "concurrencyLimit",
    "run_at": "runAt",
    "expires_at": "expiresAt",
}


class Kept(Enum):
    """In place of a time that stays as it is; None takes a time away."""

    AS_IT_IS = "as it is"


AS_IT_IS = Kept.AS_IT_IS


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is None stays as it is, except for the two times. An empty key takes the job out of its key."""

    memory_mb: int | None = None
    cpu_weight: float | None = None
    disk_mb: int | None = None
    timeout_ms: int | None = None
    retry: RetryWish = field(default_factory=RetryWish)
    concurrency_key: str | None = None
    concurrency_limit: int | None = None
    run_at: datetime | Kept | None = AS_IT_IS
    expires_at: datetime | Kept | None = AS_IT_IS

    @property
    def tells_admission(self) -> bool:
        """Does it touch what decides whether the job fits?"""
        needs = (self.memory_mb, self.cpu_weight, self.disk_mb, self.concurrency_key, self.concurrency_limit)
        return any(value is not None for value in needs)

    def over(self, before: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
        """All `COLUMNS` with what is wished for in its place. Raises `InvalidRequest` or `RequirementTooLarge`."""
        wishes = self._numbers()
        refuse_out_of_bounds({COLUMNS[name]: wish for name, wish in wishes.items()})
        after: dict[str, Any] = {name: before[name] if wish is None else wish for name, wish in wishes.items()}
        after |= self._key(before)
        for name, time in (("run_at", self.run_at), ("expires_at", self.expires_at)):
            after[name] = before[name] if isinstance(time, Kept) else time
        needs = {name: after[name] for name in ("memory_mb", "cpu_weight", "disk_mb")}
        if any(before[name] != need for name, need in needs.items()):
            limits.refuse_if_never_fits(Resources(**needs))
        if isinstance(self.expires_at, datetime) and self.expires_at <= timezone.now():
            raise invalid("expiresAt must be in the future", "expiresAt")
        return after

    def _numbers(self) -> dict[str, float | None]:
        first, cap = self.retry.first, self.retry.cap
        return {
            "memory_mb": self.memory_mb,
            "cpu_weight": self.cpu_weight,
            "disk_mb": self.disk_mb,
            "timeout_ms": self.timeout_ms,
            "max_retries": self.retry.max,
            "retry_first_ms": None if first is None else round(first * 1000),
            "retry_factor": self.retry.factor,
            "retry_cap_ms": None if cap is None else round(cap * 1000),
            "concurrency_limit": self.concurrency_limit,
        }

    def _key(self, before: Mapping[str, Any]) -> dict[str, Any]:
        """The key and its limit belong together: without a key there is none."""
        key = before["concurrency_key"] if self.concurrency_key is None else check_label(self.concurrency_key, "concurrencyKey")
        if not key and self.concurrency_limit is not None:
            raise invalid("a concurrencyLimit needs a concurrencyKey", "concurrencyLimit")
        most = (self.concurrency_limit or before["concurrency_limit"] or 1) if key else 0
        return {"concurrency_key": key, "concurrency_limit": most}


def reason_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What became different, in words: "timeoutMs 300000 -> 60000"."""
    parts = [
        f"{called.rpartition('/')[2]} {_said(before[name])} -> {_said(after[name])}"
        for name, called in COLUMNS.items()
        if before[name] != after[name]
    ]
    return ", ".join(parts)


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:g}" if isinstance(value, float) else "none" if value in (None, "") else str(value)
