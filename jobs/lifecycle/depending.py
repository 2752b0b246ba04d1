"""The verb that changes what a pending job waits for; and the marks on parents that submitting shares with it."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Max
from django.db.models.functions import Now

from jobs import dependencies, events
from jobs.lifecycle.holding import as_it_is, withdraw_one
from jobs.lifecycle.locking import lock_with_parents
from jobs.lifecycle.rows import GATE, RETURNED, jobs_from
from jobs.models import Dependency, Job
from jobs.states import FINAL, Status
from jobs.submission import ID, refuse_too_many_dependencies

# Key of the advisory lock under which edges between jobs that exist are made: "edge" in ASCII.
_EDGES = 0x65646765


def mark_parents(found: dict[str, str]) -> None:
    """They are locked, and get dependents. Those that ended badly are settled again, so that a policy is followed at once."""
    Job.objects.filter(id__in=found, has_dependents=False).update(has_dependents=True)
    bad = [i for i, status in found.items() if status in FINAL - {Status.COMPLETED}]
    Job.objects.filter(id__in=bad).update(unsettled=True)


_DEPEND = f"""
WITH moved AS (
    UPDATE jobs_job j SET gate = {GATE}, gate_since = CASE WHEN gate = {GATE} THEN gate_since ELSE now() END,
        version = version + 1, updated_at = now()
    WHERE id = %(job)s AND status = 'pending'
    RETURNING {RETURNED}
), noted AS (
    INSERT INTO jobs_event (job_id, verb, before, after, reason, actor, at)
    SELECT id, 'depend', 'pending', 'pending', %(reason)s, %(by)s, now() FROM moved
)
SELECT * FROM moved
"""


def depend(job_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = (), by: str) -> Job:
    """Let a pending job wait for further jobs, or no longer for some.

    Raises `NotFound`, `IllegalMove` (it is not pending), `UnknownDependency`, `DependencyCycle` or `Conflict`; then nothing was
    changed.
    """
    wanted = list(dict.fromkeys(add))
    with transaction.atomic():
        # 1. One at a time makes edges among jobs that exist: of two clients, each with half of a cycle, the second sees it.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_EDGES])
        # 2. The job with all its parents, also the new ones, in one order.
        found = lock_with_parents({job_id}, wanted)
        status = found.pop(job_id, "")
        if status != Status.PENDING:
            return as_it_is(job_id, "made to wait for others")
        gone = _remove(job_id, remove)
        new = _add(job_id, wanted, found)
        if not new and not gone:
            return as_it_is(job_id, "changed")
        # 3. What was admitted and has not begun waits again.
        withdraw_one(job_id, by=by, reason="its dependencies were changed")
        moved = jobs_from(_DEPEND, {"job": job_id, "by": by, "reason": _told(new, gone)})
        events.announce(map(events.delta_of, moved), poke=True)
    return moved[0]


def _remove(job_id: str, parents: Sequence[str]) -> list[str]:
    named = {parent for parent in parents if ID.fullmatch(parent)}
    edges = Dependency.objects.filter(job=job_id, parent__in=named)
    gone = sorted(edges.values_list("parent_id", flat=True))
    dependencies.refuse_unknown(parents, gone, what="it does not depend on", pointer="/remove")
    edges.delete()
    return gone


def _add(job_id: str, wanted: Sequence[str], found: dict[str, str]) -> list[str]:
    if job_id in wanted:
        dependencies.refuse_cycles({job_id: wanted})
    dependencies.refuse_unknown(wanted, found, pointer="/add")
    have = set(Dependency.objects.filter(job=job_id).values_list("parent_id", flat=True))
    new = [parent for parent in wanted if parent not in have]
    refuse_too_many_dependencies(len(have) + len(new), "add")
    dependencies.refuse_to_close_cycle(job_id, new)
    mark_parents({parent: found[parent] for parent in new})
    last = Dependency.objects.filter(job=job_id).aggregate(last=Max("position"))["last"]
    first = 0 if last is None else last + 1
    Dependency.objects.bulk_create(
        [
            Dependency(job_id=job_id, parent_id=parent, position=place, met_at=Now() if found[parent] == Status.COMPLETED else None)
            for place, parent in enumerate(new, start=first)
        ]
    )
    return new


def _told(new: Sequence[str], gone: Sequence[str]) -> str:
    parts = [f"{what} {_names(ids)}" for what, ids in (("after", new), ("no longer after", gone)) if ids]
    return "; ".join(parts)


def _names(ids: Sequence[str]) -> str:
    return ", ".join(ids[:5]) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
