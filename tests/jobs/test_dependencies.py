"""Who waits for whom: submitted, changed later, settled, deleted; long chains, wide families, and races."""

import threading

import pytest
from django.db import transaction
from django.db.models.functions import Now

from jobs import dependencies, dispatcher, lifecycle
from jobs.errors import DependencyCycle, IllegalMove, InvalidRequest, NotFound, UnknownDependency
from jobs.lifecycle import Submission
from jobs.models import AuditEntry, Dependency, Event, Job
from tests.factories import admitted, completed, failed, running, submitted
from tests.races import race
from tests.replays import assert_log_replays, verbs

pytestmark = pytest.mark.django_db


def settle():
    """How many calls it took."""
    calls = 1
    while lifecycle.settle():
        calls += 1
    return calls


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
    assert lifecycle.settle() == 0


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
    while lifecycle.settle():
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
    while lifecycle.settle():
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
    while lifecycle.settle():
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


def chain_of(number):
    lifecycle.submit_many(
        [Submission(tool="test.add", id=f"c{n:05}", depends_on=[f"c{n - 1:05}"] if n else []) for n in range(number)], by="t"
    )


# --- changed later ---------------------------------------------------------------------------------------------------
def test_a_pending_job_can_be_made_to_wait_for_another():
    parent, child = submitted(), submitted()
    assert lifecycle.depend(child.id, add=[parent.id], by="ann").gate == "dependencies"
    event = Event.objects.get(job=child.id, verb="depend")
    assert (event.reason, event.actor) == (f"after {parent.id}", "ann")
    completed(parent)
    settle()
    assert row(child).gate == "open"
    assert_log_replays(child.id)


def test_a_job_can_be_let_go_before_its_parent_has_finished():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    assert lifecycle.depend(child.id, remove=[parent.id], by="t").gate == "open"
    failed(parent)
    settle()
    assert row(child).status == "pending"
    assert dependencies.parents_of(child.id) == []


def test_dependencies_are_exchanged_in_one_move_and_those_that_stay_keep_their_place():
    first, second, third = completed(), completed(), submitted()
    child = submitted(depends_on=[first.id, second.id])
    lifecycle.depend(child.id, remove=[first.id], add=[third.id, second.id], by="t")
    assert [parent.id for parent in dependencies.parents_of(child.id)] == [second.id, third.id]
    assert verbs(child.id) == ["submit", "depend"]
    assert row(child).gate == "dependencies"


def test_a_new_dependency_on_a_finished_job_counts_at_once():
    child = submitted()
    assert lifecycle.depend(child.id, add=[completed().id], by="t").gate == "open"
    broken = failed()
    assert lifecycle.depend(child.id, add=[broken.id], by="t").gate == "dependencies"
    settle()
    assert (row(child).status, row(child).reason) == ("failed", f"dependency {broken.id} failed")


def test_a_job_that_was_admitted_and_has_not_begun_waits_again():
    child, parent = admitted(), submitted()
    lifecycle.depend(child.id, add=[parent.id], by="t")
    assert (row(child).current_attempt_id, row(child).gate) == (None, "dependencies")
    assert child.attempts.get().state == "cancelled"


def test_a_paused_job_stays_paused_whatever_it_is_made_to_wait_for():
    parent, child = submitted(), submitted()
    lifecycle.pause(child.id, by="t")
    assert lifecycle.depend(child.id, add=[parent.id], by="t").gate == "paused"
    assert lifecycle.resume(child.id, by="t").gate == "dependencies"


def test_what_changes_nothing_leaves_no_event():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    assert lifecycle.depend(child.id, add=[parent.id], by="t").version == child.version
    assert verbs(child.id) == ["submit"]


def test_a_cycle_is_refused_however_long_and_nothing_is_changed():
    lifecycle.submit_many(
        [Submission(tool="test.add", id=f"c{n}", depends_on=[f"c{n - 1}"] if n else []) for n in range(6)], by="t"
    )
    for job, parent in (("c0", "c5"), ("c0", "c1"), ("c3", "c3")):
        with pytest.raises(DependencyCycle, match=parent):
            lifecycle.depend(job, add=[submitted().id, parent], by="t")
    assert Dependency.objects.count() == 5
    assert lifecycle.depend("c5", add=["c0"], by="t").gate == "dependencies"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"add": ["nobody"]}, UnknownDependency),
        ({"add": ["nul\x00"]}, UnknownDependency),
        ({"remove": ["nobody"]}, UnknownDependency),
    ],
)
def test_an_unknown_job_is_refused_and_nothing_is_changed(change, error):
    parent, child = submitted(), submitted()
    with pytest.raises(error):
        lifecycle.depend(child.id, **({"add": [parent.id]} | change), by="t")
    assert not Dependency.objects.exists()
    assert row(child).gate == "open"


def test_more_dependencies_than_a_submit_may_have_are_refused():
    parents = lifecycle.submit_many([Submission(tool="test.add") for _ in range(1001)], by="t")
    child = submitted(depends_on=[parent.id for parent in parents[:1000]])
    with pytest.raises(InvalidRequest):
        lifecycle.depend(child.id, add=[parents[1000].id], by="t")
    lifecycle.depend(child.id, add=[parents[1000].id], remove=[parents[0].id], by="t")


@pytest.mark.parametrize("make", [completed, failed, lambda: running().job])
def test_only_pending_jobs_change_their_dependencies(make):
    with pytest.raises(IllegalMove):
        lifecycle.depend(make().id, add=[submitted().id], by="t")
    with pytest.raises(NotFound):
        lifecycle.depend("nobody", add=[submitted().id], by="t")


@pytest.mark.django_db(transaction=True)
def test_of_two_clients_that_would_close_a_cycle_together_one_is_refused():
    def closes(one, other):
        try:
            lifecycle.depend(one, add=[other], by="t")
        except DependencyCycle:
            return False
        return True

    for _ in range(8):
        pair = [submitted().id, submitted().id]
        assert sorted(race(2, lambda n, pair=pair: closes(pair[n], pair[1 - n]))) == [False, True]
        assert Dependency.objects.filter(job__in=pair).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_three_clients_that_would_close_a_longer_cycle_one_is_refused():
    def closes(one, other):
        try:
            lifecycle.depend(one, add=[other], by="t")
        except DependencyCycle:
            return False
        return True

    for _ in range(5):
        ring = [submitted().id for _ in range(3)]
        assert sorted(race(3, lambda n, ring=ring: closes(ring[n], ring[(n + 1) % 3]))) == [False, True, True]


@pytest.mark.django_db(transaction=True)
def test_a_parent_that_finishes_while_a_job_is_made_to_wait_for_it_is_never_missed():
    for _ in range(8):
        begun, child = running(), submitted()
        acts = [
            lambda begun=begun: lifecycle.finish(begun, {"isError": False, "content": []}, lifecycle.Usage(), actor="t"),
            lambda begun=begun, child=child: lifecycle.depend(child.id, add=[begun.job.id], by="t"),
            lambda child=child: lifecycle.pause(child.id, by="t"),
        ]
        race(3, lambda n, acts=acts: acts[n]())
        settle()
        if row(child).gate == "paused":
            lifecycle.resume(child.id, by="t")
        assert row(child).gate == "open"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_gets_another_parent_while_its_last_is_settled_waits_for_that_one():
    for _ in range(10):
        parent, other = submitted(), submitted()
        child = submitted(depends_on=[parent.id])
        completed(parent)
        race(2, lambda n, child=child, other=other: lifecycle.depend(child.id, add=[other.id], by="t") if n else lifecycle.settle())
        settle()
        assert row(child).gate == "dependencies"


@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_let_go_while_its_parent_fails_has_failed_or_is_free_and_the_log_agrees():
    for _ in range(10):
        parent = submitted()
        child = submitted(depends_on=[parent.id])
        failed(parent)
        acts = [lifecycle.settle, lambda child=child, parent=parent: _tried(lambda: _let_go(child, parent))]
        _, free = race(2, lambda n, acts=acts: acts[n]())
        settle()
        assert (row(child).status, row(child).gate) == (("pending", "open") if free else ("failed", "dependencies"))
        assert_log_replays(child.id)


def _let_go(child, parent):
    return lifecycle.depend(child.id, remove=[parent.id], by="t")


@pytest.mark.django_db(transaction=True)
def test_between_a_start_and_a_new_dependency_one_wins():
    for _ in range(8):
        child, parent = admitted(), submitted()
        acts = [
            lambda child=child: lifecycle.start(child.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=30)),
            lambda child=child, parent=parent: _tried(lambda: lifecycle.depend(child.id, add=[parent.id], by="t")),
        ]
        begun, changed = race(2, lambda n, acts=acts: acts[n]())
        assert (begun is None) == (changed is not None)
        assert row(child).gate == ("dependencies" if changed else "open")
        assert_log_replays(child.id)


def _tried(act):
    try:
        return act()
    except IllegalMove:
        return None


# --- deleted ---------------------------------------------------------------------------------------------------------
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


# --- long and wide ---------------------------------------------------------------------------------------------------
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
