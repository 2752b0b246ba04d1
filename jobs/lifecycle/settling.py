"""Verbs of the dispatcher's rounds: what time and finished parents change for jobs that wait."""

from __future__ import annotations

from django.db import transaction

from jobs import events
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import RETURNED, execute, jobs_from
from jobs.models import Job

BATCH = 1000

_OPEN_DUE = f"""
WITH due AS MATERIALIZED (
    SELECT id FROM jobs_job WHERE status = 'pending' AND gate = 'time' AND run_at <= now()
    ORDER BY run_at LIMIT {BATCH} FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jobs_job j SET gate = 'open', gate_since = now(), updated_at = now(), version = version + 1
FROM due WHERE j.id = due.id
RETURNING {RETURNED}
"""


def open_due() -> int:
    """Let jobs in whose time has come."""
    with transaction.atomic():
        moved = jobs_from(_OPEN_DUE, {})
        events.announce(map(events.delta_of, moved))
    return len(moved)


_UNSETTLED = f"""
SELECT id, status FROM jobs_job WHERE unsettled ORDER BY id LIMIT {BATCH} FOR NO KEY UPDATE SKIP LOCKED
"""
_MEET = """
UPDATE jobs_dependency SET met_at = now() WHERE parent_id = ANY(%(parents)s) AND met_at IS NULL RETURNING job_id
"""
# A job that runs anyway no longer waits for this parent; for others it may wait still.
_MEET_ANYWAY = """
UPDATE jobs_dependency d SET met_at = now() FROM jobs_job j
WHERE d.parent_id = ANY(%(parents)s) AND d.met_at IS NULL AND j.id = d.job_id AND j.dependency_policy = 'run_anyway'
RETURNING d.job_id
"""
# SKIP LOCKED throughout: settling never waits, so it cannot deadlock with a submit that holds some of these rows; what it
# skips stays unsettled and comes up in the next round.
_UNBLOCK = f"""
WITH free AS MATERIALIZED (
    SELECT j.id FROM jobs_job j
    WHERE j.id IN (SELECT job_id FROM jobs_dependency WHERE parent_id = ANY(%(parents)s))
      AND j.status = 'pending' AND j.gate = 'dependencies'
      AND NOT EXISTS (SELECT 1 FROM jobs_dependency d WHERE d.job_id = j.id AND d.met_at IS NULL)
    ORDER BY j.id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jobs_job j SET gate = CASE WHEN run_at > now() THEN 'time' ELSE 'open' END, gate_since = now(), updated_at = now(),
    version = version + 1
FROM free WHERE j.id = free.id
RETURNING {RETURNED}
"""
# What a job that is cancelled has in place of a result is the reason, as with any cancel.
_END_DEPENDENTS = f"""
WITH doomed AS MATERIALIZED (
    SELECT j.id, (
        SELECT p.id || ' ' || p.status FROM jobs_dependency d JOIN jobs_job p ON p.id = d.parent_id
        WHERE d.job_id = j.id AND d.met_at IS NULL AND p.id = ANY(%(parents)s) ORDER BY d.position LIMIT 1) AS culprit
    FROM jobs_job j
    WHERE j.id IN (SELECT job_id FROM jobs_dependency WHERE parent_id = ANY(%(parents)s) AND met_at IS NULL)
      AND j.status = 'pending' AND j.gate = 'dependencies'
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
), moved AS (
    UPDATE jobs_job j SET status = CASE dependency_policy WHEN 'cancel' THEN 'cancelled' ELSE 'failed' END,
        reason = 'dependency ' || doomed.culprit, finished_at = now(), updated_at = now(),
        error_class = CASE dependency_policy WHEN 'cancel' THEN error_class ELSE 'DependencyFailed' END,
        error_category = CASE dependency_policy WHEN 'cancel' THEN error_category ELSE 'dependency' END,
        version = version + 1, looks = 0, unsettled = has_dependents, result = CASE dependency_policy WHEN 'cancel' THEN NULL ELSE
            jsonb_build_object('isError', TRUE, 'content',
                jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'dependency ' || doomed.culprit))) END
    FROM doomed WHERE j.id = doomed.id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, NULL, CASE status WHEN 'failed' THEN 'fail' ELSE 'cancel' END, 'pending', status, reason, 'dispatcher', now()
    FROM moved
)
SELECT * FROM moved
"""
# A parent is settled when no dependent is left that it should have moved.
_SETTLED = """
UPDATE jobs_job p SET unsettled = FALSE WHERE p.id = ANY(%(parents)s) AND NOT EXISTS (
    SELECT 1 FROM jobs_dependency d JOIN jobs_job j ON j.id = d.job_id
    WHERE d.parent_id = p.id AND j.status = 'pending' AND j.gate = 'dependencies'
      AND (d.met_at IS NULL OR NOT EXISTS (
          SELECT 1 FROM jobs_dependency other WHERE other.job_id = j.id AND other.met_at IS NULL)))
RETURNING p.id
"""


def settle() -> int:
    """Tell the dependents of finished jobs: unblock those of completed ones; those of the others follow their policy.

    Returns how many dependents moved. Ending goes down one level a call; call again until it returns 0.
    """
    with transaction.atomic():
        parents = execute(_UNSETTLED, {})
        if not parents:
            return 0
        completed = [row["id"] for row in parents if row["status"] == "completed"]
        ended_badly = [row["id"] for row in parents if row["status"] in ("failed", "cancelled")]
        moved: list[Job] = []
        if completed:
            execute(_MEET, {"parents": completed})
        if ended_badly:
            execute(_MEET_ANYWAY, {"parents": ended_badly})
            moved += jobs_from(_END_DEPENDENTS, {"parents": ended_badly})
        moved += jobs_from(_UNBLOCK, {"parents": completed + ended_badly})
        execute(_SETTLED, {"parents": [row["id"] for row in parents]})
        failpoint("settle.before_commit")
        events.announce(map(events.delta_of, moved))
    return len(moved)
