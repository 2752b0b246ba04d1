"""The first page: what is wrong? And the data of its charts, for a page that stays open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from dashboard.charts import Spark, as_data, charts_of, spark
from dashboard.refresh import Facts, shared
from jobs import failure_groups, queries, trends, troubles
from jobs.briefly import briefly
from jobs.failure_groups import GroupState
from jobs.sight import sight_of
from jobs.trends import RANGES, Course

MOST_GROUPS = 5


def _range(request: HttpRequest) -> str:
    wanted = request.GET.get("range", "")
    return wanted if wanted in RANGES else "hour"


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    sight = sight_of(request.user)
    course = trends.course(_range(request), sight.projects)
    charts = charts_of(course)
    facts = _facts(request)
    context: dict[str, Any] = facts | {
        "standing": facts["standing"] if sight.projects is None else troubles.standing(sight.projects),
        "groups": sorted(failure_groups.as_seen(facts["groups"], sight), key=lambda group: -group.count)[:MOST_GROUPS],
        "stalled": [one for one in facts["stalled"] if sight.covers(one.job.project, one.job.tool)],
        "running": facts["running"] if sight.is_whole else queries.running(sight=sight),
        "tiles": Tiles.of(trends.course("hour", sight.projects)),
        "charts": charts,
        "data": as_data(charts),
        "range": course.range,
        "ranges": RANGES.values(),
    }
    return render(request, "dashboard/overview.html", context)


def _read() -> Facts:
    return {
        "standing": troubles.standing(),
        "stalled": troubles.stalled(),
        "dead": troubles.dead_workers(),
        "groups": _failing(),
        "running": queries.running(),
    }


_facts = shared(_read)


@briefly(3.0)
def _failing() -> list[failure_groups.Group]:
    """The open groups with failures of the last day."""
    return failure_groups.groups(state=GroupState.OPEN)


@require_safe
@never_cache
def charts(request: HttpRequest) -> JsonResponse:
    """The charts of a range as they are now. All open pages of this process share one answer for some seconds."""
    return JsonResponse(as_data(charts_of(trends.course(_range(request), sight_of(request.user).projects))))


@require_safe
@never_cache
def counts(request: HttpRequest) -> JsonResponse:
    """Jobs by status, for pages that stay open; nothing for who sees some projects only, because they are of all jobs."""
    return JsonResponse(_counted() if sight_of(request.user).is_whole else {})


@briefly(1.0)
def _counted() -> dict[str, int]:
    return queries.counts()


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """The figures of the last hour, each with a little line."""

    completed: int
    completed_line: Spark | None
    failed: int
    failed_line: Spark | None
    wait: float | None
    wait_line: Spark | None
    ready_line: Spark | None
    running_line: Spark | None

    @classmethod
    def of(cls, course: Course) -> Tiles:
        waits = course.wait[90]
        return cls(
            completed=sum(course.counts["completed"]),
            completed_line=spark(course.counts["completed"], points=60),
            failed=sum(course.counts["failed"]),
            failed_line=spark(course.counts["failed"], points=60),
            wait=next((wait for wait in reversed(waits) if wait is not None), None),
            wait_line=spark(waits, points=60),
            ready_line=spark(course.queue.get("ready", ()), points=60),
            running_line=spark(course.queue.get("running", ()), points=60),
        )
