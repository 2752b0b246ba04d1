"""Jobs, their attempts, and what is written about them."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from jobs.states import FINAL, AttemptState, DependencyPolicy, Gate, Operation, Priority, Status

_FINAL = sorted(FINAL)


class Job(models.Model):
    """One request to a tool. State columns are written by jobs.lifecycle only."""

    class Kind(models.TextChoices):
        STANDARD = "standard", "Standard"
        TASK = "task", "TaskJob"

    id = models.CharField(primary_key=True, max_length=64)
    kind = models.CharField(max_length=8, choices=Kind)
    tool = models.CharField(max_length=100)
    params = models.JSONField(default=dict)

    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    gate = models.CharField(max_length=12, choices=Gate, default=Gate.OPEN)
    gate_since = models.DateTimeField(db_default=Now(), help_text="Since when the gate is as it is.")
    reason = models.TextField(blank=True, default="", help_text="Why the last move was made.")
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(blank=True, default="")
    current_attempt = models.ForeignKey(
        "Attempt",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        db_index=False,
        db_constraint=False,  # checking it would read all jobs for each attempt that is removed
    )
    attempt_count = models.IntegerField(default=0)
    retry_count = models.IntegerField(default=0)
    loss_count = models.IntegerField(default=0, help_text="Losses in a row; a lost attempt spends no retry.")
    version = models.IntegerField(default=1, help_text="Grows with every move; clients ignore what is not newer.")

    operation = models.CharField(max_length=20, choices=Operation, blank=True, default="")
    priority = models.CharField(max_length=8, choices=Priority, default=Priority.MEDIUM)
    rank = models.BigIntegerField(help_text="Microseconds: submitted less the head start of the priority; least first.")
    urgency = models.SmallIntegerField(
        null=True, blank=True, help_text="In the place of the priority for the rank: -100 low, 0 medium, 100 critical."
    )
    queue = models.CharField(max_length=50, default="default")
    memory_mb = models.IntegerField(default=0)
    cpu_weight = models.FloatField(default=0)
    disk_mb = models.IntegerField(default=0)
    estimated_ms = models.BigIntegerField(null=True, blank=True)
    timeout_ms = models.BigIntegerField()
    max_retries = models.IntegerField()
    retry_first_ms = models.BigIntegerField()
    retry_factor = models.FloatField()
    retry_cap_ms = models.BigIntegerField()

    task_id = models.CharField(max_length=100, blank=True, default="")
    project = models.CharField(max_length=100, blank=True, default="")
    batch = models.CharField(max_length=100, blank=True, default="")
    concurrency_key = models.CharField(max_length=100, blank=True, default="", help_text="Named by the caller.")
    concurrency_limit = models.IntegerField(default=0, help_text="So many jobs of the key may run at once; 0 without a key.")
    dependency_policy = models.CharField(max_length=10, choices=DependencyPolicy, default=DependencyPolicy.FAIL)
    fingerprint = models.CharField(max_length=64, blank=True, default="", help_text="Of tool and params, where asked for.")
    metadata = models.JSONField(default=dict, blank=True)
    submitted_by = models.CharField(max_length=150, blank=True, default="")

    progress = models.FloatField(default=0)
    message = models.TextField(blank=True, default="")
    stage = models.CharField(max_length=200, blank=True, default="")
    sub_progress = models.FloatField(null=True, blank=True)
    progress_tick = models.BigIntegerField(default=0, help_text="Grows with every progress report of an attempt.")
    diagnostics = models.JSONField(default=list, blank=True)
    result = models.JSONField(null=True, blank=True)

    # Of the last attempt, where it failed.
    error_class = models.CharField(max_length=200, blank=True, default="", db_default="")
    error_category = models.CharField(max_length=20, blank=True, default="", db_default="")
    error_fingerprint = models.CharField(max_length=16, blank=True, default="", db_default="")

    checkpoint = models.JSONField(null=True, blank=True, help_text="What the tool left for its next attempt.")
    fallbacks = models.JSONField(
        default=list, blank=True, db_default=[], help_text="The tools that gave up before this one, first to last."
    )

    run_at = models.DateTimeField(null=True, blank=True, help_text="Not before this time.")
    expires_at = models.DateTimeField(null=True, blank=True, help_text="Of no use after this time.")
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the current or last attempt began.")
    finished_at = models.DateTimeField(null=True, blank=True)

    has_dependents = models.BooleanField(default=False)
    unsettled = models.BooleanField(default=False, help_text="Final, and its dependents were not told yet.")
    looks = models.IntegerField(default=0, help_text="Polls since the last change of state.")
    last_look_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        permissions = [
            ("submit_job", "May submit jobs"),
            ("control_job", "May cancel and retry jobs"),
            ("administer", "May change the configuration and limits, make tokens, and remove jobs"),
        ]
        constraints = [
            models.CheckConstraint(name="job_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="job_gate_known", condition=Q(gate__in=Gate.values)),
            models.CheckConstraint(
                name="job_final_has_finished_at",
                condition=Q(status__in=_FINAL, finished_at__isnull=False) | (~Q(status__in=_FINAL) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_running_task_has_attempt",
                condition=~Q(status=Status.RUNNING, kind="task") | Q(current_attempt__isnull=False),
            ),
            models.CheckConstraint(
                name="job_final_has_no_attempt", condition=~Q(status__in=_FINAL) | Q(current_attempt__isnull=True)
            ),
            models.CheckConstraint(name="job_dependency_policy_known", condition=Q(dependency_policy__in=DependencyPolicy.values)),
            models.CheckConstraint(name="job_key_has_limit", condition=Q(concurrency_key="") | Q(concurrency_limit__gte=1)),
            models.CheckConstraint(name="job_time_gate_has_run_at", condition=~Q(gate=Gate.TIME) | Q(run_at__isnull=False)),
            models.CheckConstraint(
                name="job_expires_after_it_came", condition=Q(expires_at__isnull=True) | Q(expires_at__gt=F("created_at"))
            ),
            # lifecycle.submit: the active job of a fingerprint
            models.UniqueConstraint(
                fields=["fingerprint"],
                name="job_active_fingerprint_once",
                condition=~Q(fingerprint="") & Q(status__in=[Status.PENDING, Status.RUNNING]),
            ),
            models.CheckConstraint(
                name="job_urgency_in_range", condition=Q(urgency__isnull=True) | Q(urgency__gte=-100, urgency__lte=100)
            ),
            models.CheckConstraint(name="job_progress_in_percent", condition=Q(progress__gte=0, progress__lte=100)),
            models.CheckConstraint(
                name="job_counts_not_negative",
                condition=Q(attempt_count__gte=0, retry_count__gte=0, loss_count__gte=0, max_retries__gte=0),
            ),
        ]
        indexes = [
            # admission.candidates: the next jobs to start, in exact order
            models.Index(
                "rank",
                "id",
                name="job_ready",
                condition=Q(status=Status.PENDING, gate=Gate.OPEN, current_attempt__isnull=True, kind="task"),
            ),
            # lifecycle.open_due: jobs whose time has come
            models.Index("run_at", name="job_due", condition=Q(status=Status.PENDING, gate=Gate.TIME)),
            # lifecycle.expire: jobs that were not begun in time
            models.Index("expires_at", name="job_expiring", condition=Q(status=Status.PENDING, expires_at__isnull=False)),
            # lifecycle.settle: finished jobs whose dependents wait
            models.Index("id", name="job_unsettled", condition=Q(unsettled=True)),
            # statistics.oldest_ready_wait
            models.Index(
                "gate_since",
                name="job_ready_since",
                condition=Q(status=Status.PENDING, gate=Gate.OPEN, current_attempt__isnull=True, kind="task"),
            ),
            # queries.running and the limits in use
            models.Index("started_at", "id", name="job_running", condition=Q(status=Status.RUNNING)),
            # queries.page: the list, newest first, all or of one status, tool, batch, project
            models.Index(F("created_at").desc(), F("id").desc(), name="job_newest"),
            models.Index("status", F("created_at").desc(), F("id").desc(), name="job_newest_of_status"),
            models.Index("tool", F("created_at").desc(), F("id").desc(), name="job_newest_of_tool"),
            models.Index("batch", F("created_at").desc(), name="job_newest_of_batch", condition=~Q(batch="")),
            models.Index("project", F("created_at").desc(), name="job_newest_of_project", condition=~Q(project="")),
            # failure_groups.jobs_of: the failed jobs of a group, newest first
            models.Index("error_fingerprint", F("finished_at").desc(), name="job_failed_alike", condition=Q(status=Status.FAILED)),
            # retention: finished jobs, oldest first
            models.Index("finished_at", name="job_finished", condition=Q(status__in=_FINAL)),
        ]

    def __str__(self) -> str:
        return self.id

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class TaskJobs(models.Manager["TaskJob"]):
    def get_queryset(self) -> models.QuerySet[TaskJob]:
        return super().get_queryset().filter(kind=Job.Kind.TASK)


class TaskJob(Job):
    """A job that we schedule and Celery executes."""

    objects = TaskJobs()  # type: ignore[misc]  # a proxy with a narrower manager is what Django documents

    class Meta:
        proxy = True
        verbose_name = "TaskJob"


class Attempt(models.Model):
    """One try at a job. Its id fences every write made on behalf of the running job."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="attempts", db_index=False)
    number = models.IntegerField()
    state = models.CharField(max_length=11, choices=AttemptState, default=AttemptState.ADMITTED)
    queue = models.CharField(max_length=50)
    # Copied from the job: what is in use is summed over live attempts without touching the jobs.
    memory_mb = models.IntegerField(default=0)
    cpu_weight = models.FloatField(default=0)
    disk_mb = models.IntegerField(default=0)
    timeout_ms = models.BigIntegerField()
    concurrency_key = models.CharField(max_length=100, blank=True, default="")
    rated = models.BooleanField(default=False, help_text="Counts for a limit of starts a minute.")

    ready_at = models.DateTimeField(null=True, blank=True, help_text="Since when the job could have started.")
    admitted_at = models.DateTimeField()
    rung_at = models.DateTimeField(null=True, blank=True)
    rings = models.IntegerField(default=0)
    started_at = models.DateTimeField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=200, blank=True, default="")
    pid = models.IntegerField(null=True, blank=True)

    error_class = models.CharField(max_length=200, blank=True, default="")
    error_category = models.CharField(max_length=20, blank=True, default="")
    error_message = models.TextField(blank=True, default="")
    traceback = models.TextField(blank=True, default="")
    error_place = models.CharField(max_length=300, blank=True, default="", db_default="", help_text="module:function")
    error_fingerprint = models.CharField(max_length=16, blank=True, default="", db_default="")
    refused_writes = models.IntegerField(default=0, db_default=0, help_text="That came after it was given up for lost.")
    peak_memory_mb = models.FloatField(default=0)
    cpu_percent = models.FloatField(default=0, help_text="Average over the attempt; 100 is one core.")
    samples = models.JSONField(
        default=list, db_default=[], help_text="[seconds since the start, MB, percent], at most 60; by beats."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job", "number"], name="attempt_number_once_a_job"),
            models.UniqueConstraint(fields=["job"], name="attempt_one_live_a_job", condition=Q(state__in=["admitted", "running"])),
            models.CheckConstraint(name="attempt_state_known", condition=Q(state__in=AttemptState.values)),
            models.CheckConstraint(
                name="attempt_running_has_lease",
                condition=~Q(state=AttemptState.RUNNING) | Q(lease_until__isnull=False, started_at__isnull=False),
            ),
            models.CheckConstraint(
                name="attempt_ended_has_finished_at",
                condition=Q(state__in=["admitted", "running"], finished_at__isnull=True)
                | (~Q(state__in=["admitted", "running"]) & Q(finished_at__isnull=False)),
            ),
        ]
        indexes = [
            # lifecycle.start_next: the next admitted attempt of a queue; doorbell.unanswered
            models.Index("queue", "id", name="attempt_admitted", condition=Q(state=AttemptState.ADMITTED)),
            # admission.census: starts of the last minute
            models.Index("admitted_at", name="attempt_rated", condition=Q(rated=True)),
            # failure_groups.groups: failures of a span of time, by what they have in common
            models.Index(
                "error_fingerprint", "finished_at", include=["id"], name="attempt_failed_alike", condition=~Q(error_fingerprint="")
            ),
            # statistics.refused_writes
            models.Index("id", name="attempt_refused", condition=Q(refused_writes__gt=0)),
            # rescue.expired
            models.Index("lease_until", name="attempt_lease", condition=Q(state=AttemptState.RUNNING)),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} #{self.number}"


class Dependency(models.Model):
    """`job` may not start before `parent` completed."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dependencies", db_index=False)
    parent = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="dependents", db_index=False)
    position = models.IntegerField(help_text="The place in the list that the caller gave.")
    met_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "dependencies"
        constraints = [
            models.UniqueConstraint(fields=["job", "parent"], name="dependency_once"),
            models.CheckConstraint(name="dependency_not_on_itself", condition=~Q(job=F("parent"))),
        ]
        indexes = [
            # lifecycle.settle: who waits for this parent; the job page: who depends on it
            models.Index("parent", "job", name="dependency_of_parent"),
            # lifecycle.settle: is anything still unmet
            models.Index("job", name="dependency_unmet", condition=Q(met_at__isnull=True)),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} after {self.parent_id}"


class Event(models.Model):
    """One row for each move of a job: history, outbox and source of statistics. Append-only."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="events", db_index=False)
    # Without a constraint, for which every attempt that is removed would be looked for among all events.
    attempt = models.ForeignKey(
        Attempt, null=True, blank=True, on_delete=models.CASCADE, related_name="events", db_index=False, db_constraint=False
    )
    verb = models.CharField(max_length=20)
    before = models.CharField(max_length=9, blank=True, default="")
    after = models.CharField(max_length=9)
    reason = models.TextField(blank=True, default="")
    actor = models.CharField(max_length=200, blank=True, default="")
    at = models.DateTimeField()

    class Meta:
        indexes = [
            # queries.events_of
            models.Index("job", "id", name="event_of_job"),
            # statistics: moves in a time span; queries.changed_since: what the hub re-reads to heal a lost message
            models.Index("at", name="event_at"),
        ]

    def __str__(self) -> str:
        return f"{self.job_id} {self.verb}"


class JobMetrics(models.Model):
    """What the job's last attempt cost, measured; and how well the job did as a whole."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="metrics")
    start_time = models.DateTimeField()
    end_time = models.DateTimeField(null=True, blank=True)
    duration_ms = models.BigIntegerField(null=True, blank=True)
    peak_memory_mb = models.FloatField(default=0)
    average_cpu = models.FloatField(default=0, help_text="Percent; 100 is one core.")
    performance_score = models.IntegerField(default=100)
    error_count = models.IntegerField(default=0)
    retry_count = models.IntegerField(default=0)

    class Meta:
        verbose_name_plural = "job metrics"
        constraints = [
            models.CheckConstraint(name="metrics_score_in_range", condition=Q(performance_score__gte=0, performance_score__lte=100))
        ]

    def __str__(self) -> str:
        return self.job_id
