"""Handing in a job over HTTP."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import configuration, steering
from jobs.models import Dependency, Event, Job
from jobs.states import Gate
from tests.api.steps import API, Caller, completed, problem, rows, submitted

pytestmark = pytest.mark.django_db


def test_creating_answers_202_with_the_id_where_to_follow_it_and_when_to_look() -> None:
    before = time.time() * 1000
    response = Caller().submit()
    assert response.status_code == 202
    body = response.json()
    assert response.headers["Location"] == f"{API}/jobs/{body['jobId']}"
    assert response.headers["Retry-After"] == "5"
    assert body["status"] == "pending"
    assert body["toolName"] == "doors.sum"
    assert body["pollingRecommendation"]["interval"] == 5000
    assert before - 1000 <= body["createdAt"] <= time.time() * 1000 + 1000
    assert Job.objects.get(id=body["jobId"]).params == {"a": 1}


def test_everything_a_caller_may_ask_for_is_kept() -> None:
    parent = submitted()
    response = Caller(name="builder").submit(
        id="mine:1",
        priority="high",
        operationType="validation",
        dependencies=[parent.id],
        timeoutMs=1234,
        maxRetries=7,
        resourceRequirements={"memoryMB": 64, "cpuWeight": 0.5, "diskSpaceMB": 3},
        estimatedDuration=99,
        taskId="T1",
        projectId="P1",
        metadata={"batchId": "B1", "sessionId": "S1", "colour": "red"},
    )
    assert response.status_code == 202, response.content
    job = Job.objects.get(id="mine:1")
    assert (job.priority, job.operation, job.timeout_ms, job.max_retries) == ("high", "validation", 1234, 7)
    assert (job.memory_mb, job.cpu_weight, job.disk_mb, job.estimated_ms) == (64, 0.5, 3, 99)
    assert (job.task_id, job.project, job.batch, job.submitted_by) == ("T1", "P1", "B1", "token:builder")
    assert job.metadata == {"batchId": "B1", "sessionId": "S1", "colour": "red"}
    assert list(Dependency.objects.values_list("job_id", "parent_id")) == [("mine:1", parent.id)]
    assert Event.objects.get(job=job).actor == "token:builder"


def test_the_retries_of_the_metadata_hold_where_no_others_are_given() -> None:
    job_id = Caller().submit(metadata={"maxRetries": 9}).json()["jobId"]
    assert Job.objects.get(id=job_id).max_retries == 9


def test_a_delay_or_a_time_keeps_the_job_back() -> None:
    caller = Caller()
    delayed = Job.objects.get(id=caller.submit(delayMs=60_000).json()["jobId"])
    timed = Job.objects.get(id=caller.submit(runAt=4_000_000_000_000).json()["jobId"])
    assert delayed.gate == timed.gate == Gate.TIME
    assert delayed.run_at is not None
    assert 55 < (delayed.run_at - delayed.created_at).total_seconds() < 65
    assert timed.run_at == datetime.fromtimestamp(4_000_000_000, UTC)


def test_a_job_that_depends_on_a_finished_one_is_ready() -> None:
    job_id = Caller().submit(dependencies=[completed().id]).json()["jobId"]
    assert Job.objects.get(id=job_id).gate == Gate.OPEN


REFUSED: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("an unknown tool", {"toolName": "nothing"}, 422, "unknown-tool", "/toolName"),
    ("a missing param", {"params": {}}, 422, "invalid-params", "/params/a"),
    ("a param of another type", {"params": {"a": "x"}}, 422, "invalid-params", "/params/a"),
    ("a param too many", {"params": {"a": 1, "z": 1}}, 422, "invalid-params", "/params/z"),
    ("params that are no object", {"params": [1]}, 422, "invalid-request", "/params"),
    ("a job that waits for itself", {"id": "me", "dependencies": ["me"]}, 422, "dependency-cycle", "/dependencies"),
    ("an unknown dependency", {"dependencies": ["nobody"]}, 422, "unknown-dependency", "/dependencies"),
    ("a malformed dependency", {"dependencies": ["no/body"]}, 422, "unknown-dependency", "/dependencies"),
    ("a dependency that is no text", {"dependencies": [1]}, 422, "invalid-request", "/dependencies/0"),
    (
        "a requirement above the limits",
        {"resourceRequirements": {"memoryMB": 1_000_000}},
        422,
        "requirement-too-large",
        "/resourceRequirements/memoryMB",
    ),
    (
        "a negative requirement",
        {"resourceRequirements": {"cpuWeight": -1}},
        422,
        "invalid-request",
        "/resourceRequirements/cpuWeight",
    ),
    ("a field too many", {"prority": "high"}, 422, "invalid-request", "/prority"),
    ("an unknown priority", {"priority": "urgent"}, 422, "invalid-request", "/priority"),
    ("an unknown operation", {"operationType": "magic"}, 422, "invalid-request", "/operationType"),
    ("an id with a blank", {"id": "a b"}, 422, "invalid-request", "/id"),
    ("an id that is too long", {"id": "a" * 65}, 422, "invalid-request", "/id"),
    ("a time-out of nothing", {"timeoutMs": 0}, 422, "invalid-request", "/timeoutMs"),
    ("a time-out of centuries", {"timeoutMs": 10**13}, 422, "invalid-request", "/timeoutMs"),
    ("a time-out in words", {"timeoutMs": "5"}, 422, "invalid-request", "/timeoutMs"),
    ("a number of retries below none", {"maxRetries": -1}, 422, "invalid-request", "/maxRetries"),
    ("two times", {"runAt": 1, "delayMs": 1}, 422, "invalid-request", ""),
    ("a batch that is no text", {"metadata": {"batchId": 7}}, 422, "invalid-request", "/metadata/batchId"),
    ("a project of 101 letters", {"projectId": "p" * 101}, 422, "invalid-request", "/projectId"),
]


@pytest.mark.parametrize(("body", "status", "code", "pointer"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_request_that_cannot_be_met_is_refused_whole(body: dict[str, Any], status: int, code: str, pointer: str) -> None:
    caller = Caller()
    before = rows()
    refusal = problem(caller.submit(**body))
    assert (refusal["status"], refusal["type"]) == (status, f"/api/v1/problems/{code}")
    assert pointer in [error["pointer"] for error in refusal["errors"]]
    assert rows() == before


def test_an_id_is_given_once_only() -> None:
    caller = Caller()
    assert caller.submit(id="once").status_code == 202
    before = rows()
    refusal = problem(caller.submit(id="once", params={"a": 2}))
    assert (refusal["status"], refusal["type"]) == (409, "/api/v1/problems/duplicate-id")
    assert rows() == before


def test_a_thousand_dependencies_are_allowed_and_one_more_is_refused() -> None:
    caller = Caller()
    refusal = problem(caller.submit(dependencies=[f"job-{n}" for n in range(1001)]))
    assert refusal["errors"][0]["pointer"] == "/dependencies"
    assert problem(caller.submit(dependencies=["job"] * 1000))["type"].endswith("unknown-dependency")


def test_a_retry_policy_of_the_call_wins_over_tool_operation_and_queue() -> None:
    caller = Caller()
    configuration.row()
    steering.configure({"operation_retries": {"analysis": {"maxRetries": 7, "maxDelayMs": 9000}}}, version=1, by="t")
    answer = caller.submit(retryPolicy={"backoffMultiplier": 1.5, "initialDelayMs": 200})
    job = Job.objects.get(pk=answer.json()["jobId"])
    assert (job.max_retries, job.retry_factor, job.retry_first_ms, job.retry_cap_ms) == (7, 1.5, 200, 9000)
    assert caller.get(f"/jobs/{job.pk}/full").json()["maxRetries"] == 7


@pytest.mark.parametrize(
    ("policy", "field"),
    [({"backoffMultiplier": 0.5}, "backoffMultiplier"), ({"maxDelayMs": -1}, "maxDelayMs"), ({"patience": 1}, "patience")],
)
def test_a_retry_policy_that_makes_no_sense_is_refused(policy: dict[str, Any], field: str) -> None:
    refusal = problem(Caller().submit(retryPolicy=policy))
    assert refusal["errors"][0]["pointer"] == f"/retryPolicy/{field}"


@pytest.mark.django_db(transaction=True)
def test_a_submit_costs_three_statements_and_what_belongs_to_others_a_transaction() -> None:
    """The token, the configuration, and the job with its event: a statement by itself is a transaction already."""
    caller, parent = Caller(), submitted()
    for _ in range(2):
        caller.submit()
    with CaptureQueriesContext(connection) as alone:
        caller.submit()
    with CaptureQueriesContext(connection) as with_parent:
        caller.submit(dependencies=[parent.id])
    assert [query["sql"].split()[0] for query in alone] == ["SELECT", "SELECT", "WITH"]
    assert "BEGIN" in [query["sql"] for query in with_parent]


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_refused_by_the_database_leaves_nothing_also_by_itself() -> None:
    caller = Caller()
    assert caller.submit(id="mine").status_code == 202
    before = rows()
    assert problem(caller.submit(id="mine"))["status"] == 409
    assert problem(caller.submit(expiresAt=1000))["errors"][0]["pointer"] == "/expiresAt"
    first = caller.submit(deduplicate=True, params={"a": 5}).json()["jobId"]
    assert caller.submit(deduplicate=True, params={"a": 5}).json()["jobId"] == first
    assert rows() == (before[0] + 1, before[1], before[2] + 1)
