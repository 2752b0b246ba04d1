"""Fill an empty database with jobs as if they had run for a month: `python -m benchmarks.fill 1000000` (DATABASE_URL).

Jobs, attempts, events and metrics are written as rows that the verbs could have made, by statements of the database itself, because
a million jobs through the verbs would take an hour. The kept figures are then counted by the same code as always.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django

if __name__ == "__main__":
    django.setup()

from django.db import connection, models
from django.db.backends.utils import CursorWrapper
from django.db.models import Max
from django.db.models.functions import Now

from jobs import configuration, rollup, tokens
from jobs.models import Attempt, Event, Job, JobMetrics, RollupMark, Worker

CHUNK = 100_000
# Days that are rolled up: what the week's charts are drawn from.
COUNTED = 8
# Of a thousand: completed, failed, cancelled; what is left is pending, and RUNNING of all run.
COMPLETED, FAILED, CANCELLED = 930, 40, 10
RUNNING = 40
TOOLS = 24
MESSAGES = 40
TOKENS = 60

# One numbered row a job. `i` spreads everything; the newest job is the last.
_BASE = f"""
base AS (
    SELECT i, 'job-' || lpad(i::text, 8, '0') AS id,
        'tool.' || chr(97 + (h %% {TOOLS})::int) AS tool,
        (ARRAY['decomposition', 'execution', 'validation', 'analysis', 'codemap', 'context_enrichment'])[1 + h %% 6] AS operation,
        (ARRAY['low', 'medium', 'medium', 'medium', 'high', 'critical'])[1 + (h / 7) %% 6] AS priority,
        'PRJ-' || lpad(((h / 11) %% 60)::text, 3, '0') AS project,
        CASE WHEN (h / 13) %% 3 = 0 THEN 'batch-' || i / 500 ELSE '' END AS batch,
        CASE WHEN i > %(jobs)s - {RUNNING} THEN 'running'
            WHEN (h / 17) %% 1000 < {COMPLETED} THEN 'completed'
            WHEN (h / 17) %% 1000 < {COMPLETED + FAILED} THEN 'failed'
            WHEN (h / 17) %% 1000 < {COMPLETED + FAILED + CANCELLED} THEN 'cancelled' ELSE 'pending' END AS status,
        1 + (h / 23) %% 60 AS waited, 0.2 + ((h / 29) %% 1000) * ((h / 31) %% 100) / 1000.0 AS took,
        now() - make_interval(secs => 30 * 86400.0 * (%(jobs)s - i) / %(jobs)s + 120) AS created
    FROM (SELECT i, abs(hashint4(i))::bigint * 7919 AS h FROM generate_series(%(first)s::int, %(last)s::int) AS i) n
), jobs AS (
    SELECT *, created + make_interval(secs => waited) AS started,
        created + make_interval(secs => waited + took) AS ended,
        status IN ('completed', 'failed', 'cancelled') AS final, status NOT IN ('pending') AS tried,
        CASE status WHEN 'completed' THEN 'succeeded' ELSE status END AS state
    FROM base
)"""  # noqa: S608  (numbers of this module)

_JOB = {
    "id": "id",
    "kind": "'task'",
    "tool": "tool",
    "params": "jsonb_build_object('path', '/srv/data/' || i || '.csv', 'depth', i %% 7)",
    "status": "status",
    "gate": "CASE WHEN status = 'pending' AND i %% 3 = 0 THEN 'paused' ELSE 'open' END",
    "gate_since": "created",
    "reason": f"CASE status WHEN 'failed' THEN 'ValueError: row ' || i || ' has no column ' || i %% {MESSAGES} ELSE '' END",
    "attempt_count": "CASE WHEN tried THEN 1 ELSE 0 END",
    "error_fingerprint": f"CASE status WHEN 'failed' THEN lpad((i %% {MESSAGES})::text, 16, '0') ELSE '' END",
    "operation": "operation",
    "priority": "priority",
    "rank": "(EXTRACT(EPOCH FROM created) * 1000000)::bigint",
    "memory_mb": "32 * (1 + i %% 8)",
    "cpu_weight": "1",
    "timeout_ms": "300000",
    "max_retries": "3",
    "retry_first_ms": "1000",
    "retry_factor": "2",
    "retry_cap_ms": "300000",
    "project": "project",
    "batch": "batch",
    "has_dependents": "batch <> ''",
    "submitted_by": "'fill'",
    "progress": "CASE status WHEN 'completed' THEN 100 WHEN 'pending' THEN 0 ELSE i %% 100 END",
    "message": "CASE WHEN tried THEN 'part ' || i %% 90 || ' of 90' ELSE '' END",
    "stage": "CASE WHEN tried THEN (ARRAY['read', 'parse', 'write'])[1 + i %% 3] ELSE '' END",
    "diagnostics": "jsonb_build_array('opened', 'read ' || i || ' rows')",
    "result": "CASE status WHEN 'completed' THEN jsonb_build_object('isError', FALSE, 'content', '[]'::jsonb) END",
    "created_at": "created",
    "updated_at": "created",
    "started_at": "CASE WHEN tried THEN started END",
    "finished_at": "CASE WHEN final THEN ended END",
    # The n-th job's attempt has number n, so that rows need no second pass.
    "current_attempt": "CASE status WHEN 'running' THEN i END",
}
_ATTEMPT = {
    "id": "i",
    "job": "id",
    "number": "1",
    "state": "state",
    "queue": "'default'",
    "memory_mb": "32 * (1 + i %% 8)",
    "cpu_weight": "1",
    "timeout_ms": "300000",
    "ready_at": "created",
    "admitted_at": "started",
    "started_at": "started",
    "lease_until": "CASE status WHEN 'running' THEN now() + interval '1 day' END",
    "finished_at": "CASE WHEN final THEN ended END",
    "worker": "'host-' || i %% 8 || ':' || 100 + i %% 8",
    "error_class": "CASE status WHEN 'failed' THEN (ARRAY['ValueError', 'TimeoutError', 'KeyError'])[1 + i %% 3] ELSE '' END",
    "error_category": "CASE status WHEN 'failed' THEN 'permanent' ELSE '' END",
    "error_message": f"CASE status WHEN 'failed' THEN 'row ' || i || ' has no column ' || i %% {MESSAGES} ELSE '' END",
    "error_fingerprint": f"CASE status WHEN 'failed' THEN lpad((i %% {MESSAGES})::text, 16, '0') ELSE '' END",
    "error_place": f"CASE status WHEN 'failed' THEN 'shop.load:part_' || i %% {MESSAGES} ELSE '' END",
    "peak_memory_mb": "10 + i %% 200",
    "cpu_percent": "i %% 100",
}
_METRICS = {
    "job": "id",
    "start_time": "started",
    "end_time": "ended",
    "duration_ms": "(took * 1000)::bigint",
    "peak_memory_mb": "10 + i %% 200",
    "average_cpu": "i %% 100",
    "performance_score": "60 + i %% 41",
}
_EVENT = {"job": "id", "attempt": "attempt", "verb": "verb", "before": "before", "after": "after", "actor": "'fill'", "at": "at"}
_MOVES = """(
    SELECT id, i, n, verb, before, after, at, CASE WHEN n > 1 THEN i END AS attempt FROM jobs CROSS JOIN LATERAL (VALUES
        (1, 'submit', '', 'pending', created, TRUE), (2, 'admit', 'pending', 'pending', started, tried),
        (3, 'start', 'pending', 'running', started, tried),
        (4, CASE status WHEN 'completed' THEN 'finish' WHEN 'failed' THEN 'fail' ELSE 'cancel' END, 'running', status, ended, final)
    ) m(n, verb, before, after, at, happened) WHERE happened ORDER BY at, n) e"""


def fill(number: int, say: Callable[[str], None]) -> None:
    """Raises `RuntimeError` where there are jobs already."""
    if Job.objects.exists():
        raise RuntimeError("this database has jobs already; fill an empty one")
    configuration.row()
    with connection.cursor() as cursor:
        # Neither foreign keys nor the tally are looked at row by row; the tally is counted at the end.
        for setting in ("session_replication_role = replica", "synchronous_commit = off", "work_mem = '256MB'"):
            cursor.execute(f"SET {setting}")
        # An index made at the end costs a third of one that grows with the rows.
        indexes = _dropped(cursor)
        for first in range(1, number + 1, CHUNK):
            params = {"jobs": number, "first": first, "last": min(first + CHUNK - 1, number)}
            cursor.execute(_insert(Job, _JOB, "jobs"), params)
            cursor.execute(_insert(Attempt, _ATTEMPT, "jobs WHERE tried"), params)
            cursor.execute(_insert(JobMetrics, _METRICS, "jobs WHERE status IN ('completed', 'failed')"), params)
            cursor.execute(_insert(Event, _EVENT, _MOVES), params)
            say(f"{params['last']:,} jobs")
        cursor.execute("RESET session_replication_role")
        for index in indexes:
            cursor.execute(index)
        say("indexed")
        for statement in _AFTER:
            cursor.execute(statement, {"jobs": number} if "%(jobs)s" in statement else None)
        cursor.execute("VACUUM ANALYZE")
    _workers()
    for n in range(TOKENS):
        tokens.make(f"program-{n}", by="fill")
    say("counting events")
    _figures()
    say("done")


_INDEXES = """
SELECT i.indexname, i.indexdef FROM pg_indexes i WHERE i.tablename IN ('jobs_job', 'jobs_attempt', 'jobs_event', 'jobs_jobmetrics')
AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexname::regclass)
"""


def _dropped(cursor: CursorWrapper) -> list[str]:
    """Drop every index that no constraint needs; how to make them again."""
    cursor.execute(_INDEXES)
    found = cursor.fetchall()
    for name, _ in found:
        cursor.execute(f'DROP INDEX "{name}"')
    return [definition for _, definition in found]


def _insert(model: type[models.Model], columns: dict[str, str], source: str) -> str:
    """Every column of the model: as given here, or with the model's own default; so that a new column needs no change here."""
    named: dict[str, str] = {}
    for field in model._meta.concrete_fields:
        if field.name in columns:
            named[field.column] = columns[field.name]
        elif not field.primary_key and field.has_default():
            named[field.column] = _literal(field.get_default(), field)
    return f"WITH {_BASE} INSERT INTO {model._meta.db_table} ({', '.join(named)}) SELECT {', '.join(named.values())} FROM {source}"  # noqa: S608


def _literal(value: Any, field: models.Field[Any, Any]) -> str:
    if isinstance(field, models.JSONField):
        return "'{}'::jsonb" if value == {} else "'[]'::jsonb" if value == [] else "NULL"
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


_AFTER = (
    """
    INSERT INTO jobs_tally (status, gate, tool, operation, priority, project, kept, n)
    SELECT status, CASE status WHEN 'pending' THEN gate ELSE '' END, tool, operation, priority, project, TRUE, count(*)
    FROM jobs_job GROUP BY 1, 2, 3, 4, 5, 6
    """,
    "SELECT setval(pg_get_serial_sequence('jobs_attempt', 'id'), %(jobs)s + 1)",
    """
    INSERT INTO jobs_queuesample (at, samples, ready, held, running, memory_mb, cpu_weight, disk_mb, workers, slots,
        max_memory_mb, max_cpu_weight, max_disk_mb)
    SELECT date_trunc('minute', now()) - make_interval(mins => m), 6, 6 * (400 + (300 * sin(m / 90.0))::int), 360,
        6 * (20 + m % 20), 6 * (900 + m % 900), 6 * (3 + m % 5), 0, 48, 40, 2048, 8, 1024
    FROM generate_series(0, 7 * 1440) AS m
    """,
    # A tree in each batch, of what ended in time for what came later.
    """
    INSERT INTO jobs_dependency (job_id, parent_id, position, met_at)
    WITH placed AS (
        SELECT id, batch, status, started_at, finished_at, row_number() OVER (PARTITION BY batch ORDER BY created_at, id) AS place
        FROM jobs_job WHERE batch <> ''
    )
    SELECT child.id, parent.id, 0, parent.finished_at FROM placed child
    JOIN placed parent ON parent.batch = child.batch AND parent.place = child.place / 3
    WHERE parent.status = 'completed' AND parent.finished_at < child.started_at
    """,
    """
    INSERT INTO jobs_auditentry (at, actor, action, subject, origin, before, after)
    SELECT now() - make_interval(secs => 26 * n), 'person-' || n %% 30, (ARRAY['retry', 'cancel', 'submit'])[1 + n %% 3],
        'job job-' || lpad((10 * n)::text, 8, '0'), '192.0.2.' || n %% 200, '{}', '{}'
    FROM generate_series(1, %(jobs)s / 10) AS n
    """,
)


def _workers() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now = cursor.fetchone()[0]
    Worker.objects.bulk_create(
        Worker(name=f"host-{n}:{100 + n}", host=f"host-{n}", pid=100 + n, slots=6, queues=["default"], started_at=now, beat_at=now)
        for n in range(8)
    )


def _figures() -> None:
    """Of the last days, by the code that always does it, in larger passes. Older ones would take longer than all the rest."""
    newest = Event.objects.order_by("-id").values_list("id", flat=True)[0]
    older = Event.objects.filter(at__lt=Now() - timedelta(days=COUNTED)).aggregate(last=Max("id"))["last"] or 0
    RollupMark.objects.update_or_create(id=1, defaults={"counted": older, "fence": older})
    while not RollupMark.objects.filter(counted__gte=newest).exists():
        if not rollup.roll_up(most=100_000):
            time.sleep(0.05)


if __name__ == "__main__":
    began = time.monotonic()
    fill(int(sys.argv[1]), lambda text: print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True))
