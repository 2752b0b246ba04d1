"""What waits for others: when it is let in, and what becomes of it when one of them ends badly."""

import pytest
from django.db.models.functions import Now

from jobs import dependencies, dispatcher, lifecycle
from jobs.lifecycle import Submission
from jobs.models import Job
from tests.factories import completed, failed, submitted
from tests.replays import assert_log_replays

pytestmark = pytest.mark.django_db


def row(job):
    return Job.objects.get(pk=job.id)


def test_a_dependent_waits_for_all_its_parents():
    first, second = submitted(), submitted()
    child = submitted(depends_on=[first.id, second.id])
    assert child.gate == "dependencies"
    completed(first)
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "dependencies"
    completed(second)
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "open"
    assert lifecycle.settle() == (0, False)


def test_a_dependency_on_a_finished_job_counts_at_once():
    assert submitted(depends_on=[completed().id]).gate == "open"


@pytest.mark.parametrize("end", [failed, lambda job: lifecycle.cancel(job.id, by="t")])
def test_the_dependents_of_a_job_that_ended_badly_fail_down_to_the_last_and_name_the_culprit(end):
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    grandchild = submitted(depends_on=[child.id])
    end(parent)
    dispatcher.once()
    for job, culprit in ((child, parent), (grandchild, child)):
        row = Job.objects.get(pk=job.id)
        assert row.status == "failed"
        assert culprit.id in row.reason
        assert_log_replays(job.id)


def test_a_dependent_of_a_job_that_has_failed_already_does_not_wait_for_ever():
    child = submitted(depends_on=[failed().id])
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "failed"


@pytest.mark.parametrize("end", [failed, lambda job: lifecycle.cancel(job.id, by="t")])
@pytest.mark.parametrize(
    ("policy", "status", "gate"),
    [("fail", "failed", "dependencies"), ("cancel", "cancelled", "dependencies"), ("run_anyway", "pending", "open")],
)
def test_a_dependent_of_a_job_that_ended_badly_follows_its_policy(end, policy, status, gate):
    parent = submitted()
    child = submitted(depends_on=[parent.id], dependency_policy=policy)
    end(parent)
    while lifecycle.settle().rows:
        pass
    row = Job.objects.get(pk=child.id)
    assert (row.status, row.gate) == (status, gate)
    assert parent.id in row.reason or policy == "run_anyway"
    assert not Job.objects.filter(unsettled=True).exists()
    assert_log_replays(child.id)


def test_a_job_that_runs_anyway_still_waits_for_its_other_parents():
    broken, slow = submitted(), submitted()
    child = submitted(depends_on=[broken.id, slow.id], dependency_policy="run_anyway")
    failed(broken)
    while lifecycle.settle().rows:
        pass
    assert Job.objects.get(pk=child.id).gate == "dependencies"
    assert not Job.objects.filter(unsettled=True).exists()
    completed(slow)
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "open"
    assert [parent.status for parent in dependencies.parents_of(child.id)] == ["failed", "completed"]


def test_a_chain_longer_than_one_round_goes_down_ends_to_the_last():
    chain = [Submission(tool="test.add", id=f"c{n:05}", depends_on=[f"c{n - 1:05}"] if n else []) for n in range(200)]
    lifecycle.submit_many(chain, by="t")
    lifecycle.cancel("c00000", by="t")
    dispatcher.once()
    assert Job.objects.filter(status="failed").count() == 199
    assert Job.objects.get(pk="c00199").reason == "dependency c00198 failed"


def test_a_job_waits_for_a_thousand_parents():
    parents = lifecycle.submit_many([Submission(tool="test.add") for _ in range(1000)], by="t")
    child = submitted(depends_on=[parent.id for parent in parents])
    Job.objects.filter(pk__in=[p.id for p in parents[1:]]).update(status="completed", finished_at=Now(), unsettled=True)
    while lifecycle.settle().rows:
        pass
    assert Job.objects.get(pk=child.id).gate == "dependencies"
    completed(parents[0])
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "open"


def test_a_retried_dependent_fails_again_while_its_parent_is_failed_and_runs_once_that_is_mended():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    failed(parent)
    dispatcher.once()
    lifecycle.retry(child.id, by="t")
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "failed"
    lifecycle.retry(parent.id, by="t")
    lifecycle.retry(child.id, by="t")
    completed(Job.objects.get(pk=parent.id))
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "open"


def test_a_parent_that_was_let_in_again_before_its_dependents_were_told_ends_none_of_them():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    failed(parent)
    lifecycle.retry(parent.id, by="t")
    Job.objects.filter(pk=parent.id).update(unsettled=True)
    while lifecycle.settle().rows:
        pass
    row = Job.objects.get(pk=child.id)
    assert (row.status, row.gate) == ("pending", "dependencies")
