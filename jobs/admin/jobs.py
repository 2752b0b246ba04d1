"""Jobs and what belongs to them: looked at, and moved by lifecycle verbs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs import audit, lifecycle, sealing, tools
from jobs.admin.base import MAX_AT_ONCE, MAX_MESSAGES, Base, OfJob, ReadOnly, badge, link_to_job, pretty
from jobs.errors import IllegalMove, Refused
from jobs.limits_form import LimitsForm
from jobs.models import Attempt, Dependency, Event, Job, JobMetrics, TaskJob
from jobs.states import Status
from jobs.why import Why, why_all, why_pending

if TYPE_CHECKING:
    from django.urls import URLPattern


class ToolFilter(admin.SimpleListFilter):
    """By the registry: collecting the names from the rows would read the whole table."""

    title = "tool"
    parameter_name = "tool"

    def lookups(self, request: HttpRequest, model_admin: Base) -> list[tuple[str, str]]:
        return [(tool.name, tool.name) for tool in tools.every()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(tool=self.value()) if self.value() else queryset


@admin.register(Job, TaskJob)
class JobAdmin(ReadOnly):
    list_display = ("id", "tool", "state", "done", "priority", "operation", "waits", "reason_shown", "created_at", "finished_at")
    list_filter = ("status", "priority", "operation", ToolFilter)
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of an id"
    ordering = ("-created_at", "-id")
    actions = ("cancel_jobs", "retry_jobs", "delete_jobs")
    change_form_template = "admin/job_form.html"
    fieldsets = (
        (None, {"fields": ("id", "kind", "tool", "state", "reason", "done", "message", "stage", "why_shown", "history")}),
        (
            "Request",
            {"fields": ("params_shown", "priority", "operation", "batch", "project", "task_id", "submitted_by")},
        ),
        (
            "Needs",
            {"fields": ("memory_mb", "cpu_weight", "disk_mb", "estimated_ms", "timeout_ms", "max_retries", "queue")},
        ),
        ("Outcome", {"fields": ("result_shown", "diagnostics_shown", "metadata_shown")}),
        (
            "Life",
            {
                "fields": (
                    *("gate", "gate_since", "run_at", "expires_at", "cancel_requested_at", "cancel_reason", "attempt_count"),
                    *("retry_count", "loss_count", "version", "created_at", "started_at", "updated_at", "finished_at"),
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        found = super().get_queryset(request)
        in_list = request.resolver_match is not None and str(request.resolver_match.url_name).endswith("_changelist")
        # The list shows none of the columns that may hold megabytes.
        return found.defer("params", "result", "diagnostics", "metadata") if in_list else found

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The jobs of the page that wait are asked why all at once."""
        page = super().get_changelist_instance(request)
        whys = why_all(list(page.result_list))
        for job in page.result_list:
            job.why = whys.get(job.pk)
        return page

    def get_urls(self) -> list[URLPattern]:
        name = f"jobs_{self.opts.model_name}_limits"
        return [path("<path:object_id>/limits/", self.admin_site.admin_view(self.limits), name=name), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """As ever, with a link to its limits while they may be changed."""
        job_id = unquote(object_id)
        offered = self.has_control_permission(request) and Job.objects.filter(pk=job_id, status=Status.PENDING).exists()
        limits = reverse(f"admin:jobs_{self.opts.model_name}_limits", args=[quote(job_id)]) if offered else ""
        return super().change_view(request, object_id, form_url, (extra_context or {}) | {"limits": limits})

    def limits(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Other limits for a job that waits, as on its page."""
        if not self.has_control_permission(request):
            raise PermissionDenied
        job = self.get_object(request, unquote(object_id))
        if job is None:
            raise Http404("there is no such job")
        back = reverse(f"admin:jobs_{self.opts.model_name}_change", args=[quote(job.pk)])
        form = LimitsForm.of(job, request.POST if request.method == "POST" else None)
        try:
            if form.is_valid():
                audit.act("change", lifecycle.change, job.pk, by=request.user.get_username(), wanted=form.as_change())
                self.message_user(request, f"The limits of {job.pk} are as you said.", messages.SUCCESS)
                return redirect(back)
        except IllegalMove as refused:
            self.message_user(request, str(refused), messages.ERROR)
            return redirect(back)
        except Refused as refused:
            form.refuse(refused)
        context = self.admin_site.each_context(request) | {"title": f"Limits of {job.pk}", "form": form, "back": back, "job": job}
        return TemplateResponse(request, "admin/job_limits.html", context, status=422 if form.errors else 200)

    def has_control_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.control_job")

    def has_delete_by_verb_permission(self, request: HttpRequest) -> bool:
        """The admin's own deletion stays off: it would leave dependents waiting."""
        return request.user.has_perms(["jobs.control_job", "jobs.delete_job"])

    @admin.display(description="status", ordering="status")
    def state(self, job: Job) -> SafeString:
        return badge(job.status)

    @admin.display(description="progress")
    def done(self, job: Job) -> str:
        return f"{job.progress:.0f} %"

    @admin.display(description="waits for")
    def waits(self, job: Job) -> str:
        found: Why | None = getattr(job, "why", None)
        return found.reason if found else ""

    @admin.display(description="why it waits")
    def why_shown(self, job: Job) -> SafeString:
        found = why_pending(job)
        if found is None:
            return format_html("{}", "It does not wait.")
        until = f" Not before {found.until:%Y-%m-%d %H:%M:%S} UTC." if found.until else ""
        blockers = format_html_join("", "<li>{} {}, {}</li>", ((link_to_job(b.id), b.tool, b.status) for b in found.blockers[:20]))
        said = f"{found.text} Since {found.since:%Y-%m-%d %H:%M:%S} UTC.{until}"
        return format_html("{}<ul>{}</ul>", said, blockers) if blockers else format_html("{}", said)

    @admin.display(description="reason")
    def reason_shown(self, job: Job) -> str:
        return job.reason[:100]

    @admin.display(description="params")
    def params_shown(self, job: Job) -> SafeString:
        return pretty(sealing.covered(job.params))

    @admin.display(description="result")
    def result_shown(self, job: Job) -> SafeString:
        return pretty(job.result)

    @admin.display(description="diagnostics")
    def diagnostics_shown(self, job: Job) -> SafeString:
        return pretty(job.diagnostics)

    @admin.display(description="metadata")
    def metadata_shown(self, job: Job) -> SafeString:
        return pretty(job.metadata)

    @admin.display(description="history")
    def history(self, job: Job) -> SafeString:
        query = urlencode({"q": job.id})
        pages = [reverse(f"admin:jobs_{name}_changelist") for name in ("event", "attempt", "dependency", "jobmetrics")]
        return format_html(
            '<a href="{}?{q}">events</a> · <a href="{}?{q}">attempts</a> · <a href="{}?{q}">dependencies</a> · '
            '<a href="{}?{q}">metrics</a>',
            *pages,
            q=query,
        )

    @admin.action(description="Cancel selected jobs", permissions=["control"])
    def cancel_jobs(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        self._each(request, chosen, lambda job_id, by: audit.act("cancel", lifecycle.cancel, job_id, by=by))

    @admin.action(description="Retry selected jobs", permissions=["control"])
    def retry_jobs(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        self._each(request, chosen, lambda job_id, by: audit.act("retry", lifecycle.retry, job_id, by=by))

    @admin.action(description="Delete selected jobs for good", permissions=["delete_by_verb"])
    def delete_jobs(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        self._each(request, chosen, lambda job_id, by: lifecycle.delete(job_id, by=by))

    def _each(self, request: HttpRequest, chosen: QuerySet[Job], verb: Callable[[str, str], Job | None]) -> None:
        """Each job is its own transaction and has its own message; beyond a screenful they are counted."""
        by = request.user.get_username()
        outcomes = [_outcome(job_id, by, verb) for job_id in chosen.values_list("pk", flat=True)[:MAX_AT_ONCE]]
        for level, text in outcomes[:MAX_MESSAGES]:
            messages.add_message(request, level, text)
        if rest := outcomes[MAX_MESSAGES:]:
            refused = sum(level != messages.SUCCESS for level, _ in rest)
            self.message_user(request, f"… and {len(rest)} more, {refused} of them refused.", messages.INFO)


def _outcome(job_id: str, by: str, verb: Callable[[str, str], Job | None]) -> tuple[int, str]:
    try:
        job = verb(job_id, by)
    except Refused as refusal:
        return messages.WARNING, f"{job_id}: {refusal.detail}"
    if job is None:
        return messages.SUCCESS, f"{job_id} is deleted."
    stopping = job.status == "running" and job.cancel_requested_at is not None
    return messages.SUCCESS, f"{job_id} is {'told to stop' if stopping else job.status}."


@admin.register(Attempt)
class AttemptAdmin(OfJob):
    list_display = ("job_link", "number", "shown", "worker", "admitted_at", "started_at", "finished_at", "refused_writes", "error")
    list_filter = ("state",)
    list_display_links = ("number",)
    exclude = ("job",)
    readonly_fields = ("job_link",)

    @admin.display(description="state")
    def shown(self, attempt: Attempt) -> SafeString:
        return badge(attempt.state)

    @admin.display(description="error")
    def error(self, attempt: Attempt) -> str:
        return f"{attempt.error_class}: {attempt.error_message}"[:100] if attempt.error_class else ""


@admin.register(Event)
class EventAdmin(OfJob):
    list_display = ("at", "job_link", "verb", "move", "reason", "actor")
    exclude = ("job", "attempt")
    readonly_fields = ("job_link",)
    list_display_links = ("at",)

    @admin.display(description="move")
    def move(self, event: Event) -> str:
        return f"{event.before} → {event.after}" if event.before else event.after


@admin.register(Dependency)
class DependencyAdmin(OfJob):
    list_display = ("job_link", "parent_link", "position", "met_at")
    search_fields = ("job__id__exact", "parent__id__exact")
    exclude = ("job", "parent")
    readonly_fields = ("job_link", "parent_link")
    list_display_links = ("position",)

    @admin.display(description="waits for")
    def parent_link(self, dependency: Dependency) -> SafeString:
        return link_to_job(dependency.parent_id)


@admin.register(JobMetrics)
class JobMetricsAdmin(OfJob):
    list_display = ("job_link", "start_time", "duration_ms", "peak_memory_mb", "average_cpu", "performance_score")
    exclude = ("job",)
    readonly_fields = ("job_link",)
    list_display_links = ("start_time",)
    ordering = ("-job_id",)
