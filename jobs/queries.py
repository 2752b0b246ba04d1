"""Reads: what pages, the API and the hub ask about jobs. Lists never select payload columns."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.db.models.expressions import CombinedExpression, RawSQL
from django.utils.dateparse import parse_datetime

from jobs import tally
from jobs.briefly import briefly
from jobs.errors import InvalidRequest, NotFound, Problem
from jobs.events import Delta, delta_of
from jobs.models import Attempt, Dependency, Event, Job
from jobs.payloads import clean_text
from jobs.states import LIVE_ATTEMPT, Gate, Status
from jobs.why import Why as Why
from jobs.why import why_all as why_all
from jobs.why import why_pending as why_pending

PAYLOADS = ("params", "result", "diagnostics", "metadata")
MOST = 100
# The rail's counts hold for so many seconds.
COUNTS_FOR = 2.0
MOST_CHANGED = 500


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some jobs, newest first. `next_cursor` is "" on the last page."""

    jobs: list[Job]
    next_cursor: str


def find(job_id: str) -> Job:
    """Raises `NotFound`."""
    job = None if "\x00" in job_id else Job.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound(f"there is no job {clean_text(job_id, 64)!r}")
    return job


def light() -> QuerySet[Job]:
    """Jobs without their payloads, with the beginning of their params as `params_line`, and with the `worker` they run on."""
    line = RawSQL("left(jobs_job.params::text, 160)", [])
    return Job.objects.defer(*PAYLOADS).annotate(params_line=line, worker=F("current_attempt__worker"))


def page(
    *,
    status: str = "",
    tool: str = "",
    batch: str = "",
    project: str = "",
    search: str = "",
    cursor: str = "",
    size: int = 50,
) -> Page:
    """One keyset page. Raises `InvalidRequest` for a cursor that is not one of ours, or an unknown status."""
    size = max(1, min(size, MOST))
    rows = light().order_by("-created_at", "-id")
    if status and status not in Status.values:
        raise _bad("status", f"there is no status {clean_text(status, 30)!r}; there are {', '.join(Status.values)}")
    for name, value in {"status": status, "tool": tool, "batch": batch, "project": project}.items():
        if value:
            rows = rows.filter(**{name: clean_text(value, 100)})
    if search:
        text = clean_text(search.strip(), 100)
        rows = rows.filter(Q(pk__startswith=text) | Q(tool__startswith=text) | Q(batch=text) | Q(project=text))
    if cursor:
        at, job_id = _read_cursor(cursor)
        # As a row comparison, which the index job_newest answers by itself.
        rows = rows.filter(Q(created_at__lt=at) | Q(created_at=at, pk__lt=job_id), created_at__lte=at)
    found = list(rows[: size + 1])
    last = found[size - 1] if len(found) > size else None
    return Page(jobs=found[:size], next_cursor=_cursor_of(last) if last else "")


def _cursor_of(job: Job) -> str:
    return base64.urlsafe_b64encode(json.dumps([job.created_at.isoformat(), job.pk]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    try:
        at, job_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        moment = parse_datetime(at)
    except (binascii.Error, ValueError, TypeError):
        moment, job_id = None, ""
    if moment is None or moment.tzinfo is None or not isinstance(job_id, str) or "\x00" in job_id:
        raise _bad("cursor", "the cursor is not one that this list gave; begin again without it")
    return moment, job_id


def _bad(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest(detail, [Problem(detail=detail, pointer=f"/{name}")])


@briefly(COUNTS_FOR)
def counts() -> dict[str, int]:
    """Jobs by status; every status is there. Exact, from the kept tally."""
    return tally.by_status()


def rows(ids: Collection[str]) -> list[Job]:
    """These jobs as list rows, newest first; ids that do not exist are left out."""
    wanted = [i for i in ids if "\x00" not in i][:MOST]
    return list(light().filter(pk__in=wanted).order_by("-created_at", "-id"))


def running(most: int = 20) -> list[Job]:
    """What runs now, longest first."""
    return list(light().filter(status=Status.RUNNING).order_by("started_at", "id")[:most])


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


def attempts_of(job_id: str) -> list[Attempt]:
    return list(Attempt.objects.filter(job=job_id).order_by("number"))


def parents_of(job_id: str) -> list[Job]:
    """The jobs that this one depends on, in the order the caller gave."""
    return [
        d.parent for d in Dependency.objects.filter(job=job_id).select_related("parent").defer(*_of("parent")).order_by("position")
    ]


def children_of(job_id: str, most: int = MOST) -> list[Job]:
    """Jobs that depend on this one."""
    found = Dependency.objects.filter(parent=job_id).select_related("job").defer(*_of("job")).order_by("job_id")[:most]
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
