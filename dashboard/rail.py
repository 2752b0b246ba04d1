"""What the rail of every page shows: the places, the counts of jobs, and how much failed lately."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from jobs import queries, roles, trends
from jobs.sight import Sight, sight_of


@dataclass(frozen=True, kw_only=True)
class Place:
    """One entry. `key` is pressed after `g`; who lacks `permission`, or sees some projects only where it is `whole`, finds none."""

    name: str
    title: str | Promise
    key: str = ""
    permission: str = ""
    whole: bool = False

    @property
    def address(self) -> str:
        return reverse(self.name if self.name != "admin" else "admin:index")


PLACES = (
    Place(name="overview", title=_("Overview"), key="o"),
    Place(name="jobs", title=_("Jobs"), key="j"),
    Place(name="queue", title=_("Queue"), key="q"),
    Place(name="errors", title=_("Errors"), key="e"),
    Place(name="statistics", title=_("Statistics"), key="s"),
    Place(name="workers", title=_("Workers"), key="w"),
    Place(name="tokens", title=_("Tokens"), key="t", permission=roles.ADMINISTER, whole=True),
    Place(name="audit", title=_("Audit"), key="a", permission=roles.AUDIT),
)


ADMIN = Place(name="admin", title=_("Admin"))


class Rail:
    """Asks nothing before a template does."""

    def __init__(self, user: User | AnonymousUser) -> None:
        self._user = user

    @cached_property
    def places(self) -> list[Place]:
        found = [place for place in PLACES if not place.permission or self._user.has_perm(place.permission)]
        found = [place for place in found if not place.whole or self._sight.is_whole]
        return [*found, ADMIN] if self._user.is_staff else found

    @cached_property
    def counts(self) -> dict[str, int]:
        # They are of all jobs: who sees some projects only is told none.
        return queries.counts() if self._sight.is_whole else {}

    @cached_property
    def failures(self) -> int:
        return trends.failed_lately(self._sight.projects)

    @cached_property
    def _sight(self) -> Sight:
        return sight_of(self._user)


def rail(request: HttpRequest) -> dict[str, Rail]:
    """A context processor. Who is not signed in has no rail."""
    user = getattr(request, "user", None)
    return {"rail": Rail(user)} if user is not None and user.is_authenticated else {}
