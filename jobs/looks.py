"""Looking at a job as a poller does: the look itself is remembered, because the recommended wait grows with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from jobs import polling
from jobs.models import Job
from jobs.sight import EVERYTHING, Sight, unseen
from jobs.states import Status


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job without its params and result, and the milliseconds to wait before the next look (None: it is finished)."""

    job: Job
    wait_ms: int | None


def look(job_id: str, sight: Sight = EVERYTHING) -> Seen:
    """One query, and one small write when the look counts; a poller that comes too early writes nothing.

    Raises `NotFound`. Looks are no state of the job: they neither raise its version nor make an event.
    """
    job = sight.of(Job.objects.defer("params", "result").filter(id=job_id)).first()
    if job is None:
        raise unseen(job_id)
    now = timezone.now()
    seen = polling.look(
        job.status, looks=job.looks, since_last_ms=_millis_since(job.last_look_at, now), remaining=_remaining(job, now)
    )
    if seen.counts:
        # Two pollers at the same moment are one look, and one that lost the race with a change of state is none.
        current = Job.objects.filter(id=job.id, looks=job.looks, version=job.version)
        current.update(looks=F("looks") + 1, last_look_at=Now())
    return Seen(job=job, wait_ms=seen.wait_ms)


def _millis_since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds() * 1000


def _remaining(job: Job, now: datetime) -> int | None:
    if job.status != Status.RUNNING or job.started_at is None:
        return None
    elapsed = _millis_since(job.started_at, now) or 0.0
    return polling.remaining_ms(progress=job.progress, elapsed_ms=elapsed, estimated_ms=job.estimated_ms)
