"""What a caller with a narrowed sight may hand in: its own tools and projects, and no dependency on what it does not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from jobs import catalog
from jobs.api.auth import Caller
from jobs.api.problems import Forbidden
from jobs.errors import Problem, UnknownDependency, UnknownTool
from jobs.lifecycle import Submission
from jobs.models import Job


def refuse_beyond(caller: Caller, submissions: Sequence[Submission]) -> None:
    """Raises `UnknownTool`, `Forbidden` or `UnknownDependency`, as if what is out of sight did not exist."""
    if caller.sight.is_whole:
        return
    for place, wanted in enumerate(submissions):
        if not caller.sight.covers_tool(wanted.tool):
            known = ", ".join(tool.name for tool in catalog.every() if caller.sight.covers_tool(tool.name)) or "none"
            detail = f"there is no tool {wanted.tool!r}; there are: {known}"
            raise UnknownTool(detail, [Problem(detail="unknown tool", pointer="/toolName")], place=place)
        if not caller.sight.covers(wanted.project, wanted.tool):
            names = ", ".join(sorted(caller.sight.projects or ())) or "none"
            detail = f"{caller.name} may hand in jobs for these projects only: {names}"
            raise Forbidden(detail, [Problem(detail=detail, pointer="/projectId")], place=place)
    refuse_unseen_parents(caller, {parent for wanted in submissions for parent in wanted.depends_on})


def refuse_unseen_parents(caller: Caller, parents: Iterable[str], *, pointer: str = "/dependencies") -> None:
    named = {parent for parent in parents if "\x00" not in parent}
    if caller.sight.is_whole or not named:
        return
    there = set(Job.objects.filter(pk__in=named).values_list("pk", flat=True))
    seen = set(caller.sight.of(Job.objects.filter(pk__in=named)).values_list("pk", flat=True))
    if hidden := sorted(there - seen):
        detail = f"these dependencies do not exist: {', '.join(hidden[:5])}"
        raise UnknownDependency(detail, [Problem(detail="unknown job", pointer=pointer)])
