"""Which jobs may start now: decided purely, from rows read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection
from django.db.models import Count, Sum

from jobs.limits import Limits, Resources
from jobs.models import Attempt
from jobs.states import LIVE_ATTEMPT

# A job that does not fit lets smaller ones pass for this long after its submission; then room is kept for it. Seconds.
PATIENCE = 30.0
# How many ready jobs one round looks at beyond the free slots, for smaller ones that fit.
LOOK_AHEAD = 100


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A ready job; `waited` is seconds since it became ready."""

    id: str
    needs: Resources
    waited: float


def choose(ready: Iterable[Candidate], slots: int, room: Resources) -> list[str]:
    """The jobs to admit, in order. `ready` comes in rank order."""
    chosen: list[str] = []
    for job in ready:
        if len(chosen) >= slots:
            break
        if job.needs.fits(room):
            chosen.append(job.id)
            room = room.less(job.needs)
        elif job.waited > PATIENCE:
            break
    return chosen


def in_use() -> tuple[int, Resources]:
    """Slots and resources held by live attempts, computed from their rows."""
    totals = Attempt.objects.filter(state__in=LIVE_ATTEMPT).aggregate(
        slots=Count("id"), memory=Sum("memory_mb"), cpu=Sum("cpu_weight"), disk=Sum("disk_mb")
    )
    used = Resources(memory_mb=totals["memory"] or 0, cpu_weight=totals["cpu"] or 0, disk_mb=totals["disk"] or 0)
    return totals["slots"], used


# Served by the partial index job_ready: its first rows are the answer, however many jobs wait.
_CANDIDATES = """
SELECT id, memory_mb, cpu_weight, disk_mb, EXTRACT(EPOCH FROM now() - gate_since)::float8 AS waited FROM jobs_job
WHERE status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL AND kind = 'task'
ORDER BY rank, id LIMIT %s
"""


def candidates(most: int) -> list[Candidate]:
    """The first `most` ready jobs by rank."""
    with connection.cursor() as cursor:
        cursor.execute(_CANDIDATES, [most])
        return [
            Candidate(id=job, needs=Resources(memory_mb=memory, cpu_weight=cpu, disk_mb=disk), waited=waited)
            for job, memory, cpu, disk, waited in cursor.fetchall()
        ]


def next_jobs(limits: Limits) -> list[str]:
    """The ids of the jobs that may start now, in order."""
    running, used = in_use()
    slots = limits.max_concurrent - running
    if slots <= 0:
        return []
    return choose(candidates(slots + LOOK_AHEAD), slots, limits.resources.less(used))
