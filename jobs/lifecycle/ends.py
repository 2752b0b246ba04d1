"""How ends are written: one statement for the ends of any number of attempts, and for the starts that follow them."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from django.db import transaction

from jobs import events
from jobs.failures import Failure
from jobs.lifecycle.admitting import APPEND_DIAGNOSTICS, START_NEXT_PARTS, Next, Running, running_of
from jobs.lifecycle.falling_back import continue_as
from jobs.lifecycle.rows import COLUMNS, execute, fetch, job_of
from jobs.models import Job
from jobs.payloads import Json
from jobs.questions import Question
from jobs.retry import Again, ContinueAs
from jobs.score import performance_score
from jobs.states import AttemptState, Gate, Status

LOST = frozenset({AttemptState.LOST, AttemptState.QUARANTINED})


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
class End:
    """How an attempt came to its end, decided and not yet written.

    `heeds_cancel`: refused where a cancel was asked for. `if_expired`: refused where the lease was renewed. `gate` is
    where the job waits, when `again` does not say it, and `asked` what it then waits to be told. `other` is the tool that
    goes on with it. `span` is when the tool began and
    ended (monotonic seconds), where that is known better than from the moment of the write.
    """

    running: Running
    verb: str
    state: AttemptState
    status: Status
    actor: str
    usage: Usage = Usage()
    reason: str = ""
    failure: Failure | None = None
    again: Again | None = None
    gate: Gate | None = None
    result: Json = None
    heeds_cancel: bool = False
    if_expired: bool = False
    span: tuple[float, float] | None = None
    asked: Mapping[str, Question] = field(default_factory=dict)
    other: ContinueAs | None = None

    def row(self) -> dict[str, Json]:
        """As the statement reads it; see `_GIVEN`."""
        usage, failure, again, job = self.usage, self.failure, self.again, self.running.job
        errors = self.running.previous_errors + (failure is not None and self.state != AttemptState.CANCELLED)
        now = time.monotonic()
        return {
            "job": job.id,
            "attempt": self.running.attempt_id,
            "verb": self.verb,
            "state": self.state.value,
            "status": self.status.value,
            "heeds": self.heeds_cancel,
            "expired": self.if_expired,
            "final": self.status != Status.PENDING,
            "reason": self.reason,
            "actor": self.actor,
            "result": self.result,
            "class": failure.error_class if failure else "",
            "category": failure.category.value if failure else "",
            "error": failure.message if failure else "",
            "traceback": failure.traceback if failure else "",
            "place": failure.place if failure else "",
            "print": failure.fingerprint if failure else "",
            "peak": usage.peak_memory_mb,
            "cpu": usage.cpu_percent if self.state not in LOST else None,
            "lines": list(usage.diagnostics),
            "metadata": usage.metadata or {},
            "progress": usage.progress,
            "message": usage.message,
            "stage": usage.stage,
            "spent": 1 if again and again.spends_retry else 0,
            "losses": job.loss_count + 1 if self.state in LOST else 0,
            "delay": again.delay if again else None,
            "gate": self.gate or (Gate.TIME if again and again.delay else Gate.OPEN),
            "errors": errors,
            "retries": job.retry_count,
            "score": performance_score(
                errors=errors,
                retries=job.retry_count,
                peak_memory_mb=usage.peak_memory_mb,
                cpu_percent=usage.cpu_percent,
            ),
            "began": now - self.span[0] if self.span else None,
            "ended": now - self.span[1] if self.span else None,
        }


# Everything that ends running attempts is this one statement. The jobs are locked first, in the order of their ids, and the
# locks are what decides between a completion, a cancel and a rescue that come at the same moment. For `|| ''` see admitting.
_END_PARTS = f"""
given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(ends)s::jsonb) AS g(job text, attempt bigint, verb text, state text, status text,
        heeds bool, expired bool, final bool, reason text, actor text, result jsonb, class text, category text, error text,
        traceback text, place text, print text, peak float8, cpu float8, lines jsonb, metadata jsonb, progress float8,
        message text, stage text,
        spent int, losses int, delay float8, gate text, errors int, retries int, score int, began float8, ended float8)
), locked AS MATERIALIZED (
    SELECT j.id FROM jobs_job j JOIN given g ON j.id = g.job AND j.current_attempt_id = g.attempt
    WHERE j.status || '' = 'running' AND (NOT heeds OR j.cancel_requested_at IS NULL)
    ORDER BY j.id FOR NO KEY UPDATE OF j
), mine AS (
    UPDATE jobs_attempt a SET state = g.state, error_class = class, error_category = category, error_message = error,
        traceback = g.traceback, error_place = place, error_fingerprint = print,
        peak_memory_mb = GREATEST(peak_memory_mb, peak), cpu_percent = COALESCE(cpu, cpu_percent),
        started_at = GREATEST(started_at, now() - make_interval(secs => began)),
        finished_at = GREATEST(started_at, now() - make_interval(secs => COALESCE(ended, 0)))
    FROM locked JOIN given g ON g.job = locked.id
    WHERE a.id = g.attempt AND a.state || '' = 'running' AND (NOT expired OR a.lease_until < now())
    RETURNING g.*, a.started_at, a.finished_at, a.peak_memory_mb, a.cpu_percent
), moved AS (
    UPDATE jobs_job j SET status = g.status, current_attempt_id = NULL, updated_at = now(), version = version + 1, looks = 0,
        reason = COALESCE(NULLIF(CASE verb WHEN 'cancel' THEN j.cancel_reason END, ''), g.reason), result = g.result,
        progress = COALESCE(g.progress, j.progress), message = COALESCE(g.message, j.message),
        stage = COALESCE(g.stage, j.stage), metadata = j.metadata || g.metadata,
        diagnostics = CASE WHEN lines = '[]' THEN diagnostics ELSE {APPEND_DIAGNOSTICS.format(lines="lines")} END,
        retry_count = retry_count + spent, loss_count = losses, error_class = class, error_category = category,
        error_fingerprint = print,
        finished_at = CASE WHEN final THEN now() END, unsettled = final AND has_dependents,
        run_at = COALESCE(now() + make_interval(secs => delay), run_at), gate = g.gate, gate_since = now()
    FROM mine g WHERE j.id = g.job
    RETURNING j.*
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT job, attempt, verb, 'running', g.status, m.reason, actor, now() FROM mine g JOIN moved m ON m.id = job
), costs AS (
    INSERT INTO jobs_jobmetrics AS m (job_id, start_time, end_time, duration_ms, peak_memory_mb, average_cpu, performance_score,
        error_count, retry_count)
    SELECT job, started_at, finished_at, EXTRACT(EPOCH FROM finished_at - started_at) * 1000, peak_memory_mb, cpu_percent,
        score, errors, retries FROM mine
    ON CONFLICT (job_id) DO UPDATE SET start_time = EXCLUDED.start_time, end_time = EXCLUDED.end_time,
        duration_ms = EXCLUDED.duration_ms, peak_memory_mb = GREATEST(m.peak_memory_mb, EXCLUDED.peak_memory_mb),
        average_cpu = EXCLUDED.average_cpu, performance_score = EXCLUDED.performance_score,
        error_count = EXCLUDED.error_count, retry_count = EXCLUDED.retry_count
)"""


@functools.cache
def statement(*, with_next: bool) -> str:
    """The ends alone; or with the starts of next attempts: one statement, one commit, one round trip.

    The starts hold also when an end is refused, and lock nothing before the ends have their locks.
    """
    if with_next:
        both = "SELECT FALSE AS next, * FROM moved UNION ALL SELECT TRUE, * FROM started"
        after = START_NEXT_PARTS.format(after="AND (SELECT count(*) FROM locked) >= 0")
        sql = f"WITH {_END_PARTS}, {after} SELECT {COLUMNS}, next, CASE WHEN next THEN params END FROM ({both}) AS e"
    else:
        sql = f"WITH {_END_PARTS} SELECT {COLUMNS}, FALSE, NULL FROM moved"
    return " ".join(sql.split())


def write(ends: Sequence[End], wish: Next | None = None) -> dict[str, Job]:
    """Write these ends; what the wish for more was given is put into the wish.

    Returns the jobs that moved, by id. One that is missing was superseded, or a cancel came first.
    """
    rare = [end for end in ends if end.asked or end.other]
    if not rare:
        return _write(ends, wish)
    # Rare, so it does not burden the statement that every end is written by.
    with transaction.atomic():
        ended = _write(ends, wish)
        for end in rare:
            if end.running.job.id in ended:
                _do_the_rare(end, ended)
    return ended


def _do_the_rare(end: End, ended: dict[str, Job]) -> None:
    if end.asked:
        _put_questions(end)
    if end.other and end.failure:
        job = continue_as(end.running.job.id, end.running.attempt_id, end.other, end.failure)
        ended[job.id] = job
        events.announce([events.delta_of(job)])


_NOTE = """
INSERT INTO jobs_askedquestion (job_id, key, message, schema, answered_by)
SELECT %(job)s, key, message, schema, ''
FROM jsonb_to_recordset(%(questions)s::jsonb) AS q(key text, message text, schema jsonb)
ON CONFLICT (job_id, key) DO NOTHING
RETURNING key
"""


def _put_questions(end: End) -> None:
    rows = [{"key": key, "message": question.message, "schema": question.schema} for key, question in end.asked.items()]
    execute(_NOTE, {"job": end.running.job.id, "questions": orjson.dumps(rows).decode()})


def _write(ends: Sequence[End], wish: Next | None) -> dict[str, Job]:
    params: dict[str, Any] = {"ends": orjson.dumps([end.row() for end in ends]).decode()}
    if wish is not None:
        params |= wish.params()
        wish.given = []
    ended: dict[str, Job] = {}
    for *columns, is_next, job_params in fetch(statement(with_next=wish is not None), params):
        if wish is not None and is_next:
            wish.given.append(running_of(columns, job_params))
        else:
            job = job_of(columns)
            ended[job.id] = job
    begun = wish.given if wish is not None else []
    begun.sort(key=lambda running: running.attempt_id)
    # The dispatcher has slots to give away, dependents to tell, or retries to time.
    events.announce(map(events.delta_of, [*ended.values(), *(running.job for running in begun)]), poke=bool(ended))
    return ended
