"""The form that submits a job for any registered tool; and one that begins with the params of a job there was."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dashboard.forms import ParamsForm, SubmitForm, example_params
from dashboard.schema_form import SchemaForm, can_draw
from jobs import audit, lifecycle, roles, sight, tools
from jobs.builtin import bulk
from jobs.errors import NotFound, Refused
from jobs.lifecycle import Submission
from jobs.models import Job
from jobs.payloads import Json
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
    posted = request.POST if request.method == "POST" else None
    form = SubmitForm(posted, initial={"priority": source.priority} if source else None)
    params = _params(request, source, tool)
    if posted is not None and form.is_valid() and params.is_valid():
        wanted = Wanted(params=params.values, priority=form.cleaned_data["priority"])
        try:
            again = may_retry and posted.get("how") == "retry"
            made = _retried(request, source, wanted) if again and source else _submitted(request, source, name, wanted)
        except Refused as error:
            _tell(params, error)
        else:
            return redirect("job", job_id=made.pk)
    context = {
        "form": form,
        "params": params,
        "as_json": isinstance(params, ParamsForm),
        "can_draw": tool is not None and can_draw(_schema(tool), source.params if source else {}),
        "tool": tool,
        "tools": known.values(),
        "source": source,
        "may_retry": may_retry,
    }
    return render(request, "dashboard/submit.html", context, status=422 if form.errors or params.errors else 200)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the form says."""

    params: dict[str, Json]
    priority: str


def _schema(tool: tools.Tool) -> dict[str, Any]:
    return tool.params.model_json_schema()


def _params(request: HttpRequest, source: Job | None, tool: tools.Tool | None) -> ParamsForm | SchemaForm:
    """A field for each param where the schema allows it and nobody asked for JSON."""
    posted = request.POST if request.method == "POST" else None
    schema = _schema(tool) if tool else {}
    first = source.params if source else example_params(tool) if tool else {}
    wants_json = "params" in request.POST if posted is not None else request.GET.get("as") == "json"
    if wants_json or tool is None or not can_draw(schema, source.params if source else {}):
        return ParamsForm(posted, initial={"params": json.dumps(first, indent=2, ensure_ascii=False)})
    return SchemaForm(schema, posted, first=first if source or tool.name == "codemap" else None)


def _tell(params: ParamsForm | SchemaForm, error: Refused) -> None:
    """Each fault at the field that it is about."""
    for problem in error.problems:
        name, _, rest = problem.pointer.removeprefix("/params/").partition("/")
        if name in params.fields and problem.pointer.startswith("/params/"):
            params.add_error(name, f"{rest} {problem.detail}".strip())
        else:
            params.add_error("params" if "params" in params.fields else None, f"{name} {rest} {problem.detail}".strip())
    if not error.problems:
        params.add_error("params" if "params" in params.fields else None, str(error))


def _source(request: HttpRequest) -> Job | None:
    """The job whose params and conditions the form begins with."""
    job_id = request.POST.get("from") or request.GET.get("from")
    try:
        return sight.find(job_id, sight.sight_of(request.user)) if job_id else None
    except NotFound as missing:
        raise Http404(str(missing)) from None


def _submitted(request: HttpRequest, source: Job | None, name: str, said: Wanted) -> Job:
    """A new job; one like another keeps all conditions of that one but what the form says."""
    given = Submission(tool=name, params=said.params, priority=said.priority)
    wanted = replace(copy_of(source), params=said.params, priority=said.priority) if source else given
    by = request.user.get_username()
    job = lifecycle.submit(wanted, by=by)
    audit.note("submit", f"job {job.pk}", by=by, after={"tool": name} | ({"from": source.pk} if source else {}))
    return job


def _retried(request: HttpRequest, source: Job, said: Wanted) -> Job:
    by = request.user.get_username()
    return audit.act("retry", lifecycle.retry, source.pk, by=by, params=said.params)
