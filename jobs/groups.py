"""The jobs of a batch or a project as a whole: how far they are, and verbs for all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.db.models import Case, Count, F, FloatField, Max, Min, QuerySet, Sum, Value, When

from jobs import lifecycle, tally
from jobs.errors import IllegalMove, NotFound
from jobs.models import Job
from jobs.payloads import clean_text
from jobs.sight import Sight
from jobs.states import FINAL, Status

Kind = Literal["batch", "project"]


@dataclass(frozen=True, kw_only=True)
class GroupProgress:
    """`progress` is 0..100 over all jobs, an ended one counts as whole. `finished_at` is None while one is active."""

    name: str
    total: int
    by_status: dict[str, int]
    progress: float
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    version: int  # grows with every move of every job of the group

    @property
    def status(self) -> str:
        """Of the whole: what its jobs come to, worst first, once none is active."""
        if self.by_status[Status.RUNNING]:
            return Status.RUNNING
        order = (Status.PENDING, Status.FAILED, Status.CANCELLED)
        return next((status for status in order if self.by_status[status]), Status.COMPLETED)


def members(kind: Kind, name: str, sight: Sight) -> QuerySet[Job]:
    return sight.of(Job.objects.filter(**{kind: clean_text(name, 100)}))


def progress(kind: Kind, name: str, sight: Sight) -> GroupProgress:
    """One query. Raises `NotFound` where there is no job of the group."""
    done = Case(When(status__in=FINAL, then=Value(100.0)), default=F("progress"), output_field=FloatField())
    rows = list(
        members(kind, name, sight)
        .values("status")
        .annotate(
            jobs=Count("id"),
            done=Sum(done),
            first=Min("created_at"),
            moved=Max("updated_at"),
            last=Max("finished_at"),
            moves=Sum("version"),
            ticks=Sum("progress_tick"),
        )
        .order_by()
    )
    if not rows:
        raise NotFound(f"there is no {kind} {clean_text(name, 100)!r}")
    total = sum(row["jobs"] for row in rows)
    ended = [row["last"] for row in rows if row["last"] is not None]
    return GroupProgress(
        name=name,
        total=total,
        by_status=dict.fromkeys(Status.values, 0) | {row["status"]: row["jobs"] for row in rows},
        progress=sum(row["done"] for row in rows) / total,
        created_at=min(row["first"] for row in rows),
        updated_at=max(row["moved"] for row in rows),
        finished_at=max(ended) if all(row["status"] in FINAL for row in rows) else None,
        version=sum(row["moves"] * 1_000_000 + row["ticks"] for row in rows),
    )


@dataclass(frozen=True, kw_only=True)
class Outline:
    """How far a group is: jobs by status, and `progress` 0..100 over all of them, an ended one counts as whole."""

    total: int
    by_status: dict[str, int]
    progress: float


def outline(kind: Kind, name: str, sight: Sight) -> Outline:
    """Raises `NotFound` where there is no job of the group.

    A project may have a million jobs: seen whole, it is told from the kept tally and from what runs. Two queries.
    """
    if kind != "project" or not sight.covers(name, ""):
        whole = progress(kind, name, sight)
        return Outline(total=whole.total, by_status=whole.by_status, progress=whole.progress)
    name = clean_text(name, 100)
    by_status = tally.by_status(project=name)
    total = sum(by_status.values())
    if not total:
        raise NotFound(f"there is no project {name!r}")
    running = Job.objects.filter(status=Status.RUNNING, project=name).aggregate(done=Sum("progress"))["done"] or 0.0
    return Outline(
        total=total, by_status=by_status, progress=(100.0 * sum(by_status[status] for status in FINAL) + running) / total
    )


def cancel(kind: Kind, name: str, sight: Sight, *, by: str, reason: str = "") -> int:
    """Cancel every active job of the group; how many there were. Raises `NotFound`."""
    done = lifecycle.cancel_family(kind, clean_text(name, 100), by=by, reason=reason, sight=sight)
    if not done.ended + done.asked:
        progress(kind, name, sight)
    return done.ended + done.asked


def retry_failed(kind: Kind, name: str, sight: Sight, *, by: str) -> int:
    """Send every failed job of the group back to pending; how many there were. Raises `NotFound`.

    The oldest first: so those that failed with a parent find it pending again.
    """
    rows = members(kind, name, sight).filter(status=Status.FAILED).order_by("created_at", "id")
    return _each(kind, name, sight, rows, lambda job: lifecycle.retry(job, by=by))


def _each(kind: Kind, name: str, sight: Sight, rows: QuerySet[Job], verb: Callable[[str], Job]) -> int:
    ids = list(rows.values_list("pk", flat=True))
    if not ids:
        progress(kind, name, sight)
    moved = 0
    for job_id in ids:
        try:
            verb(job_id)
        except (IllegalMove, NotFound):
            # Somebody else moved or removed it since the list was read.
            continue
        moved += 1
    return moved
