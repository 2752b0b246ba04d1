"""Rounds of the dispatcher beside the removal of old jobs: `python -m benchmarks.retention_rounds JOBS`."""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from django.conf import settings  # noqa: E402  (needs Django set up)
from django.db import connection  # noqa: E402

from benchmarks.admission_rounds import FILL  # noqa: E402
from jobs import configuration, dispatcher, lifecycle, retention, steering  # noqa: E402
from jobs.chores import Chore  # noqa: E402
from jobs.models import Job  # noqa: E402

# Each job with an attempt, four events and its metrics, finished two hours ago.
AGE = """
UPDATE jobs_job SET status = 'completed', finished_at = now() - interval '2 hours', attempt_count = 1;
INSERT INTO jobs_attempt (job_id, number, state, queue, memory_mb, cpu_weight, disk_mb, timeout_ms, admitted_at, started_at,
    finished_at, rings, worker, error_class, error_category, error_message, traceback, peak_memory_mb, cpu_percent, concurrency_key,
    rated)
SELECT id, 1, 'succeeded', 'default', 0, 0, 0, 1000, now(), now(), now(), 1, 'w', '', '', '', '', 0, 0, '', FALSE FROM jobs_job;
INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
SELECT id, 'start', '', 'running', '', '', now() FROM jobs_job CROSS JOIN generate_series(1, 4);
INSERT INTO jobs_jobmetrics (job_id, start_time, peak_memory_mb, average_cpu, performance_score, error_count, retry_count)
SELECT id, now(), 0, 0, 100, 0, 0 FROM jobs_job;
"""


def fill(old: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"pending": old, "front": False})
        for statement in AGE.split(";")[:-1]:
            cursor.execute(statement)
        # As if the roll-up had seen them all; it is measured elsewhere.
        cursor.execute("INSERT INTO jobs_rollupmark (id, counted, fence, fence_xid) SELECT 1, max(id), max(id), 0 FROM jobs_event")
        cursor.execute("VACUUM ANALYZE")
    lifecycle.submit_many([lifecycle.Submission(tool="codemap", params={"package": "email"}) for _ in range(200)], by="bench")


def one() -> float:
    """Milliseconds of a round that admits eight jobs; what it admitted is taken back."""
    began = time.perf_counter()
    done = dispatcher.one_round()
    took = (time.perf_counter() - began) * 1000
    if not done.admitted:
        raise RuntimeError("a round admitted nothing")
    lifecycle.withdraw(by="bench", reason="the next round shall have room")
    return took


def p99(seen: list[float]) -> float:
    return sorted(seen)[min(len(seen) - 1, round(len(seen) * 0.99))]


if __name__ == "__main__":
    configuration.row()
    steering.configure({"max_concurrent_jobs": 8}, version=1, by="bench")
    fill(int(sys.argv[1]))
    before = [one() for _ in range(100)]
    settings.JOBSITE_CLEANUP = 0.05
    removal = Chore("retention", retention.remove_for_now)
    began = time.monotonic()
    removal.start()
    during = []
    while (left := Job.objects.filter(status="completed").count()) and time.monotonic() - began < 3600:
        during += [one() for _ in range(20)]
    took = time.monotonic() - began
    removal.stop()
    figures = {"removed_per_s": int(sys.argv[1]) / took, "before_p99_ms": p99(before), "during_p99_ms": p99(during), "left": left}
    print(json.dumps(figures | {"rounds_during": len(during)}))
