"""How soon a job starts: on an idle system, and when it waits for the slot of another."""

from __future__ import annotations

import random
import subprocess
import sys

from benchmarks.form import Goal, Report, quantiles
from benchmarks.stack import ROOT, Stack

# From the database's own clock: submitted to started, where the system was idle; ended to started, where one slot is shared.
TO_START = "SELECT 1000 * EXTRACT(EPOCH FROM started_at - created_at)::float8 FROM jobs_job WHERE batch = 'idle'"
BETWEEN = """
SELECT 1000 * EXTRACT(EPOCH FROM started_at - before)::float8 FROM (
    SELECT a.started_at, lag(a.finished_at) OVER line AS before, row_number() OVER line AS place
    FROM jobs_attempt a JOIN jobs_job j ON j.id = a.job_id WHERE batch = 'line' WINDOW line AS (ORDER BY a.started_at)) ends
WHERE place > 1
"""


def measure(*, short: bool) -> Report:
    """Single jobs with pauses between them; then a line of jobs of 20 ms on one slot."""
    singles, line = (5, 20) if short else (60, 300)
    report = Report(name="latency")
    with Stack(worker_processes=2, slots=4, JOBSITE_TOOLS="benchmarks.tools") as stack:
        _run(stack, "singles", singles)
        report.figures |= quantiles("idle_submit_to_start", [float(str(ms)) for (ms,) in stack.query(TO_START)])
    with Stack(worker_processes=2, slots=1, JOBSITE_TOOLS="benchmarks.tools") as stack:
        _run(stack, "line", line)
        report.figures |= quantiles("end_to_next_start", [float(str(ms)) for (ms,) in stack.query(BETWEEN)])
    report.goals = [
        Goal(figure="idle_submit_to_start_p50_ms", at_most=30),
        Goal(figure="end_to_next_start_p50_ms", at_most=20),
        Goal(figure="end_to_next_start_p95_ms", at_most=60),
    ]
    return report


def _run(stack: Stack, how: str, count: int) -> None:
    env = stack.env | {"DJANGO_SETTINGS_MODULE": "jobsite.settings"}
    command = [sys.executable, "-m", "benchmarks.latency", how, str(count)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])


def _inside(how: str, count: int) -> None:
    """In a process with Django set up for the stack."""
    import time  # noqa: PLC0415

    import django  # noqa: PLC0415

    django.setup()
    from jobs import lifecycle  # noqa: PLC0415
    from jobs.models import Job  # noqa: PLC0415

    def submit(batch: str, number: int) -> list[str]:
        wanted = lifecycle.Submission(tool="bench.nap", params={"seconds": 0.02}, batch=batch)
        return [job.id for job in lifecycle.submit_many([wanted] * number, by="bench")]

    def wait(ids: list[str]) -> None:
        until = time.monotonic() + 300
        while Job.objects.filter(pk__in=ids, finished_at=None).exists():
            if time.monotonic() > until:
                raise TimeoutError("the jobs did not finish within 300 s")
            time.sleep(0.02)

    wait(submit("warm", 8))
    if how == "line":
        wait(submit("line", count))
        return
    for _ in range(count):
        # Children linger at the door for a moment after a job; idle is when they are gone.
        time.sleep(random.uniform(0.4, 0.9))  # noqa: S311
        wait(submit("idle", 1))


if __name__ == "__main__":
    _inside(sys.argv[1], int(sys.argv[2]))
