"""Verbs that end an attempt, and with it perhaps the job: finish, fail, stop, interrupt, lose and quarantine.

`finished`, `gone_wrong`, `stopped`, `interrupted` and `asking` only say how; a child with many brief jobs writes several at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from jobs.errors import Category
from jobs.failures import Failure
from jobs.lifecycle.admitting import Running
from jobs.lifecycle.ends import End, Usage, write
from jobs.lifecycle.rows import fetch
from jobs.models import Job
from jobs.payloads import Json, clean_text
from jobs.questions import Question
from jobs.retry import Again, ContinueAs, GiveUp, Quarantine
from jobs.states import AttemptState, Gate, Status


def finished(running: Running, result: Json, usage: Usage, *, actor: str, span: tuple[float, float] | None = None) -> End:
    """The end of an attempt whose tool returned `result` (CallToolResult shape)."""
    is_error = bool(result.get("isError"))
    return End(
        running=running,
        verb="fail" if is_error else "finish",
        state=AttemptState.FAILED if is_error else AttemptState.SUCCEEDED,
        status=Status.FAILED if is_error else Status.COMPLETED,
        usage=usage,
        actor=actor,
        reason="the tool returned an error result" if is_error else "",
        failure=error_result_failure(running.job, result) if is_error else None,
        result=result,
        heeds_cancel=True,
        span=span,
    )


def finish(running: Running, result: Json, usage: Usage, *, actor: str) -> Job | None:
    """The tool returned `result`. None: superseded, or a cancel came first."""
    return _write(finished(running, result, usage, actor=actor))


def error_result_failure(job: Job, result: Json) -> Failure:
    """What a result with `isError` says went wrong."""
    texts = [str(item.get("text", "")) for item in result["content"] if isinstance(item, dict)]
    message = clean_text(" ".join(texts) or "the tool returned an error result", 2000)
    return Failure(category=Category.PERMANENT, error_class="ErrorResult", message=message, place=job.tool)


def gone_wrong(running: Running, failure: Failure, decision: Again | GiveUp | ContinueAs, usage: Usage, *, actor: str) -> End:
    """The end of an attempt that failed: the job goes back to pending, perhaps as another tool, or fails for good."""
    other = decision if isinstance(decision, ContinueAs) else None
    again = Again(delay=0, spends_retry=False) if other else decision if isinstance(decision, Again) else None
    reason = f"{failure.error_class}: {failure.message}"[:500]
    told = reason if isinstance(decision, Again) else f"{reason} ({decision.reason})"
    return End(
        running=running,
        verb="fall_back" if other else "fail",
        state=AttemptState.TIMED_OUT if failure.category is Category.TIMEOUT else AttemptState.FAILED,
        status=Status.PENDING if again else Status.FAILED,
        usage=usage,
        actor=actor,
        reason=f"{told}; goes on as {other.tool}" if other else told,
        failure=failure,
        again=again,
        other=other,
        result=None if again else error_result(reason),
        heeds_cancel=True,
    )


def fail(running: Running, failure: Failure, decision: Again | GiveUp | ContinueAs, usage: Usage, *, actor: str) -> Job | None:
    """The attempt failed. None: superseded, or a cancel came first."""
    return _write(gone_wrong(running, failure, decision, usage, actor=actor))


def stopped(running: Running, usage: Usage, *, actor: str) -> End:
    """The end of an attempt whose job was cancelled while it ran."""
    return End(
        running=running,
        verb="cancel",
        state=AttemptState.CANCELLED,
        status=Status.CANCELLED,
        usage=usage,
        actor=actor,
        reason=running.job.cancel_reason or "cancelled",
    )


def stop(running: Running, usage: Usage, *, actor: str) -> Job | None:
    """The running attempt has come to its end because it was cancelled. None: superseded."""
    return _write(stopped(running, usage, actor=actor))


def interrupted(running: Running, usage: Usage, *, actor: str, reason: str = "the worker was stopped") -> End:
    """The end of an attempt that is no fault of its job: back to pending at once, and no retry is spent."""
    return End(
        running=running,
        verb="interrupt",
        state=AttemptState.INTERRUPTED,
        status=Status.PENDING,
        usage=usage,
        actor=actor,
        reason=reason,
        again=Again(delay=0, spends_retry=False),
        heeds_cancel=True,
    )


def asking(running: Running, asked: Mapping[str, Question], usage: Usage, *, actor: str) -> End:
    """The end of an attempt that needs answers: its job goes back to pending and waits for them, and no retry is spent."""
    return End(
        running=running,
        verb="ask",
        state=AttemptState.INTERRUPTED,
        status=Status.PENDING,
        usage=usage,
        actor=actor,
        reason=f"asks for {', '.join(asked)}"[:500],
        again=Again(delay=0, spends_retry=False),
        gate=Gate.INPUT,
        heeds_cancel=True,
        asked=asked,
    )


def interrupt(running: Running, usage: Usage, *, actor: str) -> Job | None:
    """The worker goes down. None: superseded, or a cancel came first."""
    return _write(interrupted(running, usage, actor=actor))


def lose(running: Running, decision: Again | Quarantine, *, actor: str) -> Job | None:
    """The lease is over and nobody renewed it. A cancelled job ends here, others go on or are held as `decision` says."""
    failure = Failure(
        category=Category.LOST,
        error_class="Lost",
        message="its process ended or hung without a word: the lease was not renewed",
        place=running.job.tool,
    )
    cancelled = running.job.cancel_requested_at is not None
    held = isinstance(decision, Quarantine) and not cancelled
    reason = decision.reason if isinstance(decision, Quarantine) else failure.message
    end = End(
        running=running,
        verb="quarantine" if held else "lose",
        state=AttemptState.QUARANTINED if held else AttemptState.LOST,
        status=Status.CANCELLED if cancelled else Status.PENDING,
        actor=actor,
        reason=(running.job.cancel_reason or "cancelled") if cancelled else reason,
        failure=failure,
        again=decision if isinstance(decision, Again) and not cancelled else None,
        gate=Gate.QUARANTINED if held else None,
        if_expired=True,
    )
    return _write(end)


_REFUSED = """
UPDATE jobs_attempt SET refused_writes = refused_writes + 1 WHERE id = %(attempt)s AND state IN ('lost', 'quarantined') RETURNING id
"""


def note_refused(running: Running) -> bool:
    """Count a write that came when the attempt had been given up for lost. One that only came twice does not count."""
    return bool(fetch(_REFUSED, {"attempt": running.attempt_id}))


def _write(end: End) -> Job | None:
    return write([end]).get(end.running.job.id)


def error_result(text: str) -> Json:
    return {"isError": True, "content": [{"type": "text", "text": text}]}
