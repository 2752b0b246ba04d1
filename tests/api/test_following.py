"""Following a job over HTTP: the polling contract, results, lists, history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import lifecycle
from jobs.lifecycle import Beat, Running
from jobs.models import ApiToken, Job
from tests.api.steps import Caller, completed, failed, problem, running, submitted
from tests.factories import admit

pytestmark = pytest.mark.django_db


@pytest.fixture
def caller() -> Caller:
    return Caller()


def beat(attempt: Running, **news: Any) -> None:
    nothing: dict[str, Any] = {
        "progress": 0,
        "message": "",
        "stage": "",
        "sub_progress": None,
        "tick": 1,
        "diagnostics": [],
        "metadata": {},
        "peak_memory_mb": 1,
        "cpu_percent": 1,
    }
    assert lifecycle.beat(attempt, Beat(**(nothing | news)), lease=60)


def look_was(job_id: str, ago: timedelta) -> None:
    Job.objects.filter(id=job_id).update(last_look_at=timezone.now() - ago)


def test_a_status_message_has_the_words_that_tools_rely_on(caller: Caller) -> None:
    attempt = running(batch="B")
    beat(
        attempt,
        progress=40,
        message="Parsing",
        stage="parse",
        sub_progress=12,
        diagnostics=["a line"],
        metadata={"k": 1},
    )
    body = caller.get(f"/jobs/{attempt.job.id}").json()
    job = Job.objects.get(id=attempt.job.id)
    recommendation = body.pop("pollingRecommendation")
    timestamp = body.pop("timestamp")
    assert body == {
        "jobId": job.id,
        "toolName": "doors.sum",
        "status": "running",
        "message": "Parsing",
        "progress": 40,
        "createdAt": round(job.created_at.timestamp() * 1000),
        "updatedAt": round(job.updated_at.timestamp() * 1000),
        "details": {"currentStage": "parse", "diagnostics": ["a line"], "subProgress": 12, "metadata": {"k": 1}},
    }
    assert recommendation["nextCheckTime"] == timestamp + recommendation["interval"]


def test_the_interval_grows_with_every_look_that_keeps_to_it(caller: Caller) -> None:
    job = submitted()
    seen = []
    for _ in range(5):
        response = caller.get(f"/jobs/{job.id}")
        seen.append(response.json()["pollingRecommendation"]["interval"])
        assert response.headers["Retry-After"] == str(seen[-1] // 1000)
        look_was(job.id, timedelta(milliseconds=seen[-1]))
    assert seen == [5_000, 10_000, 20_000, 30_000, 30_000]
    job.refresh_from_db()
    assert (job.looks, job.version) == (5, 1)


def test_a_look_too_early_gets_the_status_and_what_is_left_of_the_wait(caller: Caller) -> None:
    job = submitted()
    caller.get(f"/jobs/{job.id}")
    look_was(job.id, timedelta(seconds=2))
    response = caller.get(f"/jobs/{job.id}")
    assert response.status_code == 200
    assert response.json()["status"] == "pending"
    assert 2_000 < response.json()["pollingRecommendation"]["interval"] <= 3_000
    assert response.headers["Retry-After"] == "3"
    job.refresh_from_db()
    assert job.looks == 1


def test_a_change_of_state_starts_the_interval_anew(caller: Caller) -> None:
    job = submitted()
    Job.objects.filter(id=job.id).update(looks=9, last_look_at=timezone.now())
    (admitted,) = admit(job.id)
    lifecycle.start(admitted.current_attempt_id or 0, lifecycle.Child(worker="here:1", pid=1, lease=60))
    body = caller.get(f"/jobs/{job.id}").json()
    assert (body["status"], body["pollingRecommendation"]["interval"]) == ("running", 2_000)


def test_a_predicted_end_is_followed(caller: Caller) -> None:
    attempt = running()
    beat(attempt, progress=50)
    Job.objects.update(looks=8, started_at=timezone.now() - timedelta(seconds=12))
    look_was(attempt.job.id, timedelta(minutes=1))
    interval = caller.get(f"/jobs/{attempt.job.id}").json()["pollingRecommendation"]["interval"]
    assert 12_000 <= interval < 14_000


@pytest.mark.parametrize("ended", [completed, failed, lambda: lifecycle.cancel(submitted().id, by="x")])
def test_a_finished_job_has_no_recommendation_and_its_looks_are_not_counted(caller: Caller, ended: Callable[[], Job]) -> None:
    job = ended()
    for _ in range(3):
        response = caller.get(f"/jobs/{job.id}")
        assert "pollingRecommendation" not in response.json()
        assert "Retry-After" not in response.headers
    assert Job.objects.get(id=job.id).looks == 0


def test_a_failed_job_says_why(caller: Caller) -> None:
    assert "no such thing" in caller.get(f"/jobs/{failed().id}").json()["message"]


def known(caller: Caller) -> None:
    """The first request notes the use of the token, which happens once a minute; the second reads the token as it is then."""
    for _ in range(2):
        caller.get("/queue")


def test_a_look_costs_three_small_queries_and_one_that_does_not_count_two(caller: Caller) -> None:
    job = submitted()
    known(caller)
    with CaptureQueriesContext(connection) as first:
        caller.get(f"/jobs/{job.id}")
    with CaptureQueriesContext(connection) as early:
        caller.get(f"/jobs/{job.id}")
    assert len(first) == 3
    assert len(early) == 2
    assert not any('"params"' in query["sql"] or '"result"' in query["sql"] for query in first.captured_queries)


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(caller: Caller) -> None:
    caller.get("/queue")
    first = ApiToken.objects.get().last_used_at
    caller.get("/queue")
    assert first is not None
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(minutes=2))
    caller.get("/queue")
    noted = ApiToken.objects.get().last_used_at
    assert noted is not None
    assert noted >= first


def test_a_result_is_given_as_the_tool_returned_it(caller: Caller) -> None:
    assert caller.get(f"/jobs/{completed().id}/result").json() == {
        "isError": False,
        "content": [{"type": "text", "text": "3"}],
        "structuredContent": {"sum": 3},
    }


def test_there_is_no_result_before_the_end_and_the_answer_says_when_to_ask_again(caller: Caller) -> None:
    response = caller.get(f"/jobs/{submitted().id}/result")
    assert problem(response)["type"] == "/api/v1/problems/not-finished"
    assert response.status_code == 409
    assert response.headers["Retry-After"] == "5"


@pytest.mark.parametrize("ended", [failed, lambda: lifecycle.cancel(submitted().id, by="x", reason="not needed")])
def test_the_result_of_a_job_that_ended_badly_is_an_error_with_a_text(caller: Caller, ended: Callable[[], Job]) -> None:
    result = caller.get(f"/jobs/{ended().id}/result").json()
    assert result["isError"] is True
    assert result["content"][0]["text"]


def test_the_full_job_has_the_words_of_a_taskjob(caller: Caller) -> None:
    parent = completed()
    job = submitted(depends_on=(parent.id,), batch="B", project="P", task_id="T", metadata={"x": None}, priority="high")
    body = caller.get(f"/jobs/{job.id}/full").json()
    assert body["params"] == {"a": 1}
    assert body["dependencies"] == [parent.id]
    assert body["resourceRequirements"] == {"memoryMB": 0, "cpuWeight": 0, "diskSpaceMB": 0}
    assert body["metadata"] == {"x": None, "batchId": "B", "retryCount": 0, "maxRetries": 3}
    assert (body["taskId"], body["projectId"], body["priority"]) == ("T", "P", "high")
    assert (body["operationType"], body["status"], body["accessCount"]) == ("analysis", "pending", 0)
    assert caller.get(f"/jobs/{parent.id}/full").json()["result"]["structuredContent"] == {"sum": 3}


def test_events_and_attempts_tell_the_history(caller: Caller) -> None:
    job = failed()
    events = caller.get(f"/jobs/{job.id}/events").json()["events"]
    assert [event["verb"] for event in events] == ["submit", "admit", "start", "fail"]
    assert (events[-1]["before"], events[-1]["after"]) == ("running", "failed")
    (attempt,) = caller.get(f"/jobs/{job.id}/attempts").json()["attempts"]
    assert (attempt["number"], attempt["state"], attempt["errorClass"]) == (1, "failed", "ValueError")
    metrics = caller.get(f"/jobs/{job.id}/metrics").json()
    assert (metrics["errorCount"], metrics["performanceScore"]) == (1, 100)
    assert metrics["resourceUsage"] == {"peakMemoryMB": 100, "averageCpuUsage": 10}


def test_a_job_without_an_ended_attempt_has_no_metrics(caller: Caller) -> None:
    assert problem(caller.get(f"/jobs/{submitted().id}/metrics"))["status"] == 404


def listed(response: Any) -> list[str]:
    return [job["id"] for job in response.json()["jobs"]]


def test_the_list_is_newest_first_and_pages_without_gaps_or_repeats(caller: Caller) -> None:
    made = [submitted(id=f"job-{n}").id for n in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    while True:
        response = caller.get("/jobs", **query)
        seen += listed(response)
        if "nextCursor" not in response.json():
            break
        query["cursor"] = response.json()["nextCursor"]
    assert seen == made[::-1]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "completed"}, ["done"]),
        ({"status": "pending"}, ["batched", "projected"]),
        ({"batchId": "B"}, ["batched"]),
        ({"projectId": "P"}, ["projected"]),
        ({"projectId": "P", "status": "completed"}, []),
        ({"toolName": "doors.sum"}, ["batched", "done", "projected"]),
        ({"toolName": "another"}, []),
    ],
)
def test_the_list_can_be_filtered(caller: Caller, query: dict[str, str], expected: list[str]) -> None:
    submitted(id="batched", batch="B")
    submitted(id="projected", project="P")
    completed(id="done")
    assert sorted(listed(caller.get("/jobs", **query))) == expected


@pytest.mark.parametrize(
    "query",
    [
        {"status": "sleeping"},
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "many"},
        {"stauts": "failed"},
        {"cursor": "nonsense"},
        {"cursor": "\x00"},
        {"cursor": "ż" * 50},
        {"toolName": "\x00"},
        {"batchId": "b" * 101},
    ],
)
def test_a_list_that_cannot_be_given_is_refused(caller: Caller, query: dict[str, str]) -> None:
    assert problem(caller.get("/jobs", **query))["status"] == 422


def test_the_list_costs_the_same_queries_for_one_and_for_a_hundred(caller: Caller) -> None:
    known(caller)
    counts = []
    for more in (1, 40):
        for _ in range(more):
            submitted()
        with CaptureQueriesContext(connection) as queries:
            caller.get("/jobs", limit=100)
        counts.append(len(queries))
    assert counts == [2, 2]


def test_a_pending_job_is_cancelled_at_once_with_the_reason(caller: Caller) -> None:
    job = submitted()
    response = caller.post(f"/jobs/{job.id}/cancel", {"reason": "changed my mind"})
    assert response.status_code == 202
    assert (response.json()["status"], response.json()["message"]) == ("cancelled", "changed my mind")
    assert Job.objects.get(id=job.id).events.latest("id").actor == "token:robot"


def test_a_running_job_is_told_to_stop(caller: Caller) -> None:
    attempt = running()
    response = caller.post(f"/jobs/{attempt.job.id}/cancel")
    assert response.json()["status"] == "running"
    assert response.headers["Retry-After"] == "2"
    assert Job.objects.get(id=attempt.job.id).cancel_requested_at is not None


def test_cancelling_a_finished_job_changes_nothing(caller: Caller) -> None:
    job = completed()
    response = caller.post(f"/jobs/{job.id}/cancel")
    assert (response.status_code, response.json()["status"]) == (202, "completed")
    assert Job.objects.get(id=job.id).version == job.version


@pytest.mark.parametrize("body", [{"reason": 5}, {"reasn": "x"}, {"reason": "x" * 501}, '{"reason": "\\u0000"}', "[]", "{"])
def test_a_cancel_that_is_not_understood_is_refused(caller: Caller, body: Any) -> None:
    job = submitted()
    assert problem(caller.post(f"/jobs/{job.id}/cancel", body))["status"] in {400, 422}
    assert Job.objects.get(id=job.id).status == "pending"


def test_a_failed_job_can_be_tried_again(caller: Caller) -> None:
    job = failed()
    response = caller.post(f"/jobs/{job.id}/retry")
    assert (response.status_code, response.json()["status"]) == (202, "pending")


@pytest.mark.parametrize("made", [submitted, completed])
def test_a_job_that_did_not_fail_cannot_be_tried_again(caller: Caller, made: Callable[[], Job]) -> None:
    job = made()
    assert problem(caller.post(f"/jobs/{job.id}/retry"))["type"] == "/api/v1/problems/illegal-move"
    assert Job.objects.get(id=job.id).version == job.version


def test_every_tool_is_listed_with_the_schema_of_its_params(caller: Caller) -> None:
    (found,) = (tool for tool in caller.get("/tools").json()["tools"] if tool["name"] == "doors.sum")
    assert found["description"] == "Add two numbers."
    assert found["operationType"] == "analysis"
    assert found["params"]["required"] == ["a"]
    assert found["params"]["additionalProperties"] is False
    assert found["result"] == {"type": "integer"}


def test_the_configuration_of_the_queue_has_the_words_that_tools_rely_on(caller: Caller) -> None:
    config = caller.get("/queue/config").json()
    assert config["retryPolicy"] == {"maxRetries": 3, "backoffMultiplier": 2, "initialDelayMs": 1000}
    assert config["resourceLimits"] == {"maxMemoryMB": 2048, "maxCpuWeight": 8, "maxDiskSpaceMB": 1024}
    assert config["timeoutPolicy"]["operationTimeouts"]["validation"] == 15_000
    assert config["priorityWeights"] == {"critical": 4, "high": 3, "medium": 2, "low": 1}
