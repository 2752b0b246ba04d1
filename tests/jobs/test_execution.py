import threading
import time

import pytest
from django.db import connection

from jobs import execution, lifecycle
from jobs.models import Attempt, Job, JobMetrics
from jobs.run_context import RunContext
from tests.factories import admitted, completed, submitted

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def alone(settings):
    """A stay of one doorbell runs what is admitted and ends."""
    settings.JOBSITE_STAY = 30
    settings.JOBSITE_BEAT = 0.1
    yield
    execution._pulse.end()


def answered(tool, **wanted):
    """The job after a child has answered its doorbell, in this very process."""
    job = admitted(submitted(tool, **wanted))
    execution.answer(job.current_attempt_id, "default", 1000)
    return Job.objects.get(pk=job.id)


def test_a_tool_runs_and_its_return_value_becomes_structured_content():
    job = answered("test.add", params={"a": 2, "b": 3})
    assert (job.status, job.progress) == ("completed", 100)
    assert job.result == {
        "isError": False,
        "content": [{"type": "text", "text": '{"result":5}'}],
        "structuredContent": {"result": 5},
    }


def test_progress_diagnostics_and_metadata_are_stored():
    job = answered("test.walk", params={"steps": 4, "pause": 0.08})
    assert (job.stage, job.message, job.diagnostics, job.metadata) == ("walk", "step 3", ["walked"], {"steps": 4})
    assert job.progress_tick > 0
    metrics = JobMetrics.objects.get(job=job)
    assert 300 <= metrics.duration_ms < 5000
    assert metrics.peak_memory_mb >= 0


def test_one_doorbell_serves_all_that_is_admitted():
    jobs = [admitted() for _ in range(5)]
    assert execution.answer(jobs[0].current_attempt_id, "default", 1000) == 5
    assert set(Job.objects.values_list("status", flat=True)) == {"completed"}


def test_a_stale_doorbell_is_harmless_and_still_serves_others():
    done = completed()
    stale = Attempt.objects.get(job=done).id
    assert execution.answer(stale, "default", 1000) == 0
    waiting = admitted()
    assert execution.answer(stale, "default", 1000) == 1
    assert Job.objects.get(pk=waiting.id).status == "completed"


@pytest.mark.parametrize(
    ("kind", "status", "category"),
    [
        ("runtime", "pending", "transient"),
        ("transient", "pending", "transient"),
        ("permanent", "failed", "permanent"),
        ("exit", "failed", "permanent"),
        ("unshowable", "pending", "transient"),
    ],
)
def test_what_a_tool_raises_decides_what_follows(kind, status, category):
    job = answered("test.fail", params={"kind": kind})
    attempt = job.attempts.get()
    assert (job.status, attempt.state, attempt.error_category) == (status, "failed", category)
    assert attempt.error_class
    assert "raise errors[kind]" in attempt.traceback
    assert job.retry_count == (1 if status == "pending" else 0)


@pytest.mark.parametrize("kind", ["nan", "nul", "surrogate", "object", "big"])
def test_a_result_that_json_cannot_hold_still_completes_the_job_and_says_so(kind):
    job = answered("test.odd", params={"kind": kind})
    assert job.status == "completed"
    assert "changed so that it could be stored" in job.diagnostics[0]


def test_a_job_reads_the_results_of_its_parents_in_order():
    first, second = (answered("test.add", params={"a": n}) for n in (1, 2))
    job = answered("test.family", depends_on=[second.id, first.id])
    assert job.result["structuredContent"]["result"] == [
        [second.id, "completed", {"result": 3}],
        [first.id, "completed", {"result": 2}],
    ]


def test_a_tool_that_never_looks_up_is_told_that_its_time_is_over():
    began = time.monotonic()
    job = answered("test.deaf")
    assert time.monotonic() - began < 5
    assert (job.status, job.attempts.get().state) == ("failed", "timed_out")
    assert any("80 %" in line for line in job.diagnostics)


def test_cancel_stops_a_running_tool_at_its_next_progress():
    job = admitted(submitted("test.walk", params={"steps": 1000, "pause": 0.01}))

    def cancel_when_it_runs():
        while Job.objects.get(pk=job.id).status != "running":
            time.sleep(0.01)
        lifecycle.cancel(job.id, by="t", reason="enough")
        connection.close()

    canceller = threading.Thread(target=cancel_when_it_runs)
    canceller.start()
    execution.answer(job.current_attempt_id, "default", 1000)
    canceller.join()
    row = Job.objects.get(pk=job.id)
    assert (row.status, row.reason, row.attempts.get().state) == ("cancelled", "enough", "cancelled")
    assert row.progress < 100


def test_progress_costs_about_a_microsecond():
    job = admitted(submitted("test.walk"))
    begun = lifecycle.start(job.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=30))
    context = RunContext(begun, threading.Event())
    began = time.perf_counter()
    for n in range(100_000):
        context.progress(n / 1000, "working", stage="s")
    assert time.perf_counter() - began < 1


def test_odd_progress_values_are_made_storable():
    job = admitted(submitted("test.walk"))
    context = RunContext(lifecycle.start(job.current_attempt_id, lifecycle.Child(worker="w", pid=1, lease=30)), threading.Event())
    context.progress(float("nan"), "a\x00b")
    assert (context.news([]).progress, context.news([]).message) == (0, "a�b")
    context.progress(1e9, "x" * 10_000)
    assert context.news([]).progress == 100
    assert len(context.news([]).message) == 2000
