"""One action on many jobs: what it would do is shown first, then it is ordered as a job of its own."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from jobs import audit, lifecycle, roles
from jobs.builtin import bulk
from jobs.errors import Refused
from jobs.lifecycle import Submission
from jobs.search import Search, count, find, matching, read
from jobs.sight import sight_of
from jobs.states import Priority

SAMPLE = 8
# What the page calls them, and who may.
ACTIONS = {
    "retry": ("Retry", roles.CONTROL),
    "cancel": ("Cancel", roles.CONTROL),
    "priority": ("Change the priority of", roles.CONTROL),
    "delete": ("Delete", roles.ADMINISTER),
}


def page(request: HttpRequest) -> HttpResponse:
    """GET shows what would be done; POST orders it."""
    given = request.POST if request.method == "POST" else request.GET
    action = given.get("action", "")
    if action not in ACTIONS:
        messages.error(request, "Choose what is to be done.")
        return redirect("jobs")
    if not request.user.has_perm(ACTIONS[action][1]):
        raise PermissionDenied
    ids = [] if given.get("all") else [i for i in given.getlist("id") if "\x00" not in i][: bulk.MOST_CHOSEN]
    if not ids and not given.get("all"):
        messages.info(request, "No rows were selected.")
        return redirect("jobs")
    try:
        search = read(given.get("q", ""))
        if request.method == "POST":
            return _ordered(request, action, search, ids)
    except Refused as refused:
        messages.error(request, str(refused))
        return redirect("jobs")
    return render(request, "dashboard/bulk.html", _preview(request, action, search, ids))


def _preview(request: HttpRequest, action: str, search: Search, ids: list[str]) -> dict[str, Any]:
    seen, able = sight_of(request.user), bulk.eligible(search, action)
    if ids:
        pages = [ids[first : first + 100] for first in range(0, len(ids), 100)]
        found = [job for some in pages for job in matching(able, seen, some)]
        number, exact, sample, chosen = len(found), True, found[:SAMPLE], len(ids)
    else:
        number, exact = count(able, seen)
        sample, chosen = find(able, seen, size=SAMPLE).jobs, None
    return {
        "action": action,
        "words": ACTIONS[action][0],
        "search": search,
        "ids": ids,
        "number": number,
        "exact": exact,
        "chosen": chosen,
        "sample": sample,
        "statuses": bulk.CAN[action],
        "priorities": Priority.choices,
        "before": timezone.now().isoformat(),
    }


def _ordered(request: HttpRequest, action: str, search: Search, ids: list[str]) -> HttpResponse:
    seen, by = sight_of(request.user), request.user.get_username()
    expected = request.POST.get("expected", "0")
    params = bulk.signed(
        action=action,
        query=str(search),
        ids=ids,
        priority=_priority(request) if action == "priority" else None,
        before=parse_datetime(request.POST.get("before", "")) or timezone.now(),
        expected=min(int(expected), 10**9) if expected.isdecimal() else 0,
        by=by,
        projects=None if seen.projects is None else sorted(seen.projects),
    )
    job = lifecycle.submit(Submission(tool=bulk.NAME, params=params, priority=Priority.HIGH), by=by)
    noted = {name: params[name] for name in ("query", "ids", "priority", "expected") if params[name]}
    audit.note(f"bulk {action}", f"job {job.pk}", by=by, after=noted)
    return redirect("job", job_id=job.pk)


def _priority(request: HttpRequest) -> Priority:
    wanted = request.POST.get("priority", "")
    return Priority(wanted) if wanted in Priority.values else Priority.MEDIUM
