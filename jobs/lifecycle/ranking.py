"""Verbs that give jobs another place in line: reprioritise one, rerank all when the weights of priorities have changed."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from jobs import configuration, events
from jobs.lifecycle.holding import as_it_is
from jobs.lifecycle.rows import RETURNED, fetch, jobs_from
from jobs.limits import Limits
from jobs.models import Job
from jobs.states import Priority

# Jobs that one call ranks anew; meanwhile nothing is admitted. Of 2,000 the longest took 0.2 s.
BATCH = 500
# The rank of the job `j` by its own row: what limits.Limits.head_start_us says, with the values of `head_starts`.
RANK = """((EXTRACT(EPOCH FROM j.created_at) * 1000000)::bigint - (CASE WHEN j.urgency IS NULL
    THEN CASE j.priority WHEN 'low' THEN %(low)s WHEN 'medium' THEN %(medium)s WHEN 'high' THEN %(high)s ELSE %(critical)s END
    ELSE round(%(medium)s + (CASE WHEN j.urgency < 0 THEN %(medium)s - %(low)s ELSE %(critical)s - %(medium)s END)
        * j.urgency / 100.0) END)::bigint)"""


def head_starts(limits: Limits) -> dict[str, Any]:
    """What RANK needs: microseconds by priority."""
    return {priority.value: limits.head_start_us(priority) for priority in Priority}


_REPRIORITISE = f"""
WITH moved AS (
    UPDATE jobs_job j SET priority = %(priority)s, urgency = NULL, version = version + 1, updated_at = now(),
        rank = (EXTRACT(EPOCH FROM created_at) * 1000000)::bigint - %(head_start)s
    WHERE id = %(job)s AND status = 'pending' AND priority <> %(priority)s
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'reprioritise', 'pending', 'pending', 'now ' || priority, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def reprioritise(job_id: str, priority: Priority, *, by: str) -> Job:
    """Give a pending job another priority, and with it another place in line. Raises `NotFound` or `IllegalMove`."""
    head_start = configuration.limits().head_start_us(priority)
    with transaction.atomic():
        moved = jobs_from(_REPRIORITISE, {"job": job_id, "priority": priority.value, "head_start": head_start, "by": by})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return moved[0] if moved else as_it_is(job_id, "given another priority")


# The mark in the configuration says how far this has come; it is locked first, as whoever changes the weights locks it. Pending
# jobs are walked by the index job_newest_of_status, oldest first; running ones, few, may come back. SKIP LOCKED, for some client
# may hold a job as long as it likes: the mark then stays at what was skipped. A job that is right already is passed over, so
# that going there again costs little. No Event: nothing happened to a job, and the change of the weights is in the audit log.
_RERANK = f"""
WITH mark AS MATERIALIZED (
    SELECT ranked_to FROM jobs_queueconfig WHERE version = %(version)s AND ranked_to IS NOT NULL FOR NO KEY UPDATE
), wrong AS MATERIALIZED (
    (SELECT j.id, j.created_at FROM jobs_job j
    WHERE j.status = 'pending' AND j.created_at >= (SELECT ranked_to FROM mark) AND j.rank <> {RANK}
    ORDER BY j.created_at, j.id LIMIT {BATCH})
    UNION ALL
    SELECT j.id, j.created_at FROM jobs_job j
    WHERE j.status = 'running' AND (SELECT ranked_to FROM mark) IS NOT NULL AND j.rank <> {RANK}
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs_job j JOIN wrong ON wrong.id = j.id WHERE j.status IN ('pending', 'running')
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
), moved AS (
    UPDATE jobs_job j SET rank = {RANK} FROM locked WHERE j.id = locked.id RETURNING j.id
), noted AS (
    UPDATE jobs_queueconfig SET ranked_to = (
        SELECT COALESCE(min(created_at) FILTER (WHERE id NOT IN (SELECT id FROM locked)), max(created_at)) FROM wrong)
    WHERE ranked_to = (SELECT ranked_to FROM mark)
)
SELECT count(*) FROM moved
"""


def rerank() -> int:
    """Rank the next pending jobs by the weights that hold now; how many were moved. It is over when the mark is gone."""
    config = configuration.row()
    with transaction.atomic():
        ((moved,),) = fetch(_RERANK, head_starts(configuration.limits()) | {"version": config.version})
    return int(moved)
