"""A token that is limited to tools or projects: what it may not see is not there for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client, override_settings

from jobs import tokens
from jobs.api import door
from jobs.models import Job
from tests.api.steps import API, Caller, completed, failed, problem, submitted

pytestmark = pytest.mark.django_db


def limited(name: str = "limited", **reach: Any) -> Caller:
    caller = Caller(tokens.SCOPES[:-1], name=f"{name}-base")
    caller.secret = tokens.make(name, by="tests", scopes=tokens.SCOPES[:-1], **reach)[1]
    caller.client = Client(headers={"authorization": f"Bearer {caller.secret}"})
    return caller


READS = ["", "/full", "/result", "/why", "/events", "/attempts", "/diagnostics", "/metrics", "/dependencies"]
VERBS = ["cancel", "retry", "clone", "pause", "resume"]


@pytest.mark.parametrize("reach", [{"projects": ["ours"]}, {"tools": ["test.add"]}], ids=["project", "tool"])
def test_what_a_token_may_not_see_is_not_found_and_cannot_be_moved(reach: dict[str, Any]) -> None:
    caller, foreign = limited(**reach), submitted(project="theirs")
    for path in READS:
        refusal = problem(caller.get(f"/jobs/{foreign.id}{path}"))
        assert (refusal["status"], refusal["type"]) == (404, "/api/v1/problems/not-found"), path
    for verb in VERBS:
        assert problem(caller.post(f"/jobs/{foreign.id}/{verb}"))["status"] == 404, verb
    assert problem(caller.post(f"/jobs/{foreign.id}/priority", {"priority": "high"}))["status"] == 404
    foreign.refresh_from_db()
    assert (foreign.status, foreign.priority) == ("pending", "medium")


def test_the_words_for_what_is_hidden_are_those_for_what_is_not_there() -> None:
    caller, foreign = limited(projects=["ours"]), submitted(project="theirs")
    hidden, absent = problem(caller.get(f"/jobs/{foreign.id}")), problem(caller.get("/jobs/nobody"))
    assert hidden == absent | {"detail": absent["detail"].replace("nobody", foreign.id)}


def test_lists_figures_and_groups_hold_only_what_may_be_seen() -> None:
    mine, theirs = submitted(project="ours", batch="B"), submitted(project="theirs", batch="B")
    caller = limited(projects=["ours"])
    assert [job["id"] for job in caller.get("/jobs").json()["jobs"]] == [mine.id]
    assert caller.get("/stats").json()["total"] == caller.get("/queue").json()["queueLength"] == 1
    assert caller.get("/batches/B").json()["total"] == 1
    assert problem(caller.get("/projects/theirs"))["status"] == 404
    assert caller.post("/batches/B/cancel").json() == {"moved": 1}
    theirs.refresh_from_db()
    assert theirs.status == "pending"


def test_a_limited_token_hands_in_for_its_own_only() -> None:
    caller = limited(projects=["ours"], tools=["doors.sum"])
    assert caller.submit(projectId="ours").status_code == 202
    assert problem(caller.submit())["type"].endswith("forbidden")
    assert problem(caller.submit(projectId="theirs"))["errors"][0]["pointer"] == "/projectId"
    assert problem(caller.submit(projectId="ours", toolName="test.add"))["type"].endswith("unknown-tool")
    bulk = {"jobs": [{"toolName": "doors.sum", "params": {"a": 1}, "projectId": p} for p in ("ours", "theirs")]}
    assert problem(caller.post("/bulk", bulk))["errors"][0]["pointer"] == "/jobs/1/projectId"
    assert Job.objects.count() == 1


def test_a_job_cannot_be_tied_to_one_that_may_not_be_seen() -> None:
    hidden = submitted(project="theirs")
    refusal = problem(limited(projects=["ours"]).submit(projectId="ours", dependencies=[hidden.id]))
    assert refusal["type"].endswith("unknown-dependency")


def test_the_tools_that_a_token_may_not_use_are_not_listed() -> None:
    names = [tool["name"] for tool in limited(tools=["doors.sum"]).get("/tools").json()["tools"]]
    assert names == ["doors.sum"]
    assert problem(limited("second", tools=["doors.sum"]).get("/tools/test.add"))["status"] == 404


def test_every_answer_says_how_much_may_still_be_asked_and_abuse_gets_429() -> None:
    caller = Caller()
    answer = caller.get("/stats")
    assert answer.headers["RateLimit-Policy"] == '"default";q=60000;w=60'
    assert answer.headers["RateLimit"].startswith('"default";r=5999')
    with override_settings(JOBSITE_API_RATE=3):
        door._callers.cache_clear()
        try:
            answers = [caller.get("/stats") for _ in range(4)]
        finally:
            door._callers.cache_clear()
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    refusal = problem(answers[-1])
    assert refusal["type"] == "/api/v1/problems/too-many-requests"
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].headers["RateLimit"].startswith('"default";r=0;')


def test_an_address_that_guesses_tokens_is_shut_out_before_any_is_looked_up(django_assert_num_queries: Any) -> None:
    caller = Caller()
    wrong = Client(headers={"authorization": "Bearer jst_" + "A" * 43}, REMOTE_ADDR="10.1.2.3")
    with override_settings(JOBSITE_STRANGER_RATE=2):
        door._strangers.cache_clear()
        try:
            assert [wrong.get(f"{API}/stats").status_code for _ in range(2)] == [401, 401]
            with django_assert_num_queries(0):
                assert problem(wrong.get(f"{API}/stats"))["status"] == 429
            assert caller.get("/stats").status_code == 200
        finally:
            door._strangers.cache_clear()


def test_a_retry_may_bring_other_params_and_a_clone_other_conditions() -> None:
    caller = Caller()
    broken = failed(params={"a": 1}, batch="B")
    assert problem(caller.post(f"/jobs/{broken.id}/retry", {"params": {}}))["type"].endswith("invalid-params")
    assert caller.post(f"/jobs/{broken.id}/retry", {"params": {"a": 7}}).json()["status"] == "pending"
    assert caller.get(f"/jobs/{broken.id}/full").json()["params"] == {"a": 7}
    assert caller.get(f"/jobs/{broken.id}/events").json()["events"][-1]["reason"].endswith("with other params")
    answer = caller.post(f"/jobs/{broken.id}/clone", {"priority": "high", "params": {"a": 9}})
    assert answer.status_code == 202
    twin = Job.objects.get(id=answer.json()["jobId"])
    assert (twin.params, twin.priority, twin.batch, twin.status) == ({"a": 9}, "high", "B", "pending")
    assert twin.id != broken.id


def test_a_batch_is_followed_cancelled_and_its_failed_jobs_are_tried_again_as_a_whole() -> None:
    caller = Caller()
    completed(batch="B/1"), failed(batch="B/1")
    waiting = submitted(batch="B/1")
    whole = caller.get("/batches/B/1").json()
    assert (whole["status"], whole["total"], whole["byStatus"]["failed"]) == ("pending", 3, 1)
    assert whole["progress"] == pytest.approx(200 / 3)
    assert "finishedAt" not in whole
    assert caller.post("/batches/B/1/cancel", {"reason": "enough"}).json() == {"moved": 1}
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == ("cancelled", "enough")
    whole = caller.get("/batches/B/1").json()
    assert (whole["status"], whole["progress"]) == ("failed", 100)
    assert whole["finishedAt"]
    assert caller.post("/batches/B/1/retry").json() == {"moved": 1}
    assert caller.get("/batches/B/1").json()["byStatus"]["pending"] == 1
    assert problem(caller.post("/batches/nothing/cancel"))["status"] == 404


def test_a_list_is_sorted_and_filtered_by_what_is_offered_and_goes_on_by_cursor() -> None:
    caller = Caller()
    jobs = [completed(priority="high") for _ in range(3)] + [submitted(task_id="T")]
    seen, cursor = [], ""
    while True:
        page = caller.get("/jobs", sort="finishedAt", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [job["id"] for job in page["jobs"]]
        if "nextCursor" not in page:
            break
        cursor = page["nextCursor"]
    # One transaction, one time: then the id decides.
    assert seen == sorted(job.id for job in jobs[:3])
    assert problem(caller.get("/jobs", sort="createdAt", cursor=cursor))["errors"][0]["pointer"] == "/cursor"
    assert problem(caller.get("/jobs", sort="params"))["status"] == 422
    assert [job["id"] for job in caller.get("/jobs", taskId="T").json()["jobs"]] == [jobs[3].id]
    assert len(caller.get("/jobs", priority="high", submittedBy="tester").json()["jobs"]) == 3
    assert caller.get("/jobs", createdAfter=4_000_000_000_000).json() == {"jobs": []}


EXTERNAL = {
    "params": {"type": "object", "required": ["width"], "properties": {"width": {"type": "integer", "minimum": 1}}},
    "description": "Make pictures small",
}


def test_an_external_tool_is_registered_with_a_schema_that_holds() -> None:
    caller = Caller([tokens.ADMIN])

    def put(name: str, body: Any) -> Any:
        return caller.client.put(f"{API}/tools/{name}", json.dumps(body), content_type="application/json")

    assert put("pictures.resize", EXTERNAL).status_code == 200
    told = caller.get("/tools/pictures.resize").json()
    assert told["external"] is True
    assert told["params"]["required"] == ["width"]
    refusal = problem(caller.submit(toolName="pictures.resize", params={"width": 0}))
    assert refusal["errors"] == [{"detail": "0 is less than the minimum of 1", "pointer": "/params/width"}]
    made = caller.submit(toolName="pictures.resize", params={"width": 7})
    assert Job.objects.get(id=made.json()["jobId"]).queue == "external"
    assert problem(put("doors.sum", EXTERNAL))["status"] == 409
    assert problem(put("x", {"params": {"type": "nonsense"}}))["errors"][0]["pointer"] == "/params"
    assert problem(put("x", {"params": {"$ref": "http://127.0.0.1/x"}}))["status"] == 422
    assert caller.client.delete(f"{API}/tools/pictures.resize").status_code == 204
    assert problem(caller.submit(toolName="pictures.resize", params={"width": 7}))["type"].endswith("unknown-tool")


def test_only_an_administrator_registers_tools() -> None:
    caller = Caller()
    answer = caller.client.put(f"{API}/tools/x", json.dumps(EXTERNAL), content_type="application/json")
    assert problem(answer)["status"] == 403
