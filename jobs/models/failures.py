"""What people know about failures that are alike, kept longer than the jobs that failed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q


class FailureGroup(models.Model):
    """Failures of one fingerprint: what was folded in of removed jobs, and what people said about them.

    Written by jobs.failure_groups only. A group without a row has only failures of jobs that are kept.
    """

    fingerprint = models.CharField(primary_key=True, max_length=16)
    error_class = models.CharField(max_length=200)
    error_category = models.CharField(max_length=20)
    message = models.CharField(max_length=2000, blank=True, help_text="Of the newest that was folded in.")
    place = models.CharField(max_length=300, blank=True)
    tools = models.JSONField(default=list)
    folded = models.BigIntegerField(default=0, help_text="Failures of jobs that were removed.")
    first_seen = models.DateTimeField(null=True, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True)
    muted_at = models.DateTimeField(null=True, blank=True)
    muted_by = models.CharField(max_length=200, blank=True, default="")
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [models.CheckConstraint(name="failuregroup_count_not_negative", condition=Q(folded__gte=0))]
        indexes = [models.Index("last_seen", name="failuregroup_last_seen")]  # failure_groups.groups

    def __str__(self) -> str:
        return f"{self.error_class} {self.fingerprint}"
