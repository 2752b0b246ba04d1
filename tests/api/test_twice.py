"""The same request twice: idempotency keys, and deduplication of active jobs."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from jobs import dispatcher, idempotency, lifecycle
from jobs.errors import AlreadyActive, IllegalMove, UnknownTool
from jobs.lifecycle import Submission
from jobs.models import IdempotencyKey, Job
from tests.api.steps import Caller, completed, failed, problem, running, submitted

pytestmark = pytest.mark.django_db
BODY = {"toolName": "doors.sum", "params": {"a": 1}}


def send(caller, key, **body):
    return caller.client.post(
        "/api/v1/jobs", json.dumps(BODY | body), content_type="application/json", headers={"Idempotency-Key": key}
    )


def test_the_same_key_and_body_are_the_same_job():
    caller = Caller()
    first, again = send(caller, "k"), send(caller, "k")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["jobId"] == again.json()["jobId"]
    assert first["Location"] == again["Location"]
    assert Job.objects.count() == 1
    assert send(caller, "l").json()["jobId"] != first.json()["jobId"]


def test_the_same_key_with_another_body_is_refused():
    caller = Caller()
    send(caller, "k")
    answer = send(caller, "k", params={"a": 2})
    assert (answer.status_code, problem(answer)["type"]) == (422, "/api/v1/problems/idempotency-mismatch")
    assert Job.objects.count() == 1


def test_a_key_is_its_callers_own():
    assert send(Caller(name="one"), "k").json()["jobId"] != send(Caller(name="two"), "k").json()["jobId"]


def test_a_refused_request_leaves_its_key_free():
    caller = Caller()
    assert send(caller, "k", params={"a": "x"}).status_code == 422
    assert not IdempotencyKey.objects.exists()
    assert send(caller, "k").status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 201])
def test_a_key_that_is_no_key_is_refused(key):
    assert send(Caller(), key).status_code == 422
    assert not Job.objects.exists()


def test_after_a_day_a_key_means_nothing_any_more():
    caller = Caller()
    first = send(caller, "k").json()["jobId"]
    IdempotencyKey.objects.update(at="2020-01-01T00:00Z")
    assert send(caller, "k").json()["jobId"] != first
    IdempotencyKey.objects.update(at="2020-01-01T00:00Z")
    dispatcher.clean()
    assert not IdempotencyKey.objects.exists()
    assert idempotency.forget_old() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["key", "fingerprint"])
def test_eight_at_once_make_one_job(how):
    wanted = Submission(tool="doors.sum", params={"a": 7}, deduplicate=how == "fingerprint")

    def one(_):
        try:
            if how == "key":
                return lifecycle.submit_once([wanted], by="t", key="k", digest="d")[0][0].pk
            return lifecycle.submit(wanted, by="t").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(one, range(8)))) == 1
    assert Job.objects.count() == 1


def test_an_equal_active_job_is_returned_where_that_is_asked_for():
    first = submitted(deduplicate=True)
    caller = Caller()
    assert caller.submit(params={"b": 0, "a": 1}, deduplicate=True).json()["jobId"] == first.id
    assert caller.submit(params={"a": 2}, deduplicate=True).json()["jobId"] != first.id
    assert caller.submit().json()["jobId"] != first.id
    begun = running(params={"a": 3}, deduplicate=True)
    assert submitted(params={"a": 3}, deduplicate=True).id == begun.job.id


@pytest.mark.parametrize("end", [completed, failed])
def test_a_finished_job_does_not_stand_in_the_way(end):
    assert submitted(deduplicate=True).id != end(params={"a": 1, "note": "x"}, deduplicate=True).id
    done = end(params={"a": 9}, deduplicate=True)
    assert submitted(params={"a": 9}, deduplicate=True).id != done.id


def test_a_failed_job_is_not_retried_beside_its_equal():
    broken = failed(params={"a": 5}, deduplicate=True)
    submitted(params={"a": 5}, deduplicate=True)
    with pytest.raises(IllegalMove, match="an equal job"):
        lifecycle.retry(broken.id, by="t")
    assert Job.objects.get(pk=broken.id).status == "failed"


def test_a_batch_with_an_equal_of_an_active_job_is_refused_whole_and_names_it():
    first = submitted(deduplicate=True)
    batch = [Submission(tool="doors.sum", params={"a": 8}), Submission(tool="doors.sum", params={"a": 1}, deduplicate=True)]
    with pytest.raises(AlreadyActive, match=first.id):
        lifecycle.submit_many(batch, by="t")
    assert Job.objects.count() == 1


def test_an_unknown_tool_is_refused_with_a_key_too():
    with pytest.raises(UnknownTool):
        lifecycle.submit_once([Submission(tool="none")], by="t", key="k", digest="d")
