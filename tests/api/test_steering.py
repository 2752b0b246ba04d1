"""The queue through the API: configuration, limits, pauses; and one job paused, moved in line, asked why."""

import json

import pytest

from jobs import configuration, tokens
from jobs.models import AuditEntry, GroupRule, Job, QueueConfig
from tests.api.steps import Caller, problem, running, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture
def admin(client):
    return Caller([tokens.ADMIN], name="operator")


def patch(caller, body, path="/queue/config"):
    return caller.client.patch("/api/v1" + path, json.dumps(body), content_type="application/json")


def put(caller, path, body):
    return caller.client.put("/api/v1" + path, json.dumps(body), content_type="application/json")


def test_the_configuration_is_changed_in_part_and_the_change_is_noted(admin):
    seen = admin.get("/queue/config").json()
    body = {
        "version": seen["version"],
        "maxConcurrentJobs": 9,
        "retryPolicy": {"maxRetries": 1},
        "resourceLimits": {"maxMemoryMB": 64},
    }
    answer = patch(admin, body).json()
    assert (answer["maxConcurrentJobs"], answer["retryPolicy"]["maxRetries"], answer["resourceLimits"]["maxMemoryMB"]) == (9, 1, 64)
    assert answer["version"] == seen["version"] + 1
    assert answer["timeoutPolicy"] == seen["timeoutPolicy"]
    entry = AuditEntry.objects.get(action="configure")
    assert (entry.actor, entry.action) == ("token:operator", "configure")
    assert (entry.before["max_concurrent_jobs"], entry.after["max_concurrent_jobs"]) == (5, 9)


def test_the_second_of_two_editors_is_told(admin):
    version = admin.get("/queue/config").json()["version"]
    assert patch(admin, {"version": version, "maxConcurrentJobs": 9}).status_code == 200
    late = patch(admin, {"version": version, "maxConcurrentJobs": 3})
    assert (late.status_code, problem(late)["type"]) == (409, "/api/v1/problems/conflict")
    assert QueueConfig.objects.get().max_concurrent_jobs == 9


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"maxConcurrentJobs": -1}, "/maxConcurrentJobs"),
        ({"maxConcurrentJobs": True}, "/maxConcurrentJobs"),
        ({"priorityWeights": {"low": 1}}, "/priorityWeights"),
        ({"retryPolicy": {"backoffMultiplier": 0.5}}, "/retryPolicy/backoffMultiplier"),
        ({"maxRetryDelayMs": 1}, "/maxRetryDelayMs"),
        ({"timeoutPolicy": {"operationTimeouts": {"swimming": 1}}}, "/timeoutPolicy/operationTimeouts"),
        ({"retryPolicy": {"operationRetries": {"codemap": {"maxRetries": -1}}}}, "/retryPolicy/operationRetries"),
        ({"resourceLimits": {"maxCpuWeight": -1}}, "/resourceLimits/maxCpuWeight"),
        ({"maxJobs": 3}, "/maxJobs"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_whole(admin, change, pointer):
    answer = patch(admin, {"version": configuration.row().version} | change)
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["pointer"] == pointer
    assert configuration.row().version == 1


def test_only_an_administrator_changes_limits_and_whoever_controls_jobs_may_pause(client):
    caller = Caller([tokens.READ, tokens.CONTROL])
    assert patch(caller, {"version": 1}).status_code == 403
    assert put(caller, "/queue/rules/tool/doors.sum", {"maxRunning": 1}).status_code == 403
    assert caller.post("/queue/pause", {"kind": "tool", "name": "doors.sum"}).status_code == 200
    assert Caller([tokens.READ], name="reader").post("/queue/pause", {}).status_code == 403


def test_a_rule_is_set_listed_and_taken_away(admin):
    assert put(admin, "/queue/rules/project/a/b", {"maxRunning": 2, "perMinute": 30}).json()["maxRunning"] == 2
    (rule,) = admin.get("/queue/rules").json()["rules"]
    assert (rule["kind"], rule["name"], rule["perMinute"], rule["paused"]) == ("project", "a/b", 30, False)
    assert "maxRunning" not in put(admin, "/queue/rules/project/a/b", {}).json()
    assert put(admin, "/queue/rules/moon/x", {}).status_code == 422
    assert GroupRule.objects.count() == 1


def test_a_pause_is_seen_by_who_asks_why_and_ends_with_resume(admin, monkeypatch):
    monkeypatch.setattr("jobs.workers.dispatcher_alive", lambda: True)
    job = submitted(project="p")
    assert admin.post("/queue/pause", {"kind": "project", "name": "p", "reason": "audit"}).json()["pausedBy"] == "token:operator"
    why = admin.get(f"/jobs/{job.id}/why").json()["why"]
    assert (why["reason"], why["text"], why["place"]) == ("paused", "Project p is paused by token:operator: audit.", 1)
    admin.post("/queue/resume", {"kind": "project", "name": "p"})
    assert admin.get(f"/jobs/{job.id}/why").json()["why"]["reason"] == "queued"


def test_one_job_is_paused_resumed_and_moved_in_line(admin):
    job = submitted()
    assert admin.post(f"/jobs/{job.id}/pause", {"reason": "wait"}).status_code == 202
    assert admin.get(f"/jobs/{job.id}/why").json()["why"]["reason"] == "paused"
    assert admin.post(f"/jobs/{job.id}/resume").status_code == 202
    assert problem(admin.post(f"/jobs/{job.id}/resume"))["status"] == 409
    assert admin.post(f"/jobs/{job.id}/priority", {"priority": "critical"}).status_code == 202
    assert admin.get(f"/jobs/{job.id}/full").json()["priority"] == "critical"
    assert admin.post(f"/jobs/{job.id}/priority", {"priority": "urgent"}).status_code == 422
    assert [e["verb"] for e in admin.get(f"/jobs/{job.id}/events").json()["events"]] == [
        "submit",
        "pause",
        "resume",
        "reprioritise",
    ]


def test_a_running_job_is_not_paused_and_does_not_wait(admin):
    job = running().job
    assert admin.post(f"/jobs/{job.id}/pause").status_code == 409
    assert admin.get(f"/jobs/{job.id}/why").json() == {"jobId": job.id}


def test_a_job_may_bring_a_concurrency_key(admin):
    made = admin.submit(concurrencyKey="k", concurrencyLimit=2).json()
    row = Job.objects.get(pk=made["jobId"])
    assert (row.concurrency_key, row.concurrency_limit) == ("k", 2)
    assert admin.submit(concurrencyKey="k", concurrencyLimit=0).status_code == 422


def test_dependencies_of_a_pending_job_are_changed_and_what_is_wrong_is_said(admin):
    parent, child = submitted(), submitted()
    path = f"/jobs/{child.id}/dependencies"
    assert patch(admin, {"add": [parent.id]}, path).status_code == 202
    assert admin.get(f"/jobs/{child.id}/full").json()["dependencies"] == [parent.id]
    refused = problem(patch(admin, {"add": [child.id]}, path))
    assert (refused["status"], refused["type"]) == (422, "/api/v1/problems/dependency-cycle")
    refused = problem(patch(admin, {"add": ["nobody"], "remove": [parent.id]}, path))
    assert (refused["type"], refused["errors"][0]["pointer"]) == ("/api/v1/problems/unknown-dependency", "/add")
    assert patch(admin, {"remove": [parent.id]}, path).status_code == 202
    assert patch(admin, {"remove": [parent.id]}, path).status_code == 422
    assert admin.get(f"/jobs/{child.id}/full").json()["dependencies"] == []
    assert patch(Caller([tokens.READ], name="reader"), {"add": [parent.id]}, path).status_code == 403


def test_limits_of_a_pending_job_are_changed_and_the_change_is_noted(admin):
    job, later = submitted(timeout_ms=5000), 4_000_000_000_000
    body = {
        "resourceRequirements": {"memoryMB": 64, "cpuWeight": 0.5},
        "timeoutMs": 6000,
        "retryPolicy": {"initialDelayMs": 10},
        "maxRetries": 9,
        "concurrencyKey": "k",
        "concurrencyLimit": 3,
        "runAt": later,
        "expiresAt": later + 1000,
    }
    assert patch(admin, body, f"/jobs/{job.id}").status_code == 202
    full = admin.get(f"/jobs/{job.id}/full").json()
    assert full["resourceRequirements"] == {"memoryMB": 64, "cpuWeight": 0.5, "diskSpaceMB": 0}
    assert (full["timeoutMs"], full["nextAttemptAt"], full["expiresAt"]) == (6000, later, later + 1000)
    row = Job.objects.get(pk=job.id)
    assert (row.max_retries, row.retry_first_ms, row.concurrency_key, row.concurrency_limit) == (9, 10, "k", 3)
    entry = AuditEntry.objects.get(action="change")
    assert (entry.actor, entry.subject) == ("token:operator", f"job {job.id}")
    assert (entry.before["timeout_ms"], entry.after["timeout_ms"], entry.after["gate"]) == (5000, 6000, "time")
    assert patch(admin, {"runAt": None}, f"/jobs/{job.id}").status_code == 202
    full = admin.get(f"/jobs/{job.id}/full").json()
    assert ("nextAttemptAt" in full, full["expiresAt"], full["timeoutMs"]) == (False, later + 1000, 6000)


def test_limits_that_cannot_be_changed_are_refused_with_the_reason(admin):
    job, going = submitted(), running().job
    refused = problem(patch(admin, {"resourceRequirements": {"memoryMB": 5000}}, f"/jobs/{job.id}"))
    assert (refused["type"], refused["errors"][0]["pointer"]) == (
        "/api/v1/problems/requirement-too-large",
        "/resourceRequirements/memoryMB",
    )
    assert problem(patch(admin, {"timeoutMs": 0}, f"/jobs/{job.id}"))["errors"][0]["pointer"] == "/timeoutMs"
    assert problem(patch(admin, {"memory": 1}, f"/jobs/{job.id}"))["status"] == 422
    assert problem(patch(admin, {"runAt": 4_000_000_000_000, "delayMs": 5}, f"/jobs/{job.id}"))["status"] == 422
    assert problem(patch(admin, {"expiresAt": 1000}, f"/jobs/{job.id}"))["errors"][0]["pointer"] == "/expiresAt"
    assert "only pending jobs can be changed" in problem(patch(admin, {"timeoutMs": 9}, f"/jobs/{going.id}"))["detail"]
    assert problem(patch(admin, {"timeoutMs": 9}, "/jobs/nobody"))["status"] == 404
    assert patch(Caller([tokens.READ], name="reader"), {"timeoutMs": 9}, f"/jobs/{job.id}").status_code == 403
    assert Job.objects.get(pk=job.id).version == 1


def test_a_job_is_deleted_unless_it_runs(admin):
    going, gone = running().job, submitted()
    assert admin.client.delete(f"/api/v1/jobs/{going.id}").status_code == 409
    assert admin.client.delete(f"/api/v1/jobs/{gone.id}").status_code == 204
    assert admin.client.delete(f"/api/v1/jobs/{gone.id}").status_code == 404
    assert Caller([tokens.READ], name="reader").client.delete(f"/api/v1/jobs/{going.id}").status_code == 403
    assert list(Job.objects.values_list("id", flat=True)) == [going.id]


def test_a_job_is_cancelled_with_all_that_depends_on_it_in_one_call(admin):
    job = submitted(batch="b")
    child, other = submitted(depends_on=[job.id]), submitted()
    assert admin.post(f"/jobs/{job.id}/cancel", {"reason": "enough", "dependents": True}).json()["status"] == "cancelled"
    assert Job.objects.get(pk=child.id).reason == "enough"
    assert Job.objects.get(pk=other.id).status == "pending"


def test_a_batch_is_cancelled_in_one_transaction_with_those_that_wait_within_it(admin):
    job, going = submitted(batch="b"), running(batch="b").job
    child = submitted(depends_on=[job.id], batch="b")
    assert admin.post("/batches/b/cancel", {"reason": "enough"}).json() == {"moved": 3}
    assert Job.objects.get(pk=child.id).reason == "enough"
    assert Job.objects.get(pk=going.id).cancel_requested_at is not None


def test_a_job_may_say_until_when_it_is_of_use(admin):
    later = 4_000_000_000_000
    made = admin.submit(expiresAt=later).json()
    assert admin.get(f"/jobs/{made['jobId']}/full").json()["expiresAt"] == later
    late = admin.submit(expiresAt=1_000)
    assert (late.status_code, problem(late)["errors"][0]["pointer"]) == (422, "/expiresAt")
