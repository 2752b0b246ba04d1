import pytest

from jobs import queries, workers
from jobs.limits import Resources
from jobs.models import QueueConfig, Worker
from tests.factories import admitted, running, submitted

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
    assert why.blockers == [holder.job.id]
    assert "1 of 1 slots" in why.text
    assert "number 2 in line" in why.text


def test_a_job_that_lacks_memory_is_told_how_much():
    running(submitted(resources=Resources(memory_mb=2000)))
    why = queries.why_pending(submitted(resources=Resources(memory_mb=100)))
    assert why.reason == "capacity"
    assert why.text.startswith("It needs 100 MB of memory, and 48 of 2048 are free;")


def test_a_job_that_fits_is_being_started():
    assert queries.why_pending(submitted()).text == "It is being started."
