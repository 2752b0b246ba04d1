from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from jobs import lifecycle
from jobs.errors import (
    DependencyCycle,
    DuplicateId,
    IllegalMove,
    InvalidParams,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    RequirementTooLarge,
    UnknownDependency,
    UnknownTool,
)
from jobs.lifecycle import Beat, Submission, Usage
from jobs.limits import Resources
from jobs.models import Attempt, Dependency, Event, Job, JobMetrics
from jobs.retry import Again, GiveUp
from jobs.states import ATTEMPT_MOVES
from tests.factories import BROKEN, LEASE, admit, admitted, completed, failed, result, running, submitted
from tests.races import race
from tests.replays import assert_log_replays, verbs

pytestmark = pytest.mark.django_db


def test_a_job_goes_from_submit_to_completed_with_an_event_for_each_move():
    done = completed()
    job = Job.objects.get(pk=done.id)
    assert (job.status, job.progress, job.result) == ("completed", 100 if job.progress == 100 else 0, result())
    assert verbs(job.id) == ["submit", "admit", "start", "finish"]
    assert_log_replays(job.id)
    assert job.attempts.get().state == "succeeded"
    assert JobMetrics.objects.get(job=job).performance_score == 100


def test_versions_grow_with_every_move():
    job = submitted()
    seen = [job.version]
    begun = running(job)
    seen.append(begun.job.version)
    seen.append(lifecycle.finish(begun, result(), Usage(), actor="t").version)
    assert seen == sorted(set(seen))


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"tool": "test.unknown"}, UnknownTool),
        ({"params": {"a": "x"}}, InvalidParams),
        ({"params": {"surplus": 1}}, InvalidParams),
        ({"params": {"a": float("nan")}}, InvalidRequest),
        ({"params": {"a": "x" * 10_000_000}}, PayloadTooLarge),
        ({"id": "me", "depends_on": ["me"]}, DependencyCycle),
        ({"depends_on": ["nobody"]}, UnknownDependency),
        ({"depends_on": ["nul\x00"]}, UnknownDependency),
        ({"resources": Resources(memory_mb=10**6)}, RequirementTooLarge),
        ({"id": "with space"}, InvalidRequest),
        ({"priority": "urgent"}, InvalidRequest),
        ({"timeout_ms": 0}, InvalidRequest),
        ({"max_retries": -1}, InvalidRequest),
    ],
)
def test_a_bad_submission_is_refused_and_leaves_nothing(wanted, error):
    with pytest.raises(error):
        lifecycle.submit(Submission(**({"tool": "test.add"} | wanted)), by="tester")
    assert not Job.objects.exists()
    assert not Event.objects.exists()
    assert not Dependency.objects.exists()


def test_a_batch_with_a_cycle_is_refused_as_a_whole():
    batch = [Submission(tool="test.add", id=i, depends_on=[p]) for i, p in (("a", "c"), ("b", "a"), ("c", "b"))]
    with pytest.raises(DependencyCycle, match="a"):
        lifecycle.submit_many(batch, by="tester")
    assert not Job.objects.exists()


def test_a_caller_may_bring_its_own_id_once():
    assert submitted(id="mine").id == "mine"
    with pytest.raises(DuplicateId):
        submitted(id="mine")
    assert Job.objects.count() == 1


def test_an_illegal_move_changes_nothing():
    done = completed()
    before = Job.objects.values().get(pk=done.id)
    assert lifecycle.cancel(done.id, by="t").status == "completed"
    with pytest.raises(IllegalMove):
        lifecycle.retry(done.id, by="t")
    assert Job.objects.values().get(pk=done.id) == before
    with pytest.raises(NotFound):
        lifecycle.cancel("nobody", by="t")
    with pytest.raises(NotFound):
        lifecycle.retry("nobody", by="t")


def test_a_doorbell_heard_twice_starts_once():
    attempt = admitted().current_attempt_id
    assert lifecycle.start(attempt, lifecycle.Child(worker="w", pid=1, lease=LEASE)) is not None
    assert lifecycle.start(attempt, lifecycle.Child(worker="w", pid=2, lease=LEASE)) is None
    assert Attempt.objects.get().pid == 1


def test_a_superseded_attempt_can_write_nothing():
    zombie = running(lease=-1)
    lost = lifecycle.lose(zombie, Again(delay=0, spends_retry=False), actor="t")
    assert (lost.status, lost.loss_count, lost.retry_count) == ("pending", 1, 0)
    second = running(Job.objects.get(pk=lost.id))
    kept = Job.objects.values().get(pk=lost.id)
    beat = Beat(progress=9, message="late", stage="", sub_progress=None, tick=9, diagnostics=["late"], metadata={"late": 1},
                peak_memory_mb=1, cpu_percent=1)  # fmt: skip
    assert lifecycle.beat(zombie, beat, lease=LEASE) is None
    assert lifecycle.finish(zombie, result(), Usage(), actor="t") is None
    assert lifecycle.fail(zombie, BROKEN, GiveUp(reason=""), Usage(), actor="t") is None
    assert lifecycle.stop(zombie, Usage(), actor="t") is None
    assert lifecycle.interrupt(zombie, Usage(), actor="t") is None
    assert Job.objects.values().get(pk=lost.id) == kept
    assert lifecycle.finish(second, result(2), Usage(), actor="t").status == "completed"
    assert_log_replays(lost.id)
    assert list(Attempt.objects.order_by("number").values_list("state", flat=True)) == ["lost", "succeeded"]


def test_a_renewed_lease_is_not_lost():
    begun = running(lease=LEASE)
    assert lifecycle.lose(begun, Again(delay=0, spends_retry=False), actor="t") is None
    assert Job.objects.get().status == "running"


def test_a_failed_attempt_goes_back_to_pending_with_its_delay_and_rank():
    job = submitted()
    again = failed(job, again=Again(delay=60, spends_retry=True))
    row = Job.objects.get(pk=again.id)
    assert (row.status, row.gate, row.retry_count, row.rank) == ("pending", "time", 1, job.rank)
    assert timedelta(seconds=50) < row.run_at - timezone.now() < timedelta(seconds=70)
    assert row.attempts.get().error_message == "it broke"


def test_a_failure_for_good_says_why():
    row = Job.objects.get(pk=failed().id)
    assert (row.status, row.reason) == ("failed", "Broken: it broke (no use)")
    assert row.result["isError"] is True


def test_an_error_result_fails_the_job():
    done = lifecycle.finish(running(), {"isError": True, "content": []}, Usage(), actor="t")
    assert done.status == "failed"
    assert_log_replays(done.id)


def test_cancel_ends_a_pending_job_at_once_and_an_admitted_one_too():
    for job in (submitted(), admitted()):
        assert lifecycle.cancel(job.id, by="t", reason="enough").status == "cancelled"
        row = Job.objects.get(pk=job.id)
        assert (row.reason, row.current_attempt_id) == ("enough", None)
        assert_log_replays(job.id)
    assert Attempt.objects.get().state == "cancelled"


def test_an_acknowledged_cancel_is_never_followed_by_a_completion():
    begun = running()
    assert lifecycle.cancel(begun.job.id, by="t").cancel_requested_at is not None
    assert lifecycle.cancel(begun.job.id, by="t").status == "running"
    assert verbs(begun.job.id).count("cancel_requested") == 1
    assert lifecycle.finish(begun, result(), Usage(), actor="t") is None
    assert lifecycle.fail(begun, BROKEN, GiveUp(reason=""), Usage(), actor="t") is None
    assert lifecycle.stop(begun, Usage(), actor="t").status == "cancelled"
    assert_log_replays(begun.job.id)


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled():
    begun = running(lease=-1)
    lifecycle.cancel(begun.job.id, by="t", reason="enough")
    asked = Job.objects.get(pk=begun.job.id)
    begun.job.cancel_requested_at, begun.job.cancel_reason = asked.cancel_requested_at, asked.cancel_reason
    assert lifecycle.lose(begun, Again(delay=0, spends_retry=False), actor="t").status == "cancelled"
    assert_log_replays(begun.job.id)


def test_a_retried_job_comes_back_by_its_old_rank_with_all_its_retries():
    job = submitted()
    failed(job)
    back = lifecycle.retry(job.id, by="t")
    assert (back.status, back.retry_count, back.finished_at) == ("pending", 0, None)
    assert Job.objects.get(pk=job.id).rank == job.rank
    assert completed(back).status == "completed"
    assert_log_replays(job.id)


def test_a_beat_carries_progress_without_being_a_move():
    begun = running()
    beat = Beat(progress=40, message="m", stage="s", sub_progress=1, tick=3, diagnostics=["a", "b"], metadata={"k": 1},
                peak_memory_mb=5, cpu_percent=6)  # fmt: skip
    assert lifecycle.beat(begun, beat, lease=LEASE) == (False, "")
    row = Job.objects.get(pk=begun.job.id)
    assert (row.progress, row.stage, row.diagnostics, row.metadata) == (40, "s", ["a", "b"], {"k": 1})
    assert (row.version, row.progress_tick) == (begun.job.version, 3)
    lifecycle.cancel(row.id, by="t", reason="why not")
    assert lifecycle.beat(begun, beat, lease=LEASE) == (True, "why not")


def test_at_most_a_thousand_diagnostics_are_kept_the_last_ones():
    begun = running()
    lifecycle.finish(begun, result(), Usage(diagnostics=[str(n) for n in range(1500)]), actor="t")
    kept = Job.objects.get(pk=begun.job.id).diagnostics
    assert (len(kept), kept[0], kept[-1]) == (1000, "500", "1499")


def test_every_attempt_move_in_the_table_is_made_by_its_verb():
    assert set(ATTEMPT_MOVES) == {
        "admit",
        "start",
        "finish",
        "fail",
        "fall_back",
        "mend",
        "lose",
        "quarantine",
        "interrupt",
        "ask",
        "withdraw",
        "cancel",
    }


# --- two at once -----------------------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_of_many_starts_of_one_attempt_one_wins():
    attempt = admitted().current_attempt_id
    begun = race(8, lambda n: lifecycle.start(attempt, lifecycle.Child(worker="w", pid=n, lease=LEASE)))
    assert sum(b is not None for b in begun) == 1
    assert verbs(Job.objects.get().id).count("start") == 1


@pytest.mark.django_db(transaction=True)
def test_many_children_share_the_admitted_attempts_without_taking_one_twice():
    jobs = lifecycle.submit_many([Submission(tool="test.add") for _ in range(20)], by="t")
    admit(*[job.id for job in jobs])

    def take(n):
        taken = []
        while begun := lifecycle.start_next(
            lifecycle.Next(child=lifecycle.Child(worker="w", pid=n, lease=LEASE), queue="default", longest_ms=10**7)
        ):
            taken += [each.attempt_id for each in begun]
        return taken

    taken = [attempt for share in race(6, take) for attempt in share]
    assert len(taken) == len(set(taken)) == 20


@pytest.mark.django_db(transaction=True)
def test_between_finish_and_cancel_one_wins_and_the_log_agrees():
    for _ in range(15):
        begun = running()
        ends = [
            lambda begun=begun: lifecycle.finish(begun, result(), Usage(), actor="t"),
            lambda begun=begun: lifecycle.cancel(begun.job.id, by="t"),
        ]
        finish, cancel = race(2, lambda n, ends=ends: ends[n]())
        row = Job.objects.get(pk=begun.job.id)
        if finish is None:
            assert (row.status, cancel.status) == ("running", "running")
            assert lifecycle.stop(begun, Usage(), actor="t").status == "cancelled"
        else:
            assert (row.status, cancel.status) == ("completed", "completed")
        assert_log_replays(row.id)


@pytest.mark.django_db(transaction=True)
def test_a_parent_that_finishes_while_a_dependent_is_submitted_is_never_missed():
    for _ in range(15):
        begun = running()
        acts = [
            lambda begun=begun: lifecycle.finish(begun, result(), Usage(), actor="t"),
            lambda begun=begun: submitted(depends_on=[begun.job.id]),
        ]
        _, child = race(2, lambda n, acts=acts: acts[n]())
        lifecycle.settle()
        assert Job.objects.get(pk=child.id).gate == "open"


@pytest.mark.django_db(transaction=True)
def test_two_submits_with_the_same_id_make_one_job():
    def submit(_):
        try:
            return submitted(id="same").id
        except DuplicateId:
            return None

    assert sorted(race(4, submit), key=str) == [None, None, None, "same"]
    assert Job.objects.count() == Event.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_end_reaches_the_disk_before_it_is_told_and_an_admission_need_not():
    """What `synchronous_commit` is when the statement commits: a deferred trigger sees it last."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE seen (verb text, wait text)")
        cursor.execute(
            "CREATE FUNCTION pg_temp.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " INSERT INTO seen VALUES (NEW.verb, current_setting('synchronous_commit')); RETURN NULL; END $$"
        )
        cursor.execute("SET synchronous_commit = on")
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER look AFTER INSERT ON jobs_event DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION pg_temp.look()"
        )
        try:
            completed()
            cursor.execute("SELECT verb, wait FROM seen")
            assert dict(cursor.fetchall()) == {"submit": "on", "admit": "off", "start": "on", "finish": "on"}
        finally:
            cursor.execute("DROP TRIGGER look ON jobs_event")
            cursor.execute("RESET synchronous_commit")
