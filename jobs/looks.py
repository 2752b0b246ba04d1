"""Looking at a job as a poller does: the look itself is remembered, because the recommended wait grows with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import orjson
from django.db import connection
from django.db.models import F, JSONField
from django.db.models.functions import Now
from django.utils import timezone

from jobs import polling
from jobs.models import Job, job_from
from jobs.sight import EVERYTHING, Sight, unseen
from jobs.states import Status


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A job without its params and result, and the milliseconds to wait before the next look (None: it is finished)."""

    job: Job
    wait_ms: int | None


# The payloads stay where they are: a status shows none of them.
_FIELDS = [field for field in Job._meta.concrete_fields if field.name not in {"params", "result", "checkpoint"}]
_NAMES = [field.attname for field in _FIELDS]
_JSON = [field.attname for field in _FIELDS if isinstance(field, JSONField)]
# Named here, because the ORM needs longer to put it together, and to make a Job of the row, than all the rest of a poll takes.
_SELECT = f"SELECT {', '.join(field.column for field in _FIELDS)} FROM jobs_job WHERE id = %s"  # noqa: S608  (our own names)


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
    job = job_from(_NAMES, row)
    for name in _JSON:
        setattr(job, name, orjson.loads(getattr(job, name)))
    return job


def _millis_since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else (now - moment).total_seconds() * 1000


def _remaining(job: Job, now: datetime) -> int | None:
    if job.status != Status.RUNNING or job.started_at is None:
        return None
    elapsed = _millis_since(job.started_at, now) or 0.0
    return polling.remaining_ms(progress=job.progress, elapsed_ms=elapsed, estimated_ms=job.estimated_ms)
