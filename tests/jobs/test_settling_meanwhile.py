"""What a job waits for changes while a parent of it is settled: whoever comes second sees what the first has done."""

import pytest

from jobs import lifecycle
from jobs.lifecycle import Usage
from jobs.models import Job
from tests.factories import completed, failed, result, running, settle, submitted
from tests.races import overlap

pytestmark = pytest.mark.django_db(transaction=True)


def row(job):
    return Job.objects.get(pk=job.id)


def child_of_two():
    """A job that waits, and its parents, which have completed; nobody has been told so."""
    parents = submitted(), submitted()
    child = submitted(depends_on=[parent.id for parent in parents])
    for parent in parents:
        completed(parent)
    return child, *parents


@pytest.mark.parametrize(
    "verb",
    [
        lambda child, parent: lifecycle.delete(parent.id, by="t"),
        lambda child, parent: lifecycle.depend(child.id, remove=[parent.id], by="t"),
    ],
    ids=["delete", "depend"],
)
def test_a_parent_that_goes_while_the_other_one_is_settled_leaves_nobody_waiting(verb):
    child, gone, _ = child_of_two()
    overlap(lambda: verb(child, gone), lifecycle.settle)
    settle()
    assert row(child).gate == "open"


def test_a_parent_that_ends_while_another_one_is_deleted_is_told_of():
    first, second = submitted(), submitted()
    child = submitted(depends_on=[first.id, second.id])
    completed(first)
    run = running(second)

    def end():
        lifecycle.finish(run, result(), Usage(), actor="t")
        settle()

    overlap(lambda: lifecycle.delete(first.id, by="t"), end)
    settle()
    assert row(child).gate == "open"


@pytest.mark.parametrize("order", [1, -1])
def test_a_job_that_is_retried_while_its_parent_is_settled_does_not_wait_for_ever(order):
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    lifecycle.cancel(child.id, by="t")
    completed(parent)
    overlap(*[lifecycle.settle, lambda: lifecycle.retry(child.id, by="t")][::order])
    settle()
    assert row(child).gate == "open"


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(("end", "seen"), [(completed, ("pending", "open")), (failed, ("failed", "dependencies"))])
def test_a_job_that_is_resumed_while_its_parent_is_settled_hears_how_it_ended(order, end, seen):
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    lifecycle.pause(child.id, by="t")
    end(parent)
    overlap(*[lifecycle.settle, lambda: lifecycle.resume(child.id, by="t")][::order])
    settle()
    assert (row(child).status, row(child).gate) == seen
