"""Lists of jobs: filters and orders that an index serves, and pages that go on where the last one ended."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.utils.dateparse import parse_datetime

from jobs import sealing
from jobs.errors import InvalidRequest, Problem
from jobs.masking import MASK
from jobs.models import Job
from jobs.payloads import clean_text
from jobs.sight import EVERYTHING, Sight
from jobs.states import Status

PAYLOADS = ("params", "result", "diagnostics", "metadata", "checkpoint")
MOST = 100
# What a list may be sorted by: the column, and whether the greatest comes first.
SORTS = {
    "-createdAt": ("created_at", True),
    "createdAt": ("created_at", False),
    "-finishedAt": ("finished_at", True),
    "finishedAt": ("finished_at", False),
}


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some jobs, in order. `next_cursor` is "" on the last page."""

    jobs: list[Job]
    next_cursor: str


def light() -> QuerySet[Job]:
    """Jobs without their payloads, with the beginning of their params as `params_line`, and with the `worker` they run on."""
    # What is sealed is covered before the line is cut.
    line = RawSQL("left(regexp_replace(left(jobs_job.params::text, 2000), %s, %s, 'g'), 160)", [sealing.SEALED, MASK])
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
    others: Mapping[str, object] | None = None,
    sort: str = "-createdAt",
    sight: Sight = EVERYTHING,
) -> Page:
    """One keyset page. `others` are further columns and what they must be, as Django spells it.

    Raises `InvalidRequest` for a cursor that is not one of ours for this order, or an unknown status.
    """
    size = max(1, min(size, MOST))
    column, falling = SORTS[sort]
    rows = sight.of(light()).order_by(*([f"-{column}", "-id"] if falling else [column, "id"]))
    if column == "finished_at":
        rows = rows.filter(finished_at__isnull=False)
    if status and status not in Status.values:
        raise _bad("status", f"there is no status {clean_text(status, 30)!r}; there are {', '.join(Status.values)}")
    for name, value in {"status": status, "tool": tool, "batch": batch, "project": project}.items():
        if value:
            rows = rows.filter(**{name: clean_text(value, 100)})
    if others:
        rows = rows.filter(**others)
    if search:
        text = clean_text(search.strip(), 100)
        rows = rows.filter(Q(pk__startswith=text) | Q(tool__startswith=text) | Q(batch=text) | Q(project=text))
    if cursor:
        rows = _after(rows, column, falling, *read_cursor(cursor, sort))
    found = list(rows[: size + 1])
    last = found[size - 1] if len(found) > size else None
    return Page(jobs=found[:size], next_cursor=cursor_of(getattr(last, column), last.pk, sort) if last else "")


def _after(rows: QuerySet[Job], column: str, falling: bool, at: datetime, job_id: str) -> QuerySet[Job]:  # noqa: FBT001
    """As a row comparison, which the index job_newest answers by itself."""
    side = "lt" if falling else "gt"
    return rows.filter(Q(**{f"{column}__{side}": at}) | Q(**{column: at, f"pk__{side}": job_id}), **{f"{column}__{side}e": at})


def cursor_of(moment: datetime, job_id: str, sort: str = "-createdAt") -> str:
    """The place behind a job, for the next page."""
    return base64.urlsafe_b64encode(json.dumps([moment.isoformat(), job_id, sort]).encode()).decode().rstrip("=")


def read_cursor(cursor: str, sort: str = "-createdAt") -> tuple[datetime, str]:
    """Raises `InvalidRequest` for what `cursor_of` did not make."""
    try:
        at, job_id, order = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        moment = parse_datetime(at)
    except (binascii.Error, ValueError, TypeError):
        moment, job_id, order = None, "", sort
    if moment is None or moment.tzinfo is None or not isinstance(job_id, str) or "\x00" in job_id or order != sort:
        raise _bad("cursor", "the cursor is not one that this list gave; begin again without it")
    return moment, job_id


def _bad(name: str, detail: str) -> InvalidRequest:
    return InvalidRequest(detail, [Problem(detail=detail, pointer=f"/{name}")])
