"""Runners outside: a tool that runs its own jobs, and workers that claim jobs of external tools."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs import catalog, dispatcher, external, lifecycle, queries, rescue, steering, tokens
from jobs.limits import GroupKind
from jobs.models import Attempt, Event, ExternalTool, Job, JobMetrics, Worker
from tests.api.steps import Caller, problem

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller() -> Caller:
    catalog.register("pictures.resize", by="tests", params_schema={"type": "object"})
    return Caller([tokens.READ, tokens.SUBMIT, tokens.REPORT, tokens.CONTROL])


def hand_in(caller: Caller, **body: Any) -> str:
    answer = caller.post("/jobs", {"toolName": "pictures.resize", "params": {"width": 7}} | body)
    assert answer.status_code == 202, answer.content
    job_id: str = answer.json()["jobId"]
    return job_id


def claim(caller: Caller, **body: Any) -> list[dict[str, Any]]:
    answer = caller.post("/claims", {"tools": ["pictures.resize"]} | body)
    assert answer.status_code == 200, answer.content
    jobs: list[dict[str, Any]] = answer.json()["jobs"]
    return jobs


def claimed(caller: Caller, **body: Any) -> dict[str, Any]:
    """As a worker does: ask, and ask again when a round of the dispatcher has given a slot."""
    assert claim(caller, **body) == []
    dispatcher.once()
    (run,) = claim(caller, **body)
    return run


def report(caller: Caller, run: dict[str, Any], what: str, **body: Any) -> Any:
    return caller.post(f"/attempts/{run['attempt']}/{what}", body)


def test_a_worker_claims_reports_and_ends_a_job(caller: Caller) -> None:
    job_id = hand_in(caller)
    run = claimed(caller, leaseMs=5000, worker="one")
    assert (run["jobId"], run["params"], run["attemptNumber"], run["leaseMs"]) == (job_id, {"width": 7}, 1, 5000)
    assert caller.get(f"/jobs/{job_id}").json()["status"] == "running"
    kept = report(caller, run, "progress", progress=40, message="half", currentStage="cut", diagnostics=["a line"]).json()
    assert kept == {"cancelRequested": False, "leaseMs": 60_000}
    told = caller.get(f"/jobs/{job_id}").json()
    assert (told["progress"], told["message"], told["details"]["currentStage"]) == (40, "half", "cut")
    usage = {"peakMemoryMB": 300, "averageCpuUsage": 20}
    done = report(caller, run, "result", structuredContent={"size": 3}, resourceUsage=usage)
    assert done.json()["status"] == "completed"
    result = caller.get(f"/jobs/{job_id}/result").json()
    assert result == {"isError": False, "content": [{"type": "text", "text": '{"size":3}'}], "structuredContent": {"size": 3}}
    metrics = JobMetrics.objects.get(job_id=job_id)
    assert (metrics.peak_memory_mb, metrics.average_cpu, metrics.performance_score) == (300, 20, 100)
    assert Event.objects.filter(job_id=job_id, verb="start").get().actor == "token:robot/one"


def test_what_a_worker_says_about_an_attempt_that_is_over_is_refused(caller: Caller) -> None:
    job_id = hand_in(caller)
    run = claimed(caller)
    Attempt.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert rescue.rescue_lost() == 1
    for what, body in (("progress", {"progress": 1}), ("heartbeat", {}), ("result", {}), ("failure", {}), ("release", {})):
        assert problem(report(caller, run, what, **body))["type"].endswith("superseded"), what
    job = Job.objects.get(id=job_id)
    assert (job.status, job.loss_count, job.result) == ("pending", 1, None)


@pytest.mark.parametrize("token", ["1", "1:", "x:y", "1:" + "A" * 43, "%00"])
def test_an_attempt_cannot_be_guessed(caller: Caller, token: str) -> None:
    hand_in(caller)
    claimed(caller)
    assert problem(caller.post(f"/attempts/{token}/result", {}))["status"] == 404


def test_a_transient_failure_is_tried_again_and_a_permanent_one_is_not(caller: Caller) -> None:
    job_id = hand_in(caller)
    run = claimed(caller)
    told = report(caller, run, "failure", message="busy", errorClass="Busy", retryAfterMs=0).json()
    assert told["status"] == "pending"
    assert Job.objects.get(id=job_id).retry_count == 1
    dispatcher.once()
    (run,) = claim(caller)
    assert (run["attemptNumber"], run["previousErrors"]) == (2, 1)
    told = report(caller, run, "failure", message="never", category="permanent").json()
    assert told["status"] == "failed"
    assert caller.get(f"/jobs/{job_id}/attempts").json()["attempts"][0]["errorClass"] == "Busy"


def test_a_job_that_is_given_back_spends_no_retry(caller: Caller) -> None:
    job_id = hand_in(caller)
    assert report(caller, claimed(caller), "release").json()["status"] == "pending"
    job = Job.objects.get(id=job_id)
    assert (job.retry_count, job.loss_count, job.gate) == (0, 0, "open")


def test_a_worker_hears_of_a_cancel_at_its_next_report_and_whatever_it_says_then_the_job_is_cancelled(caller: Caller) -> None:
    job_id = hand_in(caller)
    run = claimed(caller)
    caller.post(f"/jobs/{job_id}/cancel", {"reason": "enough"})
    assert report(caller, run, "heartbeat").json() == {"cancelRequested": True, "reason": "enough", "leaseMs": 60_000}
    assert report(caller, run, "result", structuredContent={}).json()["status"] == "cancelled"


def test_a_run_outside_that_takes_too_long_is_timed_out(caller: Caller) -> None:
    job_id = hand_in(caller, timeoutMs=1000, maxRetries=0)
    run = claimed(caller, leaseMs=60_000)
    assert external.sweep() == 0
    Attempt.objects.update(started_at=timezone.now() - timedelta(seconds=2))
    assert external.sweep() == 1
    assert Job.objects.get(id=job_id).status == "failed"
    assert Attempt.objects.get().state == "timed_out"
    assert problem(report(caller, run, "result"))["status"] == 409


def test_nothing_is_admitted_for_a_tool_that_no_worker_asks_for(caller: Caller) -> None:
    job_id = hand_in(caller)
    dispatcher.once()
    assert Attempt.objects.count() == 0
    why = caller.get(f"/jobs/{job_id}/why").json()["why"]
    # Here no dispatcher leads; what it would say is read past it.
    assert why["reason"] in {"no_dispatcher", "no_worker"}


# In one transaction all would be handed in at the same time.
@pytest.mark.django_db(transaction=True)
def test_no_more_is_admitted_than_the_workers_ask_for_and_limits_hold(caller: Caller) -> None:
    ids = [hand_in(caller) for _ in range(5)]
    claim(caller, max=2)
    dispatcher.once()
    assert Attempt.objects.count() == 2
    steering.limit(GroupKind.TOOL, "pictures.resize", max_running=1, per_minute=None, by="tests")
    dispatcher.once()
    assert [run["jobId"] for run in claim(caller, max=5)] == ids[:1]


# In one transaction all would be handed in at the same time.
@pytest.mark.django_db(transaction=True)
def test_several_jobs_are_claimed_at_once_in_their_order(caller: Caller) -> None:
    ids = [hand_in(caller) for _ in range(3)]
    assert claim(caller, max=10) == []
    dispatcher.once()
    assert [run["jobId"] for run in claim(caller, max=10)] == ids
    assert Worker.objects.get().tools == ["pictures.resize"]


def test_what_no_worker_has_claimed_gives_its_slot_back(caller: Caller) -> None:
    job_id = hand_in(caller)
    claim(caller)
    dispatcher.once()
    Attempt.objects.update(admitted_at=timezone.now() - timedelta(minutes=2))
    assert external.sweep() == 1
    job = Job.objects.get(id=job_id)
    assert (job.status, job.current_attempt_id) == ("pending", None)
    assert queries.events_of(job_id)[-1].reason == "no external worker has claimed it"


def test_a_token_claims_only_what_it_may_see(caller: Caller) -> None:
    hand_in(caller, projectId="theirs")
    claim(caller)
    dispatcher.once()
    secret = tokens.make("narrow", by="tests", scopes=[tokens.REPORT], projects=["ours"])[1]
    answer = caller.client.post(
        "/api/v1/claims",
        json.dumps({"tools": ["pictures.resize"]}),
        content_type="application/json",
        headers={"authorization": f"Bearer {secret}"},
    )
    assert answer.json() == {"jobs": []}
    assert problem(caller.post("/claims", {"tools": ["doors.sum"]}))["type"].endswith("unknown-tool")


def test_claiming_needs_the_scope_to_report(caller: Caller) -> None:
    assert problem(Caller(name="reader").post("/claims", {"tools": ["pictures.resize"]}))["status"] == 403


def test_the_jobs_of_a_retired_tool_can_still_be_claimed(caller: Caller) -> None:
    hand_in(caller)
    catalog.retire("pictures.resize")
    assert ExternalTool.objects.get().retired_at is not None
    assert claimed(caller)["toolName"] == "pictures.resize"


def test_a_standard_job_is_run_and_reported_by_its_own_tool(caller: Caller) -> None:
    job_id = hand_in(caller, toolName="my.own", kind="standard")
    dispatcher.once()
    assert Attempt.objects.count() == 0
    run = caller.post(f"/jobs/{job_id}/start").json()
    assert (run["jobId"], run["leaseMs"]) == (job_id, run["timeoutMs"])
    assert problem(caller.post(f"/jobs/{job_id}/start"))["type"].endswith("illegal-move")
    assert report(caller, run, "progress", progress=10).status_code == 200
    assert report(caller, run, "result", content=[{"type": "text", "text": "fine"}]).json()["status"] == "completed"
    assert [event.verb for event in queries.events_of(job_id)] == ["submit", "start", "finish"]
    assert problem(report(caller, run, "result"))["type"].endswith("superseded")


def test_a_standard_job_takes_no_slot_of_the_queue(caller: Caller) -> None:
    job_id = hand_in(caller, toolName="my.own", kind="standard", resourceRequirements={"memoryMB": 2000})
    caller.post(f"/jobs/{job_id}/start")
    steering.configure({"max_concurrent_jobs": 1}, version=1, by="tests")
    other = hand_in(caller, resourceRequirements={"memoryMB": 2000})
    assert claimed(caller)["jobId"] == other


def test_a_standard_job_that_failed_comes_back_when_its_time_has_come(caller: Caller) -> None:
    job_id = hand_in(caller, toolName="my.own", kind="standard")
    run = caller.post(f"/jobs/{job_id}/start").json()
    assert report(caller, run, "failure", message="busy", retryAfterMs=60_000).json()["status"] == "pending"
    assert "its time" in problem(caller.post(f"/jobs/{job_id}/start"))["detail"]
    Job.objects.filter(id=job_id).update(run_at=timezone.now() - timedelta(seconds=1))
    lifecycle.open_due()
    assert caller.post(f"/jobs/{job_id}/start").json()["attemptNumber"] == 2


def test_a_taskjob_cannot_be_started_by_hand(caller: Caller) -> None:
    assert "no standard job" in problem(caller.post(f"/jobs/{hand_in(caller)}/start"))["detail"]
