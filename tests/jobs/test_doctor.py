"""The doctor: finds each kind of damage, mends what it safely can, and finds nothing where all is well."""

import io
import json

import pytest
from django.core.management import call_command
from django.db import connection

from benchmarks.fill import fill
from jobs import doctor, lifecycle, tally
from jobs.lifecycle import Usage
from jobs.limits import Resources
from jobs.models import Attempt, Event, Job, JobMetrics
from jobs.retry import Again
from jobs.states import FINAL
from tests.factories import admitted, completed, failed, result, running, submitted

pytestmark = pytest.mark.django_db(transaction=True)


def tell(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values or None)


def unguarded(sql, *values):
    """As a restore by halves does: foreign keys and triggers are off."""
    tell("SET session_replication_role = replica")
    try:
        tell(sql, *values)
    finally:
        tell("SET session_replication_role = DEFAULT")


def found(*, mending=False):
    return [(finding.rule, finding.subject, finding.mended) for finding in doctor.examine(mending=mending)]


def a_bit_of_everything():
    parent = completed()
    submitted(depends_on=[parent.id])
    submitted(depends_on=[submitted().id])
    failed(again=Again(delay=60, spends_retry=True))
    failed(submitted(max_retries=0))
    lifecycle.interrupt(running(), Usage(), actor="w")
    lifecycle.cancel(submitted().id, by="t")
    lifecycle.cancel(running().job.id, by="t")
    lifecycle.pause(submitted().id, by="t")
    lifecycle.retry(failed().id, by="t")
    lifecycle.depend(failed(again=Again(delay=0, spends_retry=True)).id, add=[submitted().id], by="t")
    admitted()
    running()
    tally.merge()


def test_where_all_is_well_nothing_is_found_or_changed():
    a_bit_of_everything()
    before = list(Job.objects.order_by("pk").values()), Event.objects.count()
    assert found(mending=True) == []
    assert (list(Job.objects.order_by("pk").values()), Event.objects.count()) == before


def test_it_looks_at_every_job_some_at_a_time(monkeypatch):
    monkeypatch.setattr(doctor, "CHUNK", 3)
    for _ in range(8):
        submitted()
    steps = []
    assert list(doctor.examine(looked_at=steps.append)) == []
    assert steps == [3, 3, 2]


def test_an_attempt_that_holds_a_slot_for_nobody_is_ended_and_its_job_goes_on():
    lost = admitted()
    attempt = lost.current_attempt_id
    tell("UPDATE jobs_job SET current_attempt_id = NULL WHERE id = %s", lost.id)
    assert ("attempt", lost.id, False) in found()
    assert ("attempt", lost.id, True) in found(mending=True)
    assert Attempt.objects.get(pk=attempt).state == "cancelled"
    assert found() == []
    done = lifecycle.finish(running(Job.objects.get(pk=lost.id)), result(), Usage(), actor="w")
    assert done.status == "completed"


def test_a_running_job_whose_attempt_is_gone_waits_again():
    run = running()
    unguarded("DELETE FROM jobs_attempt WHERE id = %s", run.attempt_id)
    rules = {rule for rule, _, _ in found()}
    assert "attempt" in rules
    assert "replayed" in rules  # its history names what is not there: told, not mended
    found(mending=True)
    job = Job.objects.get(pk=run.job.id)
    assert (job.status, job.current_attempt_id, job.gate) == ("pending", None, "open")
    assert lifecycle.finish(run, result(), Usage(), actor="w") is None


def test_a_live_attempt_of_an_ended_job_is_ended_and_the_job_is_not_touched():
    job = completed()
    tell("UPDATE jobs_attempt SET state = 'running', finished_at = NULL WHERE job_id = %s", job.id)
    was = Job.objects.values("status", "result", "finished_at", "retry_count").get(pk=job.id)
    assert ("attempt", job.id, True) in found(mending=True)
    assert Attempt.objects.get(job=job).state == "lost"
    assert Job.objects.values("status", "result", "finished_at", "retry_count").get(pk=job.id) == was


def test_counts_of_a_job_that_goes_on_are_mended_those_of_an_ended_one_are_told():
    waits, ended = failed(again=Again(delay=0, spends_retry=True)), completed()
    Job.objects.update(attempt_count=7, retry_count=2, loss_count=1)
    seen = found(mending=True)
    assert ("counted", waits.id, True) in seen
    assert ("counted", ended.id, False) in seen
    waits.refresh_from_db()
    assert (waits.attempt_count, waits.retry_count, waits.loss_count) == (1, 1, 0)
    assert Job.objects.get(pk=ended.id).attempt_count == 7


def test_what_is_wrong_in_several_ways_and_mended_at_once_is_mended_in_all_of_them():
    job = running().job
    Job.objects.filter(pk=job.id).update(attempt_count=7, retry_count=2, loss_count=1)
    Attempt.objects.update(memory_mb=5)
    running(lease=-60)
    running(lease=-60)
    seen = found(mending=True)
    assert len(seen) == 6  # three counts, memory, two leases
    assert all(mended for _, _, mended in seen)
    assert found() == []


def test_a_gate_that_contradicts_the_rows_is_computed_anew():
    stuck, early = submitted(), submitted(depends_on=[submitted().id])
    asking = submitted()
    Job.objects.filter(pk=stuck.id).update(gate="dependencies")
    Job.objects.filter(pk=early.id).update(gate="open")
    Job.objects.filter(pk=asking.id).update(gate="input")
    assert {subject for rule, subject, mended in found(mending=True) if rule == "gate" and mended} == {
        stuck.id,
        early.id,
        asking.id,
    }
    assert [Job.objects.get(pk=job.id).gate for job in (stuck, early, asking)] == ["open", "dependencies", "open"]
    assert found() == []


def test_a_parent_that_would_never_tell_its_dependents_tells_them():
    parent = submitted()
    child = submitted(depends_on=[parent.id])
    completed(parent)
    Job.objects.filter(pk=parent.id).update(unsettled=False, has_dependents=False)
    assert {(rule, mended) for rule, _, mended in found(mending=True)} == {("settled", True), ("parent", True)}
    lifecycle.settle()
    assert Job.objects.get(pk=child.id).gate == "open"
    assert found() == []


def test_what_an_attempt_holds_is_what_its_job_needs():
    run = running()
    Attempt.objects.filter(pk=run.attempt_id).update(memory_mb=900)
    assert ("needs", run.job.id, True) in found(mending=True)
    assert Attempt.objects.get(pk=run.attempt_id).memory_mb == 0


def test_an_attempt_whose_lease_is_long_over_is_lost():
    run = running(lease=-60)
    assert ("lease", run.job.id, True) in found(mending=True)
    assert Attempt.objects.get(pk=run.attempt_id).state == "lost"


def test_a_rank_behind_the_submission_is_put_right():
    job = submitted()
    Job.objects.filter(pk=job.id).update(rank=job.rank + 10**12)
    assert ("rank", job.id, True) in found(mending=True)
    assert Job.objects.get(pk=job.id).rank == job.rank


def test_the_tally_is_corrected_by_the_difference():
    submitted()
    tell(
        "INSERT INTO jobs_tally (status, gate, tool, operation, priority, project, kept, n)"
        " VALUES ('failed', '', 'x', '', '', '', false, 5)"
    )
    assert ("tally", "counts", True) in found(mending=True)
    assert tally.by_status()["failed"] == 0
    assert found() == []


def test_rows_about_no_job_are_removed():
    run = running()
    unguarded("DELETE FROM jobs_job WHERE id = %s", run.job.id)
    assert {subject for rule, subject, _ in found() if rule == "orphans"} == {"jobs_attempt", "jobs_event"}
    found(mending=True)
    assert not Attempt.objects.exists()
    assert not Event.objects.exists()


def test_more_in_use_than_may_be_is_told():
    running(submitted(resources=Resources(memory_mb=100)))
    running()
    tell("UPDATE jobs_queueconfig SET max_concurrent_jobs = 1, max_memory_mb = 50, updated_at = now()")
    assert found() == []  # lowered while they run
    tell("UPDATE jobs_queueconfig SET updated_at = now() - interval '1 hour'")
    assert [finding.text for finding in doctor.examine(mending=True)] == [
        "2 jobs are in use, 1 may be",
        "100 memory MB are in use, 50 may be",
    ]


@pytest.mark.parametrize(
    ("rule", "damage"),
    [
        ("once", "INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)"
         " SELECT job_id, attempt_id, verb, before, after, '', '', now() FROM jobs_event WHERE verb = 'finish'"),
        ("fenced", "UPDATE jobs_event SET attempt_id = attempt_id + 100000 WHERE verb = 'finish'"),
        ("cancelled", "UPDATE jobs_event SET verb = 'cancel_requested' WHERE verb = 'start'"),
        ("numbered", "UPDATE jobs_attempt SET number = 4"),
        ("replayed", "UPDATE jobs_event SET after = 'failed' WHERE verb = 'finish'"),
        ("replayed", "DELETE FROM jobs_event WHERE verb = 'start'"),
        ("replayed", "UPDATE jobs_attempt SET state = 'lost'"),
        ("complete", "UPDATE jobs_job SET result = NULL"),
        ("complete", "DELETE FROM jobs_jobmetrics"),
    ],
)  # fmt: skip
def test_a_history_that_contradicts_itself_is_told_and_left_as_it_is(rule, damage):
    job = completed()
    unguarded(damage)
    was = list(Job.objects.values()), list(Attempt.objects.values()), list(Event.objects.values())
    assert (rule, job.id, False) in found(mending=True)
    assert (list(Job.objects.values()), list(Attempt.objects.values()), list(Event.objects.values())) == was


def test_a_start_before_the_end_of_a_parent_is_told():
    parent = submitted()
    child = completed(submitted(depends_on=[completed().id]))
    tell("UPDATE jobs_dependency SET parent_id = %s WHERE job_id = %s", parent.id, child.id)
    assert ("order", child.id, False) in found()


def run_command(*options):
    out, code = io.StringIO(), 0
    try:
        call_command("doctor", *options, stdout=out)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def test_the_command_ends_with_1_until_everything_is_mended():
    job = completed()
    stuck = submitted()
    Job.objects.filter(pk=stuck.id).update(gate="dependencies")
    code, text = run_command()
    assert code == 1
    assert f"gate: {stuck.id}: it waits for dependencies, and all of them are met (--fix mends it)" in text
    code, text = run_command("--fix", "--json")
    *findings, whole = map(json.loads, text.splitlines())
    assert (code, findings[0]["mended"], whole) == (0, True, {"jobs": 2, "found": {"gate": 1}, "mended": 1})
    assert run_command() == (0, "2 jobs looked at: all is as it must be\n")
    JobMetrics.objects.all().delete()
    code, text = run_command("--fix")
    assert code == 1
    assert f"complete: {job.id}: it is completed and has no metrics (look into it)" in text


def test_no_ended_job_is_changed_whatever_is_damaged():
    a_bit_of_everything()
    tell("UPDATE jobs_job SET attempt_count = attempt_count + 1, rank = rank + 10000000000, has_dependents = NOT has_dependents")
    columns = "status", "result", "reason", "attempt_count", "retry_count", "finished_at", "current_attempt_id", "gate"
    was = list(Job.objects.filter(status__in=FINAL).order_by("pk").values(*columns))
    found(mending=True)
    assert list(Job.objects.filter(status__in=FINAL).order_by("pk").values(*columns)) == was


def test_jobs_that_are_made_for_measuring_are_such_as_the_verbs_could_have_made():
    fill(2000, lambda told: None)
    assert found() == []
    connection.close()  # it was set up for filling
