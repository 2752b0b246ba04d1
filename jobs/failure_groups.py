"""Failures grouped by what they have in common: how many, since when, of which tools; and what people said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
from django.contrib.postgres.aggregates import ArrayAgg
from django.db import connection
from django.db.models import Count, Max, Min
from django.db.models.functions import Now

from jobs import audit
from jobs.errors import NotFound
from jobs.models import FailureGroup, Job
from jobs.sight import EVERYTHING, Sight
from jobs.states import Status

# Spans of time a trend is drawn in.
TREND = 24
DAY = timedelta(days=1)


class GroupState(StrEnum):
    OPEN = "open"
    MUTED = "muted"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Failed attempts of one fingerprint, those of removed jobs too.

    `count` is all that is known of; `trend` counts those of the window asked for, in TREND equal spans, oldest first.
    `failed_jobs` have failed for good and are kept: they can be retried. `sample_job` is "" when no job is kept.
    `regressed`: it came again after somebody had resolved it.
    """

    fingerprint: str
    error_class: str
    category: str
    message: str
    place: str
    tools: Sequence[str]
    count: int
    failed_jobs: int
    first_seen: datetime
    last_seen: datetime
    sample_job: str
    sample_attempt: int | None
    state: GroupState
    regressed: bool = False
    trend: Sequence[int] = ()


# One pass over the index of failed attempts, and one look at the newest of each group.
_GROUPS = """
WITH live AS (
    SELECT error_fingerprint AS print, count(*) AS live_count, max(id) AS newest, min(finished_at) AS began,
        max(finished_at) AS ended
    FROM jobs_attempt WHERE error_fingerprint <> '' {which} GROUP BY 1
), known AS (
    SELECT * FROM jobs_failuregroup WHERE TRUE {named}
)
SELECT COALESCE(print, g.fingerprint), COALESCE(a.error_class, g.error_class), COALESCE(a.error_category, g.error_category),
    COALESCE(a.error_message, g.message), COALESCE(a.error_place, g.place), COALESCE(g.tools, '[]'), j.tool,
    COALESCE(live_count, 0) + COALESCE(folded, 0), LEAST(began, g.first_seen), GREATEST(ended, g.last_seen) AS seen,
    COALESCE(a.job_id, ''), a.id, muted_at IS NOT NULL, resolved_at,
    (SELECT count(*) FROM jobs_job f WHERE f.status = 'failed' AND f.error_fingerprint = COALESCE(print, g.fingerprint))
FROM live FULL JOIN known g ON g.fingerprint = live.print
LEFT JOIN jobs_attempt a ON a.id = live.newest LEFT JOIN jobs_job j ON j.id = a.job_id
WHERE GREATEST(ended, g.last_seen) > now() - %(window)s::interval
ORDER BY seen DESC LIMIT %(most)s
"""
_ALL = _GROUPS.format(which="", named="")
_ONE = _GROUPS.format(which="AND error_fingerprint = %(print)s", named="AND fingerprint = %(print)s")
_TREND = """
SELECT error_fingerprint, width_bucket(EXTRACT(EPOCH FROM now() - finished_at)::float8, 0, %(seconds)s::float8, %(spans)s), count(*)
FROM jobs_attempt
WHERE error_fingerprint = ANY(%(prints)s) AND finished_at > now() - make_interval(secs => %(seconds)s) GROUP BY 1, 2
"""


def groups(*, window: timedelta = DAY, most: int = 100, state: GroupState | None = None) -> list[Group]:
    """Groups with a failure in the window, the last seen first. Two queries."""
    found = [_group(row) for row in _rows(_ALL, {"window": window, "most": most})]
    return _with_trend([g for g in found if state is None or g.state == state], window)


def group(fingerprint: str) -> Group:
    """Raises `NotFound`."""
    found = [_group(row) for row in _rows(_ONE, {"window": timedelta(days=36_500), "most": 1, "print": fingerprint})]
    if not found:
        raise NotFound(f"there is no failure {fingerprint[:16]!r}")
    return _with_trend(found, DAY)[0]


def as_seen(found: Sequence[Group], sight: Sight) -> list[Group]:
    """For who sees some projects only: groups in which a job of theirs failed, and nothing said that comes from another's."""
    if sight.is_whole:
        return list(found)
    alike = sight.of(Job.objects.filter(status=Status.FAILED, error_fingerprint__in=[g.fingerprint for g in found]))
    told = alike.values_list("error_fingerprint").annotate(
        number=Count("pk"), first=Min("finished_at"), last=Max("finished_at"), tools=ArrayAgg("tool", distinct=True)
    )
    own = {print_: what for print_, *what in told.order_by()}
    seen = set(sight.of(Job.objects.filter(pk__in=[g.sample_job for g in found])).values_list("pk", flat=True))
    return [_own(g, *own[g.fingerprint], sample=g.sample_job in seen) for g in found if g.fingerprint in own]


def _own(g: Group, number: int, first: datetime, last: datetime, tools: list[str], *, sample: bool) -> Group:
    counted = replace(g, failed_jobs=number, count=number, first_seen=first, last_seen=last, tools=tools, trend=())
    return counted if sample else replace(counted, message="", sample_job="")


def failed_jobs(fingerprint: str, most: int = 1000, sight: Sight = EVERYTHING) -> list[str]:
    """Ids of jobs that failed for good this way, newest first: what a person may retry."""
    alike = sight.of(Job.objects.filter(status=Status.FAILED, error_fingerprint=fingerprint)).order_by("-finished_at")
    return list(alike.values_list("pk", flat=True)[:most])


def mute(fingerprint: str, *, by: str) -> None:
    """Nobody needs to look at it. Raises `NotFound`."""
    _mark(fingerprint, "mute failure", by, {"muted_at": Now(), "muted_by": by})


def unmute(fingerprint: str, *, by: str) -> None:
    _mark(fingerprint, "unmute failure", by, {"muted_at": None, "muted_by": ""})


def resolve(fingerprint: str, *, by: str) -> None:
    """It is mended; when it comes again, it is open again. Raises `NotFound`."""
    _mark(fingerprint, "resolve failure", by, {"resolved_at": Now(), "resolved_by": by})


def _mark(fingerprint: str, action: str, by: str, values: dict[str, object]) -> None:
    seen = group(fingerprint)
    row = {
        "error_class": seen.error_class,
        "error_category": seen.category,
        "message": seen.message,
        "place": seen.place,
    }
    FailureGroup.objects.update_or_create(fingerprint=fingerprint, defaults=values, create_defaults=row | values)
    audit.note(action, f"{seen.error_class} {fingerprint}", by=by)


def _rows(sql: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _group(row: tuple[Any, ...]) -> Group:
    print_, error_class, category, message, place, tools, tool, count, first, last, job, attempt, muted, resolved, failed = row
    regressed = resolved is not None and last > resolved
    settled = GroupState.RESOLVED if resolved is not None and not regressed else GroupState.OPEN
    return Group(
        fingerprint=print_,
        error_class=error_class,
        category=category,
        message=message,
        place=place,
        tools=sorted({*orjson.loads(tools), *([tool] if tool else [])}),
        count=count,
        failed_jobs=failed,
        first_seen=first,
        last_seen=last,
        sample_job=job,
        sample_attempt=attempt,
        state=GroupState.MUTED if muted else settled,
        regressed=regressed,
    )


def _with_trend(found: list[Group], window: timedelta) -> list[Group]:
    if not found:
        return found
    prints = [g.fingerprint for g in found]
    trends = {name: [0] * TREND for name in prints}
    for name, age, number in _rows(_TREND, {"prints": prints, "seconds": window.total_seconds(), "spans": TREND}):
        # Span 1 is the newest; a clock that moved can put one just outside.
        trends[name][TREND - min(max(age, 1), TREND)] += number
    return [replace(g, trend=trends[g.fingerprint]) for g in found]
