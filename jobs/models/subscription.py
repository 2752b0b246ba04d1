"""How far each subscriber has been told of what happened."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Subscription(models.Model):
    """The place of one subscriber in the log of events. Written by jobs.outbox only."""

    name = models.CharField(primary_key=True, max_length=200)
    position = models.BigIntegerField(help_text="The id of the last event that it was told, or did not want.")
    failures = models.IntegerField(default=0, help_text="In a row, of the event that is next.")
    retry_at = models.DateTimeField(null=True, blank=True)
    last_error = models.TextField(blank=True, default="")
    seen_at = models.DateTimeField(db_default=Now(), help_text="When a process last had this subscriber.")

    def __str__(self) -> str:
        return self.name
