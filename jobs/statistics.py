"""Figures about all jobs: counted and averaged by the database, in a fixed number of queries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db.models import Count, DurationField, ExpressionWrapper, F, Max, Min, Sum
from django.db.models.functions import Now

from jobs.errors import NotFound
from jobs.models import Attempt, Job, JobMetrics, RollupMark
from jobs.sight import EVERYTHING, Sight
from jobs.states import ACTIVE, Gate, Operation, Priority, Status

Row = Mapping[str, Any]

MS = timedelta(milliseconds=1)


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """What waits and what runs. `by_priority`, `by_operation` and the waits are of pending jobs; times are ms."""

    queue_length: int
    running: int
    total: int
    by_priority: dict[str, int]
    by_operation: dict[str, int]
    average_wait: float
    longest_wait: float


@dataclass(frozen=True, kw_only=True)
class ResourceUse:
    """Over all measured jobs. CPU is percent, 100 is one core."""

    average_memory_mb: float = 0.0
    peak_memory_mb: float = 0.0
    average_cpu_usage: float = 0.0
    peak_cpu_usage: float = 0.0


@dataclass(frozen=True, kw_only=True)
class OperationStatistics:
    """`success_rate` is completed of completed and failed, 0..1; None before the first of them."""

    count: int
    average_time: float | None
    success_rate: float | None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Totals and averages over the jobs that are kept; times are ms, None where nothing was measured."""

    total: int
    by_status: dict[str, int]
    average_execution_time: float | None
    average_performance_score: float | None
    resource_use: ResourceUse = field(default_factory=ResourceUse)
    by_operation: dict[str, OperationStatistics] = field(default_factory=dict)
    refused_writes: int = 0


def queue_status(sight: Sight = EVERYTHING) -> QueueStatus:
    """Two queries: the active jobs by kind, and how many jobs there are."""
    waited = ExpressionWrapper(Now() - F("created_at"), output_field=DurationField())
    rows = list(
        sight.of(Job.objects.filter(status__in=ACTIVE))
        .values("status", "priority", "operation")
        .annotate(jobs=Count("id"), waited=Sum(waited), longest=Max(waited))
        .order_by()
    )
    pending = [row for row in rows if row["status"] == Status.PENDING]
    length = sum(row["jobs"] for row in pending)
    waits = sum((row["waited"] for row in pending), timedelta())
    return QueueStatus(
        queue_length=length,
        running=sum(row["jobs"] for row in rows if row["status"] == Status.RUNNING),
        total=sight.of(Job.objects.all()).count(),
        by_priority=_counted(pending, "priority", Priority.values),
        by_operation=_counted(pending, "operation", Operation.values),
        average_wait=waits / MS / length if length else 0.0,
        longest_wait=max((row["longest"] for row in pending), default=timedelta()) / MS,
    )


def oldest_ready_wait() -> timedelta:
    """How long the job has waited that is ready since longest; jobs that wait for others or for a time do not count."""
    ready = Job.objects.filter(status=Status.PENDING, gate=Gate.OPEN, current_attempt=None, kind=Job.Kind.TASK)
    waited = ready.aggregate(waited=Now() - Min("gate_since"))["waited"]
    return waited or timedelta()


def statistics(sight: Sight = EVERYTHING) -> Statistics:
    """Two queries: sums by status and operation, from which every total and average follows; and what was refused."""
    rows = list(
        sight.of(Job.objects.all())
        .values("status", "operation")
        .annotate(
            jobs=Count("id"),
            timed=Count("metrics__duration_ms"),
            duration=Sum("metrics__duration_ms"),
            measured=Count("metrics"),
            score=Sum("metrics__performance_score"),
            memory=Sum("metrics__peak_memory_mb"),
            peak_memory=Max("metrics__peak_memory_mb"),
            cpu=Sum("metrics__average_cpu"),
            peak_cpu=Max("metrics__average_cpu"),
        )
        .order_by()
    )
    return Statistics(
        total=sum(row["jobs"] for row in rows),
        by_status=_counted(rows, "status", Status.values),
        average_execution_time=_ratio(rows, "duration", "timed"),
        average_performance_score=_ratio(rows, "score", "measured"),
        resource_use=ResourceUse(
            average_memory_mb=_ratio(rows, "memory", "measured") or 0.0,
            peak_memory_mb=max((row["peak_memory"] or 0.0 for row in rows), default=0.0),
            average_cpu_usage=_ratio(rows, "cpu", "measured") or 0.0,
            peak_cpu_usage=max((row["peak_cpu"] or 0.0 for row in rows), default=0.0),
        ),
        by_operation=_by_operation(rows),
        refused_writes=refused_writes(sight),
    )


def refused_writes(sight: Sight = EVERYTHING) -> int:
    """Writes of attempts that had been given up for lost: each one was kept out by the fence."""
    late = Attempt.objects.filter(refused_writes__gt=0)
    if sight != EVERYTHING:
        late = late.filter(job__in=sight.of(Job.objects.all()))
    removed = (RollupMark.objects.values_list("refused", flat=True).first() or 0) if sight == EVERYTHING else 0
    return removed + (late.aggregate(number=Sum("refused_writes"))["number"] or 0)


def metrics_of(job_id: str) -> JobMetrics:
    """Raises `NotFound`, also for a job whose first attempt has not ended."""
    found = JobMetrics.objects.filter(job_id=job_id).first()
    if found is None:
        raise NotFound(f"there are no metrics of a job {job_id!r} yet")
    return found


def _by_operation(rows: Sequence[Row]) -> dict[str, OperationStatistics]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["operation"]:
            groups[row["operation"]].append(row)
    return {
        operation: OperationStatistics(
            count=sum(row["jobs"] for row in group),
            average_time=_ratio(group, "duration", "timed"),
            success_rate=_success_rate(_counted(group, "status", Status.values)),
        )
        for operation, group in sorted(groups.items())
    }


def _success_rate(by_status: dict[str, int]) -> float | None:
    ended = by_status[Status.COMPLETED] + by_status[Status.FAILED]
    return by_status[Status.COMPLETED] / ended if ended else None


def _ratio(rows: Sequence[Row], total: str, count: str) -> float | None:
    counted = sum(row[count] for row in rows)
    return float(sum(row[total] or 0 for row in rows)) / counted if counted else None


def _counted(rows: Sequence[Row], by: str, names: Iterable[str]) -> dict[str, int]:
    """Jobs by the value of a column: every known name, also those with none, and what else occurs."""
    counts = Counter(dict.fromkeys(names, 0))
    for row in rows:
        if row[by]:
            counts[row[by]] += row["jobs"]
    return dict(counts)
