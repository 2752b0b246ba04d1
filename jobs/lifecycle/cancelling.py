"""The verb that cancels: one job, or a whole family in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from django.db import transaction

from jobs import events
from jobs.errors import NotFound
from jobs.failpoints import failpoint
from jobs.lifecycle.rows import RETURNED, fetch, jobs_from
from jobs.models import Job
from jobs.payloads import clean_text
from jobs.sight import EVERYTHING, Sight

# A family that is larger than this is cancelled in several transactions, lest its locks be held for seconds.
MOST = 10_000

# A pending job, with or without an admitted attempt, ends at once. Locks are taken in the order that every verb takes.
_CANCEL_PENDING = f"""
WITH locked AS MATERIALIZED (
    SELECT id, current_attempt_id AS attempt FROM jobs_job
    WHERE id = ANY(%(jobs)s) AND status = 'pending' ORDER BY id FOR NO KEY UPDATE
), ended AS (
    UPDATE jobs_attempt a SET state = 'cancelled', finished_at = now()
    FROM locked WHERE a.id = locked.attempt AND a.state = 'admitted'
), moved AS (
    UPDATE jobs_job j SET status = 'cancelled', reason = %(reason)s, current_attempt_id = NULL, finished_at = now(),
        updated_at = now(), cancel_requested_at = now(), cancel_reason = %(reason)s, version = version + 1, looks = 0,
        unsettled = has_dependents
    FROM locked WHERE j.id = locked.id
    RETURNING {RETURNED}, locked.attempt AS attempt
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, attempt, 'cancel', 'pending', 'cancelled', reason, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""
# A running job is asked once; its own process reads the wish at its next beat. From here on it cannot complete.
_CANCEL_RUNNING = f"""
WITH locked AS MATERIALIZED (
    SELECT id FROM jobs_job WHERE id = ANY(%(jobs)s) AND status = 'running' AND cancel_requested_at IS NULL
    ORDER BY id FOR NO KEY UPDATE
), moved AS (
    UPDATE jobs_job j SET cancel_requested_at = now(), cancel_reason = %(reason)s, updated_at = now(), version = version + 1
    FROM locked WHERE j.id = locked.id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, current_attempt_id, 'cancel_requested', 'running', 'running', cancel_reason, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def cancel(job_id: str, *, by: str, reason: str = "") -> Job:
    """End a pending job at once, ask a running one to stop; a finished one stays as it is. Raises `NotFound`."""
    while True:
        moved = _cancel([job_id], by, reason)
        if moved:
            return moved[0]
        rows = jobs_from(f"SELECT {RETURNED} FROM jobs_job j WHERE id = %(job)s", {"job": job_id})
        if not rows:
            raise NotFound(f"there is no job {job_id!r}")
        # One that was sent back to pending between the two statements is neither: once more.
        if rows[0].is_final or rows[0].cancel_requested_at is not None:
            return rows[0]


Kind = Literal["batch", "project", "job"]


@dataclass(frozen=True, kw_only=True)
class Cancelled:
    """How many ended at once, and how many that run were asked to stop."""

    ended: int
    asked: int


_ACTIVE = """
(status = 'pending' OR (status = 'running' AND cancel_requested_at IS NULL)) AND created_at <= %(until)s
AND (%(projects)s::text[] IS NULL OR project = ANY(%(projects)s)) AND (%(tools)s::text[] IS NULL OR tool = ANY(%(tools)s))
"""
_OF_FAMILY: dict[Kind, str] = {
    "batch": f"SELECT id FROM jobs_job WHERE batch = %(name)s AND batch <> '' AND {_ACTIVE} LIMIT {MOST}",
    "project": f"SELECT id FROM jobs_job WHERE project = %(name)s AND project <> '' AND {_ACTIVE} LIMIT {MOST}",
    # Also below those that have finished. UNION drops what was seen.
    "job": f"""
        WITH RECURSIVE below (id) AS (
            SELECT %(name)s::text
            UNION
            SELECT d.job_id FROM below
            CROSS JOIN LATERAL (SELECT job_id::text FROM jobs_dependency WHERE parent_id = below.id OFFSET 0) d
        )
        SELECT j.id FROM below CROSS JOIN LATERAL (
            SELECT id FROM jobs_job WHERE id = below.id AND {_ACTIVE} OFFSET 0) j LIMIT {MOST}
    """,
}


def cancel_family(kind: Kind, name: str, *, by: str, reason: str = "", sight: Sight = EVERYTHING) -> Cancelled:
    """Cancel all jobs of a batch or project, or a job with everything that depends on it, directly or not.

    What was submitted before the call, and may be seen, is cancelled when it returns, or, if it runs, asked to stop.
    """
    # The jobs of one submit are a microsecond apart, the last of them a little ahead of the clock.
    ((until,),) = fetch("SELECT now() + interval '1 second'", {})
    seen = {"projects": _listed(sight.projects), "tools": _listed(sight.tools)}
    ended = asked = 0
    # A job that changes sides at the wrong moment is found by the next look.
    while ids := [row[0] for row in fetch(_OF_FAMILY[kind], {"name": name, "until": until, **seen})]:
        moved = _cancel(ids, by, reason)
        ended += sum(job.status == "cancelled" for job in moved)
        asked += sum(job.status == "running" for job in moved)
    return Cancelled(ended=ended, asked=asked)


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _cancel(ids: Sequence[str], by: str, reason: str) -> list[Job]:
    """In one transaction, so that no dependent of one of them follows its policy before it is reached itself."""
    params = {"jobs": list(ids), "by": by, "reason": clean_text(reason, 500) or f"cancelled by {by}"}
    with transaction.atomic():
        moved = jobs_from(_CANCEL_PENDING, params)
        asked = jobs_from(_CANCEL_RUNNING, params)
        events.announce(map(events.delta_of, moved + asked), poke=bool(moved or asked))
        failpoint("cancel.before_commit")
        events.tell_to_stop([job.current_attempt_id for job in asked if job.current_attempt_id])
    return moved + asked
