"""How things went over time: read from the roll-up of events and the samples of the queue, never from the jobs themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import connection
from django.db.models import QuerySet, Sum
from django.utils import timezone

from jobs.briefly import briefly
from jobs.histogram import merged, percentile
from jobs.limits import GroupKind
from jobs.models import Rollup

OUTCOMES = ("completed", "failed", "cancelled", "retried")
PERCENTILES = (50, 90, 99)
# What is read for a chart holds for all who look, for so long; seconds.
FRESH = 4.0


@dataclass(frozen=True, kw_only=True)
class Range:
    """A time that charts show: `points` of `step` seconds, read from roll-ups of `span`."""

    name: str
    title: str
    span: str
    step: int
    points: int


RANGES = {
    r.name: r
    for r in (
        Range(name="hour", title="Hour", span="minute", step=60, points=60),
        Range(name="day", title="Day", span="minute", step=600, points=144),
        Range(name="week", title="Week", span="hour", step=3600, points=168),
    )
}


@dataclass(kw_only=True)
class Course:
    """A range as columns of equal length; `times` are epoch seconds at which each point begins. None is "not known"."""

    range: Range
    times: list[int]
    counts: dict[str, list[int]] = field(default_factory=dict)
    wait: dict[int, list[float | None]] = field(default_factory=dict)
    run: dict[int, list[float | None]] = field(default_factory=dict)
    queue: dict[str, list[float | None]] = field(default_factory=dict)
    shares: dict[str, list[float | None]] = field(default_factory=dict)


@briefly(FRESH)
def course(name: str, projects: frozenset[str] | None = None) -> Course:
    """Of all jobs, or of these projects alone; the queue is sampled as a whole, so of projects it is not known.

    Two queries at most. Raises `KeyError` for a range there is not.
    """
    chosen = RANGES[name]
    last = int(timezone.now().timestamp()) // chosen.step * chosen.step
    times = [last - chosen.step * back for back in range(chosen.points - 1, -1, -1)]
    course = Course(range=chosen, times=times)
    _add_events(course, projects)
    if projects is None:
        _add_samples(course)
    return course


def _counted(projects: frozenset[str] | None) -> QuerySet[Rollup]:
    """The roll-ups whose sums are all jobs, or all of these projects."""
    if projects is None:
        return Rollup.objects.filter(kind=GroupKind.ALL, name="")
    return Rollup.objects.filter(kind=GroupKind.PROJECT, name__in=projects)


def _add_events(course: Course, projects: frozenset[str] | None) -> None:
    first, step = course.times[0], course.range.step
    columns = ("submitted", "started", *OUTCOMES)
    since = datetime.fromtimestamp(first, UTC)
    rows = _counted(projects).filter(span=course.range.span, at__gte=since).values_list("at", "wait", "run", *columns)
    sums: defaultdict[int, Counter[str]] = defaultdict(Counter)
    waits: defaultdict[int, list[dict[str, int]]] = defaultdict(list)
    runs: defaultdict[int, list[dict[str, int]]] = defaultdict(list)
    for at, wait, run, *counts in rows:
        place = (int(at.timestamp()) - first) // step
        sums[place].update(dict(zip(columns, counts, strict=True)))
        waits[place].append(wait)
        runs[place].append(run)
    places = range(len(course.times))
    course.counts = {column: [sums[place][column] for place in places] for column in columns}
    course.wait = _percentiles(waits, len(course.times))
    course.run = _percentiles(runs, len(course.times))


def _percentiles(found: dict[int, list[dict[str, int]]], points: int) -> dict[int, list[float | None]]:
    histograms = [merged(found.get(place, [])) for place in range(points)]
    return {p: [percentile(histogram, p / 100) for histogram in histograms] for p in PERCENTILES}


# Sums over looks, so any number of minutes gives a true average.
_SAMPLES = """
SELECT (floor((EXTRACT(EPOCH FROM at) - %(first)s) / %(step)s))::int AS place,
    sum(ready) / sum(samples), sum(held) / sum(samples), sum(running) / sum(samples), sum(workers) / sum(samples), max(slots),
    100 * sum(running) / NULLIF(sum(slots * samples), 0), 100 * sum(memory_mb) / NULLIF(sum(max_memory_mb::bigint * samples), 0),
    100 * sum(cpu_weight) / NULLIF(sum(max_cpu_weight * samples), 0)
FROM jobs_queuesample WHERE at >= to_timestamp(%(first)s) AND samples > 0 GROUP BY 1
"""
_QUEUE = ("ready", "held", "running", "workers", "slots")
_SHARES = ("slots", "memory", "cpu")


def _add_samples(course: Course) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLES, {"first": course.times[0], "step": course.range.step})
        found = {place: [None if value is None else float(value) for value in values] for place, *values in cursor.fetchall()}
    nothing: list[float | None] = [None] * (len(_QUEUE) + len(_SHARES))
    rows = [found.get(place, nothing) for place in range(len(course.times))]
    course.queue = {name: [row[i] for row in rows] for i, name in enumerate(_QUEUE)}
    course.shares = {name: [row[len(_QUEUE) + i] for row in rows] for i, name in enumerate(_SHARES)}


@briefly(FRESH)
def failed_lately(projects: frozenset[str] | None = None) -> int:
    """Jobs that failed in the last hour, of all or of these projects."""
    rows = _counted(projects).filter(span="minute", at__gt=timezone.now() - timedelta(hours=1))
    return rows.aggregate(failed=Sum("failed"))["failed"] or 0


@dataclass(frozen=True, kw_only=True)
class Typical:
    """How long completed runs of a tool took lately; seconds."""

    runs: int
    p50: float
    p95: float


@briefly(30.0)
def typical() -> dict[str, Typical]:
    """By tool, over the last days; tools with too few runs to say are left out."""
    rows = Rollup.objects.filter(span="day", kind=GroupKind.TOOL, at__gt=timezone.now() - timedelta(days=8))
    histograms: defaultdict[str, list[dict[str, int]]] = defaultdict(list)
    for name, run in rows.values_list("name", "run"):
        histograms[name].append(run)
    found = {}
    for name, parts in histograms.items():
        counted = merged(parts)
        p50, p95 = percentile(counted, 0.5), percentile(counted, 0.95)
        if counted.total() >= ENOUGH and p50 is not None and p95 is not None:
            found[name] = Typical(runs=counted.total(), p50=p50, p95=p95)
    return found


# With fewer completed runs nothing is said about what is usual.
ENOUGH = 20
