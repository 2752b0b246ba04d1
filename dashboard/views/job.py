"""One job: its page, and what may be done to it there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from dashboard import drawing
from dashboard.schema_form import SchemaForm
from jobs import audit, lifecycle, queries, roles, sealing, sight, timeline
from jobs.errors import IllegalMove, NotFound, Refused
from jobs.limits_form import LimitsForm
from jobs.models import Attempt, Job
from jobs.states import FINAL, Gate, Status


def _found(request: HttpRequest, job_id: str) -> Job:
    try:
        return sight.find(job_id, sight.sight_of(request.user))
    except NotFound as error:
        raise Http404(str(error)) from None


def _context(request: HttpRequest, job: Job) -> dict[str, Any]:
    """Everything the page shows, in a fixed number of queries."""
    seen = sight.sight_of(request.user)
    attempts, events, now = queries.attempts_of(job.pk), queries.events_of(job.pk), timezone.now()
    parents, met_at = queries.parents_of(job.pk), queries.met_at(job.pk)
    path = timeline.stretches(job, attempts, events, met_at)
    return {
        "job": job,
        "may": (may := _may(request, job)),
        "limits": LimitsForm.of(job) if may["control"] and job.status == Status.PENDING else None,
        "why": (why := queries.why_pending(job)) and why.as_seen(seen),
        "questions": [(asked, SchemaForm(asked.schema, prefix=str(asked.pk))) for asked in queries.open_questions(job)],
        "events": events,
        "pieces": drawing.state_path(path, now),
        "bars": drawing.attempt_bars(job, attempts, now),
        **_measured(job, attempts),
        "graph": drawing.neighbours(
            job, [p for p in parents if seen.covers(p.project, p.tool)], queries.children_of(job.pk, sight=seen)
        ),
        "last_error": next((a for a in reversed(attempts) if a.error_class), None) if job.status == Status.FAILED else None,
        "metrics": getattr(job, "metrics", None),
        "audit": audit.of(f"job {job.pk}") if request.user.has_perm(roles.AUDIT) else [],
    }


def _may(request: HttpRequest, job: Job) -> dict[str, bool]:
    """The actions that are legal now and allowed to this person."""
    return {
        "control": request.user.has_perm(roles.CONTROL),
        "submit": request.user.has_perm(roles.SUBMIT),
        "cancel": job.status not in FINAL and job.cancel_requested_at is None,
        "retry": job.status in {Status.FAILED, Status.CANCELLED},
        "pause": job.status == Status.PENDING and job.gate not in {Gate.PAUSED, Gate.QUARANTINED},
        "release": job.status == Status.PENDING and job.gate == Gate.QUARANTINED,
        "resume": job.status == Status.PENDING and job.gate == Gate.PAUSED,
    }


def _measured(job: Job, attempts: list[Attempt]) -> dict[str, drawing.Line | None]:
    samples: list[list[float]] = next((attempt.samples for attempt in reversed(attempts) if attempt.samples), [])
    return {"memory": drawing.measured(samples, 1, job.memory_mb), "cpu": drawing.measured(samples, 2, job.cpu_weight * 100)}


@require_safe
def page(request: HttpRequest, job_id: str) -> HttpResponse:
    return render(request, "dashboard/job.html", _context(request, _found(request, job_id)))


@require_safe
def parts(request: HttpRequest, job_id: str) -> HttpResponse:
    """What changes on a job's page with every move, for the page to put in place."""
    return render(request, "dashboard/parts/job_body.html", _context(request, _found(request, job_id)))


@require_safe
def result(request: HttpRequest, job_id: str) -> JsonResponse:
    found = _found(request, job_id)
    shown = {"id": found.pk, "params": sealing.covered(found.params), "result": found.result}
    return JsonResponse(shown, json_dumps_params={"indent": 2})


@require_safe
def log(request: HttpRequest, job_id: str) -> HttpResponse:
    """The diagnostics as a text file."""
    found = _found(request, job_id)
    lines = "".join(f"{line}\n" for line in found.diagnostics)
    headers = {"Content-Disposition": f'attachment; filename="{found.pk}.log"'}
    return HttpResponse(lines, content_type="text/plain; charset=utf-8", headers=headers)


def _steered(request: HttpRequest, job_id: str, verb: Callable[..., Job], said: Callable[[Job], str]) -> HttpResponseRedirect:
    """One verb, noted in the audit log; what came of it is said on the page that follows."""
    _found(request, job_id)
    try:
        job = audit.act(verb.__name__, verb, job_id, by=request.user.get_username())
        messages.info(request, said(job))
    except NotFound as error:
        raise Http404(str(error)) from None
    except Refused as error:
        messages.error(request, str(error))
    return redirect("job", job_id=job_id)


def _cancelled(job: Job) -> str:
    said = {Status.CANCELLED: "The job is cancelled.", Status.RUNNING: "The job was asked to stop."}
    return said.get(Status(job.status), f"The job is {job.status} already; nothing was changed.")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def cancel(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.cancel, _cancelled)


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def retry(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.retry, lambda _: "The job is pending again.")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def pause(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.pause, lambda _: "The job is held back until it is resumed.")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def resume(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.resume, lambda _: "The job is back in line.")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def release(request: HttpRequest, job_id: str) -> HttpResponseRedirect:
    return _steered(request, job_id, lifecycle.release, lambda _: "The job is released and back in line.")


@require_POST
@permission_required(roles.CONTROL, raise_exception=True)
def change(request: HttpRequest, job_id: str) -> HttpResponse:
    """Other limits for a job that waits. What cannot be is told at its field, and nothing is changed."""
    job = _found(request, job_id)
    form = LimitsForm.of(job, request.POST)
    try:
        if form.is_valid():
            now = audit.act("change", lifecycle.change, job_id, by=request.user.get_username(), wanted=form.as_change())
            messages.success(request, "Its limits are changed." if now.version > job.version else "Nothing was different.")
            return redirect("job", job_id=job_id)
    except IllegalMove as refused:
        messages.error(request, str(refused))
        return redirect("job", job_id=job_id)
    except NotFound as error:
        raise Http404(str(error)) from None
    except Refused as refused:
        form.refuse(refused)
    return render(request, "dashboard/job.html", _context(request, job) | {"limits": form}, status=422)


@require_POST
@permission_required(roles.SUBMIT, raise_exception=True)
def answer(request: HttpRequest, job_id: str) -> HttpResponse:
    """What the job asked is answered, or nobody wants to say. What does not fit is told at its field."""
    job = _found(request, job_id)
    question = next((q for q in queries.open_questions(job) if q.key == request.POST.get("key")), None)
    if question is None:
        messages.info(request, "That was answered before.")
        return redirect("job", job_id=job_id)
    form, declined = SchemaForm(question.schema, request.POST, prefix=str(question.pk)), bool(request.POST.get("decline"))
    try:
        if declined or form.is_valid():
            reply = {"action": "decline"} if declined else {"action": "accept", "content": form.values}
            by = request.user.get_username()
            lifecycle.answer(job_id, {question.key: reply}, by=by)
            audit.note("answer", f"job {job_id}", by=by, after={"question": question.key, "declined": declined})
            return redirect("job", job_id=job_id)
    except Refused as refused:
        form.add_error(None, str(refused))
    context = _context(request, job)
    context["questions"] = [(asked, form if asked == question else empty) for asked, empty in context["questions"]]
    return render(request, "dashboard/job.html", context, status=422)
