import json
import threading
import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from benchmarks.stack import Stack, wait_until
from jobs import dispatcher, failure_groups, lifecycle, retention, rollup, statistics
from jobs.models import Attempt, Dependency, Event, Job, JobMetrics, Rollup, Subscription
from tests.factories import completed, failed, submitted

NONE = timedelta(seconds=-1)


def counted():
    """Some other transaction of the server, such as an automatic ANALYZE, may hold it up."""
    newest = Event.objects.order_by("-id").values_list("id", flat=True).first() or 0
    wait_until("all is counted", lambda: (rollup.roll_up(), rollup.counted_up_to())[1] >= newest)


@pytest.fixture
def old_enough(settings):
    settings.JOBSITE_RETENTION = NONE


@pytest.mark.django_db(transaction=True)
def test_an_old_job_goes_with_all_that_is_written_about_it_and_its_figures_stay(old_enough):
    broken = failed()
    Attempt.objects.update(refused_writes=2)
    completed()
    print_ = Job.objects.get(pk=broken.id).error_fingerprint
    kept = submitted()
    counted()
    assert retention.remove_old() == 2
    assert list(Job.objects.values_list("pk", flat=True)) == [kept.id]
    assert (Attempt.objects.count(), JobMetrics.objects.count(), Event.objects.count()) == (0, 0, 1)
    group = failure_groups.group(print_)
    assert (group.count, group.sample_job, group.tools, group.message) == (1, "", ["test.add"], "it broke")
    assert statistics.statistics().refused_writes == 2
    day = Rollup.objects.get(span="day", kind="all")
    assert (day.completed, day.failed, day.submitted) == (1, 1, 3)


@pytest.mark.django_db(transaction=True)
def test_what_is_recent_active_unsettled_or_not_yet_counted_stays(old_enough, settings):
    parent = completed()
    child = submitted(depends_on=[parent.id])
    assert retention.remove_old() == 0  # its events are not counted
    counted()
    assert retention.remove_old() == 0  # its dependent is active
    lifecycle.cancel(child.id, by="t")
    dispatcher.once()
    counted()
    settings.JOBSITE_RETENTION = timedelta(hours=1)
    assert retention.remove_old() == 0  # it is recent
    settings.JOBSITE_RETENTION = NONE
    assert retention.remove_old() == 2
    assert not Dependency.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_job_that_somebody_holds_is_passed_over(old_enough):
    held, free = completed(), completed()
    counted()
    locked, done = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic():
            Job.objects.select_for_update(no_key=True).get(pk=held.id)
            locked.set()
            done.wait(10)
        connection.close()

    holder = threading.Thread(target=hold)
    holder.start()
    assert locked.wait(10)
    began = time.monotonic()
    assert retention.remove_old() == 1
    assert time.monotonic() - began < 5
    done.set()
    holder.join()
    assert list(Job.objects.values_list("pk", flat=True)) == [held.id]
    assert free.id != held.id


@pytest.mark.django_db(transaction=True)
def test_old_jobs_go_in_batches(old_enough):
    for _ in range(5):
        completed()
    counted()
    assert [retention.remove_old(most=2) for _ in range(4)] == [2, 2, 1, 0]


@pytest.mark.django_db(transaction=True)
def test_an_archive_holds_every_job_on_a_line_of_its_own_and_moves_them_if_asked(tmp_path):
    first, second = completed(), failed()
    file = tmp_path / "jobs.jsonl"
    counted()
    call_command("archive", str(file), older_than_hours=-1)
    assert Job.objects.count() == 2
    call_command("archive", str(file), older_than_hours=-1, delete=True)
    assert not Job.objects.exists()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["id"] for line in lines] == [first.id, second.id] * 2
    assert [event["verb"] for event in lines[0]["events"]] == ["submit", "admit", "start", "finish"]
    assert lines[1]["attempts"][0]["errorClass"] == "Broken"


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_line_could_not_be_written_is_kept(old_enough):
    completed()
    counted()

    def fail(ids):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        retention.remove_old(before=fail)
    assert Job.objects.count() == 1


def test_the_dispatcher_removes_old_jobs_by_itself():
    with Stack(JOB_MANAGER_MAX_RETENTION="200", JOB_MANAGER_CLEANUP_INTERVAL="300") as stack:
        one = "lifecycle.submit(lifecycle.Submission(tool='codemap', params={'package': 'email'}), by='t')"
        stack.manage("shell", "-v", "0", "-c", f"from jobs import lifecycle\nfor _ in range(3): {one}")
        count = "SELECT COALESCE((SELECT completed FROM jobs_rollup WHERE span = 'day' AND kind = 'all'), 0)"
        wait_until("all are done", lambda: stack.one(count) == 3)
        wait_until("all are removed", lambda: stack.one("SELECT count(*) FROM jobs_job") == 0)
        assert stack.one("SELECT count(*) FROM jobs_event") == 0


@pytest.mark.django_db(transaction=True)
def test_a_job_whose_events_some_subscriber_has_not_heard_stays(old_enough):
    completed()
    counted()
    Subscription.objects.create(name="slow", position=Event.objects.earliest("id").id)
    assert retention.remove_old() == 0
    Subscription.objects.update(position=Event.objects.latest("id").id)
    assert retention.remove_old() == 1
