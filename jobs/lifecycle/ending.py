"""Verbs that end an attempt, and with it perhaps the job: finish, fail, stop, interrupt, lose, cancel."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db import transaction

from jobs import events
from jobs.errors import Category, NotFound
from jobs.lifecycle.admitting import APPEND_DIAGNOSTICS, START_NEXT_PARTS, Next, Running, running_of
from jobs.lifecycle.rows import COLUMNS, RETURNED, fetch, job_of, jobs_from
from jobs.models import Job
from jobs.payloads import Json
from jobs.retry import Again, GiveUp
from jobs.score import performance_score
from jobs.states import AttemptState, Status


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What an attempt was measured to use, and what it had to say that no beat has carried yet."""

    peak_memory_mb: float = 0
    cpu_percent: float = 0
    diagnostics: Sequence[str] = ()
    metadata: dict[str, Json] | None = None
    progress: float | None = None
    message: str | None = None
    stage: str | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why an attempt failed; the texts are storable already."""

    category: Category
    error_class: str
    message: str
    traceback: str = ""


# Everything that ends a running attempt is this one statement, with another end. The job is locked first, and the lock is
# what decides between a completion, a cancel and a rescue that come at the same moment. %(when)s adds the fence of each verb.
_END_PARTS = f"""
locked AS (
    SELECT j.id FROM jobs_job j
    WHERE j.id = %(job)s AND j.current_attempt_id = %(attempt)s AND j.status = 'running' AND {{when}}
    FOR NO KEY UPDATE
), mine AS (
    UPDATE jobs_attempt a SET state = %(state)s, finished_at = now(), error_class = %(class)s,
        error_category = %(category)s, error_message = %(error)s, traceback = %(traceback)s,
        peak_memory_mb = GREATEST(peak_memory_mb, %(peak)s), cpu_percent = COALESCE(%(cpu)s, cpu_percent)
    FROM locked WHERE a.id = %(attempt)s AND a.state = 'running' AND {{lease}}
    RETURNING a.job_id, a.started_at, a.finished_at, a.peak_memory_mb, a.cpu_percent
), moved AS (
    UPDATE jobs_job j SET status = %(status)s, reason = %(reason)s, current_attempt_id = NULL, updated_at = now(),
        version = version + 1, looks = 0,
        result = %(result)s::jsonb, progress = COALESCE(%(progress)s, progress), message = COALESCE(%(message)s, message),
        stage = COALESCE(%(stage)s, stage), metadata = metadata || %(metadata)s::jsonb,
        diagnostics = CASE WHEN %(lines)s::jsonb = '[]' THEN diagnostics ELSE {APPEND_DIAGNOSTICS} END,
        retry_count = retry_count + %(spent)s, loss_count = CASE WHEN %(state)s = 'lost' THEN loss_count + 1 ELSE 0 END,
        finished_at = CASE WHEN %(final)s THEN now() END, unsettled = %(final)s AND has_dependents,
        run_at = CASE WHEN %(final)s THEN run_at ELSE now() + make_interval(secs => %(delay)s) END,
        gate = CASE WHEN %(final)s OR %(delay)s = 0 THEN 'open' ELSE 'time' END, gate_since = now()
    FROM mine WHERE j.id = mine.job_id
    RETURNING j.*
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, %(attempt)s, %(verb)s, 'running', status, reason, %(actor)s, now() FROM moved
), costs AS (
    INSERT INTO jobs_jobmetrics AS m (job_id, start_time, end_time, duration_ms, peak_memory_mb, average_cpu, performance_score,
        error_count, retry_count)
    SELECT job_id, started_at, finished_at, EXTRACT(EPOCH FROM finished_at - started_at) * 1000, peak_memory_mb,
        cpu_percent, %(score)s, %(errors)s, %(retries)s FROM mine
    ON CONFLICT (job_id) DO UPDATE SET start_time = EXCLUDED.start_time, end_time = EXCLUDED.end_time,
        duration_ms = EXCLUDED.duration_ms, peak_memory_mb = GREATEST(m.peak_memory_mb, EXCLUDED.peak_memory_mb),
        average_cpu = EXCLUDED.average_cpu, performance_score = EXCLUDED.performance_score,
        error_count = EXCLUDED.error_count, retry_count = EXCLUDED.retry_count
)"""
_END_OF_OWN = _END_PARTS.format(when="TRUE", lease="TRUE")
# A cancel that was acknowledged is never followed by a completion.
_END_UNLESS_CANCELLED = _END_PARTS.format(when="j.cancel_requested_at IS NULL", lease="TRUE")
# A beat may have renewed the lease since it was seen to be over: the condition is read again under the attempt's lock.
_END_OF_EXPIRED = _END_PARTS.format(when="TRUE", lease="a.lease_until < now()")


@functools.cache
def _statement(parts: str, *, with_next: bool) -> str:
    """The end alone; or with the start of the next attempt: one statement, one commit, one round trip.

    The start holds also when the end is refused. Short enough (4096) for the driver to keep it parsed.
    """
    if with_next:
        both = "SELECT FALSE AS next, * FROM moved UNION ALL SELECT TRUE, * FROM started"
        sql = f"WITH {parts}, {START_NEXT_PARTS} SELECT {COLUMNS}, next, CASE WHEN next THEN params END FROM ({both}) AS e"
    else:
        sql = f"WITH {parts} SELECT {COLUMNS}, FALSE, NULL FROM moved"
    return " ".join(sql.split())


def _write(parts: str, params: dict[str, Any], wish: Next | None) -> Job | None:
    """Execute an end; what its wish for more was given is put into the wish."""
    if wish is not None:
        params |= wish.params()
        wish.running = None
    ended: Job | None = None
    deltas = []
    for *columns, is_next, job_params in fetch(_statement(parts, with_next=wish is not None), params):
        if wish is not None and is_next:
            wish.running = running_of(columns, job_params)
            deltas.append(events.delta_of(wish.running.job))
        else:
            ended = job_of(columns)
            deltas.append(events.delta_of(ended))
    # The dispatcher has a slot to give away, dependents to tell, or a retry to time.
    events.announce(deltas, poke=ended is not None)
    return ended


def _end(
    parts: str,
    running: Running,
    *,
    verb: str,
    state: AttemptState,
    status: Status,
    usage: Usage,
    actor: str,
    reason: str = "",
    failure: Failure | None = None,
    again: Again | None = None,
    result: Json = None,
    wish: Next | None = None,
) -> Job | None:
    failed = failure is not None and state != AttemptState.CANCELLED
    errors = running.previous_errors + failed
    params: dict[str, Any] = {
        "job": running.job.id,
        "attempt": running.attempt_id,
        "verb": verb,
        "state": state.value,
        "status": status.value,
        "final": status != Status.PENDING,
        "reason": reason,
        "actor": actor,
        "result": None if result is None else orjson.dumps(result).decode(),
        "class": failure.error_class if failure else "",
        "category": failure.category.value if failure else "",
        "error": failure.message if failure else "",
        "traceback": failure.traceback if failure else "",
        "peak": usage.peak_memory_mb,
        "cpu": usage.cpu_percent if state != AttemptState.LOST else None,
        "lines": orjson.dumps(list(usage.diagnostics)).decode(),
        "metadata": orjson.dumps(usage.metadata or {}).decode(),
        "progress": usage.progress,
        "message": usage.message,
        "stage": usage.stage,
        "spent": 1 if again and again.spends_retry else 0,
        "delay": again.delay if again else 0.0,
        "errors": errors,
        "retries": running.job.retry_count,
        "score": performance_score(
            errors=errors,
            retries=running.job.retry_count,
            peak_memory_mb=usage.peak_memory_mb,
            cpu_percent=usage.cpu_percent,
        ),
    }
    return _write(parts, params, wish)


def finish(running: Running, result: Json, usage: Usage, *, actor: str, wish: Next | None = None) -> Job | None:
    """The tool returned `result` (CallToolResult shape). None: superseded, or a cancel came first."""
    is_error = bool(result.get("isError"))
    return _end(
        _END_UNLESS_CANCELLED,
        running,
        verb="fail" if is_error else "finish",
        state=AttemptState.FAILED if is_error else AttemptState.SUCCEEDED,
        status=Status.FAILED if is_error else Status.COMPLETED,
        usage=usage,
        actor=actor,
        reason="the tool returned an error result" if is_error else "",
        failure=Failure(category=Category.PERMANENT, error_class="ErrorResult", message="isError") if is_error else None,
        result=result,
        wish=wish,
    )


def fail(
    running: Running, failure: Failure, decision: Again | GiveUp, usage: Usage, *, actor: str, wish: Next | None = None
) -> Job | None:
    """The attempt failed; the job goes back to pending or fails for good. None: superseded, or a cancel came first."""
    again = decision if isinstance(decision, Again) else None
    reason = f"{failure.error_class}: {failure.message}"[:500]
    return _end(
        _END_UNLESS_CANCELLED,
        running,
        verb="fail",
        state=AttemptState.TIMED_OUT if failure.category is Category.TIMEOUT else AttemptState.FAILED,
        status=Status.PENDING if again else Status.FAILED,
        usage=usage,
        actor=actor,
        reason=reason if isinstance(decision, Again) else f"{reason} ({decision.reason})",
        failure=failure,
        again=again,
        result=None if again else error_result(reason),
        wish=wish,
    )


def stop(running: Running, usage: Usage, *, actor: str) -> Job | None:
    """The running attempt has come to its end because it was cancelled. None: superseded."""
    return _end(
        _END_OF_OWN,
        running,
        verb="cancel",
        state=AttemptState.CANCELLED,
        status=Status.CANCELLED,
        usage=usage,
        actor=actor,
        reason=running.job.cancel_reason or "cancelled",
    )


def interrupt(running: Running, usage: Usage, *, actor: str) -> Job | None:
    """The worker goes down: the job goes back to pending at once and spends no retry."""
    return _end(
        _END_UNLESS_CANCELLED,
        running,
        verb="interrupt",
        state=AttemptState.INTERRUPTED,
        status=Status.PENDING,
        usage=usage,
        actor=actor,
        reason="the worker was stopped",
        again=Again(delay=0, spends_retry=False),
    )


def lose(running: Running, decision: Again | GiveUp, *, actor: str) -> Job | None:
    """The lease is over and nobody renewed it. A cancelled job ends here, others go on as `decision` says."""
    failure = Failure(
        category=Category.LOST,
        error_class="Lost",
        message="its process ended or hung without a word: the lease was not renewed",
    )
    cancelled = running.job.cancel_requested_at is not None
    again = decision if isinstance(decision, Again) and not cancelled else None
    status = Status.CANCELLED if cancelled else Status.PENDING if again else Status.FAILED
    reason = decision.reason if isinstance(decision, GiveUp) else failure.message
    return _end(
        _END_OF_EXPIRED,
        running,
        verb="lose",
        state=AttemptState.LOST,
        status=status,
        usage=Usage(),
        actor=actor,
        reason=(running.job.cancel_reason or "cancelled") if cancelled else reason,
        failure=failure,
        again=again,
        result=error_result(reason) if status == Status.FAILED else None,
    )


def error_result(text: str) -> Json:
    return {"isError": True, "content": [{"type": "text", "text": text}]}


# A pending job, with or without an admitted attempt, ends at once.
_CANCEL_PENDING = f"""
WITH locked AS MATERIALIZED (
    SELECT id, current_attempt_id AS attempt FROM jobs_job WHERE id = %(job)s AND status = 'pending' FOR NO KEY UPDATE
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
WITH moved AS (
    UPDATE jobs_job j SET cancel_requested_at = now(), cancel_reason = %(reason)s, updated_at = now(), version = version + 1
    WHERE id = %(job)s AND status = 'running' AND cancel_requested_at IS NULL
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, current_attempt_id, 'cancel_requested', 'running', 'running', cancel_reason, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def cancel(job_id: str, *, by: str, reason: str = "") -> Job:
    """End a pending job at once, ask a running one to stop; a finished one stays as it is. Raises `NotFound`."""
    params = {"job": job_id, "by": by, "reason": reason or f"cancelled by {by}"}
    with transaction.atomic():
        moved = jobs_from(_CANCEL_PENDING, params) or jobs_from(_CANCEL_RUNNING, params)
        events.announce(map(events.delta_of, moved), poke=bool(moved))
    if moved:
        return moved[0]
    rows = jobs_from(f"SELECT {RETURNED} FROM jobs_job j WHERE id = %(job)s", params)
    if not rows:
        raise NotFound(f"there is no job {job_id!r}")
    return rows[0]
