import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from benchmarks.admission_rounds import FILL
from benchmarks.stack import wait_until
from jobs import admission, configuration, dispatcher, doorbell, lifecycle, rescue, steering
from jobs.lifecycle import Submission
from jobs.limits import GroupKind, Limits, Resources
from jobs.models import Attempt, Job, QueueConfig
from jobs.redis_link import connection as redis_connection
from jobs.retry import Again
from tests.factories import admit, admitted, completed, failed, running, submitted
from tests.races import race

pytestmark = pytest.mark.django_db


def allow(slots):
    configuration.row()
    QueueConfig.objects.update(max_concurrent_jobs=slots)


def order_of_starts():
    return list(Attempt.objects.order_by("id").values_list("job_id", flat=True))


def test_higher_priorities_start_first_and_equal_ones_in_the_order_of_submission():
    allow(10)
    wanted = [("l", "low"), ("m2", "medium"), ("c2", "critical"), ("m1", "medium"), ("h", "high"), ("c1", "critical")]
    lifecycle.submit_many([Submission(tool="test.add", id=name, priority=priority) for name, priority in wanted], by="t")
    dispatcher.once()
    assert order_of_starts() == ["c2", "c1", "h", "m2", "m1", "l"]


def test_a_job_that_has_waited_longer_than_the_head_start_goes_before_a_more_urgent_one():
    limits = Limits()
    wait = limits.head_start_us("critical") - limits.head_start_us("low")
    low, critical = submitted(priority="low"), submitted(priority="critical")
    assert critical.rank < low.rank <= critical.rank + wait
    assert wait == 3 * 600 * 1_000_000


def test_jobs_of_one_batch_keep_their_order():
    allow(50)
    jobs = lifecycle.submit_many([Submission(tool="test.add") for _ in range(30)], by="t")
    dispatcher.once()
    assert order_of_starts() == [job.id for job in jobs]


def test_never_more_than_the_limit_are_admitted_or_running():
    allow(3)
    for _ in range(8):
        submitted()
    assert dispatcher.once().admitted == 3
    assert dispatcher.once().admitted == 0
    attempt = Attempt.objects.order_by("id").first()
    begun = lifecycle.start(attempt.id, lifecycle.Child(worker="w", pid=1, lease=30))
    assert dispatcher.once().admitted == 0
    lifecycle.finish(begun, {"isError": False, "content": []}, lifecycle.Usage(), actor="t")
    assert dispatcher.once().admitted == 1
    assert Attempt.objects.filter(state__in=["admitted", "running"]).count() == 3


def test_memory_in_use_is_never_above_the_limit():
    allow(10)
    jobs = lifecycle.submit_many([Submission(tool="test.add", resources=Resources(memory_mb=900)) for _ in range(4)], by="t")
    assert dispatcher.once().admitted == 2
    small = submitted(resources=Resources(memory_mb=200))
    assert dispatcher.once().admitted == 1
    assert set(order_of_starts()) == {jobs[0].id, jobs[1].id, small.id}


@pytest.mark.parametrize("jobs", [1, 40])
def test_a_round_costs_the_same_queries_for_one_and_for_forty_admissions(jobs, django_assert_max_num_queries):
    allow(100)
    lifecycle.submit_many([Submission(tool="test.add") for _ in range(jobs)], by="t")
    with django_assert_max_num_queries(14):  # six of them are the savepoints of a test's transaction
        done = dispatcher.one_round()
    assert done.admitted == jobs


@pytest.mark.parametrize("front", [False, True])
def test_no_query_of_a_round_reads_all_of_a_hundred_thousand_pending_jobs(front):
    allow(8)
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"pending": 100_000, "front": front})
        cursor.execute("ANALYZE jobs_job")
    steering.pause(GroupKind.TOOL, "bench.blocked", by="t")
    plans = {}

    def explained(execute, sql, params, many, context):
        if sql.lstrip().startswith(("SELECT", "WITH")):
            with context["cursor"].db.connection.cursor() as plain:
                plain.execute("EXPLAIN " + sql, params)
                plans[sql] = "\n".join(row[0] for row in plain.fetchall())
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explained):
        done = dispatcher.one_round()
    assert done.admitted > 0
    reading = {sql: plan for sql, plan in plans.items() if "jobs_job" in plan}
    assert len(reading) >= 3  # how it stands, who is next, the admission
    assert not [plan for plan in reading.values() if "Seq Scan on jobs_job" in plan]
    looks = [plan for sql, plan in reading.items() if sql.lstrip().startswith("SELECT id, memory_mb")]
    assert looks
    assert all("Index Scan using job_ready" in plan and "Sort" not in plan for plan in looks)


def test_each_admitted_attempt_rings_and_rings_again_when_nobody_answers(settings):
    allow(2)
    submitted()
    key = f"{settings.REDIS_PREFIX}:celery:default"
    redis_connection().delete(key)
    assert dispatcher.one_round().rung == 1
    assert redis_connection().llen(key) == 1
    settings.JOBSITE_START_TIMEOUT = -1
    dispatcher.sweep()
    assert redis_connection().llen(key) == 2
    assert Attempt.objects.get().rings == 2
    redis_connection().delete(key)


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_is_just_begun_keeps_the_dispatcher_waiting_for_nothing():
    free, taken = (admitted().current_attempt_id for _ in range(2))
    held, done = threading.Event(), threading.Event()

    def begin_or_note(n):
        if n:
            assert held.wait(10)
            try:
                return lifecycle.note_rung([free, taken])
            finally:
                done.set()
        with transaction.atomic():
            Attempt.objects.select_for_update().get(pk=taken)
            held.set()
            return done.wait(10)

    assert race(2, begin_or_note) == [True, 1]
    assert Attempt.objects.get(pk=free).rings == 1


def test_a_child_that_lingers_at_the_door_is_called_and_no_doorbell_is_sent(settings):
    allow(2)
    submitted()
    key = f"{settings.REDIS_PREFIX}:celery:default"
    redis_connection().delete(key)
    with ThreadPoolExecutor(1) as pool:
        called = pool.submit(doorbell.linger, "default", 0.4)
        wait_until("it waits at the door", lambda: redis_connection().info("clients")["blocked_clients"], pause=0.005)
        assert dispatcher.one_round().rung == 1
        assert called.result(1)
    assert redis_connection().llen(key) == 0


def test_a_call_that_nobody_waits_for_calls_no_child_later():
    assert doorbell._call_lingering("default", 3) == 0
    assert not doorbell.linger("default", 0.05)


def test_doorbells_do_not_pile_up_beyond_what_can_be_heard(settings):
    allow(100)
    key = f"{settings.REDIS_PREFIX}:celery:default"
    redis_connection().delete(key)
    lifecycle.submit_many([Submission(tool="test.add") for _ in range(60)], by="t")
    done = dispatcher.one_round()
    assert (done.admitted, done.rung) == (60, 8)
    redis_connection().delete(key)


def test_an_attempt_whose_lease_is_over_is_lost_and_its_job_goes_on():
    begun = running(lease=-1)
    assert rescue.rescue_lost() == 1
    row = Job.objects.get(pk=begun.job.id)
    assert (row.status, row.loss_count, row.retry_count) == ("pending", 1, 0)
    assert row.attempts.get().state == "lost"
    assert rescue.rescue_lost() == 0


def test_a_job_whose_time_has_come_is_let_in():
    failed(again=Again(delay=0.0001, spends_retry=True))
    # In a test's one transaction now() stands still, so the time is moved instead.
    Job.objects.update(run_at="2020-01-01T00:00Z")
    assert lifecycle.open_due() == 1
    assert Job.objects.get().gate == "open"


def test_a_cancelled_job_is_not_admitted_even_if_it_was_chosen():
    job = submitted()
    lifecycle.cancel(job.id, by="t")
    assert admit(job.id) == []
    assert not Attempt.objects.exists()


def test_slots_of_finished_and_cancelled_jobs_are_free_again():
    completed()
    lifecycle.cancel(admitted().id, by="t")
    now = admission.outlook()
    assert (now.live, now.used) == (0, Resources())
