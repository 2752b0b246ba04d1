"""What each kind of limit and pause means for what may start. Order and limits together: test_reference.py."""

import itertools

import pytest

from jobs import admission, configuration, dispatcher, lifecycle, queries, steering
from jobs.errors import IllegalMove, InvalidRequest
from jobs.lifecycle import Submission
from jobs.limits import GroupKind, Resources
from jobs.models import Attempt, AuditEntry, GroupRule, Job, QueueConfig
from jobs.states import Priority
from tests import factories
from tests.factories import LEASE, admit, admitted, completed, failed, running

pytestmark = pytest.mark.django_db
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def dispatcher_is_there(monkeypatch):
    monkeypatch.setattr("jobs.workers.dispatcher_alive", lambda: True)


def submitted(**wanted):
    """In a test's one transaction time stands still: what came first is told by the id."""
    return factories.submitted(id=f"n{next(_numbers):06}", **wanted)


def allow(slots, **columns):
    configuration.row()
    QueueConfig.objects.update(max_concurrent_jobs=slots, **columns)


def started():
    return list(Attempt.objects.order_by("id").values_list("job_id", flat=True))


# --- each limit ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "name", "same", "other"),
    [
        ("tool", "test.add", {}, {"tool_name": "test.walk"}),
        ("operation", "validation", {"operation": "validation"}, {}),
        ("project", "p", {"project": "p"}, {"project": "q"}),
        ("key", "k", {"concurrency_key": "k", "concurrency_limit": 9}, {"concurrency_key": "l"}),
    ],
)
def test_a_group_never_has_more_running_than_its_limit_and_others_pass(kind, name, same, other):
    allow(10)
    steering.limit(kind, name, max_running=2, per_minute=None, by="t")
    members = [submitted(**same).id for _ in range(3)]
    outside = submitted(**other).id
    dispatcher.once()
    assert started() == [*members[:2], outside]


def test_a_key_holds_to_the_limit_that_its_caller_gave():
    allow(10)
    jobs = [submitted(concurrency_key="customer-7").id for _ in range(3)]
    free = submitted().id
    dispatcher.once()
    assert started() == [jobs[0], free]
    lifecycle.cancel(jobs[0], by="t")
    dispatcher.once()
    assert started() == [jobs[0], free, jobs[1]]


def test_only_so_many_start_in_a_minute_also_when_they_end_at_once():
    allow(10)
    steering.limit("tool", "test.add", max_running=None, per_minute=2, by="t")
    jobs = [submitted().id for _ in range(3)]
    dispatcher.once()
    for attempt in Attempt.objects.all():
        begun = lifecycle.start(attempt.id, lifecycle.Child(worker="w", pid=1, lease=LEASE))
        lifecycle.finish(begun, factories.result(), lifecycle.Usage(), actor="t")
    dispatcher.once()
    assert started() == jobs[:2]
    why = queries.why_pending(Job.objects.get(pk=jobs[2]))
    assert (why.reason, why.until is not None) == ("rate", True)
    Attempt.objects.update(admitted_at="2020-01-01T00:00Z")
    dispatcher.once()
    assert started() == jobs


def test_a_start_that_was_taken_back_does_not_count_for_the_rate():
    allow(10)
    steering.limit("tool", "test.add", max_running=None, per_minute=1, by="t")
    job = submitted().id
    dispatcher.once()
    steering.pause("all", by="t")
    steering.resume("all", by="t")
    dispatcher.once()
    assert started() == [job, job]


def test_a_big_job_that_has_waited_long_keeps_its_room_but_jobs_that_need_none_of_it_go_on():
    allow(10)
    running(submitted(resources=Resources(memory_mb=1500)))
    big = submitted(resources=Resources(memory_mb=1000))
    small, none = submitted(resources=Resources(memory_mb=100)), submitted()
    Job.objects.filter(pk=big.id).update(gate_since="2020-01-01T00:00Z")
    dispatcher.once()
    assert started()[1:] == [none.id]
    assert small.id not in started()


def test_a_shut_group_in_front_does_not_hide_what_is_behind_it(monkeypatch):
    monkeypatch.setattr(admission, "LOOK_SIZES", (4,))
    allow(3)
    lifecycle.submit_many([Submission(tool="test.add", id=f"a{n:02}", concurrency_key="k") for n in range(30)], by="t")
    Job.objects.update(rank=0)
    behind = [submitted(tool_name="test.walk").id for _ in range(2)]
    dispatcher.once()
    assert started()[1:] == behind


# --- pauses ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "name"), [("all", ""), ("tool", "test.add"), ("operation", "execution"), ("project", "p")])
def test_what_is_paused_does_not_start_until_it_is_resumed(kind, name):
    allow(5)
    steering.pause(kind, name, by="ann", reason="upgrade")
    job = submitted(project="p")
    dispatcher.once()
    assert started() == []
    why = queries.why_pending(job)
    assert (why.reason, "paused by ann" in why.text, "upgrade" in why.text) == ("paused", True, True)
    steering.resume(kind, name, by="ann")
    dispatcher.once()
    assert started() == [job.id]
    assert list(AuditEntry.objects.order_by("id").values_list("action", "actor")) == [("pause", "ann"), ("resume", "ann")]


def test_a_pause_takes_back_what_was_admitted_and_has_not_begun():
    allow(5)
    begun, waiting = running(), admitted()
    steering.pause(GroupKind.ALL, by="t")
    assert lifecycle.start(waiting.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=LEASE)) is None
    assert Attempt.objects.get(pk=waiting.current_attempt_id).state == "cancelled"
    assert Attempt.objects.get(pk=begun.attempt_id).state == "running"
    steering.resume(GroupKind.ALL, by="t")
    dispatcher.once()
    assert Job.objects.get(pk=waiting.id).attempts.filter(state="admitted").count() == 1


def test_nothing_is_admitted_by_a_configuration_that_was_changed_meanwhile():
    job = submitted()
    configuration.row()
    now = admission.outlook()
    steering.pause(GroupKind.ALL, by="t")
    assert lifecycle.admit([job.id], config=now.config) == []
    assert admit(job.id)


def test_one_job_is_paused_and_comes_back_to_its_place():
    allow(5)
    first, second = submitted(), submitted()
    lifecycle.pause(first.id, by="ann")
    dispatcher.once()
    assert started() == [second.id]
    assert queries.why_pending(Job.objects.get(pk=first.id)).text.startswith("It is paused: paused by ann")
    assert lifecycle.resume(first.id, by="ann").gate == "open"
    dispatcher.once()
    assert started() == [second.id, first.id]


def test_a_paused_job_whose_parent_fails_meanwhile_fails_when_it_is_resumed():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    lifecycle.pause(child.id, by="t")
    failed(parent)
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "pending"
    lifecycle.resume(child.id, by="t")
    dispatcher.once()
    assert Job.objects.get(pk=child.id).status == "failed"


@pytest.mark.parametrize("make", [completed, failed, lambda: running().job])
def test_only_pending_jobs_can_be_paused(make):
    with pytest.raises(IllegalMove):
        lifecycle.pause(make().id, by="t")


def test_what_is_not_paused_is_not_resumed():
    with pytest.raises(IllegalMove):
        lifecycle.resume(submitted().id, by="t")


def test_another_priority_is_another_place_in_line():
    allow(5)
    first, second = submitted(), submitted(priority="low")
    lifecycle.reprioritise(second.id, Priority.CRITICAL, by="t")
    dispatcher.once()
    assert started() == [second.id, first.id]


@pytest.mark.parametrize(
    ("kind", "name", "most", "rate"),
    [("tool", "", 1, None), ("all", "x", 1, None), ("moon", "x", 1, None), ("tool", "x", -1, None), ("tool", "x", 1, 0)],
)
def test_a_rule_that_makes_no_sense_is_refused(kind, name, most, rate):
    with pytest.raises(InvalidRequest):
        steering.limit(kind, name, max_running=most, per_minute=rate, by="t")
    assert not GroupRule.objects.exists()
