"""The list of jobs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from jobs import queries, tools
from jobs.errors import Refused
from jobs.sight import sight_of
from jobs.states import Status

FILTERS = ("status", "tool", "batch", "project", "search")
PAGE = 50


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    seen = sight_of(request.user)
    wanted: dict[str, Any] = {name: request.GET.get(name, "") for name in FILTERS}
    try:
        found = queries.page(**wanted, cursor=request.GET.get("cursor", ""), size=PAGE, sight=seen)
    except Refused as error:
        messages.error(request, str(error))
        found = queries.page(sight=seen)
        wanted = dict.fromkeys(FILTERS, "")
    chosen = {name: value for name, value in wanted.items() if value}
    older = f"?{urlencode(chosen | {'cursor': found.next_cursor})}" if found.next_cursor else ""
    context: dict[str, Any] = {
        "jobs": found.jobs,
        "chosen": chosen,
        "older": older,
        "first_page": not request.GET.get("cursor"),
        "statuses": Status.choices,
        "tools": tools.every(),
    }
    return render(request, "dashboard/jobs.html", context)


@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """Rows for jobs that appeared while the list was open."""
    found = queries.rows(request.GET.get("ids", "").split(","), sight_of(request.user))
    return render(request, "dashboard/parts/rows.html", {"jobs": found})
