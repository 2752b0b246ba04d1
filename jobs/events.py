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


def announce(deltas: Iterable[Delta], *, poke: bool = False) -> None:
    """After the commit: tell the live pages, and wake the dispatcher if `poke`. Losing this costs latency only."""
    payload = orjson.dumps(list(deltas))

    messages = [(redis_link.LIVE_CHANNEL, payload)] if payload != b"[]" else []
    if poke:
        messages.append((redis_link.POKE_CHANNEL, b"1"))
    if messages:
        transaction.on_commit(lambda: redis_link.publish_all(messages))
