"""Verbs that people and programs use to bring jobs in: submit, and retry of a finished one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import IntegrityError, connection, transaction

from jobs import configuration, dependencies, events, idempotency
from jobs.errors import AlreadyActive, Conflict, DuplicateId, IllegalMove, InvalidRequest, NotFound, Problem, Refused
from jobs.failpoints import failpoint
from jobs.lifecycle.depending import lock_jobs, mark_parents
from jobs.lifecycle.ranking import RANK, head_starts
from jobs.lifecycle.rows import OPEN_QUESTION, RETURNED, jobs_from
from jobs.limits import Limits
from jobs.models import AskedQuestion, Job
from jobs.payloads import Json
from jobs.states import ACTIVE, Gate, Status
from jobs.submission import Submission, prepare, revised

CHUNK = 500
_TRIES = 3


def submit(submission: Submission, *, by: str) -> Job:
    """Take in one job; it is durable when this returns. Raises a `Refused`, and then nothing was written.

    Where it is to be deduplicated, the active job with the same tool and params is returned instead of a new one.
    """
    for _ in range(_TRIES):
        try:
            return submit_many([submission], by=by)[0]
        except AlreadyActive as active:
            # Gone in this moment: then there is nothing to be equal to any more.
            if job := Job.objects.filter(pk=active.job_id).first():
                return job
    raise Conflict("an equal job ends just now, again and again; try once more")


def submit_once(submissions: Sequence[Submission], *, by: str, key: str, digest: str) -> tuple[list[Job], bool]:
    """As `submit`, or `submit_many`, once for each key of a caller: the jobs, and whether they are new.

    Raises `IdempotencyMismatch` too.
    """
    with transaction.atomic():
        known = idempotency.claim(by, idempotency.check(key), digest)
        if known is not None:
            return known, False
        jobs = [submit(submissions[0], by=by)] if len(submissions) == 1 else submit_many(submissions, by=by)
        idempotency.settle(by, key, jobs)
    return jobs, True


def submit_many(submissions: Sequence[Submission], *, by: str) -> list[Job]:
    """Take in several jobs, all or none; `depends_on` may name jobs among them.

    Raises a `Refused`; `AlreadyActive` where one is to be deduplicated and an equal job is pending or running.
    """
    limits = configuration.limits()
    jobs = _prepared(submissions, limits)
    wanted = {job.id: tuple(dict.fromkeys(s.depends_on)) for job, s in zip(jobs, submissions, strict=True)}
    dependencies.refuse_twins([job.id for job in jobs])
    dependencies.refuse_cycles(wanted)
    try:
        with _whole(jobs, wanted, submissions):
            # Locked, so that none of them finishes unseen before we commit.
            parents = lock_jobs({p for named in wanted.values() for p in named} - wanted.keys())
            dependencies.refuse_unknown((p for named in wanted.values() for p in named), parents.keys() | wanted.keys())
            if parents:
                mark_parents(parents)
            _refuse_expired(jobs)
            for job in jobs:
                _complete(job, limits, [parents.get(p) for p in wanted[job.id]], by)
            _mark_parents(jobs, wanted)
            _insert(jobs, wanted, parents, by)
            _keep_answers(jobs, submissions, by)
            # Ranks are fixed before anybody can see the jobs; the wake-up goes out only after the commit.
            transaction.on_commit(lambda: failpoint("submit.after_commit"))
            events.announce(map(events.delta_of, jobs), poke=True)
            if connection.in_atomic_block:
                failpoint("submit.before_commit")
    except IntegrityError as error:
        if "jobs_job_pkey" in str(error):
            raise DuplicateId("a job with this id exists already", [Problem(detail="exists", pointer="/id")]) from None
        if _TWIN in str(error):
            raise _already_active([job.fingerprint for job in jobs]) from None
        raise
    return jobs


def _prepared(submissions: Sequence[Submission], limits: Limits) -> list[Job]:
    jobs = []
    for place, wanted in enumerate(submissions):
        try:
            jobs.append(prepare(wanted, limits))
        except Refused as refusal:
            refusal.place = place
            raise
    return jobs


_TWIN = "job_active_fingerprint_once"


def _already_active(fingerprints: Sequence[str]) -> AlreadyActive:
    active = Job.objects.filter(fingerprint__in=[f for f in fingerprints if f], status__in=ACTIVE).values_list("pk", flat=True)
    job_id = active.first() or ""
    return AlreadyActive(f"an equal job is active: {job_id or 'among these'}", job_id=job_id)


def _whole(
    jobs: Sequence[Job], wanted: dict[str, tuple[str, ...]], submissions: Sequence[Submission]
) -> AbstractContextManager[Any]:
    """All or nothing. A job by itself is one statement, and that is so already: to begin and to commit are two round trips more."""
    is_one = len(jobs) == 1 and not wanted[jobs[0].id] and not submissions[0].answers and jobs[0].expires_at is None
    return nullcontext() if is_one and not connection.in_atomic_block else transaction.atomic()


def _refuse_expired(jobs: Sequence[Job]) -> None:
    if all(job.expires_at is None for job in jobs):
        return
    now = _database_now()
    for place, job in enumerate(jobs):
        if job.expires_at is not None and job.expires_at <= now + timedelta(microseconds=place):
            detail = "expiresAt must be in the future"
            raise InvalidRequest(detail, [Problem(detail=detail, pointer="/expiresAt")], place=place)


def _database_now() -> datetime:
    """The transaction's time, which is the time of the jobs."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        now: datetime = cursor.fetchone()[0]
        return now


def _complete(job: Job, limits: Limits, parents: Sequence[str | None], by: str) -> None:
    """All but its times, which the statement sets: until then its rank is its head start, and its gate leaves `run_at` out."""
    job.status = Status.PENDING
    job.rank = limits.head_start_us(job.priority, job.urgency)
    job.gate = Gate.DEPENDENCIES if any(status != Status.COMPLETED for status in parents) else Gate.OPEN
    job.submitted_by = by


def _mark_parents(jobs: Sequence[Job], wanted: dict[str, tuple[str, ...]]) -> None:
    among = {parent for named in wanted.values() for parent in named}
    for job in jobs:
        job.has_dependents = job.id in among


# What depends on the database's clock. Jobs of one request follow each other by a microsecond.
_TIMED = {
    "created_at": "t.at",
    "updated_at": "t.at",
    "gate_since": "t.at",
    "rank": "(extract(epoch FROM t.at) * 1000000)::bigint - j.rank",
    "gate": "CASE WHEN j.gate = 'open' AND j.run_at > t.at THEN 'time' ELSE j.gate END",
}
_COLUMNS = [(field.attname, str(field.column)) for field in Job._meta.concrete_fields]
# As JSON through one statement: bulk_create prepares sixty columns of each row one by one, which costs three times as much as all
# the rest of a submit. A column that a row does not name becomes NULL, and is refused.
_INSERT = f"""
WITH made AS (
    INSERT INTO jobs_job ({", ".join(column for _, column in _COLUMNS)})
    SELECT {", ".join(_TIMED.get(column, f"j.{column}") for _, column in _COLUMNS)}
    FROM jsonb_populate_recordset(NULL::jobs_job, %(jobs)s::jsonb) WITH ORDINALITY AS j,
        LATERAL (SELECT now() + (j.ordinality - 1 + %(first)s) * interval '1 microsecond' AS at) t
    RETURNING id, created_at, rank, gate
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'submit', '', 'pending', '', %(by)s, created_at FROM made ORDER BY created_at
)
SELECT id, created_at, rank, gate FROM made
"""
_INSERT_DEPENDENCIES = """
INSERT INTO jobs_dependency (job_id, parent_id, position, met_at)
SELECT * FROM jsonb_to_recordset(%s::jsonb) AS named(job_id text, parent_id text, position int, met_at timestamptz)
"""


def _insert(jobs: Sequence[Job], wanted: dict[str, tuple[str, ...]], parents: dict[str, str], by: str) -> None:
    with connection.cursor() as cursor:
        for first in range(0, len(jobs), CHUNK):
            some = {job.id: job for job in jobs[first : first + CHUNK]}
            rows = [{column: job.__dict__[name] for name, column in _COLUMNS} for job in some.values()]
            cursor.execute(_INSERT, {"jobs": orjson.dumps(rows).decode(), "by": by, "first": first})
            for job_id, at, rank, gate in cursor.fetchall():
                job = some[job_id]
                job.created_at = job.updated_at = job.gate_since = at
                job.rank, job.gate = rank, gate
    _insert_dependencies(jobs, wanted, parents)


def _insert_dependencies(jobs: Sequence[Job], wanted: dict[str, tuple[str, ...]], parents: dict[str, str]) -> None:
    rows = [
        {
            "job_id": job.id,
            "parent_id": parent,
            "position": place,
            "met_at": job.created_at if parents.get(parent) == Status.COMPLETED else None,
        }
        for job in jobs
        for place, parent in enumerate(wanted[job.id])
    ]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_INSERT_DEPENDENCIES, [orjson.dumps(rows).decode()])


def _keep_answers(jobs: Sequence[Job], submissions: Sequence[Submission], by: str) -> None:
    """What the tool would ask for, and was told with the request."""
    AskedQuestion.objects.bulk_create(
        [
            AskedQuestion(job_id=job.id, key=key, message="", schema={}, answer=said, answered_at=job.created_at, answered_by=by)
            for job, submission in zip(jobs, submissions, strict=True)
            for key, said in submission.answers.items()
        ]
    )


# A failed or cancelled job goes back to pending at its old place, by the weights that hold now. Its gate is computed from the
# rows: a parent that is not completed closes it, and one that ended badly is settled once more, so that it does not wait for ever.
_RETRY = f"""
WITH was AS (
    SELECT id, status FROM jobs_job WHERE id = %(id)s AND status IN ('failed', 'cancelled') FOR NO KEY UPDATE
), moved AS (
    UPDATE jobs_job j SET
        status = 'pending', reason = %(reason)s, params = COALESCE(%(params)s::jsonb, params),
        fingerprint = COALESCE(%(fingerprint)s, fingerprint), finished_at = NULL,
        checkpoint = CASE WHEN %(params)s::jsonb IS NULL THEN checkpoint END, current_attempt_id = NULL,
        cancel_requested_at = NULL, cancel_reason = '', retry_count = 0, loss_count = 0, version = version + 1, looks = 0,
        progress = 0, message = '', stage = '', sub_progress = NULL, progress_tick = 0, result = NULL, unsettled = FALSE,
        run_at = NULL, expires_at = NULL, rank = {RANK}, updated_at = now(), gate_since = now(),
        gate = CASE WHEN EXISTS (SELECT 1 FROM jobs_dependency d WHERE d.job_id = j.id AND d.met_at IS NULL)
               THEN 'dependencies' WHEN EXISTS ({OPEN_QUESTION}) THEN 'input' ELSE 'open' END
    FROM was WHERE j.id = was.id
    RETURNING {RETURNED}, was.status AS before
), noted AS (
    INSERT INTO jobs_event (job_id, attempt_id, verb, before, after, reason, actor, at)
    SELECT id, NULL, 'retry', before, 'pending', reason, %(by)s, now() FROM moved
), resettled AS (
    UPDATE jobs_job p SET unsettled = TRUE
    FROM jobs_dependency d, moved
    WHERE d.job_id = moved.id AND d.met_at IS NULL AND p.id = d.parent_id AND p.status IN ('failed', 'cancelled')
)
SELECT * FROM moved
"""


def _revised(job_id: str, params: dict[str, Json]) -> dict[str, str]:
    job = Job.objects.filter(id=job_id).first()
    if job is None:
        raise NotFound(f"there is no job {job_id!r}")
    checked, fingerprint = revised(job, params)
    text = orjson.dumps(checked).decode()
    return {"reason": "tried again by hand with other params", "params": text, "fingerprint": fingerprint}


def retry(job_id: str, *, by: str, params: dict[str, Json] | None = None) -> Job:
    """Send a failed or cancelled job back to pending with all its retries, and with other `params` if given.

    Raises `NotFound` or `IllegalMove`, and for params that do not fit what `submit` raises.
    """
    values = {"id": job_id, "by": by, "reason": "tried again by hand", "params": None, "fingerprint": None}
    values |= head_starts(configuration.limits())
    try:
        with transaction.atomic():
            if params is not None:
                values |= _revised(job_id, params)
            moved = jobs_from(_RETRY, values)
            if moved:
                events.announce(map(events.delta_of, moved), poke=True)
                return moved[0]
    except IntegrityError as error:
        if _TWIN in str(error):
            raise IllegalMove(f"job {job_id} is not needed: an equal job, which it would double, is active") from None
        raise
    job = Job.objects.filter(id=job_id).only("status").first()
    if job is None:
        raise NotFound(f"there is no job {job_id!r}")
    raise IllegalMove(f"job {job_id} is {job.status}; only failed and cancelled jobs can be retried")
