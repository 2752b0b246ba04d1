"""Figures about all jobs, against figures worked out by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import lifecycle, statistics
from jobs.models import Job, JobMetrics
from tests.api.steps import Caller, completed, failed, running, submitted

pytestmark = pytest.mark.django_db


def took(job: Job, ms: int) -> None:
    JobMetrics.objects.filter(job=job).update(duration_ms=ms)


def waited(job: Job, seconds: float) -> None:
    moment = timezone.now() - timedelta(seconds=seconds)
    Job.objects.filter(id=job.id).update(created_at=moment, gate_since=moment)


def test_the_queue_is_counted_by_priority_and_operation_and_its_wait_averaged() -> None:
    waited(submitted(priority="high"), 10)
    waited(submitted(priority="high", operation="codemap"), 20)
    waited(submitted(priority="low"), 60)
    running(priority="critical")
    completed()
    queue = statistics.queue_status()
    assert (queue.queue_length, queue.running, queue.total) == (3, 1, 5)
    assert queue.by_priority == {"low": 1, "medium": 0, "high": 2, "critical": 0}
    assert queue.by_operation["codemap"] == 1
    assert queue.by_operation["analysis"] == 2
    assert queue.average_wait == pytest.approx(30_000, abs=2_000)
    assert queue.longest_wait == pytest.approx(60_000, abs=2_000)


def test_statistics_are_what_one_works_out_by_hand() -> None:
    took(completed(memory=100, cpu=10), 1_000)
    took(completed(memory=300, cpu=20), 3_000)
    # 100 less 10 for the error, plus 5 for the little CPU; no bonus over 512 MB.
    took(failed(memory=800, cpu=30), 5_000)
    took(failed(operation="codemap", memory=0, cpu=0), 7_000)
    lifecycle.cancel(submitted(operation="validation").id, by="x")
    submitted()
    found = statistics.statistics()
    assert found.total == 6
    assert found.by_status == {"pending": 1, "running": 0, "completed": 2, "failed": 2, "cancelled": 1}
    assert found.average_execution_time == pytest.approx(4_000)
    assert found.average_performance_score == pytest.approx((100 + 100 + 95 + 100) / 4)
    assert found.resource_use.average_memory_mb == pytest.approx(300)
    assert found.resource_use.peak_memory_mb == 800
    assert found.resource_use.average_cpu_usage == pytest.approx(15)
    assert found.resource_use.peak_cpu_usage == 30
    analysis, codemap, validation = (found.by_operation[name] for name in ("analysis", "codemap", "validation"))
    assert analysis.count == 4
    assert analysis.average_time == pytest.approx(3_000)
    assert analysis.success_rate == pytest.approx(2 / 3)
    assert (codemap.count, codemap.average_time, codemap.success_rate) == (1, 7_000, 0)
    assert (validation.count, validation.average_time, validation.success_rate) == (1, None, None)


def test_with_no_jobs_at_all_there_are_noughts_and_nothing_is_divided_by_them() -> None:
    assert statistics.queue_status().average_wait == 0
    found = statistics.statistics()
    assert (found.total, found.average_execution_time, found.by_operation) == (0, None, {})
    assert statistics.oldest_ready_wait() == timedelta()


def test_the_figures_cost_five_queries_however_many_jobs_there_are() -> None:
    for _ in range(5):
        submitted()
        completed()
    with CaptureQueriesContext(connection) as queries:
        statistics.queue_status()
        statistics.statistics()
    assert len(queries) == 5


def test_the_oldest_wait_is_that_of_ready_jobs() -> None:
    parent = submitted()
    waited(parent, 5)
    waited(submitted(depends_on=(parent.id,)), 500)
    waited(running().job, 900)
    assert statistics.oldest_ready_wait().total_seconds() == pytest.approx(5, abs=2)


def test_the_api_gives_both_in_camel_case() -> None:
    took(completed(), 1_000)
    caller = Caller()
    assert caller.get("/queue").json().keys() == {
        *("queueLength", "running", "total", "byPriority", "byOperation", "averageWait", "longestWait"),
    }
    stats = caller.get("/stats").json()
    assert stats["averageExecutionTime"] == 1_000
    use = stats["resourceUse"]
    assert (use["averageMemoryMB"], use["peakMemoryMB"]) == (100, 100)
    assert (use["averageCpuUsage"], use["peakCpuUsage"]) == (10, 10)
    assert stats["byOperation"]["analysis"] == {"count": 1, "averageTime": 1_000, "successRate": 1}
