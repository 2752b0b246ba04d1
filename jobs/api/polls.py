"""Answers of polls: tagged, so that what has not changed need not be sent again, and held where the caller waits."""

from __future__ import annotations

import orjson
from django.http import HttpRequest, HttpResponse

from jobs import polling, schemas
from jobs.api import following
from jobs.api.following import Hold, Topic
from jobs.api.problems import retry_after
from jobs.api.requests import Look
from jobs.looks import Seen
from jobs.models import Job
from jobs.schemas import Shape


def tag_of(job: Job) -> str:
    """Weak: the recommendation in the body changes with time, and is nothing new."""
    return f'W/"{job.version}.{job.progress_tick}"'


def tagged(job: Job, wait_ms: int | None, known: str | None) -> HttpResponse:
    """The status of a job, or 304 where the caller knows it."""
    tag = tag_of(job)
    response = HttpResponse(status=304) if known == tag else _json(schemas.status_message(job, wait_ms))
    response["ETag"] = tag
    response["Cache-Control"] = "no-store"
    if wait_ms is not None:
        response["Retry-After"] = retry_after(wait_ms)
    return response


def answered(shape: Shape, tag: str, known: str | None) -> HttpResponse:
    response = HttpResponse(status=304) if known == tag else _json(shape)
    response["ETag"] = tag
    return response


def _json(shape: Shape) -> HttpResponse:
    return HttpResponse(orjson.dumps(shape.model_dump(by_alias=True, exclude_none=True)), content_type="application/json")


def hold_until_news(request: HttpRequest, seen: Seen, wanted: Look, known: str | None) -> None:
    """Wish for a hold, unless there is news for the caller already."""
    job = seen.job
    held = following.of(request)
    if held is None or wanted.wait == 0 or seen.wait_ms is None:
        return
    is_news = known != tag_of(job) if known is not None else job.looks == 0
    if is_news and wanted.until == "change":
        return
    held.wait = min(wanted.wait, held.wait)
    if held.wait > 0:
        held.hold = Hold(
            topic=Topic(kind="job", names=frozenset({job.id})),
            seen=(job.version, job.progress_tick),
            to_the_end=wanted.until == "end",
            answer=lambda now: tagged(now, polling.interval_ms(now.status, 1), None),
        )


def hold_for_end(request: HttpRequest, job_id: str, wait: int) -> None:
    held = following.of(request)
    if held is not None and (seconds := min(wait, held.wait)) > 0:
        held.wait, held.hold = seconds, Hold(topic=Topic(kind="job", names=frozenset({job_id})), to_the_end=True)


def hold_group(request: HttpRequest, topic: Topic, wanted: Look, known: str | None) -> None:
    """Of a group at most one change a second is answered."""
    held = following.of(request)
    if held is not None and (seconds := min(wanted.wait, held.wait)) > 0:
        asks_again = wanted.until == "end" or known is not None
        held.wait, held.hold = seconds, Hold(topic=topic, pause=1.0, again_when_woken=asks_again)
