"""The kept figures: the tally of jobs, and events rolled up by minute, hour and day."""

import random
import threading
from collections import Counter

import pytest
from django.db import connection, transaction

from benchmarks.stack import wait_until
from jobs import briefly, configuration, histogram, lifecycle, rollup, sampling, tally
from jobs.lifecycle import Submission
from jobs.models import Job, QueueSample, Rollup, RollupMark, Tally
from jobs.retry import Again
from jobs.states import Priority
from tests.factories import admitted, completed, failed, running, submitted

pytestmark = pytest.mark.django_db


def by_hand(column):
    return {name: number for name, number in Counter(Job.objects.values_list(column, flat=True)).items() if name}


def agrees():
    briefly.forget()
    for column, numbers in tally.by_each().items():
        assert numbers == by_hand(column), column
    assert {status: number for status, number in tally.by_status().items() if number} == by_hand("status")
    gates = Counter(Job.objects.filter(status="pending").values_list("gate", flat=True))
    assert {gate: number for gate, number in tally.pending_by_gate().items() if number} == gates


def test_the_tally_follows_every_verb_and_every_removal():
    parent = submitted(project="P", priority="high")
    submitted(depends_on=[parent.id])
    lifecycle.submit_many([Submission(tool="test.walk", project=f"P{n % 3}") for n in range(20)], by="t")
    agrees()
    completed(parent)
    lifecycle.settle()
    broken = failed(submitted(operation="validation"))
    failed(again=Again(delay=60, spends_retry=True))
    lifecycle.retry(broken.id, by="t")
    held = submitted()
    lifecycle.pause(held.id, by="t")
    lifecycle.reprioritise(held.id, Priority.LOW, by="t")
    lifecycle.cancel(submitted().id, by="t")
    running()
    agrees()
    tally.merge()
    agrees()
    Job.objects.filter(status__in=["completed", "cancelled"]).delete()
    agrees()
    tally.merge()
    agrees()
    assert not Tally.objects.filter(kept=False).exists()


def test_a_merged_tally_is_one_row_for_each_kind_of_job():
    for _ in range(5):
        submitted()
        tally.merge()
    assert Tally.objects.filter(status="pending").count() == 1
    assert tally.by_status()["pending"] == 5


@pytest.mark.django_db(transaction=True)
def test_emptying_the_table_empties_the_tally():
    submitted()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job CASCADE")
    agrees()


def all_counted():
    while rollup.roll_up() or RollupMark.objects.filter(counted__lt=rollup_newest()).exists():
        pass


def rollup_newest():
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(max(id), 0) FROM jobs_event")
        return cursor.fetchone()[0]


def total(**wanted):
    rows = Rollup.objects.filter(span="day", kind="all", **wanted)
    return {name: sum(getattr(row, name) for row in rows) for name in ("submitted", "started", "completed", "failed", "retried")}


@pytest.mark.django_db(transaction=True)
def test_events_are_counted_once_by_minute_hour_and_day_for_all_and_for_each_group():
    for _ in range(3):
        completed(submitted(project="P", operation="analysis"))
    failed()
    failed(again=Again(delay=0, spends_retry=True))
    all_counted()
    rollup.roll_up()
    assert total() == {"submitted": 5, "started": 5, "completed": 3, "failed": 1, "retried": 1}
    for span in ("minute", "hour", "day"):
        rows = Rollup.objects.filter(span=span)
        assert sum(row.completed for row in rows.filter(kind="project", name="P")) == 3
        assert sum(row.completed for row in rows.filter(kind="operation", name="analysis")) == 3
        assert sum(row.submitted for row in rows.filter(kind="tool", name="test.add")) == 5
        everything = histogram.merged(row.run for row in rows.filter(kind="all"))
        assert sum(everything.values()) == 3
        assert sum(histogram.merged(row.wait for row in rows.filter(kind="all")).values()) == 5
        assert 0 < histogram.percentile(everything, 0.5) < 5


@pytest.mark.django_db(transaction=True)
def test_what_is_counted_in_many_small_passes_is_the_same():
    for _ in range(4):
        completed()
    while rollup.roll_up(most=1) or RollupMark.objects.filter(counted__lt=rollup_newest()).exists():
        pass
    assert total() == {"submitted": 4, "started": 4, "completed": 4, "failed": 0, "retried": 0}


@pytest.mark.django_db(transaction=True)
def test_an_event_that_commits_late_under_a_lower_number_is_still_counted():
    configuration.row()
    begun, go_on = threading.Event(), threading.Event()

    def slowly():
        with transaction.atomic():
            lifecycle.submit(Submission(tool="test.add"), by="slow")
            begun.set()
            go_on.wait(20)
        connection.close()

    slow = threading.Thread(target=slowly)
    slow.start()
    assert begun.wait(20)
    submitted()
    for _ in range(5):
        rollup.roll_up()
    assert total()["submitted"] == 0, "the gap may still fill"
    go_on.set()
    slow.join()
    all_counted()
    assert total()["submitted"] == 2


@transaction.atomic
def dying_pass():
    # Not at the first try while some other transaction of the server (an automatic ANALYZE) is open.
    wait_until("the pass has counted", lambda: (rollup.roll_up(), total()["completed"])[1] == 1)
    return 1 / 0


@pytest.mark.django_db(transaction=True)
def test_a_pass_that_dies_before_its_commit_has_counted_nothing():
    completed()
    all_counted()
    RollupMark.objects.update(counted=0)
    Rollup.objects.all().delete()

    with pytest.raises(ZeroDivisionError):
        dying_pass()
    assert rollup.counted_up_to() == 0
    all_counted()
    assert total()["completed"] == 1


def test_a_percentile_from_a_histogram_is_within_five_percent():
    randomness = random.Random(7)  # noqa: S311  (guards nothing)
    times = sorted(randomness.lognormvariate(7, 1.5) for _ in range(5000))
    with connection.cursor() as cursor:
        sql = histogram.BUCKET_SQL.format(ms="ms")
        cursor.execute(f"SELECT {sql}::text, count(*) FROM unnest(%s::float8[]) AS t(ms) GROUP BY 1", [times])  # noqa: S608
        counted = histogram.merged([dict(cursor.fetchall())])
    for share in (0.5, 0.9, 0.99):
        exact = times[int(share * len(times))] / 1000
        assert histogram.percentile(counted, share) == pytest.approx(exact, rel=0.06)
    assert histogram.percentile(Counter(), 0.5) is None


def test_the_queue_is_sampled_once_in_ten_seconds():
    configuration.row()
    submitted()
    admitted()
    running()
    sampling.sample()
    sampling.sample()
    seen = QueueSample.objects.get()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 + floor(EXTRACT(SECOND FROM now()) / 10)::int")
        assert seen.samples <= max(cursor.fetchone()[0], 1)
    assert seen.ready == seen.samples * 1
    assert seen.running == seen.samples * 2
    assert seen.slots == 5


@pytest.mark.django_db(transaction=True)
def test_minutes_and_hours_that_no_page_asks_for_are_neither_kept_nor_made():
    completed()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_event SET at = at - interval '3 days'")
    all_counted()
    assert {row.span for row in Rollup.objects.all()} == {"hour", "day"}
    Rollup.objects.filter(span="hour").update(at="2020-01-01T00:00Z")
    rollup.forget_old()
    assert {row.span for row in Rollup.objects.all()} == {"day"}


@pytest.mark.django_db(transaction=True)
def test_an_event_of_a_transaction_that_began_last_is_not_passed_over():
    """Its transaction has the greatest id of all that run, and nobody has ended since: a snapshot's xmax is not beyond it."""
    all_counted()
    begun, go_on = threading.Event(), threading.Event()

    def slowly():
        with transaction.atomic():
            lifecycle.submit(Submission(tool="test.add"), by="slow")
            begun.set()
            go_on.wait(20)
        connection.close()

    slow = threading.Thread(target=slowly)
    slow.start()
    assert begun.wait(20)
    for _ in range(5):
        rollup.roll_up()
    go_on.set()
    slow.join()
    all_counted()
    assert total()["submitted"] == 1
