"""Doors of the streams. Where the server cannot hold a request, a stream is what was missed, and the client comes again."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router

from jobs import groups, sight, tail
from jobs.api import following
from jobs.api.auth import READ, ApiRequest
from jobs.api.following import Stream, Topic
from jobs.api.groups import Name
from jobs.api.requests import JobId
from jobs.api.streaming import backlog, is_the_end, move
from jobs.api.wire import STREAM
from jobs.tail import Position

router = Router(tags=["streams"])


@router.get("/jobs/{job_id}/stream", auth=READ, operation_id="streamJob", response=STREAM)
def job(request: ApiRequest, job_id: JobId) -> HttpResponse:
    """Every move of the job from the beginning, and its progress; ends with the job. 204: nothing is to come."""
    sight.find(job_id, request.caller.sight)
    return _stream(request, Topic(kind="job", names=frozenset({job_id})), default="0")


@router.get("/batches/{path:name}/stream", auth=READ, operation_id="streamBatch", response=STREAM)
def batch(request: ApiRequest, name: Name) -> HttpResponse:
    """Every move of the jobs of the batch, from now on or from Last-Event-ID."""
    groups.progress("batch", name, request.caller.sight)
    return _stream(request, Topic(kind="batch", names=frozenset({name})))


@router.get("/projects/{path:name}/stream", auth=READ, operation_id="streamProject", response=STREAM)
def project(request: ApiRequest, name: Name) -> HttpResponse:
    """Every move of the jobs of the project, from now on or from Last-Event-ID."""
    groups.progress("project", name, request.caller.sight)
    return _stream(request, Topic(kind="project", names=frozenset({name})))


@router.get("/stream", auth=READ, operation_id="streamAll", response=STREAM)
def everything(request: ApiRequest) -> HttpResponse:
    """Every move of all jobs that may be seen, from now on or from Last-Event-ID."""
    return _stream(request, Topic(kind="all"))


def _stream(request: ApiRequest, topic: Topic, default: str | None = None) -> HttpResponse:
    position = request.headers.get("Last-Event-ID") or default
    known = tail.newest() if position is None else tail.parse(position)
    stream = Stream(topic=topic, sight=request.caller.sight, position=position)
    if topic.kind == "job" and _has_ended(stream, known):
        return HttpResponse(status=204)
    response = HttpResponse(content_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
    held = following.of(request)
    if held is None:
        response.content = _at_once(stream, known)
    else:
        held.stream = stream
    return response


def _has_ended(stream: Stream, known: Position) -> bool:
    last = tail.last_of(next(iter(stream.topic.names)))
    return last is not None and known.has_read(last.pk) and is_the_end(stream, [last])


def _at_once(stream: Stream, known: Position) -> bytes:
    events = backlog(stream, known, tail.newest())
    return b"".join([f"retry: 3000\nid: {known}\n\n".encode(), *(move(event, str(event.pk)) for event in events)])
