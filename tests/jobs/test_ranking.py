"""The line is ranked anew when the weights of priorities change: in bounded steps, while jobs go on being admitted."""

import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from jobs import configuration, dispatcher, lifecycle, steering
from jobs.lifecycle import Submission, ranking
from jobs.models import Attempt, Job, QueueConfig
from jobs.retry import Again
from jobs.states import Priority
from tests.factories import failed, running, submitted
from tests.races import race

pytestmark = pytest.mark.django_db
UPSIDE_DOWN = {"critical": 1, "high": 2, "medium": 3, "low": 4}


def allow(slots):
    configuration.row()
    QueueConfig.objects.update(max_concurrent_jobs=slots)


def weigh(**weights):
    row = configuration.row()
    steering.configure({"priority_weights": row.priority_weights | weights}, version=row.version, by="t")


def line():
    return list(Job.objects.filter(status="pending").order_by("rank", "id").values_list("id", flat=True))


def assert_ranked():
    """Every job that may still start has exactly the rank that it would be given now."""
    limits = configuration.limits()
    for job in Job.objects.filter(status__in=["pending", "running"]):
        created = round(job.created_at.timestamp() * 1_000_000)
        assert job.rank == created - limits.head_start_us(job.priority, job.urgency), job.id


def test_jobs_that_wait_change_places_when_the_weights_do():
    allow(0)
    low, medium, critical = (submitted(priority=name).id for name in ("low", "medium", "critical"))
    assert line() == [critical, medium, low]
    weigh(**UPSIDE_DOWN)
    dispatcher.once()
    assert line() == [low, medium, critical]
    assert_ranked()
    assert configuration.row().ranked_to is None


def test_the_first_to_start_after_the_change_is_the_first_by_the_new_weights():
    allow(0)
    low, critical = submitted(priority="low").id, submitted(priority="critical").id
    weigh(**UPSIDE_DOWN)
    QueueConfig.objects.update(max_concurrent_jobs=1)
    dispatcher.once()
    assert Attempt.objects.get().job_id == low
    assert critical in line()


def test_a_job_with_a_number_for_a_priority_keeps_its_place_between_the_classes():
    allow(0)
    urgencies = [-100, -99, -1, 0, 1, 50, 99, 100]
    jobs = lifecycle.submit_many([Submission(tool="test.add", id=f"u{u + 100:03}", urgency=u) for u in urgencies], by="t")
    assert line() == [job.id for job in reversed(jobs)]
    weigh(low=10, medium=20, high=30, critical=47)
    dispatcher.once()
    assert line() == [job.id for job in reversed(jobs)]
    created = round(jobs[-1].created_at.timestamp() * 1_000_000)
    assert Job.objects.get(pk="u200").rank == created - configuration.limits().head_start_us("critical")


def test_another_priority_takes_the_place_of_a_number():
    job = submitted(urgency=100)
    lifecycle.reprioritise(job.id, Priority.LOW, by="t")
    assert Job.objects.get(pk=job.id).urgency is None
    assert_ranked()


@pytest.mark.parametrize("make", [lambda: running().job, failed, lambda: failed(again=Again(delay=0, spends_retry=True))])
def test_a_job_that_comes_back_later_comes_back_by_the_new_weights(make):
    allow(0)
    job = make()
    weigh(medium=1000)
    dispatcher.once()
    if Job.objects.get(pk=job.id).status == "failed":
        lifecycle.retry(job.id, by="t")
    assert_ranked()


def test_a_step_is_bounded_and_jobs_are_admitted_between_the_steps(monkeypatch):
    allow(1)
    monkeypatch.setattr(ranking, "_RERANK", ranking._RERANK.replace(f"LIMIT {ranking.BATCH}", "LIMIT 10"))
    lifecycle.submit_many([Submission(tool="test.add", priority=p) for p in ("low", "critical") * 25], by="t")
    weigh(**UPSIDE_DOWN)
    done = dispatcher.one_round()
    assert (done.reranked, done.admitted, done.busy) == (10, 1, True)
    steps = [done.reranked]
    while dispatcher.one_round().busy:
        steps.append(1)
    assert len(steps) <= 7
    assert_ranked()


def test_the_work_is_taken_up_again_where_it_was_left(monkeypatch):
    allow(0)
    monkeypatch.setattr(ranking, "_RERANK", ranking._RERANK.replace(f"LIMIT {ranking.BATCH}", "LIMIT 2"))
    lifecycle.submit_many([Submission(tool="test.add", priority="low") for _ in range(6)], by="t")
    weigh(low=3)
    assert lifecycle.rerank() == 2
    weigh(low=2)
    while lifecycle.rerank():
        pass
    assert_ranked()
    assert configuration.row().ranked_to is None


def test_another_change_of_the_configuration_ranks_nothing_anew():
    allow(0)
    submitted()
    dispatcher.once()
    row = configuration.row()
    steering.configure({"max_memory_mb": 100}, version=row.version, by="t")
    assert configuration.row().ranked_to is None


@pytest.mark.django_db(transaction=True)
def test_a_job_that_somebody_holds_is_ranked_when_it_is_free_again():
    allow(0)
    held, free = submitted(), submitted()
    weigh(medium=1)

    seen, done = threading.Event(), threading.Event()

    def hold_or_rank(n):
        if n:
            seen.wait(10)
            moved = lifecycle.rerank()
            done.set()
            return moved
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=held.id)
            seen.set()
            done.wait(10)
        return None

    assert race(2, hold_or_rank) == [None, 1]
    assert configuration.row().ranked_to is not None
    while configuration.row().ranked_to is not None:
        lifecycle.rerank()
    assert_ranked()
    assert free.id in line()


def test_a_step_over_a_long_line_is_one_statement():
    allow(0)
    lifecycle.submit_many([Submission(tool="test.add", priority="low") for _ in range(500)], by="t")
    weigh(low=3)
    with CaptureQueriesContext(connection) as queries:
        assert lifecycle.rerank() == 500
    assert sum("UPDATE jobs_job" in query["sql"] for query in queries) == 1
    # The configuration is read, and asked for its version.
    assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) <= 4
