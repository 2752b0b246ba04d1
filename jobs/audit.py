"""Who did what, to what, from where, before and after. Append-only: a trigger of the database refuses anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import transaction

from jobs.errors import NotFound
from jobs.models import AuditEntry, Job
from jobs.payloads import Json, clean_text

# From where the present call came: the address of a request; set by each door. "" is this machine itself.
_origin: ContextVar[str] = ContextVar("origin", default="")

_SECRET = re.compile(r"(?i)pass(word|wd|phrase)|secret|token|api_?key|authorization|credential|cookie|private")
MASK = "•••"
STATE = ("status", "gate", "priority", "cancel_requested_at", "project")


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
        actor=clean_text(by, 200),
        action=clean_text(action, 50),
        subject=clean_text(subject, 200),
        origin=_origin.get(),
        before=masked(before or {}),
        after=masked(after or {}),
    )


def masked(value: Json) -> Json:
    """A copy in which whatever is named like a secret is covered."""
    if isinstance(value, dict):
        return {key: MASK if _SECRET.search(str(key)) and item else masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return clean_text(value) if isinstance(value, str) else value


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
    return {name: value if value is None or isinstance(value, str) else value.isoformat() for name, value in values.items()}
