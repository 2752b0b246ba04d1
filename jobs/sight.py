"""Who may see which jobs: the one place that says so, for every door."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet

from jobs.errors import NotFound
from jobs.models import Job, ProjectAccess
from jobs.payloads import clean_text

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The projects and the tools whose jobs somebody sees; None is every one, also jobs of no project."""

    projects: frozenset[str] | None = None
    tools: frozenset[str] | None = None

    @property
    def is_whole(self) -> bool:
        return self.projects is None and self.tools is None

    def covers(self, project: str, tool: str) -> bool:
        return (self.projects is None or project in self.projects) and self.covers_tool(tool)

    def covers_tool(self, tool: str) -> bool:
        return self.tools is None or tool in self.tools

    def of(self, rows: QuerySet[Job]) -> QuerySet[Job]:
        """Those of `rows` that may be seen."""
        if self.projects is not None:
            rows = rows.filter(project__in=self.projects)
        return rows if self.tools is None else rows.filter(tool__in=self.tools)

    def narrowed(self, projects: Collection[str] | None = None, tools: Collection[str] | None = None) -> Sight:
        """What this sight and these projects and tools (None: all) have in common."""
        return Sight(projects=_both(self.projects, projects), tools=_both(self.tools, tools))


def _both(had: frozenset[str] | None, given: Collection[str] | None) -> frozenset[str] | None:
    if given is None:
        return had
    return frozenset(given) if had is None else had & frozenset(given)


EVERYTHING = Sight()


def sight_of(user: AbstractBaseUser | AnonymousUser) -> Sight:
    """One query. Whoever is given a project, by name or by group, sees these projects only; superusers see everything."""
    if user.pk is None:
        return Sight(projects=frozenset())
    return EVERYTHING if getattr(user, "is_superuser", False) else sights_of([user.pk])[user.pk]


def sights_of(users: Iterable[int]) -> dict[int, Sight]:
    """The same for many users who are no superusers, in one query."""
    wanted = set(users)
    named: dict[int, set[str]] = {}
    rows = ProjectAccess.objects.filter(Q(user__in=wanted) | Q(group__user__in=wanted))
    for user, member, project in rows.values_list("user_id", "group__user", "project"):
        named.setdefault(user or member, set()).add(project)
    return {user: Sight(projects=frozenset(named[user])) if user in named else EVERYTHING for user in wanted}


def find(job_id: str, sight: Sight) -> Job:
    """Raises `NotFound`, in the same words for a job that is not there and for one that may not be seen."""
    job = None if "\x00" in job_id else sight.of(Job.objects.filter(pk=job_id)).first()
    if job is None:
        raise unseen(job_id)
    return job


def refuse_unseen(job_id: str, sight: Sight) -> None:
    """Before a verb: raises `NotFound`. Who sees everything is asked nothing, the verb itself knows what there is."""
    if not sight.is_whole and not sight.of(Job.objects.filter(pk=job_id)).exists():
        raise unseen(job_id)


def unseen(job_id: str) -> NotFound:
    return NotFound(f"there is no job {clean_text(job_id, 64)!r}")
