"""The queue: what is in use and by whom, what is next and why not yet, limits and pauses, the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from dashboard.queue_forms import ConfigForm, GroupForm
from dashboard.refresh import Facts, shared
from jobs import configuration, queries, steering, tally, tools, trends, troubles, workers
from jobs.capacity import WINDOW, Advice, Rates, advise
from jobs.errors import Refused
from jobs.limits import GroupKind
from jobs.models import Attempt, GroupRule, QueueConfig
from jobs.roles import ADMINISTER, CONTROL
from jobs.sight import Sight, sight_of
from jobs.states import Operation
from jobs.why import Why, why_all

HOLDERS = 4
LINE = 15


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """One kind of room: how much is taken, of how much, and by which jobs most."""

    title: str
    unit: str
    used: float
    limit: float
    holders: list[tuple[Attempt, float]]

    def as_seen(self, sight: Sight) -> Gauge:
        """How much is taken is told to everybody, by whom to those who may see it."""
        return replace(self, holders=[held for held in self.holders if sight.covers(held[0].job.project, held[0].job.tool)])

    @property
    def share(self) -> float:
        return min(100.0, 100 * self.used / self.limit) if self.limit else 100.0 if self.used else 0.0


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    return _drawn(request)


def _drawn(request: HttpRequest, form: ConfigForm | None = None) -> HttpResponse:
    facts = _facts(request)
    first = ConfigForm(initial=ConfigForm.first(facts["config"]))
    sight = sight_of(request.user)
    context = facts | {
        "gauges": [gauge.as_seen(sight) for gauge in facts["gauges"]],
        "standing": facts["standing"] if sight.projects is None else troubles.standing(sight.projects),
        "advice": facts["advice"] if sight.is_whole else "",
        "rules": [rule for rule in facts["rules"] if _may_see(rule, sight)],
        "line": [one for one in facts["line"] if sight.covers(one[1].project, one[1].tool)],
        "names": [name for name in facts["names"] if sight.is_whole or sight.covers(name, "") or name not in facts["projects"]],
        "form": form or first,
        "group_form": GroupForm(),
    }
    return render(request, "dashboard/queue.html", context, status=422 if form is not None else 200)


def _may_see(rule: GroupRule, sight: Sight) -> bool:
    """Names of projects are told to those who may see them; keys are named by callers, after anything."""
    if rule.kind == GroupKind.PROJECT:
        return sight.projects is None or rule.name in sight.projects
    return rule.kind != GroupKind.KEY or sight.is_whole


def _read() -> Facts:
    config = configuration.row()
    next_jobs = queries.next_in_line(LINE)
    whys = why_all(next_jobs)
    standing = troubles.standing()
    projects = tally.by_each()["project"].keys()
    return {
        "config": config,
        "gauges": _gauges(config, queries.holders()),
        "line": [(place, job, _why(whys.get(job.pk))) for place, job in enumerate(next_jobs, 1)],
        "standing": standing,
        "advice": _said(advise(_rates(standing, config))),
        "rules": steering.every_rule(),
        "names": sorted({tool.name for tool in tools.every()} | set(Operation.values) | projects)[:500],
        "projects": projects,
    }


_facts = shared(_read)


def _why(why: Why | None) -> str:
    """Its place is a column of its own already."""
    return why.text.split("; it is ")[0].rstrip(".") if why else ""


def _gauges(config: QueueConfig, live: list[Attempt]) -> list[Gauge]:
    def gauge(title: str, unit: str, limit: float, of: Callable[[Attempt], float]) -> Gauge:
        most = sorted(((a, of(a)) for a in live if of(a)), key=lambda held: -held[1])[:HOLDERS]
        return Gauge(title=title, unit=unit, used=sum(map(of, live)), limit=limit, holders=most)

    return [
        gauge(_("Slots"), "", config.max_concurrent_jobs, lambda _attempt: 1),
        gauge(_("Memory"), "MB", config.max_memory_mb, lambda a: a.memory_mb),
        gauge(_("CPU weight"), "", config.max_cpu_weight, lambda a: a.cpu_weight),
        gauge(_("Disk"), "MB", config.max_disk_mb, lambda a: a.disk_mb),
    ]


def _rates(standing: troubles.Standing, config: QueueConfig) -> Rates:
    course = trends.course("hour")
    # The last minute is not over yet.
    points = slice(-1 - WINDOW // course.range.step, -1)
    busy = [value for value in course.queue["running"][points] if value is not None]
    ended = sum(sum(course.counts[kind][points]) for kind in ("completed", "failed", "retried"))
    here = [worker for worker in workers.alive() if worker.draining_at is None]
    return Rates(
        ready=standing.ready,
        arrived=sum(course.counts["submitted"][points]),
        ended=ended,
        seconds=course.range.step * len(busy),
        busy=sum(busy) / len(busy) if busy else 0.0,
        slots=config.max_concurrent_jobs,
        processes=sum(worker.slots for worker in here),
        workers=len(here),
    )


def _said(advice: Advice | None) -> str:
    """A sentence; "" where nothing honest can be said."""
    if advice is None:
        return ""
    now = _("As it goes, this is cleared by %(time)s.") % {"time": _clock(advice.seconds)} if advice.seconds else ""
    if advice.then is None:
        return now or _("More comes in than is done, and more slots alone would not change that soon.")
    what = {"worker": _("more workers"), "slot": _("more slots")}[advice.what]
    if advice.more == 1:
        what = {"worker": _("more worker"), "slot": _("more slot")}[advice.what]
    more = _("%(number)s %(what)s would clear it by %(time)s.") % {
        "number": str(advice.more),
        "what": what,
        "time": _clock(advice.then),
    }
    return f"{now or _('More comes in than is done.')} {more}"


def _clock(seconds: float) -> str:
    at: datetime = timezone.now() + timedelta(seconds=seconds)
    return f"{at:%H:%M} UTC" if seconds < 20 * 3600 else f"{at:%A %H:%M} UTC"


@require_POST
@permission_required(CONTROL, raise_exception=True)
def pause(request: HttpRequest) -> HttpResponseRedirect:
    def verb(form: GroupForm, by: str) -> GroupRule:
        return steering.pause(_kind(form), form.cleaned_data["name"], by=by, reason=form.cleaned_data["reason"])

    return _steered(request, verb, _("%(group)s: nothing starts any more until it is resumed. What runs goes on."))


@require_POST
@permission_required(CONTROL, raise_exception=True)
def resume(request: HttpRequest) -> HttpResponseRedirect:
    def verb(form: GroupForm, by: str) -> GroupRule:
        return steering.resume(_kind(form), form.cleaned_data["name"], by=by)

    return _steered(request, verb, _("%(group)s is resumed."))


@require_POST
@permission_required(ADMINISTER, raise_exception=True)
def limit(request: HttpRequest) -> HttpResponseRedirect:
    def verb(form: GroupForm, by: str) -> GroupRule:
        given = form.cleaned_data
        numbers = {"max_running": given["max_running"], "per_minute": given["per_minute"]}
        return steering.limit(_kind(form), given["name"], **numbers, by=by)

    return _steered(request, verb, _("The limits of %(group)s hold from now on."))


def _kind(form: GroupForm) -> GroupKind:
    return GroupKind(form.cleaned_data["kind"])


def _steered(request: HttpRequest, verb: Callable[[GroupForm, str], GroupRule], said: str) -> HttpResponseRedirect:
    form = GroupForm(request.POST)
    try:
        if form.is_valid():
            messages.success(request, said % {"group": str(verb(form, request.user.get_username()))})
        else:
            messages.error(request, form.said)
    except Refused as error:
        messages.error(request, str(error))
    return redirect("queue")


@require_POST
@permission_required(ADMINISTER, raise_exception=True)
def configure(request: HttpRequest) -> HttpResponse:
    form = ConfigForm(request.POST)
    if form.is_valid():
        try:
            steering.configure(form.changes(), version=form.cleaned_data["version"], by=request.user.get_username())
        except Refused as error:
            form.refuse(error)
        else:
            messages.success(request, _("The configuration is changed, and holds from now on."))
            return redirect("queue")
    return _drawn(request, form)
