"""Runs outside: programs in any language that claim work with a lease, or run jobs of their own, and report.

The same verbs as for a Celery child, so the same retries, limits, fencing and metrics. What a pulse does beside a Celery child
(time-outs, the end of those who went away) is done here by the dispatcher's sweep.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import orjson

from jobs import checkpoints, lifecycle, redis_link, workers
from jobs.errors import Category, IllegalMove, NotFound, PayloadTooLarge, Refused
from jobs.events import Delta
from jobs.failures import Failure
from jobs.lifecycle import Beat, Child, Running, Usage
from jobs.lifecycle.rows import fetch
from jobs.models import Job
from jobs.payloads import Json
from jobs.retry import Retry, decide
from jobs.states import Gate, Status

log = logging.getLogger(__name__)

# An admitted attempt that no worker has claimed gives its slot back after so long; seconds.
UNCLAIMED_FOR = 60.0


class Superseded(Refused):
    """The attempt is over: what it reports counts no more."""

    code, title, http_status = "superseded", "The attempt is over", 409


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a runner outside has to say; None is unchanged."""

    progress: float | None = None
    message: str | None = None
    stage: str | None = None
    sub_progress: float | None = None
    diagnostics: Sequence[str] = ()
    metadata: dict[str, Json] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    cpu_percent: float = 0.0
    checkpoint: Json = None

    def says_something(self) -> bool:
        return (self.progress, self.message, self.stage, self.sub_progress) != (None, None, None, None) or bool(self.diagnostics)


def claim(
    tools: Collection[str], *, worker: str, host: str, most: int, lease: float, projects: Collection[str] | None = None
) -> list[Running]:
    """Take up to `most` jobs that have been admitted. The worker is known from now on, so that jobs are admitted for it."""
    if not workers.ask_for_work(worker, host=host, tools=sorted(tools), most=most):
        return []
    claimed = lifecycle.claim(tools, Child(worker=worker, pid=0, lease=lease), most=most, projects=projects)
    if not claimed:
        redis_link.publish(redis_link.POKE_CHANNEL, b"1")
    return claimed


def begin(job_id: str, *, worker: str, lease: float) -> Running:
    """Begin a standard job. Raises `NotFound` or `IllegalMove`."""
    begun = lifecycle.begin(job_id, Child(worker=worker, pid=0, lease=lease))
    if begun is not None:
        return begun
    job = Job.objects.filter(pk=job_id).only("status", "kind", "gate").first()
    if job is None:
        raise NotFound(f"there is no job {job_id!r}")
    if job.kind != Job.Kind.STANDARD:
        raise IllegalMove(f"job {job_id} is no standard job: it is started by the dispatcher, and claimed")
    if job.status == Status.PENDING:
        raise IllegalMove(f"job {job_id} is not ready: {Gate(job.gate).label.lower()}")
    raise IllegalMove(f"job {job_id} is {job.status}; only pending jobs can be started")


def held(attempt_id: int) -> Running:
    """Raises `Superseded`."""
    run = lifecycle.held(attempt_id)
    if run is None:
        raise Superseded("the attempt is over: it has ended, or its lease ran out and the job went on without it")
    return run


def report(run: Running, news: Report, *, lease: float) -> tuple[bool, str]:
    """Note progress and renew the lease: (is a cancel asked for, why). Raises `Superseded`."""
    job = run.job
    told = Beat(
        progress=job.progress if news.progress is None else news.progress,
        message=job.message if news.message is None else news.message,
        stage=job.stage if news.stage is None else news.stage,
        sub_progress=job.sub_progress if news.sub_progress is None else news.sub_progress,
        tick=job.progress_tick + (1 if news.says_something() else 0),
        diagnostics=list(news.diagnostics),
        metadata=news.metadata,
        peak_memory_mb=news.peak_memory_mb,
        cpu_percent=news.cpu_percent,
    )
    answer = lifecycle.beat(run, told, lease=lease)
    if answer is None:
        raise Superseded("the attempt is over")
    if news.checkpoint is not None:
        lifecycle.keep_checkpoint(run, _checked(news.checkpoint))
    if news.says_something():
        _tell(run, told)
    return answer


def _checked(checkpoint: Json) -> str:
    try:
        return checkpoints.encoded(checkpoint)
    except ValueError as error:
        raise PayloadTooLarge(str(error)) from None


def _tell(run: Running, news: Beat) -> None:
    """The live pages, as a pulse does."""
    delta = Delta(
        id=run.job.id,
        v=(run.job.version, news.tick),
        progress=news.progress,
        message=news.message,
        stage=news.stage,
        sub=news.sub_progress,
        diagnostics=news.diagnostics,
    )
    redis_link.publish(redis_link.LIVE_CHANNEL, orjson.dumps([delta]))


def finish(run: Running, result: Json, usage: Usage, *, actor: str) -> Job:
    """The end of the run, or of a job that was cancelled meanwhile. Raises `Superseded`."""
    return _ended(run, lifecycle.finish(run, result, usage, actor=actor), usage, actor)


def fail(run: Running, failure: Failure, usage: Usage, *, actor: str, retry_after: float | None = None) -> Job:
    """The run failed: the job is tried again by its policy, or failed for good. Raises `Superseded`."""
    job = run.job
    decision = decide(
        Retry(max=job.max_retries, first=job.retry_first_ms / 1000, factor=job.retry_factor, cap=job.retry_cap_ms / 1000),
        failure.category,
        retries=job.retry_count,
        jitter=random.random(),  # noqa: S311  (spreads load, guards nothing)
        retry_after=retry_after,
    )
    return _ended(run, lifecycle.fail(run, failure, decision, usage, actor=actor), usage, actor)


def give_back(run: Running, usage: Usage, *, actor: str) -> Job:
    """Back to pending at once, no retry spent. Raises `Superseded`."""
    return _ended(run, lifecycle.interrupt(run, usage, actor=actor), usage, actor)


def _ended(run: Running, job: Job | None, usage: Usage, actor: str) -> Job:
    done = job or lifecycle.stop(run, usage, actor=actor)
    if done is None:
        raise Superseded("the attempt is over")
    return done


# Nobody beside the program that runs it watches its time.
_OVERDUE = """
SELECT a.id, a.timeout_ms FROM jobs_attempt a
WHERE a.state = 'running' AND a.queue IN ('external', 'standard')
  AND a.started_at + make_interval(secs => a.timeout_ms / 1000.0) < now()
ORDER BY a.id LIMIT 200
"""


def sweep() -> int:
    """End the runs outside whose time is over, and take back what no worker has claimed; how many."""
    ended = 0
    for attempt_id, timeout_ms in fetch(_OVERDUE, {}):
        run = lifecycle.held(attempt_id)
        if run is None:
            continue
        failure = Failure(
            category=Category.TIMEOUT,
            error_class="TimedOut",
            message=f"not done within {timeout_ms / 1000:g} s",
            place=run.job.tool,
        )
        try:
            fail(run, failure, Usage(), actor="dispatcher")
        except Superseded:
            continue
        log.warning("timed out %s: its runner did not end it", run.job.id)
        ended += 1
    return ended + len(lifecycle.withdraw_unclaimed(UNCLAIMED_FOR))
