"""Verbs that hold pending jobs back and let them in again: withdraw, pause, resume, release."""

from __future__ import annotations

from django.db import connection, transaction

from jobs import events
from jobs.errors import IllegalMove, NotFound
from jobs.lifecycle.locking import lock_with_parents
from jobs.lifecycle.rows import RETURNED, UNPAUSED_GATE, jobs_from
from jobs.models import Job
from jobs.payloads import clean_text
from jobs.states import Gate
from jobs.tools import EXTERNAL

# An admitted attempt that nobody has begun gives its slot back. Locks are waited for: when this returns, each of these
# attempts has either begun or is withdrawn.
_WITHDRAW = f"""
WITH held AS MATERIALIZED (
    SELECT j.id, j.current_attempt_id AS attempt FROM jobs_job j JOIN jobs_attempt a ON a.id = j.current_attempt_id
    WHERE j.status = 'pending' AND a.state = 'admitted' AND {{which}}
    ORDER BY j.id FOR NO KEY UPDATE OF j
), dropped AS (
    UPDATE jobs_attempt a SET state = 'cancelled', finished_at = now(), error_category = 'cancelled',
        error_message = 'withdrawn before it began'
    FROM held WHERE a.id = held.attempt AND a.state = 'admitted' RETURNING a.id, a.job_id
), moved AS (
    UPDATE jobs_job j SET current_attempt_id = NULL, version = version + 1, updated_at = now()
    FROM dropped WHERE j.id = dropped.job_id AND j.current_attempt_id = dropped.id
    RETURNING {RETURNED}, dropped.id AS attempt
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, attempt, 'withdraw', 'pending', 'pending', %(reason)s, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""
_WITHDRAW_ALL = _WITHDRAW.format(which="TRUE")
_WITHDRAW_UNCLAIMED = _WITHDRAW.format(
    which=f"a.queue = '{EXTERNAL}' AND a.admitted_at < now() - make_interval(secs => %(patience)s)"
)
# Only hands that were free are rung, so this one is heard by nobody though somebody is there. Each time it takes longer, lest a
# deaf worker fill the history of the job.
_WITHDRAW_UNANSWERED = _WITHDRAW.format(
    which=f"""a.queue <> '{EXTERNAL}' AND a.rings >= %(rings)s * j.attempt_count
        AND a.rung_at < now() - make_interval(secs => %(patience)s) AND EXISTS (
            SELECT 1 FROM jobs_worker w WHERE w.stopped_at IS NULL AND w.draining_at IS NULL
                AND w.beat_at > now() - make_interval(secs => %(alive)s) AND w.queues @> to_jsonb(a.queue))"""
)
_WITHDRAW_ONE = _WITHDRAW.format(which="j.id = %(job)s")


def withdraw(*, by: str, reason: str) -> list[Job]:
    """Take back every admitted attempt that has not begun, so that the next round decides by what holds then."""
    with transaction.atomic():
        moved = jobs_from(_WITHDRAW_ALL, {"by": by, "reason": reason})
        events.announce(map(events.delta_of, moved), poke=True)
    return moved


def withdraw_unclaimed(patience: float) -> list[Job]:
    """Take back what was admitted for external workers so many seconds ago, and none has claimed: others shall have the slot."""
    params = {"by": "dispatcher", "reason": "no external worker has claimed it", "patience": patience}
    with transaction.atomic():
        moved = jobs_from(_WITHDRAW_UNCLAIMED, params)
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return moved


def withdraw_unanswered(*, rings: int, patience: float, alive: float) -> list[Job]:
    """Take back what was rung so often (`rings`, times the job's attempts) and nobody begins; no retry is spent.

    A worker of its queue must have given a sign of life in the last `alive` seconds. The next round gives the job another attempt.
    """
    params = {"by": "dispatcher", "reason": "nobody answered its doorbells", "rings": rings, "patience": patience, "alive": alive}
    with transaction.atomic():
        moved = jobs_from(_WITHDRAW_UNANSWERED, params)
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return moved


def withdraw_one(job_id: str, *, by: str, reason: str) -> None:
    """As `withdraw`, for one job; part of the transaction of a verb that changes it."""
    jobs_from(_WITHDRAW_ONE, {"job": job_id, "by": by, "reason": reason})


_PAUSE = f"""
WITH moved AS (
    UPDATE jobs_job j SET gate = 'paused', gate_since = now(), reason = %(reason)s, version = version + 1, updated_at = now()
    WHERE id = %(job)s AND status = 'pending' AND gate NOT IN ('paused', 'quarantined') AND current_attempt_id IS NULL
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'pause', 'pending', 'pending', %(reason)s, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""
# The gate is computed from the rows: parents may have finished meanwhile, and one that ended badly is settled once more.
_REOPEN = f"""
WITH was AS (
    SELECT id FROM jobs_job WHERE id = %(job)s AND status = 'pending' AND gate = %(gate)s FOR NO KEY UPDATE
), moved AS (
    UPDATE jobs_job j SET loss_count = CASE gate WHEN 'quarantined' THEN 0 ELSE loss_count END, gate_since = now(), reason = '',
        version = version + 1, updated_at = now(), gate = {UNPAUSED_GATE}
    FROM was WHERE j.id = was.id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, %(verb)s, 'pending', 'pending', '', %(by)s, now() FROM moved
), resettled AS (
    UPDATE jobs_job p SET unsettled = TRUE
    FROM jobs_dependency d, moved
    WHERE d.job_id = moved.id AND d.met_at IS NULL AND p.id = d.parent_id AND p.status IN ('failed', 'cancelled')
)
SELECT * FROM moved
"""


def pause(job_id: str, *, by: str, reason: str = "") -> Job:
    """Hold a pending job back until `resume`. Raises `NotFound`, or `IllegalMove` for one that runs or has ended."""
    params = {"job": job_id, "by": by, "reason": clean_text(reason, 500) or f"paused by {by}"}
    with transaction.atomic():
        withdraw_one(job_id, by=by, reason=params["reason"])
        moved = jobs_from(_PAUSE, params)
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return moved[0] if moved else as_it_is(job_id, "paused", unless=Gate.QUARANTINED)


def resume(job_id: str, *, by: str) -> Job:
    """Let a paused job in again, at its old place in line. Raises `NotFound`, or `IllegalMove` for one that has ended."""
    return _reopen(job_id, Gate.PAUSED, "resume", by)


def release(job_id: str, *, by: str) -> Job:
    """Let a quarantined job in again, its losses forgotten. Raises `NotFound`, or `IllegalMove` for one that is not quarantined."""
    return _reopen(job_id, Gate.QUARANTINED, "release", by)


def _reopen(job_id: str, gate: Gate, verb: str, by: str) -> Job:
    with transaction.atomic():
        lock_with_parents({job_id})
        moved = jobs_from(_REOPEN, {"job": job_id, "by": by, "gate": gate.value, "verb": verb})
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    return moved[0] if moved else as_it_is(job_id, f"{verb}d", needs=gate)


def as_it_is(job_id: str, what: str, *, needs: Gate | None = None, unless: Gate | None = None) -> Job:
    """A pending job that needed no change. Raises otherwise."""
    rows = jobs_from(f"SELECT {RETURNED} FROM jobs_job j WHERE id = %(job)s", {"job": job_id})
    if not rows:
        raise NotFound(f"there is no job {job_id!r}")
    if rows[0].status != "pending":
        raise IllegalMove(f"job {job_id} is {rows[0].status}; only pending jobs can be {what}")
    if needs is not None and rows[0].gate != needs:
        raise IllegalMove(f"job {job_id} is not {needs.value}")
    if rows[0].gate == unless:
        raise IllegalMove(f"job {job_id} is {unless.value} and cannot be {what}")
    return rows[0]


def lock_configuration() -> None:
    """Until the end of this transaction no job is admitted: `admit` shares this row. Also marks it as changed."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE jobs_queueconfig SET updated_at = now()")
