"""Drain, with a real worker: it takes nothing new, what runs goes on, and it can be taken back."""

import pytest

from benchmarks.stack import Stack, wait_until

SUBMIT = (
    "from jobs import lifecycle; from jobs.lifecycle import Submission;"
    "lifecycle.submit(Submission(tool='bench.ticker', id='{id}', params=dict(ticks={ticks}, pause=0.05)), by='t')"
)
STEER = "from jobs import steering; from jobs.models import Worker; steering.{verb}(Worker.objects.get().name, by='ada')"


@pytest.fixture(scope="module")
def stack():
    with Stack(worker_processes=2, slots=4, JOBSITE_TOOLS="benchmarks.tools", JOBSITE_START_TIMEOUT="1") as running:
        yield running


def status(stack, job):
    return stack.one("SELECT status FROM jobs_job WHERE id = %s", job)


def test_a_drained_worker_finishes_what_runs_and_takes_nothing_new_until_it_is_taken_back(stack):
    stack.manage("shell", "-c", SUBMIT.format(id="before", ticks=160))
    wait_until("it runs", lambda: status(stack, "before") == "running")
    stack.manage("shell", "-c", STEER.format(verb="drain"))
    marked = stack.one("SELECT beat_at FROM jobs_worker")
    wait_until("the worker has heard it", lambda: stack.one("SELECT beat_at > %s FROM jobs_worker", marked))
    stack.manage("shell", "-c", SUBMIT.format(id="after", ticks=1))
    wait_until("what ran has completed", lambda: status(stack, "before") == "completed")
    # It was rung several times meanwhile, and nobody came.
    wait_until(
        "it was admitted and rung again",
        lambda: stack.one("SELECT count(*) FROM jobs_attempt WHERE job_id = 'after' AND state = 'admitted'"),
    )
    assert status(stack, "after") == "pending"
    stack.manage("shell", "-c", STEER.format(verb="undrain"))
    wait_until("it runs on the same worker", lambda: status(stack, "after") == "completed")
    noted = stack.query("SELECT action, actor FROM jobs_auditentry ORDER BY id")
    assert noted == [("drain", "ada"), ("undrain", "ada")]
    assert stack.one("SELECT memory_total_mb > memory_mb AND memory_mb > 0 FROM jobs_worker")
