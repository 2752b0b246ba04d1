"""Looking at a job as a poller does: the look itself is remembered, because the recommended wait grows with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from jobs import polling
from jobs.models import Job, job_from
from jobs.sight import EVERYTHING, Sight, unseen
from jobs.states import Status


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job as its status shows it, and the milliseconds to wait before the next look (None: it is finished).

    What a status does not show is read from the database when it is asked for.
    """

    job: Job
    wait_ms: int | None


# What a status shows, and what the polling contract asks. Named here, because the ORM needs longer to put a query together, and to
# make a Job of sixty columns, than all the rest of a poll takes.
_NAMES = [
    *("id", "tool", "project", "submitted_by", "status", "gate", "reason", "version", "created_at", "updated_at", "started_at"),
    *("finished_at", "progress", "progress_tick", "message", "stage", "sub_progress", "estimated_ms", "looks", "last_look_at"),
]
_JSON = ["diagnostics", "metadata"]
_SELECT = f"SELECT {', '.join(_NAMES + _JSON)} FROM jobs_job WHERE id = %s"  # noqa: S608  (our own names)


def look(job_id: str, sight: Sight = EVERYTHING) -> Seen:
    """One query, and one small write when the look counts; a poller that comes too early writes nothing.

    Raises `NotFound`. Looks are no state of the job: they neither raise its version nor make an event.
    """
    job = _read(job_id)
    if job is None or not sight.covers(job.project, job.tool):
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


def _read(job_id: str) -> Job | None:
    with connection.cursor() as cursor:
        cursor.execute(_SELECT, [job_id])
        row = cursor.fetchone()
    if row is None:
        return None
    *plain, diagnostics, metadata = row
    job = job_from(_NAMES, plain)
    job.diagnostics, job.metadata = orjson.loads(diagnostics), orjson.loads(metadata)
    return job


def _millis_since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds() * 1000


def _remaining(job: Job, now: datetime) -> int | None:
    if job.status != Status.RUNNING or job.started_at is None:
        return None
    elapsed = _millis_since(job.started_at, now) or 0.0
    return polling.remaining_ms(progress=job.progress, elapsed_ms=elapsed, estimated_ms=job.estimated_ms)
