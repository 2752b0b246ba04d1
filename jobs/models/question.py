"""What jobs ask for while they wait."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class AskedQuestion(models.Model):
    """A question of a job and, once it is given, its answer. Written by jobs.lifecycle only."""

    job = models.ForeignKey("jobs.Job", on_delete=models.CASCADE, related_name="questions", db_index=False)
    key = models.CharField(max_length=100)
    message = models.TextField(blank=True)
    schema = models.JSONField(default=dict)
    answer = models.JSONField(null=True, blank=True)
    asked_at = models.DateTimeField(db_default=Now())
    answered_at = models.DateTimeField(null=True, blank=True)
    answered_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "key"], name="askedquestion_once"),
            models.CheckConstraint(
                name="askedquestion_answered_has_answer",
                condition=Q(answered_at__isnull=True, answer__isnull=True) | Q(answered_at__isnull=False, answer__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.job_id}"
