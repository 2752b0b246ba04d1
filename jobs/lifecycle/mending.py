"""Verbs of the doctor, for rows that contradict each other. Each looks again and does nothing where all is well.

No job that has ended gets another status, result or count.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from jobs import configuration, events
from jobs.lifecycle.holding import withdraw_one
from jobs.lifecycle.locking import lock_with_parents
from jobs.lifecycle.ranking import RANK, head_starts
from jobs.lifecycle.rows import GATE, RETURNED, execute, fetch, jobs_from

ACTOR = "doctor"
_LOCK = "SELECT status FROM jobs_job WHERE id = %(job)s FOR NO KEY UPDATE"

# The locks are held already (a statement of its own, so that this one sees what the lock waited for). The slot of an attempt that
# is not its job's current one is freed; a pointer to what is not alive is cleared, and its job waits again.
_MEND = f"""
WITH job AS (SELECT id, status, current_attempt_id FROM jobs_job WHERE id = %(job)s
), live AS (
    SELECT a.id, a.state FROM jobs_attempt a JOIN job ON job.id = a.job_id WHERE a.state IN ('admitted', 'running')
), broken AS (
    SELECT job.id, job.status, (SELECT id FROM live) AS attempt FROM job
    WHERE (current_attempt_id IS NOT NULL OR EXISTS (SELECT 1 FROM live)) AND NOT EXISTS (
        SELECT 1 FROM live WHERE live.id = current_attempt_id
            AND live.state = CASE job.status WHEN 'running' THEN 'running' ELSE 'admitted' END)
), ended AS (
    UPDATE jobs_attempt a SET state = CASE a.state WHEN 'running' THEN 'lost' ELSE 'cancelled' END, finished_at = now(),
        error_category = CASE a.state WHEN 'running' THEN 'lost' ELSE 'cancelled' END,
        error_message = 'it was not its job''s current attempt'
    FROM broken WHERE a.id = broken.attempt
), moved AS (
    UPDATE jobs_job j SET current_attempt_id = NULL, version = version + 1, updated_at = now(),
        status = CASE j.status WHEN 'running' THEN 'pending' ELSE j.status END,
        gate = CASE WHEN j.status IN ('pending', 'running') THEN {GATE} ELSE gate END
    FROM broken WHERE j.id = broken.id
    RETURNING {RETURNED}, broken.status AS before, broken.attempt
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, attempt, 'mend', before, status, 'job and attempt contradicted each other', '{ACTOR}', now() FROM moved
)
SELECT * FROM moved
"""


def mend(job_id: str) -> bool:
    """Let a job and its attempts say the same again. A process that runs such an attempt is told so at its next beat."""
    with transaction.atomic():
        fetch(_LOCK, {"job": job_id})
        moved = jobs_from(_MEND, {"job": job_id})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return bool(moved)


_REGATE = f"""
WITH moved AS (
    UPDATE jobs_job j SET gate = {GATE}, gate_since = now(), version = version + 1, updated_at = now()
    WHERE id = %(job)s AND status = 'pending' AND gate <> {GATE}
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'mend', 'pending', 'pending', 'its gate is ' || gate, '{ACTOR}', now() FROM moved
)
SELECT * FROM moved
"""


def regate(job_id: str) -> bool:
    """Compute the gate of a pending job anew from its dependencies, questions and time."""
    with transaction.atomic():
        lock_with_parents({job_id})
        withdraw_one(job_id, by=ACTOR, reason="its gate was wrong")
        moved = jobs_from(_REGATE, {"job": job_id})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return bool(moved)


# No move of any of them: the dispatcher's next round settles them, which does nothing twice.
_RESETTLE = """
UPDATE jobs_job p SET has_dependents = TRUE, unsettled = unsettled OR status IN ('completed', 'failed', 'cancelled')
WHERE (p.id = %(job)s OR p.id IN (SELECT parent_id FROM jobs_dependency WHERE job_id = %(job)s AND met_at IS NULL))
    AND EXISTS (SELECT 1 FROM jobs_dependency d WHERE d.parent_id = p.id)
RETURNING p.id
"""


def resettle(job_id: str) -> bool:
    """Let a job, and the parents that it waits for, tell their dependents (again) how they ended."""
    return bool(execute(_RESETTLE, {"job": job_id}))


_RECOUNT = f"""
WITH moved AS (
    UPDATE jobs_job j SET retry_count = %(retry_count)s, loss_count = %(loss_count)s, version = version + 1, updated_at = now(),
        attempt_count = (SELECT COALESCE(max(number), 0) FROM jobs_attempt WHERE job_id = j.id)
    WHERE id = %(job)s AND version = %(version)s AND status IN ('pending', 'running')
    RETURNING {RETURNED}
), held AS (
    UPDATE jobs_attempt a SET memory_mb = j.memory_mb, cpu_weight = j.cpu_weight, disk_mb = j.disk_mb
    FROM moved JOIN jobs_job j ON j.id = moved.id WHERE a.job_id = j.id AND a.state IN ('admitted', 'running')
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'mend', status, status, 'counted anew from its history', '{ACTOR}', now() FROM moved
)
SELECT * FROM moved
"""


def recount(job_id: str, counts: Mapping[str, int], *, version: int) -> bool:
    """Put the counters to what the history says, and what its attempt holds to what the job needs.

    Only if nothing has happened since `version`.
    """
    with transaction.atomic():
        moved = jobs_from(_RECOUNT, {"job": job_id, "version": version, **counts})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return bool(moved)


_PUT_IN_LINE = f"""
WITH moved AS (
    UPDATE jobs_job j SET rank = {RANK}, version = version + 1, updated_at = now()
    WHERE id = %(job)s AND status = 'pending'
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'mend', 'pending', 'pending', 'its place in line', '{ACTOR}', now() FROM moved
)
SELECT * FROM moved
"""


def put_in_line(job_id: str) -> bool:
    """Give a pending job the place in line of its submission and priority."""
    with transaction.atomic():
        moved = jobs_from(_PUT_IN_LINE, head_starts(configuration.limits()) | {"job": job_id})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return bool(moved)


# Children first. Foreign keys allow none of these; a restore by halves, with its triggers off, does.
ORPHANS = (
    "jobs_event.job_id",
    "jobs_jobmetrics.job_id",
    "jobs_askedquestion.job_id",
    "jobs_dependency.job_id",
    "jobs_dependency.parent_id",
    "jobs_attempt.job_id",
)


def _orphaned(reference: str) -> str:
    table, column = reference.split(".")
    return f"{table} o WHERE NOT EXISTS (SELECT 1 FROM jobs_job j WHERE j.id = o.{column})"


def orphans(reference: str) -> tuple[int, str]:
    """How many rows refer by this column, one of `ORPHANS`, to a job that is not there, and such a job."""
    _, column = reference.split(".")
    ((number, sample),) = fetch(f"SELECT count(*), COALESCE(min(o.{column}), '') FROM {_orphaned(reference)}", {})
    return number, sample


def bury(reference: str) -> bool:
    """Remove the rows that are about no job; an attempt among them would hold its slot for ever."""
    return bool(execute(f"DELETE FROM {_orphaned(reference)} RETURNING 1", {}))
