"""A batch or a project as a whole: its graph, how far it is, who ran what when; cancelled, or its failed part retried."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from dashboard.drawing import gantt
from jobs import audit, groups, roles, workflow
from jobs.errors import NotFound
from jobs.groups import Kind
from jobs.sight import sight_of
from jobs.states import FINAL


def _kind(kind: str) -> Kind:
    if kind not in get_args(Kind):
        raise Http404(kind)
    return "batch" if kind == "batch" else "project"


def _name(given: QueryDict) -> str:
    """In the query, not the path: a batch may be called anything."""
    return given.get("name", "").replace("\x00", "")


@require_safe
def page(request: HttpRequest, kind: str) -> HttpResponse:
    seen, now, of, name = sight_of(request.user), timezone.now(), _kind(kind), _name(request.GET)
    try:
        whole = groups.outline(of, name, seen)
    except NotFound as missing:
        raise Http404(str(missing)) from None
    graph = workflow.read(of, name, seen, now)
    context = {
        "kind": kind,
        "name": name,
        "whole": whole,
        "graph": graph,
        "drawn": _drawn(graph),
        "critical_seconds": sum(task.seconds for task in graph.tasks if task.id in set(graph.critical)),
        "gantt": gantt(workflow.runs(graph.tasks), now),
        "may_cancel": any(whole.by_status[status] for status in whole.by_status if status not in FINAL),
        "may_retry": whole.by_status["failed"],
    }
    return render(request, "dashboard/workflow.html", context)


def _drawn(graph: workflow.Workflow) -> dict[str, Any]:
    """What the page lays out: jobs while they are not too many, else their stages (a tool on a level) with counts."""
    stage = {task.id: f"{task.level}:{task.tool}" for task in graph.tasks}
    jobs = [{"id": t.id, "tool": t.tool, "status": t.status, "stage": stage[t.id], "v": [t.version, t.tick]} for t in graph.tasks]
    links = Counter((stage[parent], stage[child]) for parent, child in graph.edges)
    return {
        "jobs": jobs,
        "edges": graph.edges if len(jobs) <= workflow.MOST_DRAWN else [],
        "stageEdges": [[a, b, n] for (a, b), n in links.items()],
        "critical": graph.critical,
        "folded": len(jobs) > workflow.MOST_DRAWN,
        "mayUnfold": len(jobs) <= workflow.MOST_DRAWN,
    }


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def cancel(request: HttpRequest, kind: str) -> HttpResponseRedirect:
    return _all(request, kind, "cancel")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def retry(request: HttpRequest, kind: str) -> HttpResponseRedirect:
    return _all(request, kind, "retry")


def _all(request: HttpRequest, kind: str, action: str) -> HttpResponseRedirect:
    verb, by = {"cancel": groups.cancel, "retry": groups.retry_failed}[action], request.user.get_username()
    name = _name(request.POST)
    try:
        number = verb(_kind(kind), name, sight_of(request.user), by=by)
    except NotFound as missing:
        raise Http404(str(missing)) from None
    audit.note(f"{action} {kind}", f"{kind} {name}", by=by, after={"jobs": number})
    messages.success(request, f"{number} jobs are {'cancelled or asked to stop' if action == 'cancel' else 'pending again'}.")
    return HttpResponseRedirect(f"{reverse('workflow', args=[kind])}?{urlencode({'name': name})}")
