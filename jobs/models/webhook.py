"""Addresses that are told what happens to jobs, and the log of what was sent to them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class Webhook(models.Model):
    """Who outside is told of what: of one job, a tool, a project, or all. Written by jobs.webhooks only."""

    url = models.CharField(max_length=1000)
    events = models.JSONField(default=list, help_text="Kinds of events, as in-process subscribers name them.")
    job_id = models.CharField(max_length=64, blank=True, default="", help_text="Without a constraint: it outlives its job.")
    tool = models.CharField(max_length=100, blank=True, default="")
    project = models.CharField(max_length=100, blank=True, default="")
    secret = models.TextField(help_text="Sealed: what deliveries are signed with.")
    old_secret = models.TextField(blank=True, default="", help_text="Sealed: what they are signed with too, until old_until.")
    old_until = models.DateTimeField(null=True, blank=True)
    made_by = models.CharField(max_length=200)
    made_at = models.DateTimeField(db_default=Now())
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="webhook_old_secret_ends", condition=Q(old_secret="") ^ Q(old_until__isnull=False)),
        ]
        indexes = [
            # webhooks.write_down: those that may want an event
            models.Index("job_id", name="webhook_in_use", condition=Q(removed_at=None)),
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk}"


class Delivery(models.Model):
    """One event for one webhook, until it was taken or given up. Written by jobs.webhooks and jobs.deliveries only."""

    class Phase(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        DEAD = "dead"

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    event_id = models.BigIntegerField(null=True, blank=True, help_text="None for a trial.")
    job_id = models.CharField(max_length=64, blank=True, default="")
    kind = models.CharField(max_length=30)
    body = models.JSONField()
    phase = models.CharField(max_length=9, choices=Phase, default=Phase.WAITING)
    tries = models.IntegerField(default=0)
    next_at = models.DateTimeField(db_default=Now(), help_text="When it is due; while it is sent, when it counts as lost.")
    status_code = models.IntegerField(null=True, blank=True, help_text="Of the last answer.")
    last_error = models.TextField(blank=True, default="")
    took_ms = models.IntegerField(null=True, blank=True)
    made_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            models.UniqueConstraint(fields=["webhook", "event_id"], name="delivery_once"),
            models.CheckConstraint(name="delivery_phase_known", condition=Q(phase__in=("waiting", "delivered", "dead"))),
            models.CheckConstraint(name="delivery_ended", condition=Q(phase="waiting") ^ Q(ended_at__isnull=False)),
        ]
        indexes = [
            models.Index("next_at", "id", name="delivery_due", condition=Q(phase="waiting")),  # deliveries.claim
            models.Index("webhook", "id", name="delivery_of_webhook"),  # deliveries.page
            models.Index("ended_at", name="delivery_ended_at"),  # deliveries.forget_old
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.webhook_id}"
