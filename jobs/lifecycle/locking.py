"""The locks of verbs that are about several jobs, always taken in one order: by id."""

from __future__ import annotations

from collections.abc import Collection

from django.db import transaction

from jobs.errors import Conflict
from jobs.lifecycle.rows import execute
from jobs.models import Dependency, Job
from jobs.states import Status
from jobs.submission import ID

_TRIES = 5

_MEET = """
UPDATE jobs_dependency SET met_at = now()
WHERE parent_id = ANY(%(parents)s) AND job_id = ANY(%(jobs)s) AND met_at IS NULL
"""


def lock_jobs(ids: Collection[str]) -> dict[str, str]:
    """id -> status of those that exist, locked in the order that every verb takes, so that none of them moves unseen."""
    if not ids:
        return {}
    rows = Job.objects.filter(id__in=[i for i in ids if ID.fullmatch(i)]).order_by("id").select_for_update(no_key=True)
    return dict(rows.values_list("id", "status"))


def lock_with_parents(ids: Collection[str], also: Collection[str] = ()) -> dict[str, str]:
    """As `lock_jobs`, for verbs that change what these jobs wait for, or whether: with all the parents that they wait for.

    None of those ends or is settled until the end of the transaction, and what depends here on one that has completed is met
    already. Settling sees such a job wait for the others, one by one; a verb that looked beside it would see the same, and
    each would leave the job to the other one, for ever. Raises `Conflict` where parents are added again and again.
    """
    for _ in range(_TRIES):
        with transaction.atomic():
            parents = _waited_for(ids)
            found = lock_jobs({*ids, *also} | parents)
            if _waited_for(ids) <= parents:
                completed = [i for i, status in found.items() if status == Status.COMPLETED]
                execute(_MEET, {"parents": completed, "jobs": list(ids)})
                return found
            # Gives the locks back: more of them would be out of order.
            transaction.set_rollback(True)
    raise Conflict(f"what {', '.join(list(ids)[:5])} waits for is being changed; try once more")


def _waited_for(ids: Collection[str]) -> set[str]:
    return set(Dependency.objects.filter(job__in=ids, met_at=None).values_list("parent_id", flat=True))
