"""Which jobs may start now: decided purely, from rows read in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from jobs.limits import Limits, Resources

# A job that does not fit lets smaller ones pass for this long after its submission; then room is kept for it. Seconds.
PATIENCE = 30.0
# How many ready jobs one round looks at beyond the free slots, for smaller ones that fit.
FIRST_LOOK, LOOK_AHEAD = 4, 100


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


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a round has to do, read at once: so an idle round is one query."""

    unsettled: bool
    due: bool
    ready: bool
    live: int  # attempts that hold a slot
    waiting: int  # of these, not started yet
    used: Resources
    config: str | None  # the version of the configuration's row


_OUTLOOK = """
SELECT EXISTS (SELECT 1 FROM jobs_job WHERE unsettled),
    EXISTS (SELECT 1 FROM jobs_job WHERE status = 'pending' AND gate = 'time' AND run_at <= now()),
    EXISTS (SELECT 1 FROM jobs_job
        WHERE status = 'pending' AND gate = 'open' AND current_attempt_id IS NULL AND kind = 'task'),
    (SELECT xmin::text FROM jobs_queueconfig),
    count(*), count(*) FILTER (WHERE state = 'admitted'),
    COALESCE(sum(memory_mb), 0)::bigint, COALESCE(sum(cpu_weight), 0), COALESCE(sum(disk_mb), 0)::bigint
FROM jobs_attempt WHERE state IN ('admitted', 'running')
"""


def outlook() -> Outlook:
    with connection.cursor() as cursor:
        cursor.execute(_OUTLOOK)
        unsettled, due, ready, config, live, waiting, memory, cpu, disk = cursor.fetchone()
    used = Resources(memory_mb=memory, cpu_weight=cpu, disk_mb=disk)
    return Outlook(unsettled=unsettled, due=due, ready=ready, live=live, waiting=waiting, used=used, config=config)


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


def next_jobs(limits: Limits, now: Outlook) -> list[str]:
    """The ids of the jobs that may start now, in order."""
    slots = limits.max_concurrent - now.live
    if slots <= 0:
        return []
    room = limits.resources.less(now.used)
    # Mostly the first ones fit; only when they do not is it worth to look further.
    first = candidates(slots + FIRST_LOOK)
    chosen = choose(first, slots, room)
    if len(chosen) == slots or len(first) < slots + FIRST_LOOK:
        return chosen
    return choose(candidates(slots + LOOK_AHEAD), slots, room)
