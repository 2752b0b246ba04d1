"""The verb that takes a job away, with everything about it."""

from __future__ import annotations

from django.db import transaction

from jobs import audit, events
from jobs.errors import Conflict, IllegalMove, NotFound
from jobs.lifecycle.locking import lock_with_parents
from jobs.lifecycle.rows import execute, jobs_from
from jobs.lifecycle.settling import END_DEPENDENTS, MEET_ANYWAY, UNBLOCK
from jobs.models import Dependency, Job
from jobs.states import Status

_TRIES = 5


def delete(job_id: str, *, by: str) -> None:
    """Remove a job that does not run, and its history. Dependents of one that had not completed follow their policy.

    Raises `NotFound`, `IllegalMove` for one that runs, or `Conflict` where new dependents came again and again meanwhile.
    """
    for _ in range(_TRIES):
        with transaction.atomic():
            if _delete(job_id, by):
                return
    raise Conflict(f"jobs that depend on {job_id} are being submitted; try once more")


def _delete(job_id: str, by: str) -> bool:
    """False: a dependent came between the look and the locks, which are always taken in one order."""
    dependents = _waiting_for(job_id)
    # What they wait for beside this one, too: it may be settled at this moment, and each side would leave them to the other.
    found = lock_with_parents(dependents, {job_id})
    if job_id not in found:
        raise NotFound(f"there is no job {job_id!r}")
    if found[job_id] == Status.RUNNING:
        raise IllegalMove(f"job {job_id} is running; cancel it first")
    # From here on nobody can make another job depend on it.
    if _waiting_for(job_id) - dependents:
        return False
    moved = _let_go(job_id, by, completed=found[job_id] == Status.COMPLETED)
    job = Job.objects.only("tool", "status", "submitted_by").get(pk=job_id)
    before = {"tool": job.tool, "status": job.status, "submittedBy": job.submitted_by}
    audit.note("delete", f"job {job_id}", by=by, before=before)
    job.delete()
    events.announce(map(events.delta_of, moved), poke=True)
    return True


def _let_go(job_id: str, by: str, *, completed: bool) -> list[Job]:
    """What settling would do for its dependents, all of it now: there is no later for a job that is gone."""
    parents = {"parents": [job_id], "gone": True, "by": by}
    told = []
    if not completed:
        execute(MEET_ANYWAY, parents)
        while moved := jobs_from(END_DEPENDENTS, parents):
            told += moved
    while moved := jobs_from(UNBLOCK, parents):
        told += moved
    return told


def _waiting_for(job_id: str) -> set[str]:
    return set(Dependency.objects.filter(parent=job_id, job__status=Status.PENDING).values_list("job_id", flat=True))
