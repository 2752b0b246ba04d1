"""Verbs on the way into a run and through it: admit, ring, start, beat."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from jobs import events
from jobs.lifecycle.rows import COLUMNS, RETURNED, execute, fetch, job_of, jobs_from
from jobs.models import Job

MAX_DIAGNOSTICS = 1000

# One statement for a whole batch, because a round must cost the same for 1 or 100 admissions. SKIP LOCKED: a job that somebody
# is cancelling right now is looked at again in the next round. ORDER BY gives attempt ids in rank order, which is the order in
# which start_next takes them. The configuration must still be the one that was decided by: sharing its row makes a change of a
# limit wait for this statement, or this statement find the change and admit nothing. The commit is not waited for to reach the
# disk: whatever is built on an admission (a start, an end) is, and the log is written in order.
_ADMIT = f"""
WITH still AS MATERIALIZED (
    SELECT set_config('synchronous_commit', 'off', TRUE) FROM jobs_queueconfig WHERE xmin::text || ctid::text = %(config)s FOR SHARE
), ready AS MATERIALIZED (
    SELECT id, rank, attempt_count, queue, memory_mb, cpu_weight, disk_mb, timeout_ms, concurrency_key, gate_since FROM jobs_job
    WHERE id = ANY(%(ids)s) AND status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL
      AND (SELECT count(*) FROM still) = 1
    FOR NO KEY UPDATE SKIP LOCKED
), made AS (
    INSERT INTO jobs_attempt (job_id, number, state, queue, memory_mb, cpu_weight, disk_mb, timeout_ms, admitted_at, rings,
        ready_at, worker, error_class, error_category, error_message, traceback, peak_memory_mb, cpu_percent, concurrency_key,
        rated)
    SELECT id, attempt_count + 1, 'admitted', queue, memory_mb, cpu_weight, disk_mb, timeout_ms, now(), 0,
        gate_since, '', '', '', '', '', 0, 0, concurrency_key, id = ANY(%(rated)s)
    FROM ready ORDER BY rank, id
    RETURNING id, job_id
), moved AS (
    UPDATE jobs_job j SET current_attempt_id = made.id, attempt_count = attempt_count + 1, version = version + 1,
        updated_at = now()
    FROM made WHERE j.id = made.job_id
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, current_attempt_id, 'admit', 'pending', 'pending', '', 'dispatcher', now() FROM moved
)
SELECT * FROM moved ORDER BY current_attempt_id
"""


def admit(ids: Sequence[str], *, config: str, rated: Sequence[str] = ()) -> list[Job]:
    """Give each of these pending, ready jobs an attempt; returns those that were still pending and ready.

    `config` is the version of the configuration that they were chosen by (admission.Outlook): with another one nothing is
    admitted. `rated` are those that count for a limit of starts a minute.
    """
    if not ids:
        return []
    moved = jobs_from(_ADMIT, {"ids": list(ids), "rated": list(rated), "config": config})
    events.announce(map(events.delta_of, moved))
    return moved


# Who is just beginning one waits for the disk with it locked; the dispatcher does not wait with them.
_NOTE_RUNG = """
WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', TRUE) AS so), free AS (
    SELECT id FROM jobs_attempt WHERE id = ANY(%(ids)s) AND state = 'admitted' ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE jobs_attempt a SET rung_at = now(), rings = rings + 1 FROM relaxed, free WHERE a.id = free.id RETURNING a.id
"""


def note_rung(attempt_ids: Sequence[int]) -> int:
    """Remember that doorbells were sent; attempts that started meanwhile are left alone."""
    return len(execute(_NOTE_RUNG, {"ids": list(attempt_ids)})) if attempt_ids else 0


@dataclass(frozen=True, kw_only=True)
class Running:
    """What a child needs to run one attempt."""

    attempt_id: int
    job: Job  # as returned by the start; params apart
    params: dict[str, Any]
    previous_errors: int
    of_use_until: float = math.inf  # monotonic seconds


STARTED_PARTS = """started AS (
    UPDATE jobs_job j SET status = 'running', reason = '', started_at = now(), updated_at = now(), version = version + 1,
        looks = 0, progress = 0, message = '', stage = '', sub_progress = NULL, progress_tick = 0
    FROM taken WHERE j.id = taken.job_id
    RETURNING j.*
), told AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, current_attempt_id, 'start', 'pending', 'running', '', %(worker)s, now() FROM started
)"""
# The job is locked first; that lock decides between two starts of one attempt, and between a start and a cancel. An admitted
# attempt that is its job's current one implies a pending job, yet the status must be asked for: it is what the lock reads again,
# so that an attempt which another child took a moment ago is passed over for the next. The inner LIMIT makes the planner walk
# the index of admitted attempts whatever its statistics say; only other children hold locks. A state that is compared as
# `state || ''` is one that no index is to serve: with stale statistics the planner takes "few are pending" for a way in, and walks
# a hundred thousand of them for each that is started.
#
# Several are begun at once only where all of them are brief: the ones behind the first are then as good as begun. Never more than
# half of what waits, so that other children find some; and none that was lost before, lest one that kills its process takes
# others along again and again.
_START_PARTS = (
    """
ready AS MATERIALIZED (
    SELECT a.id, j.tool = ANY(%(brief)s) AND j.loss_count = 0 AS brief FROM (
        SELECT id, job_id FROM jobs_attempt WHERE {which} AND state = 'admitted' ORDER BY id LIMIT 99) a
    JOIN jobs_job j ON j.id = job_id AND current_attempt_id = a.id AND status || '' = 'pending' {{after}}
    ORDER BY a.id LIMIT {most}
    FOR NO KEY UPDATE OF j {wait}
), chosen AS (
    SELECT id, bool_and(brief) OVER line OR row_number() OVER line = 1 AS fits FROM ready WINDOW line AS (ORDER BY id)
), taken AS (
    UPDATE jobs_attempt a SET state = 'running', started_at = now(), worker = %(worker)s, pid = %(pid)s,
        lease_until = now() + make_interval(secs => %(lease)s)
    FROM chosen c WHERE fits AND a.id = c.id AND a.state || '' = 'admitted'
    RETURNING a.job_id
), """
    + STARTED_PARTS
)
_STARTED = f" SELECT {COLUMNS}, params FROM started ORDER BY current_attempt_id"
# A doorbell waits for its job, lest it be spent on a moment's lock; who takes any job goes on to the next instead.
_START_THIS = "WITH " + _START_PARTS.format(which="id = %(attempt)s", most="1", wait="").format(after="") + _STARTED
_HALF = """GREATEST(1, LEAST(%(most)s, (SELECT count(*) FROM (
    SELECT 1 FROM jobs_attempt WHERE queue = %(queue)s AND state = 'admitted' LIMIT 32) w) / 2))"""
START_NEXT_PARTS = _START_PARTS.format(which="queue = %(queue)s AND timeout_ms <= %(most_ms)s", most=_HALF, wait="SKIP LOCKED")
_START_NEXT = "WITH " + START_NEXT_PARTS.format(after="") + _STARTED


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that runs attempts. `lease` is seconds."""

    worker: str
    pid: int
    lease: float

    @property
    def name(self) -> str:
        return f"{self.worker}/{self.pid}"

    def columns(self) -> dict[str, Any]:
        return {"worker": self.worker, "pid": self.pid, "lease": self.lease}


@dataclass(kw_only=True)
class Next:
    """A child's wish to go on: the end of its attempts starts the next admitted of `queue` in the same statement.

    `longest_ms` is the longest time-out it may take on; `brief` names the tools of which it takes up to `most` at once.
    `given` is what it got, in order.
    """

    child: Child
    queue: str
    longest_ms: int
    brief: Sequence[str] = ()
    most: int = 1
    given: list[Running] = field(default_factory=list)

    def params(self) -> dict[str, Any]:
        columns = self.child.columns()
        return {"queue": self.queue, "most_ms": self.longest_ms, "brief": list(self.brief), "most": self.most, **columns}


def start(attempt_id: int, child: Child) -> Running | None:
    """Begin this attempt. None: the doorbell came twice, or too late."""
    begun = _begin(_START_THIS, {"attempt": attempt_id, "brief": [], **child.columns()})
    return begun[0] if begun else None


def start_next(wish: Next) -> list[Running]:
    """Begin the next admitted attempts that fit the wish."""
    wish.given = _begin(_START_NEXT, wish.params())
    return wish.given


def _begin(sql: str, params: dict[str, Any]) -> list[Running]:
    # One statement is its own transaction: no round trip is spent on BEGIN and COMMIT.
    begun = [running_of(columns, job_params) for *columns, job_params in fetch(sql, params)]
    events.announce([events.delta_of(running.job) for running in begun])
    return begun


_OF_CHILD = f"""
SELECT {RETURNED}, j.params FROM jobs_attempt a JOIN jobs_job j ON j.current_attempt_id = a.id
WHERE a.state = 'running' AND a.worker = %(worker)s AND a.pid = %(pid)s AND a.id <> ALL(%(but)s)
"""


def running_of_child(child: Child, *, but: Sequence[int]) -> list[Running]:
    """What runs in this process as far as the database knows, less the attempts that are named."""
    return [running_of(columns, params) for *columns, params in fetch(_OF_CHILD, {"but": list(but), **child.columns()})]


def running_of(columns: Sequence[Any], params: str) -> Running:
    job = job_of(columns)
    assert job.current_attempt_id is not None  # noqa: S101  (the constraint job_running_task_has_attempt)
    return Running(
        attempt_id=job.current_attempt_id,
        job=job,
        params=orjson.loads(params),
        previous_errors=job.retry_count + job.loss_count,
        of_use_until=_of_use_until(job),
    )


def _of_use_until(job: Job) -> float:
    """On this process's own clock: how far off it was by the clock of the database, when it said that the run begins."""
    if job.expires_at is None or job.started_at is None:
        return math.inf
    return time.monotonic() + (job.expires_at - job.started_at).total_seconds()


@dataclass(frozen=True, kw_only=True)
class Beat:
    """What a running child tells, and is told, at each beat."""

    progress: float
    message: str
    stage: str
    sub_progress: float | None
    tick: int
    diagnostics: list[str]
    metadata: dict[str, Any]
    peak_memory_mb: float
    cpu_percent: float
    samples: Sequence[Sequence[float]] = ()


# No version bump and no Event: a beat is not a move, and need not reach the disk. Zero rows: the attempt was superseded.
_BEAT = """
WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', TRUE) AS so), moved AS (
    UPDATE jobs_job j SET progress = %(progress)s, message = %(message)s, stage = %(stage)s, sub_progress = %(sub_progress)s,
        progress_tick = %(tick)s, updated_at = now(), metadata = metadata || %(metadata)s::jsonb,
        diagnostics = CASE WHEN %(lines)s::jsonb = '[]' THEN diagnostics ELSE {append} END
    FROM relaxed WHERE j.id = %(job)s AND j.current_attempt_id = %(attempt)s AND j.status = 'running'
    RETURNING j.current_attempt_id, j.cancel_requested_at, j.cancel_reason
)
UPDATE jobs_attempt a SET lease_until = now() + make_interval(secs => %(lease)s), peak_memory_mb = %(peak)s, cpu_percent = %(cpu)s,
    samples = %(samples)s::jsonb
FROM moved WHERE a.id = moved.current_attempt_id AND a.state = 'running'
RETURNING moved.cancel_requested_at IS NOT NULL AS cancelled, moved.cancel_reason AS reason
"""
# The last MAX_DIAGNOSTICS lines, in order.
APPEND_DIAGNOSTICS = f"""(
    SELECT COALESCE(jsonb_agg(line ORDER BY place), '[]') FROM (
        SELECT line, place FROM jsonb_array_elements(diagnostics || {{lines}}) WITH ORDINALITY AS l(line, place)
        ORDER BY place DESC LIMIT {MAX_DIAGNOSTICS}) kept)"""
_BEAT_SQL = _BEAT.replace("{append}", APPEND_DIAGNOSTICS.format(lines="%(lines)s::jsonb"))


def beat(running: Running, news: Beat, *, lease: float) -> tuple[bool, str] | None:
    """Renew the lease. None: superseded. Else (is a cancel asked for, why)."""
    rows = execute(
        _BEAT_SQL,
        {
            "job": running.job.id,
            "attempt": running.attempt_id,
            "progress": news.progress,
            "message": news.message,
            "stage": news.stage,
            "sub_progress": news.sub_progress,
            "tick": news.tick,
            "lines": orjson.dumps(news.diagnostics).decode(),
            "metadata": orjson.dumps(news.metadata).decode(),
            "peak": news.peak_memory_mb,
            "cpu": news.cpu_percent,
            "samples": orjson.dumps(news.samples).decode(),
            "lease": lease,
        },
    )
    return (rows[0]["cancelled"], rows[0]["reason"]) if rows else None
