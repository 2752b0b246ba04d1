"""What the system that this one replaces is tested for, one test each, through the doors that its tools use."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections
from django.utils import timezone

from jobs import dispatcher, external, lifecycle, tokens
from jobs.deltas import Weight
from jobs.events import Delta
from jobs.live import listener
from jobs.models import Attempt, Job
from jobs.tools import tool
from tests.api.steps import Caller, completed, failed, problem, running, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller() -> Caller:
    return Caller(tokens.SCOPES)


def standard(caller: Caller, **body: Any) -> str:
    """A job that its tool runs itself."""
    made = caller.post("/jobs", {"toolName": "own.tool", "kind": "standard"} | body)
    assert made.status_code == 202, made.content
    job_id: str = made.json()["jobId"]
    return job_id


def started(caller: Caller, **body: Any) -> tuple[str, str]:
    """Of a standard job that runs: its id, and where it is reported on."""
    job_id = standard(caller, **body)
    run = caller.post(f"/jobs/{job_id}/start").json()
    return job_id, f"/attempts/{run['attempt']}"


def status(caller: Caller, job_id: str) -> str:
    found: str = caller.get(f"/jobs/{job_id}").json()["status"]
    return found


def test_creating_a_job_returns_an_id_and_status_pending(caller: Caller) -> None:
    made = caller.submit().json()
    assert made["jobId"]
    assert made["status"] == "pending"


def test_a_caller_may_bring_its_own_id(caller: Caller) -> None:
    assert caller.submit(id="mine").json()["jobId"] == "mine"
    assert status(caller, "mine") == "pending"


def test_the_same_tool_with_the_same_params_returns_the_active_job(caller: Caller) -> None:
    first = caller.submit(deduplicate=True).json()["jobId"]
    assert caller.submit(deduplicate=True).json()["jobId"] == first
    assert caller.submit(deduplicate=True, params={"a": 2}).json()["jobId"] != first
    caller.post(f"/jobs/{first}/cancel")
    assert caller.submit(deduplicate=True).json()["jobId"] != first


def test_an_unknown_id_is_not_found_and_never_a_crash(caller: Caller) -> None:
    for path in ("", "/full", "/result", "/events", "/metrics", "/why"):
        assert problem(caller.get(f"/jobs/nobody{path}"))["status"] == 404


def test_updates_and_results_for_unknown_ids_are_refused_cleanly(caller: Caller) -> None:
    assert problem(caller.post("/jobs/nobody/start"))["status"] == 404
    for what, body in (("progress", {"progress": 1}), ("result", {}), ("failure", {})):
        assert problem(caller.post(f"/attempts/nobody/{what}", body))["status"] == 404
    assert Job.objects.count() == 0


@pytest.mark.parametrize(("is_error", "ends"), [(False, "completed"), (True, "failed")])
def test_a_result_completes_the_job_or_fails_it_when_it_is_an_error(caller: Caller, is_error: bool, ends: str) -> None:  # noqa: FBT001
    job_id, run = started(caller)
    caller.post(f"{run}/result", {"isError": is_error, "content": [{"type": "text", "text": "so"}]})
    assert status(caller, job_id) == ends
    assert caller.get(f"/jobs/{job_id}/result").json() == {"isError": is_error, "content": [{"type": "text", "text": "so"}]}


def test_cancelling_a_running_job_signals_it_with_the_reason(caller: Caller) -> None:
    job_id, run = started(caller)
    caller.post(f"/jobs/{job_id}/cancel", {"reason": "not needed"})
    told = caller.post(f"{run}/heartbeat").json()
    assert (told["cancelRequested"], told["reason"]) == (True, "not needed")


def test_cancelling_a_finished_job_changes_nothing(caller: Caller) -> None:
    job = completed()
    assert caller.post(f"/jobs/{job.id}/cancel").status_code == 202
    again = Job.objects.get(id=job.id)
    assert (again.status, again.version, again.result) == ("completed", job.version, again.result)


@pytest.mark.django_db(transaction=True)
def test_many_cancels_at_once_are_safe() -> None:
    run = running()

    def cancel(_: int) -> str:
        try:
            return lifecycle.cancel(run.job.id, by="somebody").status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(cancel, range(16))) == {"running"}
    job = Job.objects.get(id=run.job.id)
    assert job.cancel_requested_at is not None
    assert job.events.filter(verb="cancel_requested").count() == 1


def test_a_time_out_applies_to_running_jobs_only(caller: Caller) -> None:
    waiting = standard(caller, timeoutMs=1000, maxRetries=0)
    job_id, _ = started(caller, timeoutMs=1000, maxRetries=0)
    Job.objects.update(created_at=timezone.now() - timedelta(hours=1))
    # Long ago: for the database it is still the moment at which this test began.
    Attempt.objects.update(started_at=timezone.now() - timedelta(minutes=5))
    external.sweep()
    assert (status(caller, waiting), status(caller, job_id)) == ("pending", "failed")
    assert "not done within 1 s" in caller.get(f"/jobs/{job_id}/result").json()["content"][0]["text"]


def test_a_time_out_is_set_by_tool_or_operation_or_call(caller: Caller) -> None:
    @tool("doors.hurried", operation="codemap", timeout=12)
    def hurried() -> None:
        """Be quick."""

    by_operation = caller.submit(operationType="validation").json()["jobId"]
    by_tool = caller.submit(toolName="doors.hurried", params={}).json()["jobId"]
    by_call = caller.submit(toolName="doors.hurried", params={}, timeoutMs=77_000).json()["jobId"]
    found = dict(Job.objects.values_list("id", "timeout_ms"))
    assert [found[job] for job in (by_operation, by_tool, by_call)] == [15_000, 12_000, 77_000]


def test_a_job_that_ends_in_time_leaves_nothing_behind(caller: Caller) -> None:
    job_id, run = started(caller, timeoutMs=1000)
    caller.post(f"{run}/result", {})
    Attempt.objects.update(started_at=timezone.now() - timedelta(hours=1))
    assert external.sweep() == 0
    assert status(caller, job_id) == "completed"
    assert not Attempt.objects.filter(state__in=["admitted", "running"]).exists()


def test_retries_go_back_to_pending_with_a_growing_delay_and_a_count_and_then_fail_for_good(caller: Caller) -> None:
    job_id = standard(caller, maxRetries=2)
    for count in (1, 2):
        run = f"/attempts/{caller.post(f'/jobs/{job_id}/start').json()['attempt']}"
        assert caller.post(f"{run}/failure", {"message": "busy"}).json()["status"] == "pending"
        job = Job.objects.get(id=job_id)
        assert job.retry_count == count
        # Full jitter: anywhere in a window that doubles.
        assert job.run_at is not None
        assert timedelta() <= job.run_at - timezone.now() + timedelta(seconds=30) <= timedelta(seconds=30 + 2 ** (count - 1))
        Job.objects.filter(id=job_id).update(run_at=timezone.now() - timedelta(minutes=1))
        lifecycle.open_due()
    run = f"/attempts/{caller.post(f'/jobs/{job_id}/start').json()['attempt']}"
    assert caller.post(f"{run}/failure", {"message": "busy"}).json()["status"] == "failed"
    assert problem(caller.post(f"/jobs/{job_id}/start"))["type"].endswith("illegal-move")


@pytest.mark.django_db(transaction=True)
@pytest.mark.asyncio
async def test_progress_and_completion_reach_subscribers_who_can_unsubscribe() -> None:
    heard: asyncio.Queue[Delta] = asyncio.Queue()

    def ear(delta: Delta, weight: Weight) -> None:
        heard.put_nowait(delta)

    async def until(**wanted: Any) -> None:
        async with asyncio.timeout(20):
            while not wanted.items() <= (await heard.get()).items():
                pass

    caller = await sync_to_async(Caller)(tokens.SCOPES)
    listener().join(ear)
    try:
        job_id, run = await sync_to_async(started)(caller)
        await until(id=job_id, status="running")
        await sync_to_async(caller.post)(f"{run}/progress", {"progress": 40, "message": "half"})
        await until(id=job_id, progress=40.0, message="half")
        await sync_to_async(caller.post)(f"{run}/result", {})
        await until(id=job_id, status="completed")
    finally:
        await listener().leave(ear)
    await sync_to_async(caller.submit)()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(heard.get(), 0.3)
    await sync_to_async(connections.close_all)()


def test_queue_status_gives_length_running_total_by_priority_by_operation_and_average_wait(caller: Caller) -> None:
    submitted(priority="high"), submitted(), running(), completed()
    told = caller.get("/queue").json()
    assert (told["queueLength"], told["running"], told["total"]) == (2, 1, 4)
    assert (told["byPriority"]["high"], told["byPriority"]["medium"], told["byOperation"]["analysis"]) == (1, 1, 2)
    assert told["averageWait"] >= 0


def test_statistics_give_totals_averages_and_figures_by_operation(caller: Caller) -> None:
    completed(memory=100, cpu=10), completed(memory=300, cpu=30), failed(memory=200, cpu=20)
    told = caller.get("/stats").json()
    assert (told["total"], told["byStatus"]["completed"], told["byStatus"]["failed"]) == (3, 2, 1)
    assert told["averageExecutionTime"] >= 0
    assert 90 <= told["averagePerformanceScore"] <= 100
    assert (told["resourceUse"]["averageMemoryMB"], told["resourceUse"]["peakMemoryMB"]) == (200, 300)
    analysis = told["byOperation"]["analysis"]
    assert (analysis["count"], round(analysis["successRate"], 3)) == (3, 0.667)


def test_changes_of_the_configuration_take_effect_without_a_restart(caller: Caller) -> None:
    first, second = submitted(), submitted()

    def allow(number: int) -> None:
        version = caller.get("/queue/config").json()["version"]
        body = json.dumps({"version": version, "maxConcurrentJobs": number})
        answer = caller.client.patch("/api/v1/queue/config", body, content_type="application/json")
        assert answer.status_code == 200, answer.content

    allow(0)
    dispatcher.once()
    assert Attempt.objects.count() == 0
    allow(2)
    dispatcher.once()
    assert set(Attempt.objects.values_list("job_id", flat=True)) == {first.id, second.id}
