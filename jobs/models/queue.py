"""The queue as a whole: its configuration, its workers, its callers."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from jobs.limits import DEFAULT_TIMEOUT_MS, DEFAULT_WEIGHTS, OPERATION_TIMEOUTS_MS, GroupKind
from jobs.states import Operation, Priority


def default_weights() -> dict[str, float]:
    return {k.value: v for k, v in DEFAULT_WEIGHTS.items()}


def default_operation_timeouts() -> dict[str, int]:
    return {k.value: v for k, v in OPERATION_TIMEOUTS_MS.items()}


class QueueConfig(models.Model):
    """JobQueueConfig: one row. Made from the environment on first start."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    max_concurrent_jobs = models.IntegerField(default=5)
    priority_weights = models.JSONField(default=default_weights)
    max_retries = models.IntegerField(default=3)
    backoff_multiplier = models.FloatField(default=2.0)
    initial_delay_ms = models.BigIntegerField(default=1000)
    max_delay_ms = models.BigIntegerField(default=300_000)
    operation_retries = models.JSONField(
        default=dict,
        blank=True,
        db_default={},
        help_text='{"codemap": {"maxRetries": 1, "backoffMultiplier": 2, "initialDelayMs": 1000, "maxDelayMs": 60000}}',
    )
    default_timeout_ms = models.BigIntegerField(default=DEFAULT_TIMEOUT_MS)
    operation_timeouts = models.JSONField(default=default_operation_timeouts)
    max_memory_mb = models.IntegerField(default=2048)
    max_cpu_weight = models.FloatField(default=8)
    max_disk_mb = models.IntegerField(default=1024)
    ranked_to = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Up to here ranks follow the weights; empty: all do.",
    )
    version = models.IntegerField(default=1, help_text="Grows with every change; a stale editor is told.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = verbose_name_plural = "queue configuration"
        constraints = [
            models.CheckConstraint(name="queueconfig_only_one", condition=Q(id=1)),
            models.CheckConstraint(
                name="queueconfig_limits_positive",
                condition=Q(max_concurrent_jobs__gte=0, max_memory_mb__gte=0, max_cpu_weight__gte=0, max_disk_mb__gte=0),
            ),
        ]

    def __str__(self) -> str:
        return "Queue configuration"


class GroupRule(models.Model):
    """A limit or a pause for a group of jobs; an empty limit is none. Written by jobs.steering only."""

    kind = models.CharField(max_length=9, choices=GroupKind)
    name = models.CharField(max_length=100, blank=True, help_text="Of the tool, operation, project, key or queue.")
    max_running = models.IntegerField(null=True, blank=True)
    per_minute = models.IntegerField(null=True, blank=True, help_text="Starts in any sixty seconds.")
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=200, blank=True, default="")
    pause_reason = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="grouprule_once"),
            models.CheckConstraint(name="grouprule_kind_known", condition=Q(kind__in=GroupKind.values)),
            models.CheckConstraint(
                name="grouprule_all_has_no_name", condition=Q(kind="all", name="") | (~Q(kind="all") & ~Q(name=""))
            ),
            models.CheckConstraint(
                name="grouprule_limits_sane",
                condition=(Q(max_running=None) | Q(max_running__gte=0)) & (Q(per_minute=None) | Q(per_minute__gte=1)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".strip()


class AuditEntry(models.Model):
    """Who did what, to what, from where. Append-only, which a trigger sees to; written by jobs.audit only."""

    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=50)
    subject = models.CharField(max_length=200)
    origin = models.CharField(max_length=100, blank=True, default="", help_text="The address it came from; empty for this machine.")
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "audit entries"
        indexes = [
            # audit_log.page: all, of one person, of one subject; newest first
            models.Index(F("at").desc(), F("id").desc(), name="audit_newest"),
            models.Index("actor", F("at").desc(), F("id").desc(), name="audit_of_actor"),
            models.Index("subject", F("at").desc(), F("id").desc(), name="audit_of_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class ProjectAccess(models.Model):
    """A person or a group may see the jobs of a project. Whoever has no such row sees every job (jobs.sight)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    group = models.ForeignKey("auth.Group", null=True, blank=True, on_delete=models.CASCADE)
    project = models.CharField(max_length=100)

    class Meta:
        verbose_name_plural = "project access"
        constraints = [
            models.CheckConstraint(
                name="projectaccess_of_one", condition=Q(user=None, group__isnull=False) | Q(user__isnull=False, group=None)
            ),
            models.UniqueConstraint(fields=["user", "group", "project"], name="projectaccess_once", nulls_distinct=False),
        ]

    def __str__(self) -> str:
        return f"{self.user or self.group}: {self.project}"


class SavedView(models.Model):
    """A search that somebody keeps under a name."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=600)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "name"], name="savedview_once")]

    def __str__(self) -> str:
        return self.name


class IdempotencyKey(models.Model):
    """A key that came with a submit: the same caller and key mean the same job for a day."""

    caller = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    digest = models.CharField(max_length=64, help_text="SHA-256 of the body that came with it.")
    job = models.ForeignKey("jobs.Job", null=True, on_delete=models.CASCADE, related_name="+")
    job_ids = models.JSONField(default=list, help_text="All jobs of a bulk request, in its order.")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="idempotencykey_once")]
        indexes = [models.Index("at", name="idempotencykey_at")]  # idempotency.forget_old

    def __str__(self) -> str:
        return f"{self.key} of {self.caller}"


class Worker(models.Model):
    """A Celery worker process, or an external worker, that says it is there."""

    name = models.CharField(primary_key=True, max_length=200)
    host = models.CharField(max_length=200)
    pid = models.IntegerField()
    slots = models.IntegerField()
    queues = models.JSONField(default=list)
    tools = models.JSONField(default=list, help_text="What an external worker runs; empty for a Celery worker.")
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True, blank=True)
    draining_at = models.DateTimeField(null=True, blank=True, help_text="Since when it takes nothing new.")
    drained_by = models.CharField(max_length=200, blank=True, default="")
    memory_mb = models.FloatField(default=0, help_text="In use on its host.")
    memory_total_mb = models.FloatField(default=0)
    cpu_percent = models.FloatField(default=0, help_text="Of its host's cores, 100 is all of them busy.")

    class Meta:
        indexes = [models.Index("beat_at", name="worker_beat")]  # workers.alive

    def __str__(self) -> str:
        return self.name


class ExternalTool(models.Model):
    """A kind of work that programs outside run: they claim its jobs over HTTP and report. Written by jobs.catalog only."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True, default="")
    params_schema = models.JSONField(default=dict, help_text="JSON Schema (2020-12) of an object.")
    result_schema = models.JSONField(null=True, blank=True, help_text="Told to callers; results are not held against it.")
    operation = models.CharField(max_length=20, choices=Operation, default=Operation.EXECUTION)
    priority = models.CharField(max_length=8, choices=Priority, default=Priority.MEDIUM)
    timeout_ms = models.BigIntegerField(null=True, blank=True)
    max_retries = models.IntegerField(null=True, blank=True)
    memory_mb = models.IntegerField(default=0)
    cpu_weight = models.FloatField(default=0)
    disk_mb = models.IntegerField(default=0)
    deduplicate = models.BooleanField(default=False)
    made_by = models.CharField(max_length=200, blank=True, default="")
    updated_at = models.DateTimeField(auto_now=True)
    retired_at = models.DateTimeField(null=True, blank=True, help_text="From then on no job is taken in for it.")

    def __str__(self) -> str:
        return self.name


class ApiToken(models.Model):
    """A bearer token. Only its SHA-256 is kept: the token has 256 random bits, so a slow hash would add nothing."""

    name = models.CharField(max_length=100, unique=True)
    prefix = models.CharField(max_length=12, help_text="The first characters, to recognise it by.")
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    tools = models.JSONField(default=list, blank=True, help_text="The only tools it may see and use; empty for all.")
    projects = models.JSONField(default=list, blank=True, help_text="The only projects it may see and use; empty for all.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
