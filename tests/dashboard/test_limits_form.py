"""A person gives a job that waits other limits: on its page, and in the admin."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from jobs import configuration
from jobs.changes import COLUMNS
from jobs.limits import Resources
from jobs.limits_form import LimitsForm
from jobs.models import AuditEntry, Event, Job
from tests.dashboard.test_pages import viewer
from tests.factories import running, submitted

pytestmark = pytest.mark.django_db


def on_its_page(job):
    return f"/jobs/{job.pk}/", f"/jobs/{job.pk}/change/"


def in_the_admin(job):
    return (address := reverse("admin:jobs_job_limits", args=[job.pk])), address


DOORS = [on_its_page, in_the_admin]


def shown(client, address):
    """Every field of the form that is on a page, as a browser would send it."""
    page = client.get(address).content.decode()
    fields = {}
    for tag in re.findall(r"<input [^>]*>", page):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if name and name[1].removeprefix("initial-") in COLUMNS:
            fields[name[1]] = value[1] if value else ""
    return fields


def columns(job):
    return Job.objects.filter(pk=job.pk).values(*COLUMNS).get()


def test_the_form_knows_every_column_that_may_be_changed():
    assert set(LimitsForm.base_fields) == set(COLUMNS)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_sent_as_it_was_shown_changes_nothing(client, door):
    job = submitted(run_at=datetime(2199, 1, 1, 12, 30, 15, 123456, tzinfo=UTC), resources=Resources(cpu_weight=0.3))
    place, address = door(job)
    before = columns(job)
    assert client.post(address, shown(client, place)).status_code == 302
    assert columns(job) == before
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("said", "column", "value"),
    [
        ({"memory_mb": "64"}, "memory_mb", 64),
        ({"cpu_weight": "1.5"}, "cpu_weight", 1.5),
        ({"disk_mb": "10"}, "disk_mb", 10),
        ({"timeout_ms": "1234"}, "timeout_ms", 1234),
        ({"max_retries": "7"}, "max_retries", 7),
        ({"retry_first_ms": "500"}, "retry_first_ms", 500),
        ({"retry_factor": "3"}, "retry_factor", 3),
        ({"retry_cap_ms": "60000"}, "retry_cap_ms", 60_000),
        ({"concurrency_key": "k", "concurrency_limit": "4"}, "concurrency_limit", 4),
        ({"run_at": "2199-01-02T03:04:05"}, "run_at", datetime(2199, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ({"expires_at": "2199-01-02T03:04:05"}, "expires_at", datetime(2199, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
)
def test_what_is_touched_changes_all_else_stays_and_it_is_noted(client, door, said, column, value):
    job = submitted()
    place, address = door(job)
    before = columns(job)
    assert client.post(address, shown(client, place) | said).status_code == 302
    key = {"concurrency_key": "k"} if "concurrency_key" in said else {}
    assert columns(job) == before | key | {column: value}
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.subject, entry.actor) == ("change", f"job {job.pk}", "ada")
    assert set(entry.after) - {"gate"} == {column, *key}
    assert Event.objects.filter(job=job, verb="change").count() == 1


def test_a_time_that_is_emptied_is_taken_away(client):
    job = submitted(run_at=datetime(2199, 1, 1, tzinfo=UTC))
    client.post(f"/jobs/{job.pk}/change/", shown(client, f"/jobs/{job.pk}/") | {"run_at": ""})
    assert columns(job)["run_at"] is None


def test_two_who_change_different_things_both_succeed(client):
    job = submitted()
    typed = shown(client, f"/jobs/{job.pk}/")
    for said in ({"memory_mb": "64"}, {"timeout_ms": "1234"}):
        client.post(f"/jobs/{job.pk}/change/", typed | said)
    assert (columns(job)["memory_mb"], columns(job)["timeout_ms"]) == (64, 1234)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("said", "field", "words"),
    [
        ({"memory_mb": "much"}, "memory_mb", "Enter a whole number"),
        ({"timeout_ms": "0"}, "timeout_ms", "Must be from 1 to 2592000000"),
        ({"max_retries": "1001"}, "max_retries", "Must be from 0 to 1000"),
        ({"retry_factor": "x"}, "retry_factor", "Enter a number"),
        ({"concurrency_limit": "3"}, "concurrency_limit", "needs a concurrencyKey"),
        ({"expires_at": "2001-01-01T00:00:00"}, "expires_at", "Must be in the future"),
        ({"memory_mb": "999999"}, "memory_mb", "is above the limit of 4096. Ask for less, or have the limit of the queue raised"),
    ],
)
def test_what_cannot_be_is_told_with_what_to_do_and_nothing_is_changed(client, door, said, field, words):
    row = configuration.row()
    row.max_memory_mb = 4096
    row.save()
    job = submitted()
    place, address = door(job)
    before = columns(job)
    answer = client.post(address, shown(client, place) | {"cpu_weight": "0.7"} | said)
    assert answer.status_code == 422
    page = answer.content.decode()
    assert words in page
    assert f'name="{field}" value="{next(iter(said.values()))}"' in page
    assert columns(job) == before
    assert not AuditEntry.objects.exists()


@pytest.mark.parametrize("door", DOORS)
def test_a_job_that_began_meanwhile_stays_as_it_is_and_it_is_said(client, door):
    job = submitted()
    place, address = door(job)
    typed = shown(client, place) | {"timeout_ms": "1234"}
    running(job)
    answer = client.post(address, typed, follow=True)
    assert "only pending jobs can be changed" in answer.content.decode()
    assert columns(job)["timeout_ms"] != 1234
    assert 'id="change"' not in client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Change its limits" not in client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()


def test_who_may_not_control_jobs_finds_no_form_and_is_refused():
    job = submitted()
    looker = viewer("view_job", "submit_job")
    User.objects.update(is_staff=True)
    assert 'id="change"' not in looker.get(f"/jobs/{job.pk}/").content.decode()
    assert "Change its limits" not in looker.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    for _, address in (door(job) for door in DOORS):
        assert looker.post(address, {"timeout_ms": "1234"}).status_code == 403
    assert columns(job)["timeout_ms"] != 1234


def test_the_admin_leads_to_the_form_while_the_job_waits(client):
    job = submitted(expires_at=datetime.now(UTC) + timedelta(days=1))
    address = reverse("admin:jobs_job_limits", args=[job.pk])
    assert f'href="{address}"' in client.get(reverse("admin:jobs_job_change", args=[job.pk])).content.decode()
    assert client.get(reverse("admin:jobs_taskjob_limits", args=[job.pk])).status_code == 200
    assert client.get(reverse("admin:jobs_job_limits", args=["none"])).status_code == 404
