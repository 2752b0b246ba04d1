"""How tools, operations and projects did over a time, beside the time before."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from jobs import periods, statistics
from jobs.periods import PERIODS
from jobs.sight import sight_of

KINDS = {"tool": _("Tool"), "operation": _("Operation"), "project": _("Project")}
TITLES = {"hour": _("Hour"), "day": _("Day"), "week": _("7 days"), "month": _("30 days")}
# So many are named as slowest, and as most wasteful.
NAMED = 5


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    kind, period = request.GET.get("by", "tool"), request.GET.get("period", "day")
    sight = sight_of(request.user)
    # Figures are kept by project, and by tool and operation over all projects: who sees some projects is shown those.
    kinds = KINDS if sight.is_whole else {"project": KINDS["project"]}
    kind = kind if kind in kinds else next(iter(kinds))
    period = period if period in PERIODS else "day"
    groups = periods.compared(kind, period, sight.projects)
    everything = periods.compared("all", period, sight.projects)
    slow = sorted((g for g in groups if g.now.run[90]), key=lambda g: -(g.now.run[90] or 0))
    wasteful = sorted((g for g in groups if g.now.wasted), key=lambda g: -g.now.wasted)
    context = {
        "groups": groups,
        "all": everything[0] if everything else None,
        "kind": kind,
        "kinds": kinds.items(),
        "kind_title": KINDS[kind],
        "period": period,
        "periods": TITLES.items(),
        "slowest": slow[:NAMED],
        "wasteful": wasteful[:NAMED],
        "refused": statistics.refused_writes(sight),
    }
    return render(request, "dashboard/statistics.html", context)
