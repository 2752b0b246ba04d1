"""The figures of tools, operations and projects over a time, beside the time before it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from django.db import connection
from django.db.models import Case, CharField, Sum, Value, When
from django.utils import timezone

from jobs.briefly import briefly
from jobs.histogram import Histogram, merged, percentile
from jobs.models import Rollup

# How long, and from which roll-ups: so that few rows answer exactly. Days begin at midnight UTC; today counts as far as it is.
PERIODS = {
    "hour": (timedelta(hours=1), "minute"),
    "day": (timedelta(days=1), "hour"),
    "week": (timedelta(days=7), "day"),
    "month": (timedelta(days=30), "day"),
}
MOST = 200
_SUMS = """submitted completed failed cancelled retried lost ended run_ms wasted_ms memory_asked_mb memory_used_mb cpu_asked
    cpu_used scored score""".split()  # noqa: SIM905  (as a list literal it would fill a page)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one group in one period. Times are seconds, memory MB, cpu cores; None where there was nothing to measure."""

    submitted: int
    completed: int
    failed: int
    cancelled: int
    retried: int
    lost: int
    success: float | None  # completed of completed and failed, percent
    run: dict[int, float | None]
    wait: dict[int, float | None]
    busy: float  # of all attempts
    wasted: float  # of attempts that brought no result
    memory_asked: float | None
    memory_used: float | None
    cpu_asked: float | None
    cpu_used: float | None
    score: float | None
    a_day: float  # ended jobs a day: comparable where a period is not over yet


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A group now and in the period before, which may have nothing."""

    name: str
    now: Figures
    before: Figures | None


@briefly(5.0)
def compared(kind: str, period: str, projects: frozenset[str] | None = None) -> list[Compared]:
    """Every group of a kind that did something, those with most jobs first; "all" is one group, of these projects or of everything.

    Tools and operations are not kept by project. Two queries. Raises `KeyError` for no period.
    """
    if projects is not None and kind not in ("project", "all"):
        raise ValueError(f"{kind}s are not counted by project")
    length, span = PERIODS[period]
    until = timezone.now()
    since, earlier = _begins(until, length, span), _begins(until, 2 * length, span)
    read = _read(kind if projects is None else "project", span, earlier, since)
    sums, waits, runs = read if projects is None else _of(projects, read, together=kind == "all")
    elapsed = {"now": (until - since) / timedelta(days=1), "before": length / timedelta(days=1)}

    def of(name: str, when: str) -> Figures | None:
        found = sums.get((name, when))
        return _figures(found, waits[name, when], runs[name, when], elapsed[when]) if found else None

    names = {name for name, _ in sums}
    made = [Compared(name=name, now=now, before=of(name, "before")) for name in names if (now := of(name, "now"))]
    return sorted(made, key=lambda c: (-(c.now.completed + c.now.failed), c.name))[:MOST]


def _begins(until: datetime, back: timedelta, span: str) -> datetime:
    """The start of the first span that lies within `back` of now."""
    at = until - back
    if span == "day":
        return at.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    if span == "hour":
        return at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return at.replace(second=0, microsecond=0) + timedelta(minutes=1)


_Key = tuple[str, str]
# By hand, because a thousand histograms are read three times as fast by orjson as by the model's field.
_HISTOGRAMS = "SELECT name, at >= %s, wait, run FROM jobs_rollup WHERE span = %s AND kind = %s AND at >= %s"


_Read = tuple[dict[_Key, dict[str, float]], dict[_Key, list[Histogram]], dict[_Key, list[Histogram]]]


def _of(projects: frozenset[str], read: _Read, *, together: bool) -> _Read:
    """What was read of these alone; perhaps as one group, for all of it adds up."""
    sums: defaultdict[_Key, dict[str, float]] = defaultdict(lambda: dict.fromkeys(_SUMS, 0.0))
    waits: defaultdict[_Key, list[Histogram]] = defaultdict(list)
    runs: defaultdict[_Key, list[Histogram]] = defaultdict(list)
    for (name, when), values in read[0].items():
        if name in projects:
            key = ("" if together else name, when)
            sums[key] = {column: sums[key][column] + values[column] for column in _SUMS}
            waits[key] += read[1][name, when]
            runs[key] += read[2][name, when]
    return sums, waits, runs


def _read(kind: str, span: str, earlier: datetime, since: datetime) -> _Read:
    rows = Rollup.objects.filter(span=span, kind=kind, at__gte=earlier)
    when = Case(When(at__gte=since, then=Value("now")), default=Value("before"), output_field=CharField())
    summed = rows.annotate(when=when).values_list("name", "when").annotate(*(Sum(column) for column in _SUMS)).order_by()
    sums = {(name, now): dict(zip(_SUMS, values, strict=True)) for name, now, *values in summed}
    waits: defaultdict[_Key, list[Histogram]] = defaultdict(list)
    runs: defaultdict[_Key, list[Histogram]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_HISTOGRAMS, [since, span, kind, earlier])
        for name, now, wait, run in cursor.fetchall():
            key = (name, "now" if now else "before")
            waits[key].append(orjson.loads(wait))
            runs[key].append(orjson.loads(run))
    return sums, waits, runs


def _figures(sums: dict[str, float], waits: list[Histogram], runs: list[Histogram], days: float) -> Figures:
    def mean(name: str, over: str = "ended") -> float | None:
        return sums[name] / sums[over] if sums[over] else None

    ended, wait, run = sums["completed"] + sums["failed"], merged(waits), merged(runs)
    return Figures(
        **{name: int(sums[name]) for name in ("submitted", "completed", "failed", "cancelled", "retried", "lost")},
        success=100 * sums["completed"] / ended if ended else None,
        run={p: percentile(run, p / 100) for p in (50, 90, 99)},
        wait={p: percentile(wait, p / 100) for p in (50, 90, 99)},
        busy=sums["run_ms"] / 1000,
        wasted=sums["wasted_ms"] / 1000,
        memory_asked=mean("memory_asked_mb"),
        memory_used=mean("memory_used_mb"),
        cpu_asked=mean("cpu_asked"),
        cpu_used=mean("cpu_used"),
        score=mean("score", "scored"),
        a_day=ended / days if days else 0.0,
    )
