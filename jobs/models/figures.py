"""Figures that are kept, so that no page has to count a million jobs."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from jobs.limits import GroupKind


class Tally(models.Model):
    """How many jobs there are of each kind: the sum of `n`. Triggers on jobs_job write it, in the transaction of each change.

    Every change adds rows, so no two writers wait for each other; jobs.tally merges them into the kept ones.
    """

    status = models.CharField(max_length=9)
    gate = models.CharField(max_length=12, help_text="Of pending jobs; empty for others.")
    tool = models.CharField(max_length=100)
    operation = models.CharField(max_length=20)
    priority = models.CharField(max_length=8)
    project = models.CharField(max_length=100)
    kept = models.BooleanField(default=False)
    n = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "tallies"
        constraints = [
            models.UniqueConstraint(
                fields=["status", "gate", "tool", "operation", "priority", "project"],
                name="tally_kept_once",
                condition=Q(kept=True),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.n} {self.status} {self.tool}"


class Rollup(models.Model):
    """What happened to a group of jobs in one minute, hour or day. Written by jobs.rollup only, each event once.

    Sums and counts add up, and so do the histograms {bucket: count} (jobs.histogram): any spans can be merged. `run` is of
    completed runs; `run_ms`, memory and CPU are of all attempts that ended, `wasted_ms` of those that brought no result.
    """

    class Span(models.TextChoices):
        MINUTE = "minute", "Minute"
        HOUR = "hour", "Hour"
        DAY = "day", "Day"

    span = models.CharField(max_length=6, choices=Span)
    at = models.DateTimeField(help_text="When the span begins; days begin at midnight UTC.")
    kind = models.CharField(max_length=9, choices=GroupKind)
    name = models.CharField(max_length=100, blank=True)

    submitted = models.BigIntegerField(default=0)
    started = models.BigIntegerField(default=0)
    completed = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    cancelled = models.BigIntegerField(default=0)
    retried = models.BigIntegerField(default=0, help_text="Attempts that failed and were followed by another.")
    lost = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0, db_default=0, help_text="Those of the lost after which the job is held.")
    timed_out = models.BigIntegerField(default=0, db_default=0, help_text="Attempts.")
    interrupted = models.BigIntegerField(default=0, db_default=0, help_text="Attempts.")
    stopped = models.BigIntegerField(default=0, db_default=0, help_text="Attempts that ended because their job was cancelled.")
    wait = models.JSONField(default=dict, help_text="From ready to start.")
    run = models.JSONField(default=dict)
    ended = models.BigIntegerField(default=0, help_text="Attempts.")
    run_ms = models.FloatField(default=0)
    wasted_ms = models.FloatField(default=0)
    memory_asked_mb = models.FloatField(default=0)
    memory_used_mb = models.FloatField(default=0)
    cpu_asked = models.FloatField(default=0)
    cpu_used = models.FloatField(default=0, help_text="Cores.")
    scored = models.BigIntegerField(default=0)
    score = models.FloatField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["span", "kind", "name", "at"], name="rollup_once"),
            models.CheckConstraint(name="rollup_span_known", condition=Q(span__in=["minute", "hour", "day"])),
        ]
        indexes = [
            # trends.groups: all groups of a kind in a time; retention: what is too old
            models.Index("span", "at", name="rollup_in_time"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name} {self.span} {self.at}"


class RollupMark(models.Model):
    """How far events are counted; one row. Every event up to `counted` is in the roll-up, and none after it."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    counted = models.BigIntegerField(default=0)
    fence = models.BigIntegerField(default=0, help_text="May be counted once no transaction is open that could fill a gap below.")
    refused = models.BigIntegerField(default=0, db_default=0, help_text="Refused writes of attempts that were removed.")
    fence_xid = models.BigIntegerField(default=0, help_text="Transactions from this one on began after the fence was read.")

    class Meta:
        constraints = [
            models.CheckConstraint(name="rollupmark_only_one", condition=Q(id=1)),
            models.CheckConstraint(name="rollupmark_behind_fence", condition=Q(counted__lte=models.F("fence"))),
        ]

    def __str__(self) -> str:
        return f"counted up to {self.counted}"


class QueueSample(models.Model):
    """The queue as it was in one minute: sums over `samples` looks, and the limits at the last of them."""

    at = models.DateTimeField(primary_key=True)
    samples = models.IntegerField(default=0)
    ready = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0, help_text="Pending, and waiting for dependencies, a time or a person.")
    running = models.BigIntegerField(default=0, help_text="Slots taken.")
    memory_mb = models.BigIntegerField(default=0)
    cpu_weight = models.FloatField(default=0)
    disk_mb = models.BigIntegerField(default=0)
    workers = models.BigIntegerField(default=0)
    slots = models.IntegerField(default=0)
    max_memory_mb = models.IntegerField(default=0)
    max_cpu_weight = models.FloatField(default=0)
    max_disk_mb = models.IntegerField(default=0)

    def __str__(self) -> str:
        return str(self.at)
