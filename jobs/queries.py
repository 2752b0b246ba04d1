"""Reads: what pages, the API and the hub ask about jobs. Lists never select payload columns."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Max, Q
from django.db.models.expressions import CombinedExpression

from jobs import tally
from jobs.briefly import briefly
from jobs.errors import NotFound
from jobs.events import Delta, delta_of
from jobs.listing import MOST, PAYLOADS, light
from jobs.listing import Page as Page
from jobs.listing import page as page
from jobs.models import AskedQuestion, Attempt, Dependency, Event, Job
from jobs.payloads import clean_text
from jobs.sight import EVERYTHING, Sight
from jobs.states import LIVE_ATTEMPT, Gate, Status
from jobs.why import Why as Why
from jobs.why import why_all as why_all
from jobs.why import why_pending as why_pending

# The rail's counts hold for so many seconds.
COUNTS_FOR = 2.0
MOST_CHANGED = 500


def find(job_id: str) -> Job:
    """Raises `NotFound`."""
    job = None if "\x00" in job_id else Job.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound(f"there is no job {clean_text(job_id, 64)!r}")
    return job


@briefly(COUNTS_FOR)
def counts() -> dict[str, int]:
    """Jobs by status; every status is there. Exact, from the kept tally."""
    return tally.by_status()


def rows(ids: Collection[str], sight: Sight) -> list[Job]:
    """These jobs as list rows, newest first; ids that do not exist, or may not be seen, are left out."""
    wanted = [i for i in ids if "\x00" not in i][:MOST]
    return list(sight.of(light()).filter(pk__in=wanted).order_by("-created_at", "-id"))


def running(most: int = 20, sight: Sight = EVERYTHING) -> list[Job]:
    """What runs now, longest first."""
    return list(sight.of(light()).filter(status=Status.RUNNING).order_by("started_at", "id")[:most])


def holders(most: int = 500) -> list[Attempt]:
    """Attempts that hold a slot now, with their jobs; those that hold it longest first."""
    live = Attempt.objects.filter(state__in=LIVE_ATTEMPT).select_related("job").defer(*_of("job"), "traceback")
    return list(live.order_by("id")[:most])


def next_in_line(most: int = 25) -> list[Job]:
    """Ready jobs in the exact order in which they are looked at for a slot."""
    ready = light().filter(status=Status.PENDING, gate=Gate.OPEN, current_attempt=None, kind=Job.Kind.TASK)
    return list(ready.order_by("rank", "id")[:most])


def latest(status: str, most: int = 8) -> list[Job]:
    """The newest jobs of a status."""
    return list(light().filter(status=status).order_by("-created_at", "-id")[:most])


def events_of(job_id: str) -> list[Event]:
    return list(Event.objects.filter(job=job_id).order_by("id"))


def current_attempt(job_id: str) -> int | None:
    """The id of the attempt that a job has now."""
    if "\x00" in job_id:
        return None
    return Job.objects.filter(pk=job_id).values_list("current_attempt_id", flat=True).first()


def attempts_of(job_id: str) -> list[Attempt]:
    return list(Attempt.objects.filter(job=job_id).order_by("number"))


def parents_of(job_id: str) -> list[Job]:
    """The jobs that this one depends on, in the order the caller gave."""
    return [
        d.parent for d in Dependency.objects.filter(job=job_id).select_related("parent").defer(*_of("parent")).order_by("position")
    ]


def met_at(job_id: str) -> datetime | None:
    """When the last of its dependencies that are met was met; None without any."""
    last: datetime | None = Dependency.objects.filter(job=job_id).aggregate(last=Max("met_at"))["last"]
    return last


def whole(ids: Collection[str]) -> list[Job]:
    """These jobs with their params, in the order of the ids; for exports."""
    found = Job.objects.defer("result", "diagnostics", "metadata").in_bulk(list(ids))
    return [found[job_id] for job_id in ids if job_id in found]


def open_questions(job: Job) -> list[AskedQuestion]:
    """What the job waits to be told, in the order it was asked. No query for one that asks nothing."""
    if job.gate != Gate.INPUT or job.is_final:
        return []
    return list(AskedQuestion.objects.filter(job=job, answered_at=None).order_by("id"))


def children_of(job_id: str, most: int = MOST, *, sight: Sight = EVERYTHING) -> list[Job]:
    """Jobs that depend on this one."""
    rows = Dependency.objects.filter(parent=job_id)
    if not sight.is_whole:
        rows = rows.filter(job__in=sight.of(Job.objects.all()))
    found = rows.select_related("job").defer(*_of("job")).order_by("job_id")[:most]
    return [d.job for d in found]


def _of(relation: str) -> list[str]:
    return [f"{relation}__{column}" for column in PAYLOADS]


def deltas(ids: Collection[str]) -> list[Delta]:
    """These jobs as the live pages get them."""
    wanted = [i for i in ids if "\x00" not in i]
    return [delta_of(job) for job in Job.objects.defer(*PAYLOADS).filter(pk__in=wanted)]


def changed_since(moment: datetime | CombinedExpression) -> list[Delta]:
    """Jobs that made a move since then, and all that run: what heals a lost message. `Now() - ...` is the database's clock."""
    moved = Event.objects.filter(at__gte=moment).order_by("-at").values_list("job_id", flat=True)[: MOST_CHANGED * 4]
    ids = list(dict.fromkeys(moved))[:MOST_CHANGED]
    jobs = Job.objects.defer(*PAYLOADS).filter(Q(pk__in=ids) | Q(status=Status.RUNNING))[: 2 * MOST_CHANGED]
    return [delta_of(job) for job in jobs]
