"""Batches and projects: the jobs of one name as a whole."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from django.http import HttpResponse
from ninja import Path, Query, Router
from pydantic import Field

from jobs import groups
from jobs.api.auth import CONTROL, READ, ApiRequest
from jobs.api.following import Topic
from jobs.api.polls import answered, hold_group
from jobs.api.requests import Cancellation, Look, refuse_unknown
from jobs.api.wire import WIRE
from jobs.events import millis
from jobs.groups import GroupProgress, Kind
from jobs.schemas import Millis, Percent, Shape


class Group(Shape):
    """How far the jobs of a batch or a project are. An ended job counts as whole, however it ended."""

    name: str
    status: Annotated[str, Field(description="of the whole: running or pending while one is; then the worst of their ends")]
    progress: Percent
    total: int
    by_status: dict[str, int]
    created_at: Millis
    updated_at: Millis
    finished_at: Millis | None = None


class Moved(Shape):
    """How many jobs were moved."""

    moved: int


Name = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00]*$")]


def routes(kind: Kind, title: str) -> Router:
    router = Router(tags=["groups"])
    at = partial(router.post, auth=CONTROL, response={202: Moved}, **WIRE)

    @at("/{path:name}/cancel", operation_id=f"cancel{title}")
    def cancel(request: ApiRequest, name: Name, wanted: Cancellation | None = None) -> Moved:
        """Cancel every job that has not ended."""
        reason = wanted.reason if wanted else ""
        return Moved(moved=groups.cancel(kind, name, request.caller.sight, by=request.caller.name, reason=reason))

    @at("/{path:name}/retry", operation_id=f"retry{title}")
    def retry(request: ApiRequest, name: Name) -> Moved:
        """Send every failed job back to pending."""
        return Moved(moved=groups.retry_failed(kind, name, request.caller.sight, by=request.caller.name))

    @router.get("/{path:name}", response={200: Group, 304: None}, auth=READ, operation_id=f"get{title}", **WIRE)
    def whole(request: ApiRequest, name: Name, wanted: Query[Look]) -> HttpResponse:
        """How far the whole is; `wait`, `until` and `If-None-Match` as for one job. `until=end` is until none is active."""
        refuse_unknown(request.GET, Look)
        found = groups.progress(kind, name, request.caller.sight)
        known, tag = request.headers.get("If-None-Match"), f'W/"{found.version}"'
        if found.finished_at is None and (wanted.until == "end" or known in (None, tag)):
            hold_group(request, Topic(kind=kind, names=frozenset({name})), wanted, known)
        return answered(shape(found), tag, known)

    return router


def shape(found: GroupProgress) -> Group:
    return Group(
        name=found.name,
        status=found.status,
        progress=found.progress,
        total=found.total,
        by_status=found.by_status,
        created_at=millis(found.created_at) or 0,
        updated_at=millis(found.updated_at) or 0,
        finished_at=millis(found.finished_at),
    )
