"""Long chains and wide families are settled in bounded steps, without recursion."""

import threading

import pytest
from django.db import transaction

from jobs import lifecycle
from jobs.errors import DependencyCycle
from jobs.lifecycle import Submission
from jobs.models import Job
from tests.factories import completed, failed, settle, submitted
from tests.races import race

pytestmark = pytest.mark.django_db


def row(job):
    return Job.objects.get(pk=job.id)


def chain_of(number):
    lifecycle.submit_many(
        [Submission(tool="test.add", id=f"c{n:05}", depends_on=[f"c{n - 1:05}"] if n else []) for n in range(number)], by="t"
    )


def test_a_chain_of_ten_thousand_goes_on_one_by_one_and_when_one_fails_it_goes_down_to_the_last_in_a_few_statements():
    chain_of(10_000)
    with pytest.raises(DependencyCycle):
        lifecycle.depend("c00000", add=["c09999"], by="t")
    for n in range(3):
        completed(Job.objects.get(pk=f"c{n:05}"))
        settle()
        assert list(Job.objects.filter(gate="open", status="pending").values_list("pk", flat=True)) == [f"c{n + 1:05}"]
    failed(Job.objects.get(pk="c00003"))
    assert settle() < 20
    assert Job.objects.filter(status="failed").count() == 9997
    assert row(Job(id="c09999")).reason == "dependency c09998 failed"
    assert not Job.objects.filter(unsettled=True).exists()


@pytest.mark.parametrize(("end", "ended"), [(completed, 0), (failed, 1000)])
def test_one_parent_of_a_thousand_moves_them_all(end, ended):
    parent = submitted()
    lifecycle.submit_many([Submission(tool="test.add", depends_on=[parent.id]) for _ in range(1000)], by="t")
    end(parent)
    settle()
    assert Job.objects.filter(status="failed", reason=f"dependency {parent.id} failed").count() == ended
    assert Job.objects.filter(status="pending", gate="open").count() == 1000 - ended


def test_the_failure_of_one_of_a_thousand_parents_ends_the_child_and_names_it():
    parents = lifecycle.submit_many([Submission(tool="test.add") for _ in range(1000)], by="t")
    child = submitted(depends_on=[parent.id for parent in parents])
    failed(parents[700])
    settle()
    assert row(child).reason == f"dependency {parents[700].id} failed"


def test_a_graph_with_more_ways_than_could_ever_be_walked_is_settled():
    width, depth = 8, 40
    lifecycle.submit_many(
        [
            Submission(tool="test.add", id=f"g{level}-{n}", depends_on=[f"g{level - 1}-{m}" for m in range(width)] if level else [])
            for level in range(depth)
            for n in range(width)
        ],
        by="t",
    )
    with pytest.raises(DependencyCycle):
        lifecycle.depend("g0-0", add=[f"g{depth - 1}-0"], by="t")
    for n in range(width):
        lifecycle.cancel(f"g0-{n}", by="t")
    settle()
    assert Job.objects.filter(status="failed").count() == width * (depth - 1)


def test_a_descendant_that_somebody_holds_is_left_with_all_below_it_until_it_is_free(transactional_db):
    chain_of(6)
    lifecycle.cancel("c00000", by="t")

    def hold(n, gates):
        if n == 0:
            with transaction.atomic():
                Job.objects.select_for_update().get(pk="c00003")
                gates[0].set()
                gates[1].wait(10)
        else:
            gates[0].wait(10)
            settle()
            gates[1].set()

    gates = [threading.Event(), threading.Event()]
    race(2, lambda n: hold(n, gates))
    assert set(Job.objects.filter(status="failed").values_list("pk", flat=True)) == {"c00001", "c00002"}
    settle()
    assert Job.objects.filter(status="failed").count() == 5
