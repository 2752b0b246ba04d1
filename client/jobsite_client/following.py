"""Following jobs to their end, as plans: over a stream of events, or by looks that the server holds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Unpack
from urllib.parse import quote

from jobsite_client.asking import attempts, get, get_of, page, path_of
from jobsite_client.errors import JobCancelled, JobFailed, WaitedTooLong
from jobsite_client.link import Link, accepted, ask, read
from jobsite_client.listening import ServerEvent, heard, listen
from jobsite_client.plans import Item, Pause, Plan, Stream
from jobsite_client.shapes import CANCELLED, COMPLETED, FINAL, RUNNING, JobStatus, JobSummary, Json, Result
from jobsite_client.submitting import Wanted, submit

# The longest that a server holds a look, and the seconds from which on one was held.
HOLD, HELD = 25, 1.0
# What is waited when a server neither held a look nor recommended anything.
DEFAULT_MS = 2000
# Seconds before a stream that ended is opened again; and in which the moves of a batch are gathered before it is listed.
AGAIN, GATHER = 1.0, 0.3
# A follower with a time-out looks at its clock at least so often.
TICK = 5.0
# Diagnostics that a status carries, the newest.
LINES = 100


def follow(link: Link, job_id: str, *, timeout: float | None = None) -> Stream[JobStatus]:
    """Where the job is, each time that something about it changed; the last is final.

    The server pushes what is new. Raises `NotFound`, and `WaitedTooLong` after `timeout` seconds.
    """
    clock = _Clock(f"job {job_id}", timeout)
    last = yield from get(link, job_id)
    yield Item(last)
    while not last.is_final:
        # The stream is open before the look, so nothing that happens in between is missed.
        listening = yield from listen(link, path_of(job_id, "stream"), within=clock.tick())
        now = yield from get(link, job_id)
        if _shown(now) != _shown(last):
            yield Item(now)
        last = now
        while listening and not last.is_final and (event := (yield from heard())) is not None:
            clock.check()
            now = yield from _after(link, last, event)
            if _shown(now) != _shown(last):
                yield Item(now)
            last = now
        if not last.is_final:
            clock.check()
            yield Pause(AGAIN)


def _after(link: Link, last: JobStatus, event: ServerEvent) -> Plan[JobStatus]:
    """Where a job is after an event about it. Moves are told from the beginning; those that are known already change nothing."""
    if event.kind == "progress" and event.data and last.status == RUNNING:
        return _with_progress(last, event.data)
    if event.kind == "move" and event.data and _is_news(event.data, last.updated_at, is_final=last.is_final):
        return (yield from get(link, last.job_id))
    return last


def _is_news(move: Json, updated_at: int, *, is_final: bool) -> bool:
    return bool(move["at"] > updated_at) or (move["after"] in FINAL and not is_final)


def _with_progress(last: JobStatus, told: Json) -> JobStatus:
    details = last.details.model_copy(
        update={
            "current_stage": told.get("currentStage", last.details.current_stage),
            "sub_progress": told.get("subProgress"),
            "diagnostics": [*last.details.diagnostics, *told.get("diagnostics", [])][-LINES:],
        }
    )
    return last.model_copy(
        update={"progress": told.get("progress", last.progress), "message": told.get("message", last.message), "details": details}
    )


def wait(link: Link, job_id: str, *, timeout: float | None = None) -> Plan[JobStatus]:
    """The final status of the job, whatever it is. Raises `NotFound`, and `WaitedTooLong` after `timeout` seconds.

    Looks are long polls; from a server that answers at once, the next waits as long as that recommends.
    """
    clock = _Clock(f"job {job_id}", timeout)
    while True:
        hold = int(min(HOLD, clock.left()))
        answer = yield from accepted(link, replace(get_of(path_of(job_id), {"wait": hold, "until": "end"}), hold=float(hold)))
        now = read(answer, JobStatus)
        if now.is_final:
            return now
        clock.check()
        if answer.seconds < HELD:
            asked = now.polling_recommendation
            yield Pause(min(clock.left(), (asked.interval if asked else DEFAULT_MS) / 1000))


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
    """The jobs of a batch, each again whenever it changed; ends when all are final.

    Raises `NotFound`, and `WaitedTooLong` after `timeout` seconds.
    """
    clock = _Clock(f"batch {name}", timeout)
    known: dict[str, JobSummary] = {}
    while True:
        # As with one job: first the stream, then the look.
        listening = yield from listen(link, f"/batches/{quote(name, safe='')}/stream", within=clock.tick())
        stale = True
        while True:
            if stale:
                news = [job for job in reversed((yield from _whole(link, name))) if known.get(job.id) != job]
                stale = False
            else:
                event = (yield from heard()) if listening else None
                if event is None:
                    break
                clock.check()
                news, stale = _told(known, event)
            for job in news:
                known[job.id] = job
                yield Item(job)
            if stale:
                # Moves come in swarms: one look tells them all.
                yield Pause(GATHER * (1 + len(known) / 100))
            elif all(job.is_final for job in known.values()):
                return
        clock.check()
        yield Pause(AGAIN)


def _told(known: Mapping[str, JobSummary], event: ServerEvent) -> tuple[list[JobSummary], bool]:
    """What an event tells by itself, and whether the batch has to be listed: for a job that is new, or has ended."""
    if not event.data:
        return [], False
    job = known.get(event.data["jobId"])
    if job is None:
        return [], event.kind == "move"
    if event.kind == "progress" and job.status == RUNNING:
        return [job.model_copy(update=_progress_of(event.data, job))], False
    if event.kind != "move" or not _is_news(event.data, job.updated_at, is_final=job.is_final):
        return [], False
    if event.data["after"] in FINAL:
        return [], True
    moved = {"status": event.data["after"], "reason": event.data.get("reason"), "updated_at": event.data["at"]}
    return [job.model_copy(update=moved)], False


def _progress_of(told: Json, job: JobSummary) -> dict[str, Json]:
    return {
        "progress_percentage": told.get("progress", job.progress_percentage),
        "progress_message": told.get("message", job.progress_message),
    }


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


class _Clock:
    """How long a caller is willing to wait."""

    def __init__(self, what: str, timeout: float | None) -> None:
        self._what, self._timeout = what, timeout
        self._until = math.inf if timeout is None else time.monotonic() + timeout

    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def tick(self) -> float | None:
        """The seconds for which nothing but the stream needs to be looked at; None is for ever."""
        return None if self._timeout is None else max(1.0, min(TICK, self.left()))

    def check(self) -> None:
        """Raises `WaitedTooLong`."""
        if self._timeout is not None and not self.left():
            raise WaitedTooLong(self._what, self._timeout)


def _shown(status: JobStatus) -> JobStatus:
    """What of a status is about the job, and not about the looking."""
    return status.model_copy(update={"timestamp": 0, "updated_at": 0, "polling_recommendation": None})
