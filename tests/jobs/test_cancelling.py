"""Cancels of many: a batch, a project, a job with all that depends on it; and what wins when a job ends at the same moment."""

import json
import threading
import time

import pytest
from django.db import transaction

from jobs import dispatcher, lifecycle, redis_link
from jobs.ear import Ear
from jobs.lifecycle import Cancelled, Submission, Usage
from jobs.models import Attempt, Event, Job
from tests.factories import admitted, completed, result, running, submitted
from tests.races import race
from tests.replays import assert_log_replays, verbs

pytestmark = pytest.mark.django_db


def cancel(kind, name):
    return lifecycle.cancel_family(kind, name, by="ann", reason="enough")


def status(job):
    return Job.objects.get(pk=job.id).status


@pytest.mark.parametrize("kind", ["batch", "project"])
def test_all_jobs_of_a_group_end_or_are_asked_to_stop_and_others_are_left_alone(kind):
    ours, theirs = {kind: "ours"}, {kind: "theirs"}
    waiting, given, going, done = (
        submitted(**ours),
        admitted(submitted(**ours)),
        running(submitted(**ours)),
        completed(submitted(**ours)),
    )
    others = [submitted(**theirs), submitted()]
    assert cancel(kind, "ours") == Cancelled(ended=2, asked=1)
    assert [status(job) for job in (waiting, given, going.job, done, *others)] == [
        *("cancelled", "cancelled", "running", "completed"),
        *("pending", "pending"),
    ]
    assert Attempt.objects.get(job=given.id).state == "cancelled"
    assert Job.objects.get(pk=going.job.id).cancel_reason == "enough"
    assert lifecycle.finish(going, result(), Usage(), actor="t") is None
    assert lifecycle.stop(going, Usage(), actor="t").status == "cancelled"
    for job in (waiting, given, going.job):
        assert_log_replays(job.id)
    assert cancel(kind, "ours") == Cancelled(ended=0, asked=0)


def test_a_job_is_cancelled_with_all_that_depends_on_it_also_below_what_has_finished():
    root, other = completed(), submitted()
    child = completed(submitted(depends_on=[root.id]))
    grandchild = running(submitted(depends_on=[child.id]))
    below = [submitted(depends_on=[grandchild.job.id, other.id]), submitted(depends_on=[child.id], dependency_policy="run_anyway")]
    assert cancel("job", root.id) == Cancelled(ended=2, asked=1)
    assert [status(job) for job in below] == ["cancelled", "cancelled"]
    assert status(other) == "pending"


def test_no_name_is_no_group():
    job = submitted()
    assert cancel("batch", "") == cancel("project", "") == Cancelled(ended=0, asked=0)
    assert status(job) == "pending"


def test_members_end_as_cancelled_not_as_victims_of_their_parents():
    jobs = [Submission(tool="test.add", id=f"z{n:03}", batch="b", depends_on=[f"z{n - 1:03}"] if n else []) for n in range(50)]
    lifecycle.submit_many(jobs, by="t")
    cancel("batch", "b")
    dispatcher.once()
    assert set(Job.objects.values_list("status", "reason")) == {("cancelled", "enough")}
    assert not Job.objects.filter(unsettled=True).exists()


def test_ten_thousand_are_cancelled_in_one_call():
    lifecycle.submit_many([Submission(tool="test.add", batch="b") for _ in range(10_000)], by="t")
    began = time.monotonic()
    assert cancel("batch", "b") == Cancelled(ended=10_000, asked=0)
    assert time.monotonic() - began < 60  # about two seconds on an idle machine
    assert Event.objects.filter(verb="cancel", actor="ann").count() == 10_000


@pytest.mark.django_db(transaction=True)
def test_an_acknowledged_cancel_of_a_batch_is_never_followed_by_a_completion():
    for _ in range(8):
        begun = [running(submitted(batch="b")) for _ in range(4)]
        acts = [lambda: cancel("batch", "b")] + [
            lambda one=one: lifecycle.finish(one, result(), Usage(), actor="t") for one in begun
        ]
        answer, *ends = race(5, lambda n, acts=acts: acts[n]())
        for one, end in zip(begun, ends, strict=True):
            asked = "cancel_requested" in verbs(one.job.id)
            assert (end is None) == asked
            assert status(one.job) == ("running" if asked else "completed")
            if asked:
                lifecycle.stop(one, Usage(), actor="t")
            assert_log_replays(one.job.id)
        assert answer.asked == sum(end is None for end in ends)


@pytest.mark.django_db(transaction=True)
def test_two_cancels_of_families_that_overlap_do_not_wait_for_each_other_for_ever():
    for _ in range(5):
        lifecycle.submit_many([Submission(tool="test.add", batch="b", project="p") for _ in range(50)], by="t")
        answers = race(2, lambda n: cancel(["batch", "project"][n], "bp"[n]))
        assert sum(answer.ended for answer in answers) == 50


def test_the_wish_to_stop_is_heard_after_the_commit_and_garbage_is_not(transactional_db):
    heard, came = [], threading.Event()

    def hear(ids):
        heard.extend(ids)
        came.set()

    ear = Ear(hear)
    ear.start()
    begun = running()
    try:
        # The ear listens once it has subscribed: until then nobody is there to hear.
        while not redis_link.connection().publish(redis_link.STOP_CHANNEL, b"{garbage"):
            time.sleep(0.01)
        redis_link.connection().publish(redis_link.STOP_CHANNEL, json.dumps({"not": "ids"}))
        with transaction.atomic():
            lifecycle.cancel(begun.job.id, by="t")
            assert not came.wait(0.1)
        assert came.wait(5)
    finally:
        ear.closing.set()
        ear.join(5)
    assert heard == [begun.attempt_id]
