from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs import lifecycle, queries, steering, workers
from jobs.limits import Resources
from jobs.models import GroupRule, Job, QueueConfig, Worker
from jobs.retry import Again
from jobs.sight import Sight
from tests.factories import admitted, completed, failed, running, submitted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def dispatcher_is_there(monkeypatch):
    monkeypatch.setattr("jobs.workers.dispatcher_alive", lambda: True)


def test_an_admitted_job_waits_for_a_worker_when_none_is_there():
    why = queries.why_pending(admitted())
    assert (why.reason, "no worker" in why.text) == ("no_worker", True)


def test_an_admitted_job_is_starting_when_a_worker_is_there():
    workers.appear(1, slots=1, queues=["default"])
    assert Worker.objects.count() == 1
    assert queries.why_pending(admitted()).reason == "starting"


def test_a_job_behind_taken_slots_is_told_the_limit_its_holders_and_its_place():
    QueueConfig.objects.update_or_create(id=1, defaults={"max_concurrent_jobs": 1})
    holder = running()
    submitted(priority="high")
    why = queries.why_pending(submitted())
    assert why.reason == "capacity"
    assert [(job.id, job.tool, job.status) for job in why.blockers] == [(holder.job.id, "test.add", "running")]
    assert "1 of 1 slots" in why.text
    assert "number 2 in line" in why.text


def test_a_job_that_lacks_memory_is_told_how_much():
    running(submitted(resources=Resources(memory_mb=2000)))
    why = queries.why_pending(submitted(resources=Resources(memory_mb=100)))
    assert why.reason == "capacity"
    assert why.text.startswith("It needs 100 MB of memory, and 48 of 2048 are free;")


def test_a_job_that_fits_is_being_started():
    assert queries.why_pending(submitted()).text == "It is being started."


def test_a_job_that_lacks_memory_is_told_who_holds_it_and_how_much_there_is():
    holder = running(submitted("test.walk", resources=Resources(memory_mb=2000))).job
    running(submitted(resources=Resources(cpu_weight=1)))
    why = queries.why_pending(submitted(resources=Resources(memory_mb=100)))
    assert [(job.id, job.tool) for job in why.blockers] == [(holder.id, "test.walk")]
    assert (why.limit.kind, why.limit.used, why.limit.most) == ("memory", 2000, 2048)


def test_a_job_behind_a_group_s_limit_is_told_its_members_that_hold_a_slot():
    steering.limit("project", "p", max_running=1, per_minute=None, by="t")
    holder = running(submitted("test.walk", project="p")).job
    running(submitted(project="q"))
    why = queries.why_pending(submitted(project="p"))
    assert (why.reason, [job.id for job in why.blockers]) == ("limit", [holder.id])
    assert (why.limit.kind, why.limit.name, why.limit.used, why.limit.most) == ("project", "p", 1, 1)


def test_the_earliest_time_is_told_whatever_else_a_job_waits_for():
    later = timezone.now() + timedelta(hours=1)
    held = submitted(run_at=later, depends_on=[submitted().id])
    paused = submitted(run_at=later)
    lifecycle.pause(paused.id, by="t")
    for job in (held, submitted(run_at=later), Job.objects.get(pk=paused.id)):
        assert queries.why_pending(job).until == later
    again = failed(again=Again(delay=60, spends_retry=True))
    assert queries.why_pending(Job.objects.get(pk=again.id)).until > timezone.now()
    assert queries.why_pending(submitted()).until is None


def test_since_when_is_when_it_became_so():
    job = submitted()
    Job.objects.filter(pk=job.id).update(gate_since="2020-01-01T00:00Z")
    assert queries.why_pending(Job.objects.get(pk=job.id)).since.year == 2020
    steering.pause("tool", "test.add", by="t")
    GroupRule.objects.update(paused_at="2021-01-01T00:00Z")
    assert queries.why_pending(Job.objects.get(pk=job.id)).since.year == 2021


def test_who_may_not_see_a_blocker_is_not_told_of_it():
    QueueConfig.objects.update_or_create(id=1, defaults={"max_concurrent_jobs": 2})
    seen, hidden = running(submitted(project="mine")).job, running(submitted(project="theirs")).job
    why = queries.why_pending(submitted(project="mine"))
    assert {job.id for job in why.blockers} == {seen.id, hidden.id}
    assert [job.id for job in why.as_seen(Sight(projects=frozenset({"mine"}))).blockers] == [seen.id]


def a_page(size):
    """So many waiting jobs for every reason there is, in turn."""
    parent = submitted()
    make = [
        lambda: submitted(depends_on=[parent.id]),
        lambda: submitted(run_at=timezone.now() + timedelta(hours=1)),
        lambda: lifecycle.pause(submitted().id, by="t"),
        lambda: submitted(concurrency_key="k"),
        lambda: submitted(project="full"),
        lambda: submitted(project="paused"),
        lambda: submitted(project="rated"),
        lambda: submitted(resources=Resources(memory_mb=2000)),
        lambda: admitted(submitted(operation="analysis")),
        submitted,
    ]
    return list(Job.objects.filter(pk__in=[make[n % len(make)]().id for n in range(size)]).order_by("-created_at"))


def test_why_fifty_jobs_wait_costs_exactly_the_queries_that_ten_cost():
    QueueConfig.objects.update_or_create(id=1, defaults={"max_concurrent_jobs": 100})
    steering.limit("project", "full", max_running=0, per_minute=None, by="t")
    steering.limit("project", "rated", max_running=None, per_minute=1, by="t")
    steering.pause("project", "paused", by="t")
    running(submitted(resources=Resources(memory_mb=1000), concurrency_key="k"))
    counts, reasons = [], set()
    for size in (10, 50):
        jobs = a_page(size)
        with CaptureQueriesContext(connection) as asked:
            found = queries.why_all(jobs)
        assert len(found) == size
        reasons |= {why.reason for why in found.values()}
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 10
    assert reasons >= {"dependencies", "schedule", "paused", "limit", "capacity", "no_worker", "queued"}


def test_the_admin_s_page_of_jobs_that_wait_costs_the_same_for_fifty_as_for_ten():
    QueueConfig.objects.update_or_create(id=1, defaults={"max_concurrent_jobs": 100})
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    client.get("/admin/jobs/job/")
    counts = []
    for size in (10, 50):
        a_page(size)
        with CaptureQueriesContext(connection) as asked:
            page = client.get("/admin/jobs/job/?status__exact=pending").content.decode()
        counts.append(len(asked))
        assert page.count("dependencies</td>") >= 1
    assert counts[0] == counts[1]


def test_the_admin_says_of_a_job_why_it_waits_since_when_and_for_whom():
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    parent = submitted("test.walk")
    later = timezone.now() + timedelta(hours=1)
    page = client.get(f"/admin/jobs/job/{submitted(depends_on=[parent.id], run_at=later).id}/change/").content.decode()
    assert "It waits for 1 job to complete. Since 20" in page
    assert f"Not before {later:%Y-%m-%d %H:%M}" in page
    assert f'/admin/jobs/job/{parent.id}/change/">{parent.id}</a> test.walk, pending' in page
    assert "It does not wait." in client.get(f"/admin/jobs/job/{completed().id}/change/").content.decode()


def test_the_page_and_the_api_name_who_is_in_the_way_and_since_when():
    client = Client()
    client.force_login(User.objects.create_superuser("ada"))
    parent = submitted("test.walk")
    child = submitted(depends_on=[parent.id])
    page = client.get(f"/jobs/{child.id}/").content.decode()
    assert f'{parent.id}</a> <span class="sub">test.walk · pending</span>' in page
    assert "It waits since" in page
    why = client.get(f"/api/v1/jobs/{child.id}/why").json()["why"]
    assert why["blockers"] == [{"jobId": parent.id, "toolName": "test.walk", "status": "pending"}]
    assert why["since"] == round(child.gate_since.timestamp() * 1000) or why["since"] == int(child.gate_since.timestamp() * 1000)
