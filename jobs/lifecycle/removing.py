"""The verb that removes finished jobs for good, with all that is written about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from jobs.lifecycle.rows import execute, fetch

# Old enough, told to all its dependents, none of which is still active, and with every event counted in the roll-up. A job that
# somebody holds (a retry, a submit that names it as a parent) is passed over.
_REMOVABLE = """
SELECT j.id FROM jobs_job j
WHERE j.status IN ('completed', 'failed', 'cancelled') AND j.finished_at < now() - %(older)s::interval AND NOT j.unsettled
  AND NOT EXISTS (SELECT 1 FROM jobs_dependency d JOIN jobs_job c ON c.id = d.job_id
      WHERE d.parent_id = j.id AND c.status IN ('pending', 'running'))
  AND NOT EXISTS (SELECT 1 FROM jobs_event e WHERE e.job_id = j.id AND e.id > %(counted)s)
ORDER BY j.finished_at LIMIT %(most)s FOR UPDATE OF j SKIP LOCKED
"""
# One statement, so it is all or nothing. What people look back at stays: failures are added to their groups, refused writes to the
# mark of the roll-up. Foreign keys are checked at the commit, when all of it is gone.
_REMOVE = """
WITH old AS MATERIALIZED (SELECT unnest(%(ids)s::text[]) AS id
), gone_attempts AS (
    DELETE FROM jobs_attempt a USING old, jobs_job j WHERE a.job_id = old.id AND j.id = old.id
    RETURNING a.error_fingerprint, a.error_class, a.error_category, a.error_message, a.error_place, a.finished_at, a.refused_writes,
        j.tool
), folded AS (
    INSERT INTO jobs_failuregroup AS g (fingerprint, error_class, error_category, message, place, tools, folded, first_seen,
        last_seen, muted_by, resolved_by)
    SELECT error_fingerprint, min(error_class), min(error_category),
        left((array_agg(error_message ORDER BY finished_at DESC))[1], 2000), min(error_place),
        to_jsonb(array_agg(DISTINCT tool)), count(*), min(finished_at), max(finished_at), '', ''
    FROM gone_attempts WHERE error_fingerprint <> '' GROUP BY 1 ORDER BY 1
    ON CONFLICT (fingerprint) DO UPDATE SET folded = g.folded + EXCLUDED.folded, message = EXCLUDED.message,
        first_seen = LEAST(g.first_seen, EXCLUDED.first_seen), last_seen = GREATEST(g.last_seen, EXCLUDED.last_seen),
        tools = (SELECT jsonb_agg(DISTINCT t) FROM jsonb_array_elements(g.tools || EXCLUDED.tools) t)
), late AS (
    UPDATE jobs_rollupmark SET refused = refused + n
    FROM (SELECT sum(refused_writes) AS n FROM gone_attempts) s WHERE n > 0
), gone_dependencies AS (DELETE FROM jobs_dependency USING old WHERE job_id = old.id OR parent_id = old.id
), gone_questions AS (DELETE FROM jobs_askedquestion USING old WHERE job_id = old.id
), gone_keys AS (DELETE FROM jobs_idempotencykey USING old WHERE job_id = old.id
), gone_events AS (DELETE FROM jobs_event USING old WHERE job_id = old.id
), gone_metrics AS (DELETE FROM jobs_jobmetrics USING old WHERE job_id = old.id
)
DELETE FROM jobs_job j USING old WHERE j.id = old.id RETURNING j.id
"""


def lock_removable(*, older_than: timedelta, counted: int, most: int) -> list[str]:
    """Finished jobs that may go, oldest first; locked until the end of the caller's transaction. Events after `counted` stay."""
    return [job for (job,) in fetch(_REMOVABLE, {"older": older_than, "counted": counted, "most": most})]


def remove(ids: Sequence[str]) -> int:
    """Remove these jobs, which the caller has locked with `lock_removable` in the same transaction; returns how many."""
    return len(execute(_REMOVE, {"ids": list(ids)})) if ids else 0
