"""The form that submits a job for any registered tool; and one that begins with the params of a job there was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dashboard.forms import SubmitForm, example_params
from jobs import audit, lifecycle, roles, sight, tools
from jobs.builtin import bulk
from jobs.errors import NotFound, Refused
from jobs.lifecycle import Submission
from jobs.models import Job
from jobs.states import Status
from jobs.submission import copy_of


@permission_required(roles.SUBMIT, raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
    source = _source(request)
    # What the page orders itself is signed there, and cannot be written by hand.
    known = {tool.name: tool for tool in tools.every() if tool.name != bulk.NAME}
    asked = source.tool if source else request.POST.get("tool") or request.GET.get("tool")
    name = asked or ("codemap" if "codemap" in known else next(iter(known), ""))
    tool = known.get(name)
    may_retry = source is not None and source.status in {Status.FAILED, Status.CANCELLED} and request.user.has_perm(roles.CONTROL)
    form = SubmitForm(request.POST if request.method == "POST" else None, initial=_first(source, tool))
    if request.method == "POST" and form.is_valid():
        try:
            again = may_retry and request.POST.get("how") == "retry"
            made = _retried(request, source, form) if again and source else _submitted(request, source, name, form)
        except Refused as error:
            for text in [f"{p.pointer.removeprefix('/params')} {p.detail}".strip() for p in error.problems] or [str(error)]:
                form.add_error("params", text)
        else:
            return redirect("job", job_id=made.pk)
    fields = tool.params.model_json_schema().get("properties", {}) if tool else {}
    context = {"form": form, "tool": tool, "tools": known.values(), "fields": fields, "source": source, "may_retry": may_retry}
    return render(request, "dashboard/submit.html", context, status=422 if form.errors else 200)


def _source(request: HttpRequest) -> Job | None:
    """The job whose params and conditions the form begins with."""
    job_id = request.POST.get("from") or request.GET.get("from")
    try:
        return sight.find(job_id, sight.sight_of(request.user)) if job_id else None
    except NotFound as missing:
        raise Http404(str(missing)) from None


def _first(source: Job | None, tool: tools.Tool | None) -> dict[str, Any]:
    if source is not None:
        return {"params": json.dumps(source.params, indent=2, ensure_ascii=False), "priority": source.priority}
    return {"params": example_params(tool) if tool else "{}"}


def _submitted(request: HttpRequest, source: Job | None, name: str, form: SubmitForm) -> Job:
    """A new job; one like another keeps all conditions of that one but what the form says."""
    given = {"params": form.cleaned_data["params"], "priority": form.cleaned_data["priority"]}
    wanted = replace(copy_of(source), **given) if source else Submission(tool=name, **given)
    by = request.user.get_username()
    job = lifecycle.submit(wanted, by=by)
    audit.note("submit", f"job {job.pk}", by=by, after={"tool": name} | ({"from": source.pk} if source else {}))
    return job


def _retried(request: HttpRequest, source: Job, form: SubmitForm) -> Job:
    by = request.user.get_username()
    return audit.act("retry", lifecycle.retry, source.pk, by=by, params=form.cleaned_data["params"])
