"""What a job builds on: the jobs it waits for, checked before they are written, and the answers it was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from django.db import connection

from jobs.errors import DependencyCycle, DuplicateId, Problem, UnknownDependency
from jobs.models import AskedQuestion, Dependency
from jobs.payloads import clean_text
from jobs.questions import Reply
from jobs.tools import ParentResult


def refuse_cycles(wanted: Mapping[str, Sequence[str]]) -> None:
    """Jobs that exist do not depend on new ones yet, so a cycle can only lie among the new. Raises `DependencyCycle`."""
    among = {job: [parent for parent in parents if parent in wanted] for job, parents in wanted.items()}
    try:
        TopologicalSorter(among).prepare()
    except CycleError as error:
        path = [str(job) for job in reversed(error.args[1])]
        shown = " -> ".join(path if len(path) <= 10 else [*path[:9], "…"])
        raise DependencyCycle(
            f"the dependencies form a cycle: {shown}", [Problem(detail="cycle", pointer="/dependencies")]
        ) from None


def refuse_twins(ids: Sequence[str]) -> None:
    """Raises `DuplicateId` when one request names the same new id twice."""
    seen: set[str] = set()
    for job in ids:
        if job in seen:
            raise DuplicateId(f"the id {job!r} stands twice in this request", [Problem(detail="twice", pointer="/id")])
        seen.add(job)


def refuse_unknown(
    wanted: Iterable[str],
    known: Iterable[str],
    *,
    what: str = "these dependencies do not exist:",
    pointer: str = "/dependencies",
) -> None:
    """Raises `UnknownDependency` naming up to five of `wanted` that are not known."""
    missing = sorted(set(wanted) - set(known))
    if missing:
        names = ", ".join(clean_text(name, 64) for name in missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UnknownDependency(f"{what} {names}", [Problem(detail="unknown job", pointer=pointer)])


# Every edge counts, also one that is met: a retry may bring the parent back. UNION drops what was seen, so a graph with many
# ways costs no more than its edges.
_ANCESTORS = """
WITH RECURSIVE up (id) AS (
    SELECT unnest(%(parents)s::text[])
    UNION
    SELECT d.parent_id::text FROM up JOIN jobs_dependency d ON d.job_id = up.id
)
SELECT EXISTS (SELECT 1 FROM up WHERE id = %(job)s)
"""


def refuse_to_close_cycle(job_id: str, parents: Sequence[str]) -> None:
    """Raises `DependencyCycle` where one of the new `parents` waits for the job already, directly or not."""
    for parent in _closing(job_id, parents):
        detail = f"the dependencies would form a cycle: {parent} waits for {job_id} already"
        raise DependencyCycle(detail, [Problem(detail="cycle", pointer="/add")])


def _closing(job_id: str, parents: Sequence[str]) -> list[str]:
    """The first of `parents` that descends from the job; one query where none does."""
    with connection.cursor() as cursor:

        def descends(some: Sequence[str]) -> bool:
            cursor.execute(_ANCESTORS, {"parents": list(some), "job": job_id})
            return bool(cursor.fetchone()[0])

        if not parents or not descends(parents):
            return []
        return [next(parent for parent in parents if descends([parent]))]


def parents_of(job_id: str) -> list[ParentResult]:
    """What the jobs that `job_id` depends on came to, in the order they were named."""
    rows = (
        Dependency.objects.filter(job_id=job_id)
        .order_by("position")
        .values_list("parent_id", "parent__tool", "parent__status", "parent__result")
    )
    return [ParentResult(id=i, tool=tool, status=status, result=result) for i, tool, status, result in rows]


def answers_of(job_id: str) -> dict[str, Reply]:
    """What was answered of what the job asked, by key."""
    rows = AskedQuestion.objects.filter(job_id=job_id).exclude(answered_at=None).values_list("key", "answer")
    return {key: Reply.model_validate(said) for key, said in rows}
