"""Jobs are deleted, and what waits for them follows its policy."""

import pytest

from jobs import lifecycle
from jobs.errors import IllegalMove, NotFound, UnknownDependency
from jobs.lifecycle import deleting
from jobs.lifecycle.settling import END_DEPENDENTS, UNBLOCK, WIDTH
from jobs.models import AuditEntry, Event, Job
from tests.factories import admitted, completed, failed, running, settle, submitted
from tests.races import race
from tests.replays import assert_log_replays

pytestmark = pytest.mark.django_db


def row(job):
    return Job.objects.get(pk=job.id)


@pytest.mark.parametrize("make", [submitted, completed, failed, admitted])
def test_a_job_is_deleted_with_its_history_and_the_audit_log_keeps_who_did_it(make):
    job = make()
    lifecycle.delete(job.id, by="ann")
    assert not Job.objects.exists()
    assert not Event.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.action, entry.subject, entry.before["tool"]) == ("ann", "delete", f"job {job.id}", "test.add")


def test_a_running_job_is_not_deleted_and_an_unknown_one_not_found():
    job = running().job
    with pytest.raises(IllegalMove):
        lifecycle.delete(job.id, by="t")
    with pytest.raises(NotFound):
        lifecycle.delete("nobody", by="t")
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("policy", "status", "gate"),
    [("fail", "failed", "dependencies"), ("cancel", "cancelled", "dependencies"), ("run_anyway", "pending", "open")],
)
def test_a_dependent_of_a_deleted_job_follows_its_policy_and_so_do_those_below_it(policy, status, gate):
    parent = submitted()
    child = submitted(depends_on=[parent.id], dependency_policy=policy)
    grandchild = submitted(depends_on=[child.id])
    lifecycle.delete(parent.id, by="t")
    assert (row(child).status, row(child).gate) == (status, gate)
    settle()
    if policy == "run_anyway":
        assert row(grandchild).status == "pending"
    else:
        assert row(child).reason == f"dependency {parent.id} deleted"
        assert row(grandchild).reason == f"dependency {child.id} {status}"
    assert_log_replays(child.id)


@pytest.mark.parametrize(("end", "status", "reason"), [(completed, "pending", ""), (failed, "failed", "failed")])
def test_a_parent_that_is_deleted_before_its_end_was_settled_is_not_forgotten(end, status, reason):
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    end(parent)
    lifecycle.delete(parent.id, by="t")
    assert (row(child).status, row(child).reason) == (status, reason and f"dependency {parent.id} {reason}")
    assert row(child).gate == ("open" if status == "pending" else "dependencies")


def test_a_paused_dependent_of_a_deleted_job_does_not_run_as_if_nothing_had_been():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    lifecycle.pause(child.id, by="t")
    lifecycle.delete(parent.id, by="t")
    assert (row(child).status, row(child).reason) == ("failed", f"dependency {parent.id} deleted")


def test_a_dependent_of_a_deleted_job_still_waits_for_its_other_parents():
    done, slow = completed(), submitted()
    child = submitted(depends_on=[done.id, slow.id])
    lifecycle.delete(done.id, by="t")
    assert row(child).gate == "dependencies"
    completed(slow)
    settle()
    assert row(child).gate == "open"


@pytest.mark.django_db(transaction=True)
def test_a_dependent_that_is_submitted_while_its_parent_is_deleted_never_waits_for_ever():
    def submit(parent):
        try:
            return submitted(depends_on=[parent.id])
        except UnknownDependency:
            return None

    for _ in range(8):
        parent = submitted()
        acts = [lambda parent=parent: lifecycle.delete(parent.id, by="t"), lambda parent=parent: submit(parent)]
        _, child = race(2, lambda n, acts=acts: acts[n]())
        settle()
        assert child is None or row(child).status == "failed"


@pytest.mark.parametrize(("end", "status", "gate"), [(None, "failed", "dependencies"), (completed, "pending", "open")])
def test_more_dependents_than_one_statement_moves_all_follow(monkeypatch, end, status, gate):
    monkeypatch.setattr(deleting, "UNBLOCK", UNBLOCK.replace(f"LIMIT {WIDTH}", "LIMIT 2"))
    monkeypatch.setattr(deleting, "END_DEPENDENTS", END_DEPENDENTS.replace(f"LIMIT {WIDTH}", "LIMIT 2"))
    parent = submitted()
    children = [submitted(depends_on=[parent.id]) for _ in range(7)]
    if end:
        end(parent)
    lifecycle.delete(parent.id, by="t")
    assert {(row(child).status, row(child).gate) for child in children} == {(status, gate)}
