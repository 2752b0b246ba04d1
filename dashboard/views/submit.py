"""The form that submits a job for any registered tool."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from dashboard.forms import SubmitForm, example_params
from jobs import lifecycle, tools
from jobs.errors import Refused
from jobs.lifecycle import Submission


@permission_required("jobs.submit_job", raise_exception=True)
def page(request: HttpRequest) -> HttpResponse:
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
    context = {"form": form, "tool": tool, "tools": known.values(), "fields": fields}
    return render(request, "dashboard/submit.html", context, status=422 if form.errors else 200)
