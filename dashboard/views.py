"""The pages. Each reads by jobs.queries, acts by a verb of jobs.lifecycle, and works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from dashboard.forms import SubmitForm, example_params
from jobs import lifecycle, queries, tools
from jobs.errors import NotFound, Refused
from jobs.lifecycle import Submission
from jobs.models import Job
from jobs.states import FINAL, Gate, Status

FILTERS = ("status", "tool", "batch", "project", "search")
PAGE = 50


@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    context = {
        "overview": queries.overview(),
        "running": queries.running(),
        "failed": queries.latest(Status.FAILED, 5),
        "completed": queries.latest(Status.COMPLETED, 5),
        "counts": queries.counts(),
    }
    return render(request, "dashboard/overview.html", context)


@require_safe
def jobs(request: HttpRequest) -> HttpResponse:
    wanted = {name: request.GET.get(name, "") for name in FILTERS}
    try:
        page = queries.page(**wanted, cursor=request.GET.get("cursor", ""), size=PAGE)
    except Refused as error:
        messages.error(request, str(error))
        page = queries.page()
        wanted = dict.fromkeys(FILTERS, "")
    chosen = {name: value for name, value in wanted.items() if value}
    older = f"?{urlencode(chosen | {'cursor': page.next_cursor})}" if page.next_cursor else ""
    context: dict[str, Any] = {
        "jobs": page.jobs,
        "chosen": chosen,
        "older": older,
        "first_page": not request.GET.get("cursor"),
        "counts": queries.counts(),
        "statuses": Status.choices,
        "tools": tools.every(),
    }
    return render(request, "dashboard/jobs.html", context)


@require_safe
def rows(request: HttpRequest) -> HttpResponse:
    """Rows for jobs that appeared while the list was open."""
    found = queries.rows(request.GET.get("ids", "").split(","))
    return render(request, "dashboard/parts/rows.html", {"jobs": found})


def _found(job_id: str) -> Job:
    try:
        return queries.find(job_id)
    except NotFound as error:
        raise Http404(str(error)) from None


def _job_context(job: Job) -> dict[str, Any]:
    attempts = queries.attempts_of(job.pk)
    return {
        "job": job,
        "why": queries.why_pending(job),
        "events": queries.events_of(job.pk),
        "attempts": attempts,
        "last_error": next((a for a in reversed(attempts) if a.error_class), None) if job.status == Status.FAILED else None,
        "parents": queries.parents_of(job.pk),
        "children": queries.children_of(job.pk),
        "metrics": getattr(job, "metrics", None),
        "may_cancel": job.status not in FINAL and job.cancel_requested_at is None,
        "may_retry": job.status in {Status.FAILED, Status.CANCELLED},
        "may_pause": job.status == Status.PENDING and job.gate != Gate.PAUSED,
        "may_resume": job.status == Status.PENDING and job.gate == Gate.PAUSED,
    }


@require_safe
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    return render(request, "dashboard/job.html", _job_context(_found(job_id)) | {"counts": queries.counts()})


@require_safe
def job_parts(request: HttpRequest, job_id: str) -> HttpResponse:
    """What changes on a job's page with every move, for the page to put in place."""
    return render(request, "dashboard/parts/job_body.html", _job_context(_found(job_id)))


@require_safe
def job_result(request: HttpRequest, job_id: str) -> JsonResponse:
    found = _found(job_id)
    return JsonResponse({"id": found.pk, "params": found.params, "result": found.result}, json_dumps_params={"indent": 2})


@require_POST
@permission_required("jobs.control_job", raise_exception=True)
def job_cancel(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    try:
        done = lifecycle.cancel(job_id, by=request.user.get_username())
    except NotFound as error:
        raise Http404(str(error)) from None
    said = {Status.CANCELLED: "The job is cancelled.", Status.RUNNING: "The job was asked to stop."}
    messages.info(request, said.get(Status(done.status), f"The job is {done.status} already; nothing was changed."))
    return redirect("job", job_id=job_id)


def _steered(request: HttpRequest, job_id: str, verb: Callable[..., Job], said: str) -> HttpResponseRedirect:
    try:
        verb(job_id, by=request.user.get_username())
        messages.success(request, said)
    except NotFound as error:
        raise Http404(str(error)) from None
    except Refused as error:
        messages.error(request, str(error))
    return redirect("job", job_id=job_id)


@require_POST
@permission_required("jobs.control_job", raise_exception=True)
def job_retry(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.retry, "The job is pending again.")


@require_POST
@permission_required("jobs.control_job", raise_exception=True)
def job_pause(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.pause, "The job is held back until it is resumed.")


@require_POST
@permission_required("jobs.control_job", raise_exception=True)
def job_resume(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.resume, "The job is back in line.")


@permission_required("jobs.submit_job", raise_exception=True)
def submit(request: HttpRequest) -> HttpResponse:
    known = {tool.name: tool for tool in tools.every()}
    name = request.POST.get("tool") or request.GET.get("tool") or ("codemap" if "codemap" in known else next(iter(known), ""))
    tool = known.get(name)
    first = {"params": example_params(tool) if tool else "{}"}
    form = SubmitForm(request.POST if request.method == "POST" else None, initial=first)
    if request.method == "POST" and form.is_valid():
        wanted = Submission(tool=name, params=form.cleaned_data["params"], priority=form.cleaned_data["priority"])
        try:
            made = lifecycle.submit(wanted, by=request.user.get_username())
        except Refused as error:
            for text in [f"{p.pointer.removeprefix('/params')} {p.detail}".strip() for p in error.problems] or [str(error)]:
                form.add_error("params", text)
        else:
            return redirect("job", job_id=made.pk)
    fields = tool.params.model_json_schema().get("properties", {}) if tool else {}
    context = {"form": form, "tool": tool, "tools": known.values(), "fields": fields, "counts": queries.counts()}
    return render(request, "dashboard/submit.html", context, status=422 if form.errors else 200)
