"""Run a function with Django set up for a stack's database: `python -m benchmarks.django_jobs NOOPS` submits and waits."""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from jobs import lifecycle  # noqa: E402  (needs Django set up)
from jobs.models import Attempt, Job  # noqa: E402

# So many in one request: the first ones run while the next are submitted.
CHUNK = 100


def submit_and_wait(tool: str, params: dict[str, object], count: int) -> dict[str, object]:
    """Submit `count` jobs: how long it took, how long until the last was done, and its part from the first start (database)."""
    began = time.perf_counter()
    ids = []
    for first in range(0, count, CHUNK):
        wanted = [lifecycle.Submission(tool=tool, params=params, batch="bench") for _ in range(first, min(count, first + CHUNK))]
        ids += [job.id for job in lifecycle.submit_many(wanted, by="bench")]
    submitting = time.perf_counter() - began
    until = time.monotonic() + 300
    # Of the newest first, which are the last to end: the look must not cost the measured database anything.
    left = ids[::-1]
    while left:
        if time.monotonic() > until:
            raise TimeoutError("the jobs did not finish within 300 s")
        if Job.objects.filter(pk=left[0], finished_at=None).exists():
            time.sleep(0.005)
        else:
            left = list(Job.objects.filter(pk__in=left, finished_at=None).values_list("pk", flat=True))
    whole = time.perf_counter() - began
    times = Attempt.objects.filter(job__in=ids).values_list("started_at", "finished_at")
    last, first = max(end for _, end in times), min(start for start, _ in times)
    done = Job.objects.filter(pk__in=ids, status="completed")
    return {
        "submit_s": submitting,
        "whole_s": whole,
        "run_s": (last - first).total_seconds(),
        "completed": done.count(),
        "results": list(done.values_list("result__structuredContent__result", flat=True)[:3]),
    }


if __name__ == "__main__":
    name, params, number = sys.argv[1:]
    print(json.dumps(submit_and_wait(name, json.loads(params), int(number))))
