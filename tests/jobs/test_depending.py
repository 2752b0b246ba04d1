"""What a pending job waits for is changed: cycles, races with starts and ends, and what is refused."""

import pytest

from jobs import dependencies, lifecycle
from jobs.errors import DependencyCycle, IllegalMove, InvalidRequest, NotFound, UnknownDependency
from jobs.lifecycle import Submission
from jobs.models import Dependency, Event, Job
from tests.factories import admitted, completed, failed, running, settle, submitted
from tests.races import race
from tests.replays import assert_log_replays, verbs

pytestmark = pytest.mark.django_db


def row(job):
    return Job.objects.get(pk=job.id)


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


def closes(one, other):
    """Was it not refused as a cycle?"""
    try:
        lifecycle.depend(one, add=[other], by="t")
    except DependencyCycle:
        return False
    return True


@pytest.mark.django_db(transaction=True)
def test_of_two_clients_that_would_close_a_cycle_together_one_is_refused():
    for _ in range(8):
        pair = [submitted().id, submitted().id]
        assert sorted(race(2, lambda n, pair=pair: closes(pair[n], pair[1 - n]))) == [False, True]
        assert Dependency.objects.filter(job__in=pair).count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_three_clients_that_would_close_a_longer_cycle_one_is_refused():
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
