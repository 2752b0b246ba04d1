"""The queue's configuration as typed values, and what it says about one job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import TextChoices

from jobs.errors import Problem, RequirementTooLarge
from jobs.retry import Retry, RetryWish
from jobs.states import Operation, Priority

# How much earlier a job counts as submitted, a point of priority weight; seconds. Bounds starvation: a low job waits
# at most (4 - 1) * 600 s longer than the critical jobs submitted after it.
HEAD_START_PER_WEIGHT = 600.0

DEFAULT_WEIGHTS = {Priority.CRITICAL: 4, Priority.HIGH: 3, Priority.MEDIUM: 2, Priority.LOW: 1}
DEFAULT_TIMEOUT_MS = 300_000
OPERATION_TIMEOUTS_MS = {
    Operation.EXECUTION: 300_000,
    Operation.DECOMPOSITION: 600_000,
    Operation.ANALYSIS: 180_000,
    Operation.CONTEXT_ENRICHMENT: 180_000,
    Operation.VALIDATION: 15_000,
    Operation.CODEMAP: 900_000,
}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job needs, or what there is: MB of memory, cpu weight, MB of disk."""

    memory_mb: int = 0
    cpu_weight: float = 0
    disk_mb: int = 0

    def fits(self, room: Resources) -> bool:
        """What needs nothing of a kind fits also where too much of it is in use."""
        return (
            self.memory_mb <= max(0, room.memory_mb)
            and self.cpu_weight <= max(0, room.cpu_weight)
            and self.disk_mb <= max(0, room.disk_mb)
        )

    def less(self, other: Resources) -> Resources:
        return Resources(
            memory_mb=self.memory_mb - other.memory_mb,
            cpu_weight=self.cpu_weight - other.cpu_weight,
            disk_mb=self.disk_mb - other.disk_mb,
        )


class GroupKind(TextChoices):
    """By what jobs are grouped for a limit or a pause."""

    ALL = "all", "All jobs"
    TOOL = "tool", "Tool"
    OPERATION = "operation", "Operation"
    PROJECT = "project", "Project"
    KEY = "key", "Concurrency key"
    QUEUE = "queue", "Queue"


# ("tool", "codemap"), ("key", "customer-7"); ("all", "") is everything.
Group = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What holds for one group; None is no limit. `per_minute` counts starts in any sixty seconds."""

    max_running: int | None = None
    per_minute: int | None = None
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """JobQueueConfig: what may run at once, in which order, how long and how often."""

    max_concurrent: int = 5
    weights: dict[str, float] = field(default_factory=lambda: {k.value: v for k, v in DEFAULT_WEIGHTS.items()})
    retry: Retry = field(default_factory=Retry)
    default_timeout_ms: int = DEFAULT_TIMEOUT_MS
    operation_timeouts_ms: dict[str, int] = field(default_factory=lambda: {k.value: v for k, v in OPERATION_TIMEOUTS_MS.items()})
    operation_retries: Mapping[str, RetryWish] = field(default_factory=dict)
    resources: Resources = field(default_factory=lambda: Resources(memory_mb=2048, cpu_weight=8, disk_mb=1024))
    rules: Mapping[Group, Rule] = field(default_factory=dict)
    reranking: bool = False  # the weights have changed, and some ranks are still by those before

    def head_start_us(self, priority: str, urgency: int | None = None) -> int:
        """How much earlier than it was submitted a job of this priority counts; microseconds.

        An `urgency`, if it has one, takes the place of the priority: from -100 (low) over 0 (medium) to 100 (critical), so that
        a greater number always goes first.
        """
        if urgency is None:
            return round(self.weights[priority] * HEAD_START_PER_WEIGHT * 1_000_000)
        low, middle, high = (self.head_start_us(name) for name in (Priority.LOW, Priority.MEDIUM, Priority.CRITICAL))
        return round(middle + (middle - low if urgency < 0 else high - middle) * urgency / 100)

    def timeout_ms(self, operation: str | None) -> int:
        return self.operation_timeouts_ms.get(operation or "", self.default_timeout_ms)

    def retry_of(self, operation: str) -> Retry:
        """The policy of an operation, where the tool has none of its own."""
        return self.operation_retries.get(operation, RetryWish()).over(self.retry)

    def refuse_if_never_fits(self, needs: Resources) -> None:
        """Raises `RequirementTooLarge` for a job that could never be admitted."""
        pairs = [
            ("memoryMB", needs.memory_mb, self.resources.memory_mb),
            ("cpuWeight", needs.cpu_weight, self.resources.cpu_weight),
            ("diskSpaceMB", needs.disk_mb, self.resources.disk_mb),
        ]
        problems = [
            Problem(detail=f"{name} {need:g} is above the limit of {limit:g}", pointer=f"/resourceRequirements/{name}")
            for name, need, limit in pairs
            if need > limit
        ]
        if problems:
            raise RequirementTooLarge("; ".join(p.detail for p in problems), problems)
