"""Other limits for a job that waits: its needs, its time-out, its retries, its key, its times."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import admission, audit, configuration, dispatcher, lifecycle
from jobs.changes import COLUMNS, Change
from jobs.errors import IllegalMove, InvalidRequest, NotFound, RequirementTooLarge
from jobs.limits import Resources
from jobs.manager import job_manager
from jobs.models import Attempt, AuditEntry, Event, Job
from jobs.retry import Again, RetryWish
from tests.factories import LEASE, admitted, completed, failed, running, submitted
from tests.races import race
from tests.replays import assert_log_replays

pytestmark = pytest.mark.django_db


def row_of(job):
    return Job.objects.get(pk=job.id)


def verbs(job):
    return list(Event.objects.filter(job=job.id).order_by("id").values_list("verb", flat=True))


@pytest.mark.parametrize(
    ("wanted", "column", "value"),
    [
        ({"memory_mb": 64}, "memory_mb", 64),
        ({"cpu_weight": 1.5}, "cpu_weight", 1.5),
        ({"disk_mb": 10}, "disk_mb", 10),
        ({"timeout_ms": 1234}, "timeout_ms", 1234),
        ({"retry": RetryWish(max=7)}, "max_retries", 7),
        ({"retry": RetryWish(first=0.5)}, "retry_first_ms", 500),
        ({"retry": RetryWish(factor=3)}, "retry_factor", 3),
        ({"retry": RetryWish(cap=60)}, "retry_cap_ms", 60_000),
        ({"concurrency_key": "k"}, "concurrency_limit", 1),
    ],
)
def test_what_is_named_changes_and_all_else_stays(wanted, column, value):
    job = submitted()
    before = Job.objects.filter(pk=job.id).values(*COLUMNS, "rank", "gate_since").get()
    assert lifecycle.change(job.id, Change(**wanted), by="ann").version == 2
    after = Job.objects.filter(pk=job.id).values(*COLUMNS, "rank", "gate_since").get()
    key = {"concurrency_key": "k"} if "concurrency_key" in wanted else {}
    assert after == before | key | {column: value}
    assert verbs(job) == ["submit", "change"]
    assert_log_replays(job.id)


def test_the_event_says_what_became_different_and_by_whom():
    job = submitted(timeout_ms=5000, resources=Resources(memory_mb=100))
    lifecycle.change(job.id, Change(timeout_ms=6000, memory_mb=200), by="ann")
    event = Event.objects.get(job=job.id, verb="change")
    assert (event.reason, event.actor) == ("memoryMB 100 -> 200, timeoutMs 5000 -> 6000", "ann")


def test_a_change_by_a_person_is_in_the_audit_log_with_the_columns_that_changed():
    job = submitted(timeout_ms=5000)
    audit.act("change", lifecycle.change, job.id, by="ann", wanted=Change(timeout_ms=6000))
    entry = AuditEntry.objects.get()
    assert (entry.before, entry.after, entry.actor) == ({"timeout_ms": 5000}, {"timeout_ms": 6000}, "ann")


def test_what_is_already_so_makes_no_event():
    job = submitted(timeout_ms=5000)
    assert lifecycle.change(job.id, Change(timeout_ms=5000), by="t").version == 1
    assert lifecycle.change(job.id, Change(), by="t").version == 1
    assert verbs(job) == ["submit"]


@pytest.mark.parametrize("make", [completed, failed, lambda: running().job])
def test_a_job_that_runs_or_has_ended_is_not_changed(make):
    job = make()
    before = row_of(job)
    with pytest.raises(IllegalMove, match="only pending jobs can be changed"):
        lifecycle.change(job.id, Change(timeout_ms=6000, memory_mb=1), by="t")
    assert (row_of(job).timeout_ms, row_of(job).version) == (before.timeout_ms, before.version)
    assert "change" not in verbs(job)


def test_a_job_that_is_not_there_is_not_changed():
    with pytest.raises(NotFound):
        lifecycle.change("nobody", Change(timeout_ms=1), by="t")


@pytest.mark.parametrize(
    ("wanted", "error", "pointer"),
    [
        ({"memory_mb": 2049}, RequirementTooLarge, "/resourceRequirements/memoryMB"),
        ({"cpu_weight": 8.5}, RequirementTooLarge, "/resourceRequirements/cpuWeight"),
        ({"disk_mb": 1025}, RequirementTooLarge, "/resourceRequirements/diskSpaceMB"),
        ({"memory_mb": -1}, InvalidRequest, "/resourceRequirements/memoryMB"),
        ({"cpu_weight": float("nan")}, InvalidRequest, "/resourceRequirements/cpuWeight"),
        ({"timeout_ms": 0}, InvalidRequest, "/timeoutMs"),
        ({"retry": RetryWish(max=1001)}, InvalidRequest, "/retryPolicy/maxRetries"),
        ({"retry": RetryWish(factor=0.5)}, InvalidRequest, "/retryPolicy/backoffMultiplier"),
        ({"concurrency_limit": 2}, InvalidRequest, "/concurrencyLimit"),
        ({"concurrency_key": "k", "concurrency_limit": 0}, InvalidRequest, "/concurrencyLimit"),
        ({"concurrency_key": "k" * 101}, InvalidRequest, "/concurrencyKey"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, InvalidRequest, "/expiresAt"),
    ],
)
def test_what_could_never_hold_is_refused_and_nothing_is_done(wanted, error, pointer):
    job = admitted(submitted(timeout_ms=5000))
    with pytest.raises(error) as refused:
        lifecycle.change(job.id, Change(**({"timeout_ms": 9999} | wanted)), by="t")
    assert refused.value.problems[0].pointer == pointer
    assert (row_of(job).timeout_ms, row_of(job).current_attempt_id) == (5000, job.current_attempt_id)
    assert verbs(job) == ["submit", "admit"]


def test_an_admitted_job_gives_its_slot_back_and_is_admitted_with_what_it_needs_now():
    configuration.row()
    job = admitted(submitted(resources=Resources(memory_mb=100)))
    lifecycle.change(job.id, Change(memory_mb=700, timeout_ms=6000), by="t")
    assert Attempt.objects.get(pk=job.current_attempt_id).state == "cancelled"
    dispatcher.once()
    attempt = Attempt.objects.get(state="admitted")
    assert (attempt.memory_mb, attempt.timeout_ms) == (700, 6000)
    assert verbs(job) == ["submit", "admit", "withdraw", "change", "admit"]


def test_a_round_that_chose_a_job_by_what_it_needed_before_does_not_admit_it():
    configuration.row()
    job = submitted(resources=Resources(memory_mb=100))
    now = admission.outlook()
    (chosen,) = admission.next_jobs(configuration.limits_at(now.config), now).ids
    lifecycle.change(job.id, Change(memory_mb=2000), by="t")
    assert lifecycle.admit([chosen], config=now.config) == []


def test_a_later_time_shuts_the_gate_and_none_opens_it():
    job = submitted()
    later = timezone.now() + timedelta(hours=1)
    assert lifecycle.change(job.id, Change(run_at=later), by="t").gate == "time"
    assert row_of(job).run_at == later
    assert lifecycle.change(job.id, Change(run_at=None), by="t").gate == "open"
    assert row_of(job).run_at is None


def test_a_job_that_backs_off_is_tried_at_once_when_its_time_is_taken_away():
    job = failed(again=Again(delay=600, spends_retry=True))
    assert lifecycle.change(job.id, Change(run_at=None), by="t").gate == "open"


@pytest.mark.parametrize("hold", ["pause", "parent"])
def test_another_time_opens_no_gate_that_something_else_keeps_shut(hold):
    job = submitted(depends_on=[submitted().id]) if hold == "parent" else submitted()
    if hold == "pause":
        lifecycle.pause(job.id, by="t")
    gate = row_of(job).gate
    later = timezone.now() + timedelta(hours=1)
    assert lifecycle.change(job.id, Change(run_at=later), by="t").gate == gate
    assert lifecycle.change(job.id, Change(run_at=None), by="t").gate == gate


def test_until_when_a_job_is_of_use_is_set_and_lifted():
    job, later = submitted(), timezone.now() + timedelta(hours=1)
    lifecycle.change(job.id, Change(expires_at=later), by="t")
    assert row_of(job).expires_at == later
    lifecycle.change(job.id, Change(expires_at=None), by="t")
    assert row_of(job).expires_at is None


def test_a_job_leaves_its_key_and_takes_another():
    configuration.row()
    held = admitted(submitted(concurrency_key="k"))
    job = submitted(concurrency_key="k")
    dispatcher.once()
    assert row_of(job).current_attempt_id is None
    lifecycle.change(job.id, Change(concurrency_key=""), by="t")
    dispatcher.once()
    assert row_of(job).current_attempt_id is not None
    assert (row_of(job).concurrency_key, row_of(job).concurrency_limit) == ("", 0)
    lifecycle.change(job.id, Change(concurrency_key="k", concurrency_limit=2), by="t")
    dispatcher.once()
    assert row_of(job).current_attempt_id is not None
    assert row_of(held).current_attempt_id is not None


def test_the_manager_says_whether_there_was_anything_to_change():
    assert job_manager.change_job(submitted().id, Change(timeout_ms=1)) is True
    assert job_manager.change_job(completed().id, Change(timeout_ms=1)) is False
    assert job_manager.change_job("nobody", Change(timeout_ms=1)) is False


@pytest.mark.django_db(transaction=True)
def test_of_a_start_and_a_change_at_once_one_comes_first_and_the_other_sees_it():
    for _ in range(10):
        job = admitted(submitted(timeout_ms=5000))
        began, changed = race(2, lambda n, job=job: _changed(job) if n else _began(job))
        row = row_of(job)
        assert began != changed
        assert (row.status, row.timeout_ms) == (("pending", 6000) if changed else ("running", 5000))


def _began(job):
    return lifecycle.start(job.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=LEASE)) is not None


def _changed(job):
    try:
        lifecycle.change(job.id, Change(timeout_ms=6000), by="t")
    except IllegalMove:
        return False
    return True
