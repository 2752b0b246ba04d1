"""Brief jobs are begun and ended several at once; what is not brief never holds others up."""

import threading

import pytest
from django.db import connection, connections

from benchmarks.stack import wait_until
from jobs import bundle, execution, lifecycle
from jobs.bundle import IN_A_ROW, Bundle
from jobs.lifecycle import Child, Next, Usage
from jobs.models import Attempt, Event, Job
from tests.factories import LEASE, admit, admitted, result, submitted

pytestmark = pytest.mark.django_db(transaction=True)
CHILD = Child(worker="w", pid=1, lease=LEASE)


@pytest.fixture(autouse=True)
def alone(settings, monkeypatch):
    settings.JOBSITE_STAY = 30
    settings.JOBSITE_BEAT = 0.1
    monkeypatch.setattr(execution, "_habits", execution.Habits())
    monkeypatch.setattr(bundle, "BRIEF", 0.2)  # on a busy machine a job of nothing takes milliseconds
    yield
    execution._pulse.end()


def waiting(*tools, **wanted):
    """Admitted jobs in this order."""
    jobs = [submitted(tool, **wanted) for tool in tools]
    admit(*[job.id for job in jobs])
    return [job.id for job in jobs]


def begun(most=8, brief=("test.add",)):
    wish = Next(child=CHILD, queue="default", longest_ms=10**7, brief=brief, most=most)
    return [running.job.id for running in lifecycle.start_next(wish)]


def states(ids):
    return [Job.objects.get(pk=job).status for job in ids]


def test_many_brief_jobs_take_few_statements_and_each_has_its_whole_record(monkeypatch):
    monkeypatch.setattr(bundle, "HOLD", 5.0)
    ids = waiting(*["test.add"] * 40)
    assert execution.answer(Attempt.objects.earliest("id").id, "default", 1000) == 40
    assert set(states(ids)) == {"completed"}
    for verb in ("start", "finish"):
        moments = list(Event.objects.filter(verb=verb, job__in=ids).values_list("at", flat=True))
        assert len(moments) == 40
        assert len(set(moments)) < 24
    for attempt in Attempt.objects.all():
        assert attempt.admitted_at <= attempt.started_at <= attempt.finished_at


def test_of_tools_that_are_not_known_to_be_brief_one_is_begun_at_a_time():
    ids = waiting("test.add", "test.add", "test.add")
    assert begun(brief=()) == ids[:1]


def test_never_more_than_half_of_what_waits_is_taken():
    ids = waiting(*["test.add"] * 9)
    assert begun() == ids[:4]
    assert begun() == ids[4:6]
    assert begun() == ids[6:7]


def test_the_order_holds_a_job_that_is_not_brief_is_not_passed_over():
    ids = waiting("test.add", "test.walk", "test.add", "test.add", "test.add", "test.add")
    assert begun() == ids[:1]
    assert begun() == ids[1:2]
    assert begun() == ids[2:4]


def test_a_job_that_was_lost_before_is_begun_alone():
    ids = waiting(*["test.add"] * 6)
    Job.objects.filter(pk=ids[1]).update(loss_count=1)
    assert begun() == ids[:1]
    assert begun() == ids[1:2]
    assert begun() == ids[2:4]


def test_a_tool_is_brief_only_while_its_jobs_are():
    habits = execution.Habits()
    for _ in range(2):
        for _ in range(IN_A_ROW - 1):
            habits.note("t", 0.001)
        assert habits.brief() == []
        habits.note("t", 0.001)
        assert habits.brief() == ["t"]
        habits.note("t", 0.5)


def test_what_waits_behind_a_job_that_takes_long_is_handed_back_and_what_ended_is_written():
    """The pulse does it while the long one still runs."""
    quick, slow, *behind = waiting("test.add", "test.walk", "test.add", "test.add", params={})
    Job.objects.filter(pk=slow).update(params={"steps": 200, "pause": 0.02})
    attempts = [lifecycle.start(Job.objects.get(pk=job).current_attempt_id, CHILD) for job in (quick, slow, *behind)]
    seen = {}

    def watch():
        wait_until("the others are handed back", lambda: states(behind) == ["pending"] * 2, pause=0.01)
        seen["while"] = states([quick, slow])
        lifecycle.cancel(slow, by="t")
        connections.close_all()

    watcher = threading.Thread(target=watch)
    watcher.start()
    held = Bundle(attempts, CHILD)
    assert execution.run_all(held) == 2
    held.close(None)
    watcher.join()
    assert seen["while"] == ["completed", "running"]
    assert states([quick, slow, *behind]) == ["completed", "cancelled", "pending", "pending"]
    for job in Job.objects.filter(pk__in=behind):
        assert (job.retry_count, job.loss_count, job.gate, job.attempts.get().state) == (0, 0, "open", "interrupted")
        assert "handed back" in job.reason


@pytest.mark.parametrize(("full", "status"), [(True, "completed"), (False, "running")])
def test_ends_are_written_while_others_wait_once_they_were_held_for_long(monkeypatch, full, status):
    monkeypatch.setattr(bundle, "HOLD", 3600.0)
    monkeypatch.setattr(Bundle, "is_full", lambda _: full)
    ids = waiting("test.add", "test.add", "test.add")
    held = Bundle([lifecycle.start(Job.objects.get(pk=job).current_attempt_id, CHILD) for job in ids], CHILD)
    assert execution.run_all(held) == 3
    assert states(ids) == [status] * 3
    held.close(None)
    assert states(ids) == ["completed"] * 3


def test_a_bundle_is_full_when_its_oldest_end_was_held_for_as_long_as_it_may(monkeypatch):
    held = Bundle([], CHILD)
    monkeypatch.setattr(bundle, "HOLD", 0.0)
    assert not held.is_full()
    (job,) = waiting("test.add")
    held.add(lifecycle.finished(lifecycle.start(Job.objects.get(pk=job).current_attempt_id, CHILD), result(), Usage(), actor="t"))
    assert held.is_full()
    held.close(None)
    assert not held.is_full()


def test_a_cancel_that_came_before_the_ends_were_written_is_the_end():
    first, second = waiting("test.add", "test.add")
    attempts = [lifecycle.start(Job.objects.get(pk=job).current_attempt_id, CHILD) for job in (first, second)]
    held = Bundle([], CHILD)
    for running in attempts:
        held.add(lifecycle.finished(running, result(), Usage(), actor="t"))
    lifecycle.cancel(first, by="t", reason="not needed")
    held.close(None)
    assert states([first, second]) == ["cancelled", "completed"]
    assert Job.objects.get(pk=first).reason == "not needed"


def test_when_the_answer_to_a_commit_is_lost_what_was_begun_by_it_is_handed_back():
    first, second = waiting("test.add", "test.add")
    running = lifecycle.start(Job.objects.get(pk=first).current_attempt_id, CHILD)
    end = lifecycle.finished(running, result(), Usage(), actor="t")
    # What the server did, and the child never heard of.
    lifecycle.write([end], Next(child=CHILD, queue="default", longest_ms=10**7))
    assert states([first, second]) == ["completed", "running"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    terminate(backend)
    held = Bundle([], CHILD)
    held.add(end)
    held.close(None)
    assert states([first, second]) == ["completed", "pending"]
    assert [event.verb for event in Event.objects.filter(job=first).order_by("id")] == ["submit", "admit", "start", "finish"]


def terminate(backend):
    def other_connection():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
        connection.close()

    other = threading.Thread(target=other_connection)
    other.start()
    other.join()


def test_one_job_in_a_bundle_that_fails_does_not_touch_the_others():
    ids = waiting("test.add", "test.fail", "test.add", params={})
    attempts = [lifecycle.start(Job.objects.get(pk=job).current_attempt_id, CHILD) for job in ids]
    held = Bundle(attempts, CHILD)
    execution.run_all(held)
    held.close(None)
    assert states(ids) == ["completed", "pending", "completed"]
    assert admitted().status == "pending"
