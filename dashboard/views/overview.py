"""The first page: what is wrong?"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs import queries
from jobs.states import Status


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    context = {
        "overview": queries.overview(),
        "running": queries.running(),
        "failed": queries.latest(Status.FAILED, 5),
        "completed": queries.latest(Status.COMPLETED, 5),
        "counts": queries.counts(),
    }
    return render(request, "dashboard/overview.html", context)
