"""What a job builds on: the jobs it waits for, checked before they are written, and the answers it was given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from jobs.errors import DependencyCycle, DuplicateId, Problem, UnknownDependency
from jobs.models import AskedQuestion, Dependency
from jobs.payloads import clean_text
from jobs.questions import Reply
from jobs.tools import ParentResult


def refuse_cycles(wanted: Mapping[str, Sequence[str]]) -> None:
    """Jobs that exist cannot depend on new ones, so a cycle can only lie among the new. Raises `DependencyCycle`."""
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


def refuse_unknown(wanted: Iterable[str], known: Iterable[str]) -> None:
    """Raises `UnknownDependency` naming up to five jobs that do not exist."""
    missing = sorted(set(wanted) - set(known))
    if missing:
        names = ", ".join(clean_text(name, 64) for name in missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UnknownDependency(
            f"these dependencies do not exist: {names}",
            [Problem(detail="unknown job", pointer="/dependencies")],
        )


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
