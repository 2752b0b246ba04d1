"""What needs a person: workers that died, jobs that run longer than is usual for them; and one sentence on how things stand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Min
from django.db.models.functions import Now
from django.utils import timezone

from jobs import configuration, tally, trends, workers
from jobs.briefly import briefly
from jobs.models import Attempt, Job, Worker
from jobs.states import LIVE_ATTEMPT, Gate, Status

# A worker that vanished longer ago than this is history; of what runs, the oldest so many are looked at.
REMEMBERED = timedelta(hours=24)
MOST = 200
LONG_WAIT = timedelta(minutes=10)


@dataclass(frozen=True, kw_only=True)
class Stalled:
    """A job that runs longer than 95 in 100 runs of its tool did."""

    job: Job
    usual: float  # the 95th percentile, seconds
    runs: int  # that it is taken from


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How things stand. `level` is good, busy or bad; `place` names the page that helps, if one does.

    Of some projects alone, `oldest_wait` is not known. Workers and slots are there for all.
    """

    level: str
    verdict: str
    place: str
    workers: int
    draining: int
    slots: int
    running: int
    ready: int
    held: int
    oldest_wait: timedelta | None


def stalled() -> list[Stalled]:
    """Longest first. Two queries at most, one of them shared for half a minute."""
    typical = trends.typical()
    if not typical:
        return []
    found = []
    now = timezone.now()
    running = Job.objects.filter(status=Status.RUNNING, tool__in=typical).only("id", "tool", "project", "started_at")
    for job in running.order_by("started_at", "id")[:MOST]:
        usual = typical[job.tool]
        # A tool of milliseconds is not stalled for having taken three.
        if job.started_at and (now - job.started_at).total_seconds() > max(usual.p95 * 1.5, usual.p95 + 5):
            found.append(Stalled(job=job, usual=usual.p95, runs=usual.runs))
    return found


def dead_workers() -> list[Worker]:
    """Those that said nothing more, and did not say goodbye."""
    silent = Now() - workers.ALIVE_FOR
    return list(Worker.objects.filter(stopped_at=None, beat_at__lte=silent, beat_at__gt=Now() - REMEMBERED).order_by("-beat_at"))


@briefly(2.0)
def standing(projects: frozenset[str] | None = None) -> Standing:
    """Of all jobs, or as far as jobs of these projects go. A fixed few queries, however many jobs there are."""
    alive = workers.alive()
    gates = tally.pending_by_gate(projects)
    holding = Attempt.objects.filter(state__in=LIVE_ATTEMPT)
    live = list((holding if projects is None else holding.filter(job__project__in=projects)).values_list("state", flat=True))
    admitted = live.count("admitted")
    ready = max(0, gates[Gate.OPEN] - admitted)
    held = sum(number for gate, number in gates.items() if gate != Gate.OPEN)
    oldest = _oldest_wait() if ready and projects is None else None
    failed = trends.failed_lately(projects)
    level, verdict, place = _verdict(alive, len(live), ready, oldest, failed, dispatching=workers.dispatcher_alive())
    return Standing(
        level=level,
        verdict=verdict,
        place=place,
        workers=len(alive),
        draining=sum(worker.draining_at is not None for worker in alive),
        slots=configuration.limits().max_concurrent,
        running=len(live) - admitted,
        ready=ready,
        held=held,
        oldest_wait=oldest,
    )


def _oldest_wait() -> timedelta | None:
    ready = Job.objects.filter(status=Status.PENDING, gate=Gate.OPEN, current_attempt=None, kind=Job.Kind.TASK)
    waited: timedelta | None = ready.aggregate(waited=Now() - Min("gate_since"))["waited"]
    return waited


def _verdict(
    alive: list[Worker], busy: int, ready: int, oldest: timedelta | None, failed: int, *, dispatching: bool
) -> tuple[str, str, str]:
    if not dispatching:
        return "bad", "No dispatcher is running: jobs are taken in, but none will start. Start `manage.py dispatcher`.", "workers"
    if not alive:
        return "bad", "No worker is running: jobs are taken in, but none will run. Start a Celery worker.", "workers"
    if all(worker.draining_at for worker in alive):
        return "bad", "Every worker is drained: nothing new will run until one is taken back.", "workers"
    people = f"{len(alive)} worker{'s' if len(alive) != 1 else ''}, {busy} running"
    wait = f"oldest wait {_span(oldest)}" if oldest else f"{ready} waiting" if ready else "nothing waits"
    if oldest and oldest > LONG_WAIT:
        return "busy", f"Busy: {people}, {ready} ready and waiting, {wait}.", "queue"
    if failed:
        return "busy", f"Working, and {failed} job{'s' if failed != 1 else ''} failed in the last hour: {people}, {wait}.", "errors"
    return "good", f"Healthy: {people}, {wait}.", ""


def _span(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
