"""Who does the work: every worker, what it runs, how its host is; and drain."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dashboard.refresh import Facts, shared
from jobs import queries, steering, troubles, workers
from jobs.errors import NotFound
from jobs.models import Attempt, Worker
from jobs.roles import CONTROL
from jobs.sight import sight_of


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A worker as the page shows it. `state` is at work, idle, drained, silent or gone; `tone` the status it is coloured as."""

    worker: Worker
    state: str
    tone: str
    alive: bool
    runs: list[Attempt]
    shown: list[Attempt] = field(default_factory=list)

    @property
    def memory_share(self) -> float:
        return 100 * self.worker.memory_mb / self.worker.memory_total_mb if self.worker.memory_total_mb else 0.0


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    sight = sight_of(request.user)
    facts = _facts(request)
    # How much runs is told to everybody, what runs to those who may see it.
    seen = [replace(one, shown=[a for a in one.runs if sight.covers(a.job.project, a.job.tool)]) for one in facts["seen"]]
    standing = facts["standing"] if sight.projects is None else troubles.standing(sight.projects)
    return render(request, "dashboard/workers.html", facts | {"seen": seen, "standing": standing})


def _read() -> Facts:
    running: defaultdict[str, list[Attempt]] = defaultdict(list)
    for attempt in queries.holders():
        running[attempt.worker].append(attempt)
    now = timezone.now()
    seen = [_seen(worker, running[worker.name], alive=workers.is_alive(worker, now)) for worker in workers.lately()]
    seen.sort(key=lambda one: not one.alive)
    return {
        "seen": seen,
        "standing": troubles.standing(),
        "processes": sum(one.worker.slots for one in seen if one.alive and not one.worker.draining_at),
        "busy": sum(len(one.runs) for one in seen if one.alive),
    }


_facts = shared(_read)


def _seen(worker: Worker, runs: list[Attempt], *, alive: bool) -> Seen:
    if worker.stopped_at:
        state, tone = _("stopped"), "cancelled"
    elif not alive:
        state, tone = _("silent"), "failed"
    elif worker.draining_at:
        state, tone = (_("draining") if runs else _("drained")), "warn"
    else:
        state, tone = (_("at work"), "running") if runs else (_("idle"), "completed")
    return Seen(worker=worker, state=state, tone=tone, alive=alive, runs=runs)


@require_POST
@permission_required(CONTROL, raise_exception=True)
def drain(request: HttpRequest, name: str) -> HttpResponseRedirect:
    """Or take back, where the form says so."""
    verb = steering.undrain if request.POST.get("back") else steering.drain
    try:
        verb(name, by=request.user.get_username())
    except NotFound as error:
        raise Http404(str(error)) from None
    if verb is steering.drain:
        messages.success(request, _("%(name)s takes nothing new from its next beat on; what it runs goes on.") % {"name": name})
    else:
        messages.success(request, _("%(name)s takes jobs again.") % {"name": name})
    return redirect("workers")
