"""The queue: its configuration and rules, which are changed through jobs.steering; workers, tokens and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from jobs import audit, configuration, health, steering, tokens
from jobs.admin.base import Base, ReadOnly, link_to_job, pretty
from jobs.errors import Refused
from jobs.limits import GroupKind
from jobs.models import ApiToken, AuditEntry, GroupRule, IdempotencyKey, ProjectAccess, QueueConfig, Worker

if TYPE_CHECKING:
    ConfigForm = forms.ModelForm[QueueConfig]
    RuleForm = forms.ModelForm[GroupRule]
else:
    ConfigForm = RuleForm = forms.ModelForm


class QueueConfigForm(ConfigForm):
    """Checked as every change of the configuration is; `version` tells an editor that another one was faster."""

    class Meta:
        model = QueueConfig
        fields = ("version", *configuration.BOUNDS, *configuration.TABLES)
        widgets: ClassVar[dict[str, Any]] = {"version": forms.HiddenInput}

    def clean(self) -> None:
        super().clean()
        given = {name: self.cleaned_data[name] for name in steering.COLUMNS if name in self.cleaned_data}
        for name, detail in configuration.faults(given):
            self.add_error(name, detail)
        now = QueueConfig.objects.values_list("version", flat=True).get()
        if "version" in self.cleaned_data and self.cleaned_data["version"] != now:
            self.add_error(None, "Somebody else changed the configuration meanwhile. Open it again and repeat your change.")


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

    def save_model(self, request: HttpRequest, obj: QueueConfig, form: Any, change: bool) -> None:  # noqa: FBT001
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name != "version"}
        try:
            steering.configure(changes, version=form.cleaned_data["version"], by=request.user.get_username())
        except Refused as refusal:
            # The form has checked the same a moment ago: somebody was faster by less than that.
            self.message_user(request, f"Not saved: {refusal.detail}", messages.ERROR)


class GroupRuleForm(RuleForm):
    class Meta:
        model = GroupRule
        fields = ("kind", "name", "max_running", "per_minute")


@admin.register(GroupRule)
class GroupRuleAdmin(Base):
    """Limits are edited; pauses are set and taken back by actions."""

    form = GroupRuleForm
    list_display = ("kind", "name", "max_running", "per_minute", "paused_at", "paused_by", "pause_reason")
    list_display_links = ("kind", "name")
    ordering = ("kind", "name")
    actions = ("pause_groups", "resume_groups")

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: GroupRule | None = None) -> tuple[str, ...]:
        return ("kind", "name") if obj else ()

    def save_model(self, request: HttpRequest, obj: GroupRule, form: Any, change: bool) -> None:  # noqa: FBT001
        made = steering.limit(
            GroupKind(obj.kind), obj.name, max_running=obj.max_running, per_minute=obj.per_minute, by=request.user.get_username()
        )
        obj.pk = made.pk

    @admin.action(description="Pause selected groups", permissions=["change"])
    def pause_groups(self, request: HttpRequest, chosen: QuerySet[GroupRule]) -> None:
        for rule in chosen:
            steering.pause(GroupKind(rule.kind), rule.name, by=request.user.get_username())
        self.message_user(request, "Paused. Jobs that run go on; none of these groups starts.")

    @admin.action(description="Resume selected groups", permissions=["change"])
    def resume_groups(self, request: HttpRequest, chosen: QuerySet[GroupRule]) -> None:
        for rule in chosen:
            steering.resume(GroupKind(rule.kind), rule.name, by=request.user.get_username())
        self.message_user(request, "Resumed.")


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(ReadOnly):
    list_display = ("key", "caller", "job_link", "at")
    exclude = ("job",)
    readonly_fields = ("job_link",)
    ordering = ("-at", "-id")

    @admin.display(description="job")
    def job_link(self, row: IdempotencyKey) -> SafeString:
        return link_to_job(row.job_id) if row.job_id else format_html("none")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly):
    list_display = ("at", "actor", "action", "subject", "origin")
    exclude = ("before", "after")
    readonly_fields = ("shown_before", "shown_after")
    ordering = ("-at", "-id")

    @admin.display(description="before")
    def shown_before(self, entry: AuditEntry) -> SafeString:
        return pretty(entry.before)

    @admin.display(description="after")
    def shown_after(self, entry: AuditEntry) -> SafeString:
        return pretty(entry.after)


@admin.register(ProjectAccess)
class ProjectAccessAdmin(Base):
    """Who may see which projects; each change is noted."""

    list_display = ("user", "group", "project")
    list_select_related = ("user", "group")
    autocomplete_fields = ("user", "group")
    search_fields = ("project__startswith",)

    def save_model(self, request: HttpRequest, obj: ProjectAccess, form: Any, change: bool) -> None:  # noqa: FBT001  (the admin's)
        super().save_model(request, obj, form, change)
        audit.note("give access", str(obj), by=request.user.get_username(), after={"project": obj.project})

    def delete_model(self, request: HttpRequest, obj: ProjectAccess) -> None:
        audit.note("take access", str(obj), by=request.user.get_username(), before={"project": obj.project})
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ProjectAccess]) -> None:
        for access in queryset:
            self.delete_model(request, access)


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
        by = request.user.get_username()
        revoked = [name for name in chosen.values_list("name", flat=True) if tokens.revoke(name, by=by)]
        self.message_user(request, f"Revoked: {', '.join(revoked) or 'none, all were revoked before'}.")
