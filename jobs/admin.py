"""The admin: everything can be read, state moves by lifecycle verbs only, the queue's configuration can be edited."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs import configuration, health, lifecycle, tokens, tools
from jobs.errors import Refused
from jobs.models import ApiToken, Attempt, Dependency, Event, Job, JobMetrics, QueueConfig, TaskJob, Worker
from jobs.payloads import Json
from jobs.states import Operation, Priority

if TYPE_CHECKING:
    Base = admin.ModelAdmin[Any]
    BaseForm = forms.ModelForm[QueueConfig]
else:
    Base = admin.ModelAdmin
    BaseForm = forms.ModelForm

admin.site.site_header = admin.site.site_title = "Jobsite"
admin.site.index_title = "Administration"

# Counting a million rows takes longer than showing them; nobody pages further than this.
MAX_COUNTED = 10_000
MAX_AT_ONCE = 1_000
MAX_MESSAGES = 20
MAX_SHOWN = 20_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic in the stubs only
    @cached_property
    def count(self) -> int:
        rows: QuerySet[Model] = self.object_list  # type: ignore[assignment]  # the admin pages querysets only
        return rows[:MAX_COUNTED].count()


class ReadOnly(Base):
    """A model that is looked at. Big tables stay cheap: counts are capped, sorting follows an index, no facets."""

    paginator = CappedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    list_per_page = 50

    class Media:
        css = {"all": ("css/admin-jobs.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class OfJob(ReadOnly):
    """Rows that belong to a job: found by its id, which they show as a link without reading the job."""

    search_fields: ClassVar[tuple[str, ...]] = ("job__id__exact",)
    search_help_text = "The id of a job"
    ordering = ("-id",)

    @admin.display(description="job")
    def job_link(self, row: Any) -> SafeString:
        return link_to_job(row.job_id)


def link_to_job(job_id: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', reverse("admin:jobs_job_change", args=[quote(job_id)]), job_id)


def badge(state: str) -> SafeString:
    return format_html('<span class="state state-{}">{}</span>', state, state.replace("_", " "))


def pretty(value: Json) -> SafeString:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    cut = text[:MAX_SHOWN] + ("\n…" if len(text) > MAX_SHOWN else "")
    return format_html('<pre class="json">{}</pre>', cut)


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
    list_display = ("id", "tool", "state", "done", "priority", "operation", "reason_shown", "created_at", "finished_at")
    list_filter = ("status", "priority", "operation", ToolFilter)
    search_fields = ("id__startswith",)
    search_help_text = "The beginning of an id"
    ordering = ("-created_at", "-id")
    actions = ("cancel_jobs", "retry_jobs")
    fieldsets = (
        (None, {"fields": ("id", "kind", "tool", "state", "reason", "done", "message", "stage", "history")}),
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
                    *("gate", "gate_since", "run_at", "cancel_requested_at", "cancel_reason", "attempt_count"),
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

    def has_control_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.control_job")

    @admin.display(description="status", ordering="status")
    def state(self, job: Job) -> SafeString:
        return badge(job.status)

    @admin.display(description="progress")
    def done(self, job: Job) -> str:
        return f"{job.progress:.0f} %"

    @admin.display(description="reason")
    def reason_shown(self, job: Job) -> str:
        return job.reason[:100]

    @admin.display(description="params")
    def params_shown(self, job: Job) -> SafeString:
        return pretty(job.params)

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
        self._each(request, chosen, lambda job_id, by: lifecycle.cancel(job_id, by=by, reason=f"cancelled by {by}"))

    @admin.action(description="Retry selected jobs", permissions=["control"])
    def retry_jobs(self, request: HttpRequest, chosen: QuerySet[Job]) -> None:
        self._each(request, chosen, lambda job_id, by: lifecycle.retry(job_id, by=by))

    def _each(self, request: HttpRequest, chosen: QuerySet[Job], verb: Callable[[str, str], Job]) -> None:
        """Each job is its own transaction and has its own message; beyond a screenful they are counted."""
        by = request.user.get_username()
        outcomes = [_outcome(job_id, by, verb) for job_id in chosen.values_list("pk", flat=True)[:MAX_AT_ONCE]]
        for level, text in outcomes[:MAX_MESSAGES]:
            messages.add_message(request, level, text)
        if rest := outcomes[MAX_MESSAGES:]:
            refused = sum(level != messages.SUCCESS for level, _ in rest)
            self.message_user(request, f"… and {len(rest)} more, {refused} of them refused.", messages.INFO)


def _outcome(job_id: str, by: str, verb: Callable[[str, str], Job]) -> tuple[int, str]:
    try:
        job = verb(job_id, by)
    except Refused as refusal:
        return messages.WARNING, f"{job_id}: {refusal.detail}"
    stopping = job.status == "running" and job.cancel_requested_at is not None
    return messages.SUCCESS, f"{job_id} is {'told to stop' if stopping else job.status}."


@admin.register(Attempt)
class AttemptAdmin(OfJob):
    list_display = ("job_link", "number", "shown", "worker", "admitted_at", "started_at", "finished_at", "error")
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


MONTH_MS = 30 * 24 * 3600 * 1000
# What each field may be, from and to.
_BOUNDS: list[tuple[str, float, float]] = [
    ("max_concurrent_jobs", 0, 100_000),
    ("max_retries", 0, 1000),
    ("backoff_multiplier", 1, 100),
    ("initial_delay_ms", 0, MONTH_MS),
    ("max_delay_ms", 0, MONTH_MS),
    ("default_timeout_ms", 1, MONTH_MS),
    ("max_memory_mb", 0, 2**31 - 1),
    ("max_cpu_weight", 0, 1e6),
    ("max_disk_mb", 0, 2**31 - 1),
]


class QueueConfigForm(BaseForm):
    """What would stop or confuse the dispatcher is refused."""

    class Meta:
        model = QueueConfig
        fields = (
            *("max_concurrent_jobs", "priority_weights", "max_retries", "backoff_multiplier", "initial_delay_ms"),
            *(
                "max_delay_ms",
                "default_timeout_ms",
                "operation_timeouts",
                "max_memory_mb",
                "max_cpu_weight",
                "max_disk_mb",
            ),
        )

    def clean_priority_weights(self) -> dict[str, float]:
        weights = _numbers(self.cleaned_data["priority_weights"], set(Priority.values))
        if missing := set(Priority.values) - weights.keys():
            raise ValidationError(f"A weight is missing: {', '.join(sorted(missing))}.")
        if any(not 0 < weight <= 1_000_000 for weight in weights.values()):
            raise ValidationError("A weight is more than 0 and at most 1,000,000.")
        return weights

    def clean_operation_timeouts(self) -> dict[str, float]:
        timeouts = _numbers(self.cleaned_data["operation_timeouts"], set(Operation.values))
        if any(not isinstance(ms, int) or not 1 <= ms <= MONTH_MS for ms in timeouts.values()):
            raise ValidationError(f"A time-out is a whole number of milliseconds from 1 to {MONTH_MS}.")
        return timeouts

    def clean(self) -> None:
        super().clean()
        for name, least, most in _BOUNDS:
            value = self.cleaned_data.get(name)
            # Written this way round, NaN is refused too.
            if value is not None and not least <= value <= most:
                self.add_error(name, f"From {least:g} to {most:g}.")
        first, longest = (self.cleaned_data.get(name) for name in ("initial_delay_ms", "max_delay_ms"))
        if first is not None and longest is not None and longest < first:
            self.add_error("max_delay_ms", "Not less than the initial delay.")


def _numbers(value: Json, known: set[str]) -> dict[str, float]:
    if not isinstance(value, dict):
        raise ValidationError("An object of names and numbers is expected.")
    if unknown := value.keys() - known:
        raise ValidationError(f"Unknown: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}.")
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not math.isfinite(n) for n in value.values()):
        raise ValidationError("Every value must be a number.")
    return value


@admin.register(QueueConfig)
class QueueConfigAdmin(Base):
    """One row, so the list leads straight to it."""

    form = QueueConfigForm

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_or_change_permission(request):
            return super().changelist_view(request, extra_context)
        return HttpResponseRedirect(reverse("admin:jobs_queueconfig_change", args=[configuration.row().pk]))


@admin.register(Worker)
class WorkerAdmin(ReadOnly):
    list_display = ("name", "host", "pid", "slots", "queues", "started_at", "beat_at", "stopped_at")
    ordering = ("-beat_at",)

    def get_urls(self) -> list[URLPattern]:
        # The admin's own catch-all would swallow an address beside it, so the health page lives below a model.
        page = path("health/", self.admin_site.admin_view(self.health), name="jobs_health")
        return [page, *super().get_urls()]

    def health(self, request: HttpRequest) -> HttpResponseBase:
        """Any member of staff may see it."""
        context = self.admin_site.each_context(request) | {"title": "Health", "checks": health.everything()}
        return TemplateResponse(request, "admin/health.html", context)


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnly):
    """Tokens are made by `manage.py token create`, which shows the secret; here they are seen and revoked."""

    list_display = ("name", "prefix", "scopes", "owner", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("name__startswith",)
    exclude = ("digest",)
    ordering = ("name",)
    actions = ("revoke_tokens",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_apitoken")

    @admin.action(description="Revoke selected tokens", permissions=["revoke"])
    def revoke_tokens(self, request: HttpRequest, chosen: QuerySet[ApiToken]) -> None:
        revoked = [name for name in chosen.values_list("name", flat=True) if tokens.revoke(name)]
        self.message_user(request, f"Revoked: {', '.join(revoked) or 'none, all were revoked before'}.")
