"""Verbs of the dispatcher's rounds: what time and finished parents change for jobs that wait."""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction

from jobs import events
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import RETURNED, UNBLOCKED_GATE, UNPAUSED_GATE, execute, fetch, job_of, jobs_from
from jobs.states import Status

# Parents that one call takes up, and dependents that it moves.
BATCH, WIDTH = 1000, 5000

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


_NOT_COMPLETED = f"""
SELECT id, status FROM jobs_job WHERE unsettled AND status || '' <> 'completed' ORDER BY id LIMIT {BATCH}
FOR NO KEY UPDATE SKIP LOCKED
"""
# A job that runs anyway no longer waits for this parent; for others it may wait still.
MEET_ANYWAY = """
UPDATE jobs_dependency d SET met_at = now() FROM jobs_job j
WHERE d.parent_id = ANY(%(parents)s) AND d.met_at IS NULL AND j.id = d.job_id AND j.dependency_policy = 'run_anyway'
RETURNING d.job_id
"""
# Also what is paused, and what was admitted and has not begun.
_EXPIRE = f"""
WITH late AS MATERIALIZED (
    SELECT id, current_attempt_id AS attempt FROM jobs_job WHERE status = 'pending' AND expires_at <= now()
    ORDER BY expires_at LIMIT {BATCH} FOR NO KEY UPDATE SKIP LOCKED
), dropped AS (
    UPDATE jobs_attempt a SET state = 'cancelled', finished_at = now(), error_category = 'timeout',
        error_message = 'expired before it began'
    FROM late WHERE a.id = late.attempt AND a.state = 'admitted'
), moved AS (
    UPDATE jobs_job j SET status = 'failed', reason = said, error_class = 'Expired', error_category = 'timeout',
        current_attempt_id = NULL, finished_at = now(), updated_at = now(), version = version + 1, looks = 0,
        unsettled = has_dependents, result = jsonb_build_object('isError', TRUE, 'content',
            jsonb_build_array(jsonb_build_object('type', 'text', 'text', said)))
    FROM late CROSS JOIN LATERAL (SELECT 'expired: it had not begun when its time was over' AS said) words WHERE j.id = late.id
    RETURNING {RETURNED}, late.attempt
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, attempt, 'expire', 'pending', 'failed', reason, 'dispatcher', now() FROM moved
)
SELECT * FROM moved
"""


def expire() -> int:
    """End jobs that are of no use any more and have not begun."""
    with transaction.atomic():
        moved = jobs_from(_EXPIRE, {})
        events.announce(map(events.delta_of, moved))
    return len(moved)


# Does the job still wait for somebody? Written so that it goes by the index dependency_unmet for each job, also where the
# statistics are old: as EXISTS it may become a join over all that is unmet. OFFSET 0 below keeps lookups apart for the same reason.
UNMET = "(SELECT other.id FROM jobs_dependency other WHERE other.job_id = {} AND other.met_at IS NULL LIMIT 1) IS NOT NULL"
# SKIP LOCKED throughout: settling never waits, so it cannot deadlock with a submit that holds some of these rows; what it
# skips stays unsettled and comes up in the next round. So does a job whose version is another one by the time it is locked:
# what was read about its dependencies may be so no more.
UNBLOCK = f"""
WITH free AS MATERIALIZED (
    SELECT DISTINCT j.id, j.version FROM unnest(%(parents)s::text[]) parent (id)
    CROSS JOIN LATERAL (SELECT job_id FROM jobs_dependency WHERE parent_id = parent.id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT id, version FROM jobs_job
        WHERE id = d.job_id AND status = 'pending' AND gate = 'dependencies' AND NOT {UNMET.format("d.job_id")} OFFSET 0) j
    LIMIT {WIDTH}
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs_job j JOIN free ON free.id = j.id AND free.version = j.version
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
)
UPDATE jobs_job j SET gate = {UNPAUSED_GATE}, gate_since = now(), updated_at = now(),
    version = version + 1
FROM locked WHERE j.id = locked.id
RETURNING {RETURNED}
"""
# The whole family below, level by level, up to a bound: a chain of thousands goes down in a few statements. The walk takes no
# locks, so somebody may hold one of those it found; then only the levels above that one are ended, for what is below it still
# has a parent that waits. UNION drops what was seen, and a job goes by the first of its parents that ended badly. What a job
# that is cancelled has in place of a result is the reason, as with any cancel. Only a parent that goes for good (%(gone)s) ends
# paused jobs too: after it nothing is left that they could read when they are resumed.
END_DEPENDENTS = f"""
WITH RECURSIVE walk (id, version, level, position, culprit, ended) AS (
    SELECT p.id, 0, 0, 0, ''::text, CASE p.status WHEN 'pending' THEN 'deleted' ELSE p.status END::text
    FROM jobs_job p WHERE p.id = ANY(%(parents)s)
    UNION
    SELECT j.id, j.version, walk.level + 1, d.position, walk.id || ' ' || walk.ended,
        CASE j.dependency_policy WHEN 'cancel' THEN 'cancelled' ELSE 'failed' END
    FROM walk
    CROSS JOIN LATERAL (SELECT job_id, position, met_at FROM jobs_dependency WHERE parent_id = walk.id OFFSET 0) d
    CROSS JOIN LATERAL (SELECT id, version, dependency_policy FROM jobs_job
        WHERE id = d.job_id AND d.met_at IS NULL AND status = 'pending' AND dependency_policy <> 'run_anyway'
          AND (gate = 'dependencies' OR (gate = 'paused' AND walk.level = 0 AND %(gone)s)) OFFSET 0) j
), found AS MATERIALIZED (
    SELECT DISTINCT ON (id) id, version, level, ended, culprit
    FROM (SELECT * FROM walk LIMIT {WIDTH} + cardinality(%(parents)s)) bounded WHERE level > 0 ORDER BY id, level, position
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs_job j JOIN found ON found.id = j.id AND found.version = j.version
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
), doomed AS MATERIALIZED (
    SELECT * FROM found WHERE level < (
        SELECT COALESCE(min(level), 2147483647) FROM found WHERE id NOT IN (SELECT id FROM locked))
), moved AS (
    UPDATE jobs_job j SET status = doomed.ended, reason = 'dependency ' || doomed.culprit, finished_at = now(), updated_at = now(),
        error_class = CASE doomed.ended WHEN 'cancelled' THEN error_class ELSE 'DependencyFailed' END,
        error_category = CASE doomed.ended WHEN 'cancelled' THEN error_category ELSE 'dependency' END,
        version = j.version + 1, looks = 0, unsettled = has_dependents, result = CASE doomed.ended WHEN 'cancelled' THEN NULL ELSE
            jsonb_build_object('isError', TRUE, 'content',
                jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'dependency ' || doomed.culprit))) END
    FROM doomed WHERE j.id = doomed.id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, NULL, CASE status WHEN 'failed' THEN 'fail' ELSE 'cancel' END, 'pending', status, reason, %(by)s, now()
    FROM moved
)
SELECT * FROM moved
"""
# A parent is settled when no dependent is left that it should have moved.
_SETTLED = f"""
UPDATE jobs_job p SET unsettled = FALSE WHERE p.id = ANY(%(parents)s) AND (
    SELECT d.id FROM jobs_dependency d
    CROSS JOIN LATERAL (SELECT id FROM jobs_job WHERE id = d.job_id AND status = 'pending' AND gate = 'dependencies' OFFSET 0) j
    WHERE d.parent_id = p.id AND (d.met_at IS NULL OR NOT {UNMET.format("d.job_id")}) LIMIT 1) IS NULL
RETURNING p.id
"""
# Meets dependencies, and does UNBLOCK and _SETTLED for the parents that completed, in one statement, as it lies on the way of each
# job that waits for another. It sees the rows from before it: what it meets itself counts as met, and what others meet meanwhile
# does not, for which they lock the parents (locking.lock_with_parents). It only opens gates, so its commit is not waited for to
# reach the disk: should a crash take it back, the parents are unsettled still, and whatever was built on an open gate is behind it
# in the log. The arrays keep the planner from joining over all that depends on something.
_SETTLE_COMPLETED = f"""
WITH done AS MATERIALIZED (
    SELECT id FROM jobs_job CROSS JOIN (SELECT set_config('synchronous_commit', 'off', TRUE) OFFSET 0) relaxed
    WHERE unsettled AND status || '' = 'completed' ORDER BY id LIMIT {BATCH} FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
), met AS (
    UPDATE jobs_dependency SET met_at = now() WHERE parent_id = ANY(ARRAY(SELECT id FROM done)) AND met_at IS NULL
), edge AS MATERIALIZED (
    SELECT done.id AS parent, d.job_id FROM done
    CROSS JOIN LATERAL (SELECT job_id FROM jobs_dependency WHERE parent_id = done.id OFFSET 0) d
), free AS MATERIALIZED (
    SELECT j.id, j.version FROM (SELECT DISTINCT job_id FROM edge) touched
    CROSS JOIN LATERAL (SELECT id, version FROM jobs_job
        WHERE id = touched.job_id AND status = 'pending' AND gate = 'dependencies' AND (
            SELECT other.id FROM jobs_dependency other WHERE other.job_id = touched.job_id AND other.met_at IS NULL
              AND other.parent_id <> ALL(ARRAY(SELECT id FROM done)) LIMIT 1) IS NULL OFFSET 0) j
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs_job j JOIN (SELECT * FROM free LIMIT {WIDTH}) f ON f.id = j.id AND f.version = j.version
    ORDER BY j.id FOR NO KEY UPDATE OF j SKIP LOCKED
), moved AS (
    UPDATE jobs_job j SET gate = {UNBLOCKED_GATE}, gate_since = now(), updated_at = now(), version = version + 1
    FROM locked WHERE j.id = locked.id
    RETURNING {RETURNED}
), settled AS (
    UPDATE jobs_job SET unsettled = FALSE WHERE id = ANY(ARRAY(SELECT id FROM done)) AND id NOT IN (
        SELECT parent FROM edge JOIN free ON free.id = edge.job_id WHERE free.id NOT IN (SELECT id FROM moved))
    RETURNING id
)
SELECT moved.*, (SELECT count(*) FROM settled), (SELECT count(*) FROM done),
    (SELECT id FROM jobs_job WHERE unsettled AND status || '' <> 'completed' LIMIT 1) IS NOT NULL
FROM (SELECT 1) one LEFT JOIN moved ON TRUE
"""


class Settled(NamedTuple):
    """`rows` were settled or moved; `more`: another call may find more at once."""

    rows: int
    more: bool


def settle() -> Settled:
    """Tell the dependents of finished jobs: unblock those of completed ones; those of the others follow their policy.

    Each call does a bounded part. What somebody else holds right now is passed over, for a later call.
    """
    found = fetch(_SETTLE_COMPLETED, {})
    *_, settled, parents, bad = found[0]
    moved = [job_of(row) for row in found if row[0] is not None]
    events.announce(map(events.delta_of, moved))
    done = Settled(settled + len(moved), parents == BATCH or len(moved) == WIDTH)
    return _settle_the_others(done) if bad else done


def _settle_the_others(before: Settled) -> Settled:
    """What ends jobs is waited for to reach the disk, like every end. One that was let in again meanwhile ends nobody."""
    with transaction.atomic():
        found = fetch(_NOT_COMPLETED, {})
        every = {"parents": [parent for parent, _ in found]}
        ended_badly = {"parents": [parent for parent, status in found if status in (Status.FAILED, Status.CANCELLED)]}
        execute(MEET_ANYWAY, ended_badly)
        moved = jobs_from(END_DEPENDENTS, ended_badly | {"gone": False, "by": "dispatcher"})
        moved += jobs_from(UNBLOCK, every)
        settled = execute(_SETTLED, every)
        failpoint("settle.before_commit")
        events.announce(map(events.delta_of, moved))
    rows = len(moved) + len(settled)
    return Settled(before.rows + rows, before.more or rows > 0)
