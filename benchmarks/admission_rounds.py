"""Rounds of the dispatcher over a long backlog: `python -m benchmarks.admission_rounds PENDING ROUNDS`."""

from __future__ import annotations

import json
import sys
import time

import django

django.setup()

from django.db import connection  # noqa: E402  (needs Django set up)

from jobs import admission, configuration, dispatcher, lifecycle, steering  # noqa: E402
from jobs.limits import GroupKind  # noqa: E402

# A fifth is of a paused tool; where `front` is true, the fifth that is first in line.
FILL = """
INSERT INTO jobs_job (id, kind, tool, params, status, gate, gate_since, reason, cancel_reason, attempt_count, retry_count,
    loss_count, version, operation, priority, rank, queue, memory_mb, cpu_weight, disk_mb, timeout_ms, max_retries, retry_first_ms,
    retry_factor, retry_cap_ms, task_id, project, batch, concurrency_key, concurrency_limit, dependency_policy, fingerprint,
    metadata,
    submitted_by, progress, message, stage, progress_tick, diagnostics, created_at, updated_at, has_dependents, unsettled, looks)
SELECT 'bench-' || i, 'task', CASE WHEN blocked THEN 'bench.blocked' ELSE 'bench.open' || i %% 20 END, '{}', 'pending', 'open',
    now(), '', '', 0, 0, 0, 1, 'execution', (ARRAY['low', 'medium', 'high', 'critical'])[1 + i %% 4],
    (CASE WHEN %(front)s THEN i ELSE hashint4(i) END) + (3 - i %% 4) * 1000, 'default',
    (ARRAY[0, 64, 256, 1024])[1 + i %% 4], i %% 3, 0,
    300000, 3, 1000, 2, 300000, '', 'project' || i %% 50, '', CASE WHEN i %% 10 = 1 THEN 'key' || i %% 1000 ELSE '' END,
    CASE WHEN i %% 10 = 1 THEN 1 ELSE 0 END, 'fail', '', '{}', 'bench', 0, '', '', 0, '[]', now(), now(), FALSE, FALSE, 0
FROM (SELECT i, CASE WHEN %(front)s THEN i < %(pending)s / 5 ELSE i %% 5 = 0 END AS blocked
    FROM generate_series(1, %(pending)s) i) made
"""


def rounds(pending: int, number: int, *, front: bool) -> dict[str, float]:
    """Milliseconds of a round that admits up to eight jobs; each is followed by taking back what it admitted."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job CASCADE")
        cursor.execute(FILL, {"pending": pending, "front": front})
        cursor.execute("ANALYZE jobs_job")
    seen, admitted = [], 0
    for _ in range(number):
        began = time.perf_counter()
        done = dispatcher.one_round()
        seen.append((time.perf_counter() - began) * 1000)
        admitted += done.admitted
        lifecycle.withdraw(by="bench", reason="the next round shall have room")
    if not admitted:
        raise RuntimeError("no round admitted anything")
    seen.sort()
    return {"p50_ms": seen[len(seen) // 2], "p99_ms": seen[min(len(seen) - 1, round(len(seen) * 0.99))]}


def critical_is_next(pending: int) -> bool:
    """Is a critical job that comes behind so many low ones the first to be chosen?"""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE jobs_job CASCADE")
        cursor.execute(FILL, {"pending": pending, "front": False})
        cursor.execute(
            "UPDATE jobs_job SET priority = 'low', tool = 'codemap',"
            " rank = (EXTRACT(EPOCH FROM created_at) * 1000000)::bigint - %s",
            [configuration.limits().head_start_us("low")],
        )
        cursor.execute("ANALYZE jobs_job")
    job = lifecycle.submit(lifecycle.Submission(tool="codemap", params={"package": "email"}, priority="critical"), by="bench")
    now = admission.outlook()
    return admission.next_jobs(configuration.limits_at(now.config), now).ids[0] == job.id


def reranked() -> dict[str, float]:
    """Other weights while all of these wait: seconds until every rank is by them, and the longest of the rounds meanwhile."""
    row = configuration.row()
    steering.configure({"priority_weights": row.priority_weights | {"low": 3.5}}, version=row.version, by="bench")
    began, seen = time.perf_counter(), [0.0]
    while configuration.row().ranked_to is not None:
        start = time.perf_counter()
        dispatcher.one_round()
        seen.append((time.perf_counter() - start) * 1000)
        lifecycle.withdraw(by="bench", reason="the next round shall have room")
    return {"seconds": time.perf_counter() - began, "longest_round_ms": max(seen)}


if __name__ == "__main__":
    wanted, times = map(int, sys.argv[1:])
    configuration.row()
    steering.configure({"max_concurrent_jobs": 8}, version=1, by="bench")
    steering.pause(GroupKind.TOOL, "bench.blocked", by="bench")
    mixed = rounds(wanted, times, front=False)
    worst = rounds(wanted, times, front=True)
    critical = critical_is_next(wanted)
    print(json.dumps({"mixed": mixed, "worst": worst, "critical": critical, "reranked": reranked()}))
