"""Jobs that may be what kills their processes are held until a person says otherwise; late writes are counted."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db.models.functions import Now

from jobs import dispatcher, lifecycle, queries, rescue, statistics
from jobs.bundle import Bundle
from jobs.errors import IllegalMove
from jobs.health import everything
from jobs.lifecycle import Usage
from jobs.models import Attempt, Job
from jobs.retry import Again
from jobs.schemas import job_attempt, summary
from tests.api.steps import Caller
from tests.factories import completed, failed, result, running, submitted
from tests.jobs.test_lifecycle import assert_log_replays, verbs

CHILD = lifecycle.Child(worker="tests:1", pid=1, lease=30)
pytestmark = pytest.mark.django_db


def lost(job, times):
    """The job after so many losses in a row; its time to be tried again has come after each."""
    for _ in range(times):
        Job.objects.filter(pk=job.id, gate="time").update(gate="open", run_at=None)
        running(Job.objects.get(pk=job.id), lease=-1)
        assert rescue.rescue_lost() == 1
    return Job.objects.get(pk=job.id)


def test_the_third_loss_in_a_row_quarantines_the_job():
    row = lost(submitted(), 3)
    assert (row.status, row.gate, row.loss_count, row.retry_count, row.current_attempt_id) == ("pending", "quarantined", 3, 0, None)
    assert "3 times in a row" in row.reason
    assert list(row.attempts.order_by("number").values_list("state", flat=True)) == ["lost", "lost", "quarantined"]
    assert verbs(row.id)[-1] == "quarantine"
    assert_log_replays(row.id)


def test_a_quarantined_job_waits_for_a_person_and_says_so():
    job = lost(submitted(), 3)
    dispatcher.once()
    assert Job.objects.get(pk=job.id).gate == "quarantined"
    why = queries.why_pending(job)
    assert (why.reason, why.until) == ("quarantined", None)
    assert summary(job).quarantined
    for verb in (lifecycle.pause, lifecycle.resume):
        with pytest.raises(IllegalMove, match=r"quarantined|not paused"):
            verb(job.id, by="t")


def test_a_released_job_is_back_in_line_with_its_losses_forgotten():
    job = lost(submitted(), 3)
    back = lifecycle.release(job.id, by="ann")
    assert (back.gate, back.loss_count, back.reason) == ("open", 0, "")
    assert completed(back).status == "completed"
    assert_log_replays(job.id)
    with pytest.raises(IllegalMove):
        lifecycle.release(job.id, by="ann")


def test_a_job_that_is_not_quarantined_cannot_be_released():
    with pytest.raises(IllegalMove, match="not quarantined"):
        lifecycle.release(submitted().id, by="ann")


def test_a_quarantined_job_can_be_cancelled_and_then_its_dependents_are_told():
    job = submitted()
    child = submitted(depends_on=[job.id])
    lost(job, 3)
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "pending"
    assert lifecycle.cancel(job.id, by="t").status == "cancelled"
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "failed"


def test_any_other_end_breaks_the_row_of_losses():
    job = lost(submitted(), 2)
    Job.objects.filter(pk=job.id).update(gate="open")
    failed(Job.objects.get(pk=job.id), again=Again(delay=0, spends_retry=True))
    row = lost(job, 2)
    assert (row.gate, row.loss_count) == ("time", 2)


def test_a_job_is_released_through_the_api_and_from_its_page(client):
    first, second = lost(submitted(), 3), lost(submitted(), 3)
    assert Caller(["jobs:read"], "reader").post(f"/jobs/{first.id}/release").status_code == 403
    answer = Caller(["jobs:read", "jobs:control"], "boss").post(f"/jobs/{first.id}/release")
    assert answer.status_code == 202
    user = User.objects.create_user("ann")
    user.user_permissions.add(Permission.objects.get(codename="control_job"))
    client.force_login(user)
    assert "Release" in client.get(f"/jobs/{second.id}/").content.decode()
    assert client.post(f"/jobs/{second.id}/release/").status_code == 302
    assert set(Job.objects.values_list("gate", "loss_count")) == {("open", 0)}


def test_a_late_write_is_refused_counted_and_visible(admin_client):
    zombie = running(lease=-1)
    rescue.rescue_lost()
    for end in (lifecycle.finished(zombie, result(), Usage(), actor="z"), lifecycle.stopped(zombie, Usage(), actor="z")):
        late = Bundle([], CHILD)
        late.add(end)
        late.close(None)
    attempt = Attempt.objects.get()
    assert (attempt.state, attempt.refused_writes) == ("lost", 2)
    assert job_attempt(attempt).refused_writes == 2
    assert statistics.statistics().refused_writes == 2
    assert any(check.name == "fences" and "2 late writes" in check.detail for check in everything())
    job = attempt.job_id
    assert "2 late writes refused" in admin_client.get(f"/jobs/{job}/").content.decode()
    assert Caller().get(f"/jobs/{job}/attempts").json()["attempts"][0]["refusedWrites"] == 2
    assert 'class="field-refused_writes">2<' in admin_client.get("/admin/jobs/attempt/").content.decode()


def test_an_end_that_is_written_twice_because_its_answer_got_lost_is_no_refused_write():
    begun = running()
    for _ in range(2):
        twice = Bundle([], CHILD)
        twice.add(lifecycle.finished(begun, result(), Usage(), actor="t"))
        twice.close(None)
    assert Attempt.objects.get().refused_writes == 0


def test_a_job_that_is_tried_again_says_when_and_for_which_time():
    job = failed(again=Again(delay=60, spends_retry=True))
    shown = summary(Job.objects.get(pk=job.id))
    assert (shown.retry_count, shown.max_retries, shown.error_class, shown.error_category) == (1, 3, "Broken", "permanent")
    assert shown.next_attempt_at > shown.updated_at
    assert "retry 1 of 3" in queries.why_pending(Job.objects.get(pk=job.id)).text
    Job.objects.filter(pk=job.id).update(gate="open", run_at=Now())
    assert summary(Job.objects.get(pk=job.id)).next_attempt_at is None
