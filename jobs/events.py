"""What happened: one Event row a move, and one message to the live pages after the commit."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypedDict

import orjson
from django.db import transaction

from jobs import redis_link
from jobs.models import Job


class Delta(TypedDict, total=False):
    """A job as the live pages get it; times are epoch milliseconds. A progress report carries the first half only."""

    id: str
    v: tuple[int, int]  # (version, progress tick): a client ignores what is not newer
    progress: float
    message: str
    stage: str
    sub: float | None
    diagnostics: list[str]  # new lines only

    tool: str
    status: str
    gate: str
    reason: str
    operation: str
    priority: str
    batch: str
    project: str
    attempts: int
    retries: int
    cancelling: bool
    starting: bool
    created: int
    started: int | None
    finished: int | None


def millis(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def delta_of(job: Job) -> Delta:
    """Everything a list row or a job's header shows. Touches no payload column, so `defer` costs no query."""
    return Delta(
        id=job.id,
        v=(job.version, job.progress_tick),
        progress=job.progress,
        message=job.message,
        stage=job.stage,
        sub=job.sub_progress,
        tool=job.tool,
        status=job.status,
        gate=job.gate,
        reason=job.reason[:300],
        operation=job.operation,
        priority=job.priority,
        batch=job.batch,
        project=job.project,
        attempts=job.attempt_count,
        retries=job.retry_count,
        cancelling=job.cancel_requested_at is not None,
        starting=job.status == "pending" and job.current_attempt_id is not None,
        created=millis(job.created_at) or 0,
        started=millis(job.started_at),
        finished=millis(job.finished_at),
    )


# A message that is too long for one look of a listener would hold up all others.
_AT_ONCE = 500


def announce(deltas: Iterable[Delta], *, poke: bool = False) -> None:
    """After the commit: tell the live pages, and wake the dispatcher if `poke`. Losing this costs latency only."""
    every = list(deltas)
    parts = [every[first : first + _AT_ONCE] for first in range(0, len(every), _AT_ONCE)]
    messages = [(redis_link.LIVE_CHANNEL, orjson.dumps(part)) for part in parts]
    if poke:
        messages.append((redis_link.POKE_CHANNEL, b"1"))
    if messages:
        transaction.on_commit(lambda: redis_link.publish_all(messages))


def tell_of_the_line() -> None:
    """After the commit: who shows why a job waits looks again, though no job has moved."""
    transaction.on_commit(lambda: redis_link.publish_all([(redis_link.LIVE_CHANNEL, b'"line"')]))


def tell_to_stop(attempt_ids: list[int]) -> None:
    """After the commit: let the processes that run these attempts look now, and not at their next beat only."""
    if attempt_ids:
        payload = orjson.dumps(attempt_ids)
        transaction.on_commit(lambda: redis_link.publish_all([(redis_link.STOP_CHANNEL, payload)]))
