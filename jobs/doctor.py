"""Examines a live database: every job against its history, and what is kept about all of them against the jobs.

Jobs are read some hundred at a time, each time as of one moment, so what happens meanwhile is no finding and memory stays as it is.

What is mended is only what is computed from other rows (a gate, a count, a rank, the tally), a slot that nobody can use or give
back, and rows about no job. A history that contradicts itself is told and left: nobody can say what really happened. No job that
has ended gets another status or result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from django.db import connection, transaction
from django.db.models.functions import Now

from jobs import invariants, lifecycle, rescue, tally
from jobs.invariants import Finding, Life, Parent, Row
from jobs.lifecycle.rows import execute, fetch
from jobs.models import Attempt
from jobs.states import AttemptState

CHUNK = 300

_JOBS = """
SELECT id, status, gate, current_attempt_id, attempt_count, retry_count, loss_count, max_retries, dependency_policy, has_dependents,
    version, rank, created_at, memory_mb, cpu_weight, disk_mb, result IS NOT NULL AS has_result,
    EXISTS (SELECT 1 FROM jobs_askedquestion q WHERE q.job_id = j.id AND q.answered_at IS NULL) AS asks,
    EXISTS (SELECT 1 FROM jobs_dependency d WHERE d.parent_id = j.id) AS has_children,
    EXISTS (SELECT 1 FROM jobs_jobmetrics m WHERE m.job_id = j.id) AS has_metrics
FROM jobs_job j WHERE id > %(after)s ORDER BY id LIMIT %(most)s
"""
_ATTEMPTS = """
SELECT id, job_id, number, state, memory_mb, cpu_weight, disk_mb, lease_until
FROM jobs_attempt WHERE job_id = ANY(%(ids)s) ORDER BY id
"""
_EVENTS = "SELECT id, job_id, attempt_id, verb, before, after FROM jobs_event WHERE job_id = ANY(%(ids)s) ORDER BY id"
_PARENTS = """
SELECT d.job_id, d.parent_id, d.met_at IS NOT NULL AS met, p.status, p.unsettled, e.ended, COALESCE(e.completed, FALSE) AS completed
FROM jobs_dependency d LEFT JOIN jobs_job p ON p.id = d.parent_id CROSS JOIN LATERAL (
    SELECT min(id) FILTER (WHERE finished_now) AS ended, bool_or(after = 'completed') AS completed
    FROM (SELECT id, after, after IN ('completed', 'failed', 'cancelled') AND before NOT IN ('completed', 'failed', 'cancelled')
        AS finished_now FROM jobs_event WHERE job_id = d.parent_id) ends) e
WHERE d.job_id = ANY(%(ids)s)
"""
# Room that was there when the newest was admitted is there still, for the limits were not changed since. What needs nothing of a
# kind is admitted also where too much of it is in use.
_HELD = """
SELECT name, held, most FROM jobs_queueconfig c CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, sum(memory_mb) AS memory, sum(cpu_weight) AS cpu, sum(disk_mb) AS disk, max(admitted_at) AS last,
        max(admitted_at) FILTER (WHERE memory_mb > 0) AS last_memory, max(admitted_at) FILTER (WHERE cpu_weight > 0) AS last_cpu,
        max(admitted_at) FILTER (WHERE disk_mb > 0) AS last_disk
    FROM jobs_attempt WHERE state IN ('admitted', 'running') AND queue <> 'standard') a
CROSS JOIN LATERAL (VALUES ('jobs', jobs::float8, max_concurrent_jobs::float8, last),
    ('memory MB', memory, max_memory_mb, last_memory), ('cpu weight', cpu, max_cpu_weight, last_cpu),
    ('disk MB', disk, max_disk_mb, last_disk)) kinds(name, held, most, newest)
WHERE held > most AND newest > c.updated_at
"""


def examine(*, mending: bool = False, looked_at: Callable[[int], None] = lambda _: None) -> Iterator[Finding]:
    """What does not hold, as it is found. Mends what it safely can, if wanted.

    `looked_at` is told how many jobs each step has looked at.
    """
    yield from _treated(_orphans(), mending)
    after = ""
    while lives := _lives(after):
        after = lives[-1].job["id"]
        for life in lives:
            yield from _treated(invariants.broken_in(life), mending, life)
        looked_at(len(lives))
    yield from _treated(_over_limits(), mending)
    yield from _treated(_tally(), mending)


def total() -> int:
    """About how many jobs there are to look at."""
    return sum(tally.by_status().values())


def _treated(found: Iterator[Finding], mending: bool, life: Life | None = None) -> Iterator[Finding]:  # noqa: FBT001
    mended: dict[str, bool] = {}  # once for all that it mends
    for finding in list(found):
        if mending and finding.mend:
            how = finding.mend + finding.target
            if how not in mended:
                mended[how] = _mend(finding, life)
            finding.mended = mended[how]
        yield finding


def _mend(finding: Finding, life: Life | None) -> bool:
    match finding.mend:
        case "recount" if life is not None:
            counts = invariants.counts_of(life)
            return lifecycle.recount(life.job["id"], counts, version=life.job["version"])
        case "rescue":
            rescue.rescue_lost()
            return not Attempt.objects.filter(job=finding.target, state=AttemptState.RUNNING, lease_until__lt=Now()).exists()
        case "correct":
            return tally.correct()
        case _:
            return _MENDS[finding.mend](finding.target)


_MENDS: dict[str, Callable[[str], bool]] = {
    "mend": lifecycle.mend,
    "regate": lifecycle.regate,
    "resettle": lifecycle.resettle,
    "put_in_line": lifecycle.put_in_line,
    "bury": lifecycle.bury,
}


@contextmanager
def _one_moment() -> Iterator[None]:
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _lives(after: str) -> list[Life]:
    with _one_moment():
        jobs = execute(_JOBS, {"after": after, "most": CHUNK})
        ids = {"ids": [job["id"] for job in jobs]}
        attempts, events = _by_job(execute(_ATTEMPTS, ids)), _by_job(execute(_EVENTS, ids))
        parents = _by_job(execute(_PARENTS, ids))
        ((now,),) = fetch("SELECT now()", {})
    return [_life(job, attempts[job["id"]], events[job["id"]], parents[job["id"]], now) for job in jobs]


def _by_job(rows: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append(row)
    return found


def _life(job: Row, attempts: list[Row], events: list[Row], parents: list[Row], now: datetime) -> Life:
    return Life(
        job=job,
        attempts=attempts,
        events=events,
        parents=[
            Parent(
                id=parent["parent_id"],
                ended=parent["ended"],
                completed=parent["completed"],
                met=parent["met"],
                status=parent["status"] or "",
                unsettled=bool(parent["unsettled"]),
            )
            for parent in parents
        ],
        asks=job["asks"],
        has_children=job["has_children"],
        has_metrics=job["has_metrics"],
        now=now,
    )


def _orphans() -> Iterator[Finding]:
    for reference in lifecycle.ORPHANS:
        table, column = reference.split(".")
        number, sample = lifecycle.orphans(reference)
        if number:
            text = f"{number} rows are about no job: {column} {sample} and the like"
            yield Finding(rule="orphans", subject=table, text=text, mend="bury", target=reference)


def _over_limits() -> Iterator[Finding]:
    for name, held, limit in fetch(_HELD, {}):
        yield Finding(rule="limits", subject="queue", text=f"{held:g} {name} are in use, {limit:g} may be")


def _tally() -> Iterator[Finding]:
    if off := tally.off():
        status, tool, told, n = off[0]
        text = f"{len(off)} counts are wrong: {told} {status} jobs of {tool} are told, there are {n}"
        yield Finding(rule="tally", subject="counts", text=text, mend="correct")
