"""Following a job to its end, as plans: the server holds a request until something changes, or says when to look again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack

from jobsite_client.asking import attempts, get_of, page, path_of
from jobsite_client.errors import JobCancelled, JobFailed, UnexpectedAnswer, WaitedTooLong
from jobsite_client.link import Link, accepted, ask, read
from jobsite_client.plans import Call, Item, Pause, Plan, Stream, last_of
from jobsite_client.shapes import CANCELLED, COMPLETED, JobStatus, JobSummary, Json, Result
from jobsite_client.submitting import Wanted, submit

# The longest that a server holds a look, and the seconds from which on one was held.
HOLD, HELD = 25, 1.0
# What is waited when a server neither held a look nor recommended anything.
DEFAULT_MS = 2000
# Seconds between two looks at a batch in which something happens, and in one in which nothing does.
BATCH_EVERY, BATCH_AT_MOST = 0.5, 5.0


def follow(link: Link, job_id: str, *, timeout: float | None = None) -> Stream[JobStatus]:
    """Where the job is, each time that something about it changed; the last is final.

    Looks are long polls; from a server that answers at once, the next waits as long as that recommends. Raises `NotFound`, and
    `WaitedTooLong` after `timeout` seconds.
    """
    until = None if timeout is None else time.monotonic() + timeout
    last: JobStatus | None = None
    tag = ""
    while True:
        answer = yield from accepted(link, _look(job_id, tag, hold=_hold(last, until)))
        tag = answer.headers.get("etag", "")
        now = last if answer.status == 304 and last else read(answer, JobStatus)
        changed = last is None or _shown(now) != _shown(last)
        last = now
        if changed:
            yield Item(now)
        if now.is_final:
            return
        _check(f"job {job_id}", until, timeout)
        if not changed and answer.seconds < HELD:
            yield Pause(_recommended(now, until))


def wait(link: Link, job_id: str, *, timeout: float | None = None) -> Plan[JobStatus]:
    """The final status of the job, whatever it is. Raises `NotFound`, and `WaitedTooLong` after `timeout` seconds."""
    last = yield from last_of(follow(link, job_id, timeout=timeout))
    if last is None:
        raise UnexpectedAnswer(f"nothing was said about job {job_id}")
    return last


def result(link: Link, job_id: str, *, timeout: float | None = None) -> Plan[Result]:
    """Wait for the job and give its result. Raises `JobFailed` with the error of the tool, or `JobCancelled`; else as `wait`."""
    status = yield from wait(link, job_id, timeout=timeout)
    if status.status != COMPLETED:
        raise (yield from failure(link, status))
    return (yield from ask(link, get_of(path_of(job_id, "result")), Result))


def run(
    link: Link, tool: str, params: Mapping[str, Json] | None = None, *, timeout: float | None = None, **wanted: Unpack[Wanted]
) -> Plan[Result]:
    """Hand in a job, wait for it, give its result: `submit` and `result` in one."""
    job = yield from submit(link, tool, params, **wanted)
    return (yield from result(link, job.job_id, timeout=timeout))


def batch(link: Link, name: str, *, timeout: float | None = None) -> Stream[JobSummary]:
    """The jobs of a batch, each again whenever it changed; ends when all are final, at once for a batch without jobs.

    Raises `WaitedTooLong` after `timeout` seconds.
    """
    until = None if timeout is None else time.monotonic() + timeout
    seen: dict[str, JobSummary] = {}
    pause = BATCH_EVERY
    while True:
        found = yield from _whole(link, name)
        news = [job for job in found if seen.get(job.id) != job]
        for job in reversed(news):
            yield Item(job)
        seen |= {job.id: job for job in news}
        if all(job.is_final for job in found):
            return
        _check(f"batch {name}", until, timeout)
        pause = BATCH_EVERY if news else min(pause * 1.5, BATCH_AT_MOST)
        yield Pause(pause)


def _whole(link: Link, name: str) -> Plan[list[JobSummary]]:
    found: list[JobSummary] = []
    cursor: str | None = None
    while True:
        some = yield from page(link, batch=name, cursor=cursor, limit=100)
        found += some.jobs
        cursor = some.next_cursor
        if cursor is None:
            return found


def failure(link: Link, status: JobStatus) -> Plan[JobFailed]:
    """Why a job that ended badly did so, in the words of its last attempt, else of the job."""
    tries = yield from attempts(link, status.job_id)
    last = tries[-1] if tries else None
    kind = JobCancelled if status.status == CANCELLED else JobFailed
    return kind(
        job_id=status.job_id,
        tool=status.tool_name,
        status=status.status,
        message=(last and last.error_message) or status.message or "no reason is known",
        error_class=(last and last.error_class) or "",
        category=(last and last.error_category) or "",
    )


def _check(what: str, until: float | None, timeout: float | None) -> None:
    if until is not None and time.monotonic() >= until:
        raise WaitedTooLong(what, timeout or 0)


def _look(job_id: str, tag: str, *, hold: int) -> Call:
    look = get_of(path_of(job_id), {"wait": hold} if hold else {})
    return replace(look, headers={"If-None-Match": tag} if tag else {}, hold=float(hold))


def _hold(last: JobStatus | None, until: float | None) -> int:
    """The first look is answered at once."""
    if last is None:
        return 0
    return HOLD if until is None else max(0, min(HOLD, int(until - time.monotonic())))


def _shown(status: JobStatus) -> JobStatus:
    """What of a status is about the job, and not about the looking."""
    return status.model_copy(update={"timestamp": 0, "polling_recommendation": None})


def _recommended(status: JobStatus, until: float | None) -> float:
    asked = status.polling_recommendation
    seconds = (asked.interval if asked else DEFAULT_MS) / 1000
    return seconds if until is None else max(0.0, min(seconds, until - time.monotonic()))
