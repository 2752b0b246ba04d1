"""Jobs that are of no use after some time: not begun after it, timed out by it, and their dependents told."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs import dispatcher, execution, lifecycle
from jobs.errors import InvalidRequest
from jobs.models import Attempt, Event, Job
from jobs.retry import Again
from tests.factories import admitted, completed, failed, submitted
from tests.replays import assert_log_replays

pytestmark = pytest.mark.django_db


def soon(**wanted):
    return submitted(expires_at=timezone.now() + timedelta(hours=1), **wanted)


def let_pass():
    """In a test's one transaction the clock stands still, so the times are moved instead; a job never expired before it came."""
    Job.objects.exclude(expires_at=None).update(created_at="2020-01-01T00:00Z", expires_at="2020-01-02T00:00Z")


@pytest.mark.parametrize("make", [soon, lambda: admitted(soon()), lambda: lifecycle.pause(soon().id, by="t")])
def test_a_job_that_has_not_begun_in_time_fails_and_says_so(make):
    job = make()
    dispatcher.once()
    assert Job.objects.get().status == "pending"
    let_pass()
    assert dispatcher.one_round().expired == 1
    row = Job.objects.get(pk=job.id)
    assert (row.status, row.error_category, row.error_class) == ("failed", "timeout", "Expired")
    assert row.reason.startswith("expired")
    assert Event.objects.filter(verb="expire").count() == 1
    assert not Attempt.objects.filter(state__in=["admitted", "running"]).exists()
    assert_log_replays(job.id)
    assert dispatcher.one_round().expired == 0


def test_what_waits_for_an_expired_job_follows_its_policy_in_the_same_round():
    parent = soon()
    child = submitted(depends_on=[parent.id])
    let_pass()
    dispatcher.one_round()
    assert Job.objects.get(pk=child.id).reason == f"dependency {parent.id} failed"


def test_an_expired_job_is_not_admitted_and_one_that_is_tried_again_too_late_ends():
    job = failed(soon(), again=Again(delay=60, spends_retry=True))
    let_pass()
    assert dispatcher.one_round().admitted == 0
    assert Job.objects.get(pk=job.id).status == "failed"


def test_a_finished_job_does_not_expire():
    done = completed(soon())
    let_pass()
    dispatcher.one_round()
    assert Job.objects.get(pk=done.id).status == "completed"


def test_a_retry_by_hand_lifts_the_time():
    job = soon()
    let_pass()
    dispatcher.one_round()
    assert lifecycle.retry(job.id, by="t").expires_at is None
    assert dispatcher.one_round().expired == 0


def test_a_time_that_is_over_is_refused_at_the_door():
    with pytest.raises(InvalidRequest) as refusal:
        submitted(expires_at=timezone.now() - timedelta(seconds=1))
    assert refusal.value.problems[0].pointer == "/expiresAt"
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_running_job_is_timed_out_when_it_is_of_no_use_any_more(settings):
    settings.JOBSITE_BEAT = 0.1
    job = admitted(
        submitted(
            "test.walk", params={"steps": 1000, "pause": 0.02}, max_retries=0, expires_at=timezone.now() + timedelta(seconds=1.5)
        )
    )
    try:
        execution.answer(job.current_attempt_id, "default", 1000)
    finally:
        execution._pulse.end()
    row = Job.objects.get(pk=job.id)
    assert (row.status, row.attempts.get().state) == ("failed", "timed_out")
    assert "expiresAt" in row.reason
    assert timedelta(0) <= row.finished_at - row.expires_at < timedelta(seconds=3)
