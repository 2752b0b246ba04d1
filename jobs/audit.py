"""Who did what, to what, from where, before and after. Append-only: a trigger of the database refuses anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from jobs.changes import COLUMNS
from jobs.errors import NotFound
from jobs.listing import cursor_of, read_cursor
from jobs.masking import mask
from jobs.models import AuditEntry, Job
from jobs.payloads import Json, clean_text, name_text

# From where the present call came: the address of a request; set by each door. "" is this machine itself.
_origin: ContextVar[str] = ContextVar("origin", default="")

STATE = ("status", "gate", "priority", "cancel_requested_at", "project", *COLUMNS)


@contextmanager
def origin(place: str) -> Iterator[None]:
    """What is noted inside came from `place`."""
    before = _origin.set(clean_text(place, 100))
    try:
        yield
    finally:
        _origin.reset(before)


def note(action: str, subject: str, *, by: str, before: Json = None, after: Json = None) -> AuditEntry:
    """One entry, in the caller's transaction: what was rolled back was not done. Secrets in both values are masked."""
    return AuditEntry.objects.create(
        actor=name_text(by, 200),
        action=clean_text(action, 50),
        subject=clean_text(subject, 200),
        origin=_origin.get(),
        before=mask(before or {}),
        after=mask(after or {}),
    )


@dataclass(frozen=True, kw_only=True)
class AuditPage:
    """Entries, newest first. `next_cursor` is "" on the last page."""

    entries: list[AuditEntry]
    next_cursor: str


def page(*, actor: str = "", action: str = "", subject: str = "", cursor: str = "", size: int = 50) -> AuditPage:
    """One keyset page of what matches exactly. Raises `InvalidRequest` for a cursor that is not one of ours."""
    rows = AuditEntry.objects.order_by("-at", "-id")
    for name, value in {"actor": actor, "action": action, "subject": subject}.items():
        if value:
            rows = rows.filter(**{name: value})
    if cursor:
        at, key = read_cursor(cursor)
        number = int(key) if key.isdecimal() else 0
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=number), at__lte=at)
    found = list(rows[: size + 1])
    more = len(found) > size
    return AuditPage(entries=found[:size], next_cursor=cursor_of(found[size - 1].at, str(found[size - 1].pk)) if more else "")


def of(subject: str, most: int = 50) -> list[AuditEntry]:
    """What was done to one thing, newest first."""
    return list(AuditEntry.objects.filter(subject=subject).order_by("-at", "-id")[:most])


def act(action: str, verb: Callable[..., Job], job_id: str, *, by: str, **how: Any) -> Job:
    """A verb of the lifecycle said by a person or a program, done and noted in one transaction. No change, no note."""
    with transaction.atomic():
        before = _state(job_id)
        job = verb(job_id, by=by, **how)
        after = _state(job_id)
        if before != after:
            changed = {name for name in STATE if before.get(name) != after.get(name)}
            reason = {"reason": how["reason"]} if how.get("reason") else {}
            note(action, f"job {job_id}", by=by, before=_only(before, changed), after=_only(after, changed) | reason)
    return job


def _state(job_id: str) -> dict[str, Any]:
    found = Job.objects.filter(pk=job_id).values(*STATE).first() if "\x00" not in job_id else None
    if found is None:
        raise NotFound(f"there is no job {clean_text(job_id, 64)!r}")
    return dict(found)


def _only(state: dict[str, Any], names: set[str]) -> dict[str, Any]:
    values = {name: state[name] for name in names}
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
