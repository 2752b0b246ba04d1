"""Webhooks and the log of their deliveries: looked at, tried, removed, sent again."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from jobs import deliveries, webhooks
from jobs.admin.base import ReadOnly, badge, pretty
from jobs.models import Delivery, Webhook


@admin.register(Webhook)
class WebhookAdmin(ReadOnly):
    """Webhooks are made over the API, which shows the secret; here they get a new one."""

    list_display = ("id", "url", "events", "job_id", "tool", "project", "made_by", "made_at", "removed_at")
    exclude = ("secret", "old_secret")
    ordering = ("-id",)
    actions = ("remove_webhooks", "try_webhooks", "rotate_secrets")

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_webhook")

    @admin.action(description="Remove selected webhooks", permissions=["manage"])
    def remove_webhooks(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        for hook in chosen.filter(removed_at=None):
            webhooks.remove(hook.pk, by=request.user.get_username())
        self.message_user(request, "Removed: they are told nothing more.")

    @admin.action(description="Send a trial to selected webhooks", permissions=["manage"])
    def try_webhooks(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> None:
        for hook in chosen.filter(removed_at=None):
            webhooks.try_out(hook.pk, by=request.user.get_username())
        self.message_user(request, "On their way; the deliveries say what comes of them.")

    @admin.action(description="Give selected webhooks a new secret", permissions=["manage"])
    def rotate_secrets(self, request: HttpRequest, chosen: QuerySet[Webhook]) -> HttpResponse:
        """The answer itself shows them: a message would be kept in a cookie until it is read."""
        by = request.user.get_username()
        made = [webhooks.rotate(hook.pk, by=by) for hook in chosen.filter(removed_at=None)]
        context = self.admin_site.each_context(request) | {"title": "New secrets", "made": made, "opts": self.opts}
        return TemplateResponse(request, "admin/webhook_secrets.html", context)


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """The log. What was given up is listed by the filter "dead"."""

    list_display = ("id", "webhook_id", "kind", "job_id", "shown_state", "tries", "status_code", "last_error", "made_at", "next_at")
    list_filter = ("phase",)
    search_fields = ("job_id__exact",)
    search_help_text = "The id of a job"
    exclude = ("body", "phase", "webhook")
    readonly_fields = ("webhook_id", "shown_state", "shown_body")
    ordering = ("-id",)
    actions = ("send_again",)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("jobs.change_webhook")

    @admin.display(description="state")
    def shown_state(self, delivery: Delivery) -> SafeString:
        return badge(delivery.phase)

    @admin.display(description="body")
    def shown_body(self, delivery: Delivery) -> SafeString:
        return pretty(delivery.body)

    @admin.action(description="Send selected deliveries again", permissions=["manage"])
    def send_again(self, request: HttpRequest, chosen: QuerySet[Delivery]) -> None:
        for delivery in chosen.filter(webhook__removed_at=None):
            deliveries.send_again(delivery.pk, by=request.user.get_username())
        self.message_user(request, "They are sent again, except those of removed webhooks.")
