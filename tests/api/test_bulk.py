"""Many jobs in one request: all or none, and tied together by keys."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobs.models import Dependency, Job
from tests.api.steps import Caller, completed, problem, rows

pytestmark = pytest.mark.django_db


def job(**body: Any) -> dict[str, Any]:
    return {"toolName": "doors.sum", "params": {"a": 1}} | body


def test_jobs_of_one_request_may_depend_on_each_other_by_key_and_on_others_by_id() -> None:
    parent = completed()
    jobs = [job(key="sum", dependencies=["a", "b"]), job(key="a"), job(key="b", dependencies=[parent.id, "a"], id="mine")]
    answer = Caller().post("/bulk", {"jobs": jobs})
    assert answer.status_code == 202, answer.content
    made = {item["key"]: item["jobId"] for item in answer.json()["jobs"]}
    assert [item["key"] for item in answer.json()["jobs"]] == ["sum", "a", "b"]
    assert made["b"] == "mine"
    tied = set(Dependency.objects.values_list("job_id", "parent_id"))
    assert tied == {(made["sum"], made["a"]), (made["sum"], "mine"), ("mine", parent.id), ("mine", made["a"])}
    assert dict(Job.objects.filter(id__in=made.values()).values_list("id", "gate")) == {
        made["sum"]: "dependencies",
        made["a"]: "open",
        "mine": "dependencies",
    }


@pytest.mark.parametrize(
    ("jobs", "code", "pointer"),
    [
        ([job(), job(params={})], "invalid-params", "/jobs/1/params/a"),
        ([job(), job(), job(toolName="nothing")], "unknown-tool", "/jobs/2/toolName"),
        ([job(key="a"), job(key="a")], "duplicate-id", "/jobs/1/key"),
        ([job(id="a"), job(id="a")], "duplicate-id", "/id"),
        ([job(key="a", dependencies=["b"]), job(key="b", dependencies=["a"])], "dependency-cycle", "/dependencies"),
        ([job(), job(dependencies=["nobody"])], "unknown-dependency", "/dependencies"),
        ([job(), job(prority="high")], "invalid-request", "/jobs/1/prority"),
        ([], "invalid-request", "/jobs"),
        ([job()] * 1001, "invalid-request", "/jobs"),
    ],
)
def test_one_bad_job_refuses_all_and_the_pointer_says_which(jobs: list[Any], code: str, pointer: str) -> None:
    caller = Caller()
    before = rows()
    refusal = problem(caller.post("/bulk", {"jobs": jobs}))
    assert refusal["type"] == f"/api/v1/problems/{code}"
    assert pointer in [error["pointer"] for error in refusal["errors"]]
    assert rows() == before


def test_a_thousand_jobs_are_taken_and_the_same_key_makes_no_second_thousand() -> None:
    caller = Caller()
    body = {"jobs": [job(key=str(n), dependencies=[str(n - 1)] if n else []) for n in range(1000)]}

    def send() -> Any:
        return caller.client.post(
            "/api/v1/bulk", json.dumps(body), content_type="application/json", headers={"idempotency-key": "batch-7"}
        )

    first, second = send(), send()
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    assert Job.objects.count() == 1000


def test_a_bulk_needs_the_scope_to_submit() -> None:
    assert Caller(["jobs:read"]).post("/bulk", {"jobs": [job()]}).status_code == 403
