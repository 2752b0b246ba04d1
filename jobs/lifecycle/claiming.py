"""Verbs of runners outside: claim admitted attempts, begin a standard job, and find the run that an attempt's token stands for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jobs import events
from jobs.lifecycle.admitting import STARTED_PARTS, Child, Running, running_of
from jobs.lifecycle.rows import COLUMNS, RETURNED, fetch
from jobs.tools import EXTERNAL, STANDARD

# As start_next, for several at once and by tool: the jobs are locked first, and who is locked by another claim is passed over.
_CLAIM = f"""
WITH ready AS (
    SELECT a.id FROM jobs_attempt a
    JOIN jobs_job j ON j.id = job_id AND current_attempt_id = a.id AND status = 'pending' AND tool = ANY(%(tools)s)
        AND (%(all_projects)s OR project = ANY(%(projects)s))
    WHERE a.queue = '{EXTERNAL}' AND state = 'admitted'
    ORDER BY a.id LIMIT %(most)s
    FOR NO KEY UPDATE OF j SKIP LOCKED
), taken AS (
    UPDATE jobs_attempt a SET state = 'running', started_at = now(), worker = %(worker)s, pid = %(pid)s,
        lease_until = now() + make_interval(secs => %(lease)s)
    FROM ready WHERE a.id = ready.id AND a.state = 'admitted'
    RETURNING a.job_id
), {STARTED_PARTS}
SELECT {COLUMNS}, params FROM started ORDER BY current_attempt_id
"""


def claim(tools: Collection[str], child: Child, *, most: int, projects: Collection[str] | None = None) -> list[Running]:
    """Begin up to `most` admitted attempts of external tools, in the order of admission; of these projects only, if given."""
    params = {"tools": list(tools), "most": most, "all_projects": projects is None, "projects": list(projects or ())}
    return _begun(_CLAIM, params | child.columns())


# A standard job is not scheduled: its attempt begins when the tool says so.
_BEGIN = f"""
WITH locked AS (
    SELECT id, attempt_count, timeout_ms, memory_mb, cpu_weight, disk_mb, concurrency_key FROM jobs_job
    WHERE id = %(job)s AND kind = 'standard' AND status = 'pending' AND gate = 'open' FOR NO KEY UPDATE
), made AS (
    INSERT INTO jobs_attempt (job_id, number, state, queue, memory_mb, cpu_weight, disk_mb, timeout_ms, admitted_at, rings,
        started_at, lease_until, worker, pid, error_class, error_category, error_message, traceback, peak_memory_mb, cpu_percent,
        concurrency_key, rated)
    SELECT id, attempt_count + 1, 'running', '{STANDARD}', memory_mb, cpu_weight, disk_mb, timeout_ms, now(), 0,
        now(), now() + make_interval(secs => %(lease)s), %(worker)s, %(pid)s, '', '', '', '', 0, 0, concurrency_key, FALSE
    FROM locked RETURNING id, job_id
), started AS (
    UPDATE jobs_job j SET status = 'running', reason = '', started_at = now(), updated_at = now(), version = version + 1,
        looks = 0, progress = 0, message = '', stage = '', sub_progress = NULL, progress_tick = 0,
        current_attempt_id = made.id, attempt_count = attempt_count + 1
    FROM made WHERE j.id = made.job_id
    RETURNING j.*
), told AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, current_attempt_id, 'start', 'pending', 'running', '', %(worker)s, now() FROM started
)
SELECT {{COLUMNS}}, params FROM started
""".replace("{COLUMNS}", COLUMNS)


def begin(job_id: str, child: Child) -> Running | None:
    """Begin a standard job. None: it is not pending, or waits for others or for its time."""
    begun = _begun(_BEGIN, {"job": job_id, **child.columns()})
    return begun[0] if begun else None


def _begun(sql: str, params: dict[str, Any]) -> list[Running]:
    runs = []
    for *columns, job_params in fetch(sql, params):
        runs.append(running_of(columns, job_params))
    events.announce(events.delta_of(run.job) for run in runs)
    return runs


_HELD = f"""
SELECT {RETURNED}, j.params FROM jobs_job j JOIN jobs_attempt a ON a.id = j.current_attempt_id
WHERE a.id = %(attempt)s AND a.state = 'running' AND j.status = 'running' AND a.queue IN ('{EXTERNAL}', '{STANDARD}')
"""


def held(attempt_id: int) -> Running | None:
    """The run of an attempt that is its job's current one. None: it is over."""
    rows = fetch(_HELD, {"attempt": attempt_id})
    return running_of(rows[0][:-1], rows[0][-1]) if rows else None
