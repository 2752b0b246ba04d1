"""The rows. What must hold is a named constraint; each index says which query it serves."""

from jobs.models.failures import FailureGroup
from jobs.models.figures import QueueSample, Rollup, RollupMark, Tally
from jobs.models.job import Attempt, Dependency, Event, Job, JobMetrics, TaskJob
from jobs.models.question import AskedQuestion
from jobs.models.queue import (
    ApiToken,
    AuditEntry,
    ExternalTool,
    GroupRule,
    IdempotencyKey,
    ProjectAccess,
    QueueConfig,
    SavedView,
    Worker,
    default_operation_timeouts,
    default_weights,
)
from jobs.models.rows import job_from
from jobs.models.subscription import Subscription
from jobs.models.webhook import Delivery, Webhook

__all__ = [
    "ApiToken",
    "AskedQuestion",
    "Attempt",
    "AuditEntry",
    "Delivery",
    "Dependency",
    "Event",
    "ExternalTool",
    "FailureGroup",
    "GroupRule",
    "IdempotencyKey",
    "Job",
    "JobMetrics",
    "ProjectAccess",
    "QueueConfig",
    "QueueSample",
    "Rollup",
    "RollupMark",
    "SavedView",
    "Subscription",
    "Tally",
    "TaskJob",
    "Webhook",
    "Worker",
    "default_operation_timeouts",
    "default_weights",
    "job_from",
]
