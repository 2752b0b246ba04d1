"""The list of jobs: searched, filtered, live; and what goes on from it: saved views, exports."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from dashboard import facets
from jobs import queries, views_kept
from jobs.errors import Refused
from jobs.search import BadSearch, Found, Search, find, matching, read, suggest
from jobs.sight import Sight, sight_of
from jobs.submission import ID

PAGE = 50
# Links from other pages name these plainly.
PLAIN = ("status", "tool", "batch", "project", "operation", "priority", "worker", "error")


def asked(request: HttpRequest) -> Search:
    """The search of the address: `q`, and what a link names plainly. Raises `BadSearch`."""
    search = read(request.GET.get("q", ""))
    for key in PLAIN:
        if value := request.GET.get(key, "").replace("\x00", ""):
            search = read(str(search.but(key, value)))
    return search


def address(search: Search, **more: str) -> str:
    """The list that answers this search."""
    query = urlencode({name: value for name, value in {"q": str(search), **more}.items() if value})
    return reverse("jobs") + (f"?{query}" if query else "")


@require_safe
def page(request: HttpRequest) -> HttpResponse:
    seen = sight_of(request.user)
    fault: Refused | None = None
    try:
        search = asked(request)
        found = find(search, seen, cursor=request.GET.get("cursor", ""), size=PAGE)
    except Refused as refused:
        search, found, fault = Search(), Found(jobs=[], next_cursor=""), refused
    text = request.GET.get("q", "") if isinstance(fault, BadSearch) else str(search)
    if not found.jobs and not fault and (job_id := _only_a_job(search, seen)):
        return redirect("job", job_id=job_id)
    context: dict[str, Any] = {
        "jobs": found.jobs,
        "search": search,
        "text": text,
        "fault": fault,
        "marked": _marked(text, fault) if isinstance(fault, BadSearch) else (),
        "chips": [(str(term), address(search.without(term))) for term in search.terms],
        "older": address(search, cursor=found.next_cursor) if found.next_cursor else "",
        "looked_back_to": found.looked_back_to,
        "first_page": not request.GET.get("cursor") and not fault,
        "facets": facets.of(search, seen, address),
        "views": views_kept.of(request.user),
        "chosen": {"status": search.value("status")} if search.value("status") else {},
    }
    return render(request, "dashboard/jobs.html", context, status=422 if fault else 200)


def _only_a_job(search: Search, seen: Sight) -> str:
    """Somebody pasted an id: that job may be far back, and is found at once."""
    text = search.terms[0].values[0] if len(search.terms) == 1 and not search.terms[0].key else ""
    return text if ID.fullmatch(text) and queries.rows([text], seen) else ""


def _marked(text: str, fault: BadSearch) -> tuple[str, str, str]:
    return text[: fault.start], text[fault.start : fault.end], text[fault.end :]


@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """Of these jobs the rows that belong to the list: what came or changed while it was open."""
    ids = request.GET.get("ids", "").split(",")
    try:
        found = matching(asked(request), sight_of(request.user), ids)
    except BadSearch:
        found = []
    return render(request, "dashboard/parts/rows.html", {"jobs": found, "selectable": "q" in request.GET})


@require_safe
def complete(request: HttpRequest) -> JsonResponse:
    """What may come next in the search box."""
    made = suggest(request.GET.get("q", "")[:500], sight_of(request.user))
    return JsonResponse({"suggestions": [vars(one) for one in made]})


@require_POST
def keep_view(request: HttpRequest) -> HttpResponseRedirect:
    """Save the search under a name, for this person; an empty name or a bad search saves nothing."""
    try:
        search = read(request.POST.get("q", ""))
    except BadSearch:
        return redirect("jobs")
    views_kept.keep(request.user, request.POST.get("name", ""), str(search))
    return HttpResponseRedirect(address(search))


@require_POST
def drop_view(request: HttpRequest, view_id: int) -> HttpResponseRedirect:
    views_kept.drop(request.user, view_id)
    return redirect("jobs")
